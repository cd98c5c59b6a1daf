package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Limits on the age after which things are removed.
const (
	MinRetention = time.Hour
	MaxRetention = 3650 * day

	day = 24 * time.Hour
)

func setRetention(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, s string) error {
		d, err := parseDays(s)
		if err != nil || d != 0 && (d < MinRetention || d > MaxRetention) {
			return fmt.Errorf("%q is neither 0 (keep for ever) nor an age between %s and %s: use a number and a unit, such as 30d or 36h",
				s, formatDays(MinRetention), formatDays(MaxRetention))
		}
		*field(c) = d
		return nil
	}
}

// parseDays reads a duration in which d stands for 24 hours: "30d", or any of
// Go's forms.
func parseDays(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if number, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 16) // no more than fits a time.Duration
		return time.Duration(n) * day, err
	}
	return time.ParseDuration(s)
}

func formatDays(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return cybervault.FormatDuration(d)
}
