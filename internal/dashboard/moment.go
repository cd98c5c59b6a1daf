package dashboard

import (
	"strconv"
	"time"

	"github.com/cybervault/cybervault"
)

// moment is a time as a page shows it: relative in words, absolute in UTC on
// demand. The zero value is "never" and shown as a dash.
type moment struct {
	Relative string // "12 s ago"
	ISO      string // for <time datetime>
	Absolute string // "2026-11-23 10:12:13.123 UTC"
	Clock    string // "10:12:13"
}

// momentAt words t as seen at now.
func momentAt(now, t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	t = t.UTC()
	return moment{
		Relative: relative(now.Sub(t), t),
		ISO:      t.Format("2006-01-02T15:04:05.000Z"),
		Absolute: t.Format("2006-01-02 15:04:05.000") + " UTC",
		Clock:    t.Format("15:04:05"),
	}
}

func (d *dashboard) moment(t time.Time) moment { return momentAt(d.Now(), t) }

// relative words how long ago t was; app.js words it in the same way.
func relative(ago time.Duration, t time.Time) string {
	in := ago < 0
	size := ago.Abs()
	var s string
	switch {
	case size < time.Second:
		return "just now"
	case size < time.Minute:
		s = strconv.Itoa(int(size/time.Second)) + " s"
	case size < time.Hour:
		s = strconv.Itoa(int(size/time.Minute)) + " min"
	case size < 24*time.Hour:
		s = strconv.Itoa(int(size/time.Hour)) + " h"
	case size < 7*24*time.Hour:
		s = strconv.Itoa(int(size/(24*time.Hour))) + " d"
	default:
		return t.Format("2 Jan 2006")
	}
	if in {
		return "in " + s
	}
	return s + " ago"
}

// took writes a duration at the precision a person can use.
func took(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case d <= 0:
		return "0 ms"
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case d < time.Second:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	default:
		return cybervault.FormatDuration(d.Round(time.Second))
	}
}

// parseMoment reads a bound of time from a filter: what <input type=datetime-local>
// sends (taken as UTC), RFC 3339, or a span back from now such as "1h" or "7d".
func parseMoment(now time.Time, field, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339Nano, "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	if n := len(s); n > 1 && n < 6 && s[n-1] == 'd' {
		if days, err := strconv.Atoi(s[:n-1]); err == nil && days >= 0 {
			return now.Add(-time.Duration(days) * 24 * time.Hour), nil
		}
	}
	if span, err := time.ParseDuration(s); err == nil && span >= 0 {
		return now.Add(-span), nil
	}
	return time.Time{}, cybervault.Invalid(field, "%q is not a time: use a form such as 2026-01-31T14:30 (UTC), or 1h or 7d for a span back from now", cut(s, 40))
}
