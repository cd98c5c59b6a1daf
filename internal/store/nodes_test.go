package store_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// nodesLimit is how long anything between nodes may take in a test. It is far more
// than it takes.
const nodesLimit = 30 * time.Second

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for limit := time.After(nodesLimit); !holds(); {
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatalf("not within %s: %s", nodesLimit, what)
		}
	}
}

// The leases of a node that is gone are free for the others, those of the living
// are not, and the others are told.
func TestPostgresALostNodesLeasesAreFreed(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	cfg.Now = nil
	first, second := open(t, cfg), open(t, cfg)
	freed := make(chan struct{}, 8)
	first.FollowNodes(func() {}, func() { freed <- struct{}{} }, func(string) {})
	living, _ := leaseOne(t.Context(), t, second)
	dead, delivery := leaseOne(t.Context(), t, first)
	// As if another node, 77, had leased it, and died: it has a row and no lock.
	outside(t, cfg, "", "UPDATE deliveries SET lease_token = lease_token - lease_token % 256 + 77 WHERE webhook_id = "+strconv.FormatInt(dead.Key(), 10),
		"INSERT INTO nodes (number, host, joined_at) VALUES (77, 'gone', 0)")
	claim := func(id cybervault.WebhookID) []*cybervault.Assignment {
		t.Helper()
		got, err := first.Claim(t.Context(), cybervault.Claim{Webhook: id, Limit: 10, Lease: cybervault.Lease{Token: 256, Until: time.Now().Add(time.Minute)}})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := claim(dead); len(got) != 0 {
		t.Fatalf("a lease was taken from its node before anyone could tell that it was gone: %v", got)
	}
	select {
	case <-freed:
	case <-time.After(nodesLimit):
		t.Fatal("nobody was told that a lost node's leases are free")
	}
	if got := claim(dead); len(got) != 1 || got[0].Delivery != delivery {
		t.Errorf("after its node was lost, the claim gives %v", got)
	}
	if got := claim(living); len(got) != 0 {
		t.Errorf("the lease of a node that lives was freed: %v", got)
	}
	eventually(t, "the lost node is no longer counted", func() bool { return first.Nodes() == 2 }) // which is as of the last look
}

// One node has a duty, and the next one takes it over.
func TestPostgresOneNodeHasTheDuty(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	first := open(t, cfg)
	eventually(t, "the only node has the duty", func() bool { return first.Has(store.DutyRetention) })
	second := open(t, cfg)
	eventually(t, "the second node is seen", func() bool { return first.Nodes() == 2 && second.Nodes() == 2 })
	if second.Has(store.DutyRetention) {
		t.Error("two nodes have one duty")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the duty passes on", func() bool { return second.Has(store.DutyRetention) })
}

// A node that the database does not speak with relies on its leases no longer.
func TestPostgresTrustEnds(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	s := open(t, cfg)
	eventually(t, "the node has its duty", func() bool { return s.Has(store.DutyRetention) })
	back := away(t, cfg)
	eventually(t, "the node is without the database", func() bool { return !s.Trusted() && !s.Has(store.DutyRetention) })
	back()
	eventually(t, "the node goes on", func() bool { return s.Trusted() && s.Has(store.DutyRetention) })
}

// Whatever changes settings, on whichever node or past all of them, is heard of.
func TestPostgresSettingsAreHeardOf(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	x := newSource(t, open(t, cfg))
	other := open(t, cfg)
	told := make(chan struct{}, 1)
	other.FollowNodes(func() {
		select {
		case told <- struct{}{}:
		default:
		}
	}, func() {}, func(string) {})
	seen, err := other.LastSetting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next := func(what string, want func(c *cybervault.SettingChanges) bool) {
		t.Helper()
		eventually(t, what, func() bool {
			select {
			case <-told:
			default:
				return false
			}
			c, err := other.SettingChanges(t.Context(), seen)
			if err != nil {
				t.Fatal(err)
			}
			seen = c.Last
			return c.Any() && want(&c)
		})
	}
	only := func(c *cybervault.SettingChanges) bool {
		return len(c.Webhooks) == 1 && c.Webhooks[x.w.ID.Key()] && !c.All && !c.APIKeys && !c.EventTypes
	}
	changed := *x.w
	changed.URL = "https://other.test/"
	if err := x.s.SaveWebhook(t.Context(), &changed); err != nil {
		t.Fatal(err)
	}
	next("a webhook was changed", only)
	if got, err := other.WebhooksByKey(t.Context(), []int64{changed.ID.Key()}); err != nil || len(got) != 1 || got[0].URL != changed.URL || got[0].Revision != changed.Revision {
		t.Errorf("the other node reads %+v, %v", got, err)
	}
	outside(t, cfg, "", "UPDATE webhooks SET description = 'by hand' WHERE id = "+strconv.FormatInt(x.w.ID.Key(), 10))
	next("a webhook was changed by hand", only)
	if err := x.s.SaveWebhook(t.Context(), &changed); cybervault.ErrorCode(err) != cybervault.CodeConflict {
		t.Errorf("what was changed by hand is overwritten: %v", err)
	}
	own := &cybervault.OwnEventType{Workspace: x.ws, EventType: cybervault.EventType{Name: "acme.seen", Severity: cybervault.SeverityLow, Schema: []byte(`{}`), Example: []byte(`{}`)}}
	if err := x.s.SaveEventType(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	next("an event type was added", func(c *cybervault.SettingChanges) bool { return c.EventTypes && !c.All && len(c.Webhooks) == 0 })
	// A node that was away for too long reads everything.
	outside(t, cfg, "", "UPDATE webhooks SET description = 'once'", "UPDATE webhooks SET description = 'twice'", "DELETE FROM settings_changes WHERE revision <= (SELECT revision - 1 FROM settings_revision)")
	next("too much was missed", func(c *cybervault.SettingChanges) bool { return c.All })
	last, err := other.LastSetting(t.Context())
	if err != nil || seen != last {
		t.Errorf("seen up to %d of %d, %v", seen, last, err)
	}
}

// While nodes are replaced one by one, the release before works with a schema that
// was made for that, and with no other.
func TestPostgresTheReleaseBefore(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		declared string
		starts   bool
	}{
		"made for it":                     {"INSERT INTO schema_versions (version, oldest) SELECT 9998, MAX(version_id) FROM goose_db_version WHERE version_id < 9000; INSERT INTO schema_versions VALUES (9999, 1)", true},
		"not declared":                    {"INSERT INTO schema_versions (version, oldest) VALUES (9998, 1)", false},
		"made for a newer one":            {"INSERT INTO schema_versions (version, oldest) VALUES (9998, 9998), (9999, 9998)", false},
		"one of two made for a newer one": {"INSERT INTO schema_versions (version, oldest) VALUES (9998, 9998), (9999, 1)", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := postgresConfig(t)
			_ = open(t, cfg).Close()
			statements := append(slices.Collect(strings.SplitSeq(test.declared, ";")), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9998, true), (9999, true)")
			outside(t, cfg, "", statements...)
			s, err := store.Open(t.Context(), cfg)
			if err == nil {
				defer func() { _ = s.Close() }()
				leaseOne(t.Context(), t, s)
			}
			if test.starts != (err == nil) {
				t.Errorf("it starts: %t, %v", err == nil, err)
			}
			if err != nil && !strings.Contains(err.Error(), "schema version 9999") {
				t.Errorf("it says %v", err)
			}
		})
	}
}
