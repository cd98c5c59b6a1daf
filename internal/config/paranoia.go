package config

import (
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
)

// MaxWebSites bounds the hosts with a paranoia level of their own.
const MaxWebSites = 1000

func paranoiaOptions() []option {
	return []option{
		{
			name: "paranoia", hint: "level", usage: "paranoia level of the web rules: 1 (few false alarms) to 4",
			set: func(c *Config, s string) error {
				level, err := paranoiaLevel(s)
				if err == nil {
					c.Paranoia = level
				}
				return err
			},
		},
		{
			name: "web-sites", hint: "host=level", usage: "a host with a paranoia level of its own; repeatable", list: true,
			set: setWebSites,
		},
	}
}

func paranoiaLevel(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 1 || n > 4 {
		return 0, fmt.Errorf("%q is not a paranoia level: use 1 (few false alarms) to 4", s)
	}
	return n, nil
}

func setWebSites(c *Config, s string) error {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	if len(words) > MaxWebSites {
		return fmt.Errorf("has %d hosts, more than %d", len(words), MaxWebSites)
	}
	sites := make(map[string]int, len(words))
	for _, word := range words {
		host, text, ok := strings.Cut(word, "=")
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		if !ok || host == "" || strings.ContainsAny(host, "/:*") {
			return fmt.Errorf("%q is not a host and its level: use host=level, such as shop.example.com=2, without port or wildcard", word)
		}
		level, err := paranoiaLevel(text)
		if err != nil {
			return fmt.Errorf("%s: %w", host, err)
		}
		sites[host] = level
	}
	c.WebSites = sites
	return nil
}

func (c Config) paranoiaAttrs() []slog.Attr {
	sites := make([]string, 0, len(c.WebSites))
	for host, level := range c.WebSites {
		sites = append(sites, host+"="+strconv.Itoa(level))
	}
	sort.Strings(sites)
	return []slog.Attr{slog.String("paranoia", strconv.Itoa(c.Paranoia)), slog.String("web_sites", strings.Join(sites, ","))}
}
