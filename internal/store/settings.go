package store

import (
	"context"
	"strings"

	"github.com/cybervault/cybervault"
)

// The settings (webhooks, event types, API keys) are in every node's memory. On
// PostgreSQL a trigger notes each change of them, in the transaction that makes
// it, under a number of its own: what a node has seen is one number. On SQLite the
// one node knows what it changed.

// settingsPage bounds how many changes are read at once.
const settingsPage = 1000

// LastSetting is the number of the newest change of the settings. A node that
// reads the settings after it has asked misses none that came before.
func (s *Store) LastSetting(ctx context.Context) (revision int64, err error) {
	if s.place == nil {
		return 0, nil
	}
	err = s.db.QueryRowContext(ctx, "SELECT revision FROM settings_revision").Scan(&revision)
	return revision, readError(err)
}

// SettingChanges reads what was changed of the settings after a number, each once
// however often it was changed. It reads it all; All is set where too much was
// missed to tell, and everything is to be read anew.
func (s *Store) SettingChanges(ctx context.Context, after int64) (cybervault.SettingChanges, error) {
	out := cybervault.SettingChanges{Last: after, Webhooks: map[int64]bool{}}
	if s.place == nil {
		return out, nil
	}
	last, err := s.LastSetting(ctx)
	if err != nil || last == after {
		return out, err
	}
	if last < after { // another server, which never heard of the last changes
		out.All, out.Last = true, last
		return out, nil
	}
	for {
		n, err := s.nextSettings(ctx, &out)
		if err != nil || n < settingsPage || out.All {
			return out, err
		}
	}
}

func (s *Store) nextSettings(ctx context.Context, out *cybervault.SettingChanges) (n int, err error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind("SELECT revision, kind, id FROM settings_changes WHERE revision > ? ORDER BY revision LIMIT ?"), out.Last, settingsPage)
	if err != nil {
		return 0, readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var revision, id int64
		var kind string
		if err := rows.Scan(&revision, &kind, &id); err != nil {
			return n, readError(err)
		}
		if revision != out.Last+1 { // the rows between have been removed
			rest, err := s.LastSetting(ctx)
			out.All, out.Last = true, rest
			return n, err
		}
		out.Last = revision
		n++
		switch kind {
		case "webhook":
			out.Webhooks[id] = true
		case "event_type":
			out.EventTypes = true
		case "api_key":
			out.APIKeys = true
		default: // a later release has settings that this one does not know
		}
	}
	return n, readError(rows.Err())
}

// Grown tells how far the change log has grown, as a number that means nothing
// else: when it is another than before, a node has committed something.
func (s *Store) Grown(ctx context.Context) (end int64, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT MAX(id) FROM changes").Scan(&end)
	return end, readError(err)
}

// WebhooksByKey returns webhooks as they are stored now, those that were deleted
// included, with nothing in the place of those that never were.
func (s *Store) WebhooksByKey(ctx context.Context, keys []int64) ([]*cybervault.Webhook, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	args := make([]any, len(keys))
	for i, key := range keys {
		args[i] = key
	}
	return s.selectWebhooks(ctx, "w.id IN (?"+strings.Repeat(", ?", len(keys)-1)+")", args...)
}
