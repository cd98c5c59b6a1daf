package config

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxDiskReserve bounds the reserve: more than any one file system has.
const MaxDiskReserve = 1 << 60

// units of a size, the largest first. KB and its like are taken for powers of
// 1024 too: a reserve that is a little larger harms nobody.
var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func setDiskReserve(c *Config, s string) error {
	n, err := parseSize(s)
	if err != nil || n < 0 || n > MaxDiskReserve {
		return fmt.Errorf("%q is not a size: use a number and a unit, such as 256MiB or 2GiB, or 0 for no reserve", s)
	}
	c.DiskReserve = n
	return nil
}

// parseSize reads "256MiB", "256 MB", "2g", or a number of bytes.
func parseSize(s string) (int64, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	scale := int64(1)
	for _, u := range units {
		letter := strings.ToLower(u.name[:1])
		for _, suffix := range []string{letter + "ib", letter + "b", letter} {
			if number, ok := strings.CutSuffix(text, suffix); ok && scale == 1 {
				text, scale = strings.TrimSpace(number), u.bytes
			}
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil && (n > MaxDiskReserve/scale || n < 0) {
		return 0, strconv.ErrRange
	}
	return n * scale, err
}

// formatSize writes a size as it would be given.
func formatSize(n int64) string {
	for _, u := range units {
		if n > 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
