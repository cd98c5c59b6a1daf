package cli

import (
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
)

// listFlags are the filters of a list, by the names that the API has for them.
type listFlags struct {
	limit  int
	values map[string]*string
	now    func() time.Time
}

// addListFlags adds --limit and the named filters to cmd.
func addListFlags(env *Env, cmd *cobra.Command, filters ...string) *listFlags {
	usage := map[string]string{
		"event":     "only this event type: a name, threat.* or *",
		"webhook":   "only this webhook",
		"status":    "only this status, or these joined by commas: pending, held, delivered, dead_letter, cancelled, skipped; undelivered: all but delivered",
		"severity":  "only this severity",
		"since":     "only from this moment on: 2026-01-31T12:00:00Z, or 90m for the last 90 minutes",
		"until":     "only before this moment",
		"unmatched": "true: only events that no webhook had chosen",
		"actor":     "only what was done by this user or API key: an id, or a part of a name",
		"action":    "only this action, such as webhook.update, or all that begin so, such as webhook",
		"target":    "only what was done to this: an id or a name",
		"q":         "only events with this text anywhere in them",
	}
	f := &listFlags{values: make(map[string]*string), now: env.Now}
	cmd.Flags().IntVarP(&f.limit, "limit", "n", cybervault.DefaultPageSize, "how many to show, newest first")
	for _, name := range filters {
		f.values[name] = cmd.Flags().String(name, "", usage[name])
	}
	return f
}

// query makes the query of the API's call.
func (f *listFlags) query() (url.Values, error) {
	if f.limit < 1 {
		return nil, usagef("--limit: %d is not a number of rows: use 1 or more", f.limit)
	}
	query := make(url.Values)
	for name, value := range f.values {
		if *value == "" {
			continue
		}
		v := *value
		if name == "since" || name == "until" {
			t, err := when(v, f.now())
			if err != nil {
				return nil, usagef("--%s: %s", name, err)
			}
			v = t.UTC().Format(time.RFC3339Nano)
		}
		query.Set(name, v)
	}
	return query, nil
}

// when reads a moment: RFC 3339, a date, or how long ago.
func when(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("%q is not a moment: use 2026-01-31T12:00:00Z, 2026-01-31, or 90m for 90 minutes ago", s)
}
