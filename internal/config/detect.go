package config

import (
	"errors"
	"strings"
)

// Detect is how the threat engine is set up.
type Detect struct {
	GeoIP []string // databases that say where an address is, in MaxMind's format
	Rules []string // directories of Sigma rules, beside the shipped ones
}

// detectOptions lists the settings of the threat engine.
func detectOptions() []option {
	return []option{
		{
			name: "rules", hint: "directory", usage: "directory of Sigma rules to use beside the shipped ones; repeatable", list: true,
			set: func(c *Config, s string) (err error) { c.Detect.Rules, err = parseFiles(s); return err },
		},
		{
			name: "geoip", hint: "file", usage: "GeoIP database (.mmdb) of places or of autonomous systems, for logins from new countries; repeatable", list: true,
			set: func(c *Config, s string) (err error) { c.Detect.GeoIP, err = parseFiles(s); return err },
		},
	}
}

// parseFiles reads a list of file names.
func parseFiles(s string) ([]string, error) {
	var files []string
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name == "" {
			return nil, errors.New("a name in the list is empty: use the paths of files, with commas between them")
		}
		files = append(files, name)
	}
	return files, nil
}
