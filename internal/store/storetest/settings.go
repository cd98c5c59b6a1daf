package storetest

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

func settingsCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"webhooks/every field":               webhookFields,
		"webhooks/a change replaces":         webhookChange,
		"webhooks/a stale change is refused": webhookStale,
		"webhooks/by key":                    webhooksByKey,
		"webhooks/deleted ones stay":         webhookDeleted,
		"webhooks/schedules":                 webhookSchedules,
		"webhooks/what is refused":           webhookRefused,
		"webhooks/the wrong key":             wrongKey,
		"webhooks/health":                    webhookHealth,
		"event types":                        eventTypes,
		"detection controls":                 controls,
		"a past that is made up":             seeded,
		"keys/every field":                   keyFields,
		"keys/revoked":                       keyRevoked,
		"keys/of the same value":             keyTwice,
		"workspace/made once":                workspaceOnce,
		"workspace/made once by many":        workspaceConcurrent,
		"workspace/survives a restart":       workspaceReopened,
		"store/ping, dialect and stats":      pingAndDialect,
		"webhooks/health of several":         healthOfSeveral,
		"webhooks/one probe":                 probes,
		"webhooks/attempts given out":        takePace,
	}
}

func (f *fixture) webhooks() []*cybervault.Webhook {
	f.Helper()
	got, err := f.s.Webhooks(f.Context())
	f.must(err)
	return got
}

func (f *fixture) wantWebhooks(want ...*cybervault.Webhook) {
	f.Helper()
	if diff := cmp.Diff(want, f.webhooks()); diff != "" {
		f.Errorf("webhooks (-saved +loaded):\n%s", diff)
	}
}

func fullWebhook(w *cybervault.Webhook) {
	w.URL = "https://receiver.test/päth?q=1"
	w.Events = []string{"threat.*", "incident.created", `odd "one"`}
	w.Description = "für das „SOC“\nzweite Zeile"
	w.Status, w.DisabledReason = cybervault.WebhookDisabled, "failed for 3 days"
	w.Accept = cybervault.AcceptAny2xx
	w.Headers = []cybervault.Header{{Name: "Authorization", Value: "Bearer hunter2-the-token"}, {Name: "X-Empty", Value: ""}}
	older := cybervault.NewSecret(start.Add(-time.Hour))
	older.ExpiresAt = start.Add(time.Hour)
	w.Secrets = []cybervault.Secret{cybervault.NewSecret(start), older}
	w.RetrySchedule = []time.Duration{time.Millisecond, 90 * time.Second, 36 * time.Hour}
	w.CACertificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	w.Verification, w.VerifiedAt = true, start.Add(time.Microsecond)
	w.UpdatedAt = start.Add(time.Second)
	w.Filter, w.RateLimit, w.Concurrency, w.Ordered = `data.severity == "critical" && data.user != "é"`, 2.5, 7, true
	w.ClientCertificate = "-----BEGIN PRIVATE KEY-----\nhunter2-the-key\n-----END PRIVATE KEY-----\n"
	w.Channel = cybervault.Channel{ //nolint:gosec // made up, to be found in the file if it is not sealed
		Authentication: cybervault.Authentication{ //nolint:gosec // as above
			Type: cybervault.AuthenticationOAuth2, TokenURL: "https://id.test/token", ClientID: "é", ClientSecret: "hunter2-the-secret",
			Scopes: []string{"a", "b"}, Audience: "https://siem.test/", ClientAuthentication: cybervault.ClientBody,
		},
		Signature:   cybervault.SignatureEd25519,
		SigningKeys: []cybervault.SigningKey{cybervault.NewSigningKey(start), {Private: "whsk_hunter2", CreatedAt: start, ExpiresAt: start.Add(time.Hour)}},
		Proxy:       "http://user:hunter2-the-password@proxy.test:3128",
	}
}

func webhookFields(f *fixture) {
	f.wantWebhooks()
	plain := f.webhook()
	f.wantWebhooks(plain, f.webhook(fullWebhook))
}

func webhookChange(f *fixture) {
	w := f.webhook(fullWebhook)
	other := f.webhook()
	changed := &cybervault.Webhook{
		ID: w.ID, Workspace: w.Workspace, URL: "https://other.test/", Events: []string{"*"}, Status: cybervault.WebhookEnabled,
		Accept: cybervault.AcceptDefault, Secrets: w.Secrets[:1], CreatedAt: w.CreatedAt, UpdatedAt: start.Add(time.Hour),
		Revision: w.Revision,
	}
	f.must(f.s.SaveWebhook(f.Context(), changed))
	if changed.Revision != w.Revision+1 {
		f.Errorf("revision %d after a change of revision %d", changed.Revision, w.Revision)
	}
	f.wantWebhooks(changed, other)
	f.must(f.s.Close())
	f.s = f.open()
	f.wantWebhooks(changed, other)
}

// A change is made from what is stored, or not at all.
func webhookStale(f *fixture) {
	w := f.webhook()
	first, second := *w, *w
	first.URL, second.URL = "https://first.test/", "https://second.test/"
	f.must(f.s.SaveWebhook(f.Context(), &first))
	f.wantCode(f.s.SaveWebhook(f.Context(), &second), cybervault.CodeConflict)
	f.wantWebhooks(&first)
	second.Revision = first.Revision
	f.must(f.s.SaveWebhook(f.Context(), &second))
	f.wantWebhooks(&second)
}

// Who asks by key learns of deletions.
func webhooksByKey(f *fixture) {
	first, second, third := f.webhook(), f.webhook(fullWebhook), f.webhook()
	deleted := *third
	deleted.DeletedAt = f.clock.Now()
	f.must(f.s.SaveWebhook(f.Context(), &deleted))
	got, err := f.s.WebhooksByKey(f.Context(), []int64{second.ID.Key(), third.ID.Key(), first.ID.Key() - 1})
	f.must(err)
	if len(got) != 2 || got[0].ID != second.ID || got[0].Filter != second.Filter || got[1].ID != third.ID || !got[1].DeletedAt.Equal(deleted.DeletedAt) || got[1].Revision != deleted.Revision {
		f.Errorf("asked for a webhook, a deleted one and one that never was: %+v", got)
	}
	if got, err := f.s.WebhooksByKey(f.Context(), nil); err != nil || got != nil {
		f.Errorf("asked for none: %+v, %v", got, err)
	}
}

func webhookDeleted(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, waiting(w))
	f.publish(pub)
	deleted := *w
	deleted.DeletedAt = f.clock.Now()
	f.must(f.s.SaveWebhook(f.Context(), &deleted))
	f.wantWebhooks()
	if got := f.delivery(pub.Deliveries[0].ID); got.Webhook != w.ID {
		f.Errorf("the log lost the webhook: %+v", got)
	}
}

func webhookSchedules(f *fixture) {
	for _, schedule := range [][]time.Duration{nil, {}, {time.Second}, cybervault.DefaultRetrySchedule(), {1500 * time.Millisecond, time.Hour + time.Second}} {
		w := f.webhook(func(w *cybervault.Webhook) { w.RetrySchedule = schedule })
		loaded := f.webhooks()
		got := loaded[len(loaded)-1].RetrySchedule
		if diff := cmp.Diff(w.RetrySchedule, got); diff != "" || (got == nil) != (schedule == nil) {
			f.Errorf("schedule %#v came back as %#v", schedule, got)
		}
	}
}

func webhookRefused(f *fixture) {
	w := f.webhook()
	stolen := *w
	stolen.Workspace, stolen.URL = f.strangersWorkspace(), "https://evil.test/"
	f.wantCode(f.s.SaveWebhook(f.Context(), &stolen), cybervault.CodeConflict)
	for _, text := range []string{"a\x00b", "a\xff"} {
		bad := *w
		bad.Description = text
		f.wantCode(f.s.SaveWebhook(f.Context(), &bad), cybervault.CodeInvalid)
	}
	f.wantWebhooks(w)
}

func wrongKey(f *fixture) {
	f.webhook(fullWebhook)
	f.must(f.s.Close())
	key := f.cfg.Key
	f.cfg.Key = bytes.Repeat([]byte{8}, store.KeySize)
	f.s = f.open()
	_, err := f.s.Webhooks(f.Context())
	f.wantCode(err, cybervault.CodeInvalid)
	if !strings.Contains(err.Error(), "secret-key-file") || strings.Contains(err.Error(), "hunter2") {
		f.Errorf("error = %v, want one that names secret-key-file", err)
	}
	f.must(f.s.Close())
	f.cfg.Key = key
	f.s = f.open()
	if got := f.webhooks(); len(got) != 1 || got[0].Headers[0].Value != "Bearer hunter2-the-token" {
		f.Errorf("with the right key: %+v", got)
	}
	for _, size := range []int{0, 16, 31, 33} {
		cfg := f.cfg
		cfg.Key = make([]byte, size)
		_, err := store.Open(f.Context(), cfg)
		f.wantCode(err, cybervault.CodeInvalid)
	}
}

func (f *fixture) apiKey(value string, scopes ...cybervault.Scope) *cybervault.APIKey {
	f.clock.Move(time.Second)
	return &cybervault.APIKey{
		ID: cybervault.NewID[cybervault.APIKeyID](f.ids), Workspace: f.ws, Name: "CI „nightly“", Hint: "cvk_12",
		Hash: sha256.Sum256([]byte(value)), Scopes: scopes, CreatedAt: f.clock.Now(),
	}
}

func keyFields(f *fixture) {
	if got, err := f.s.APIKeys(f.Context(), f.ws); err != nil || got == nil || len(got) != 0 {
		f.Errorf("keys = %#v, %v", got, err)
	}
	one, two := f.apiKey("one", cybervault.Scopes()...), f.apiKey("two", cybervault.ScopeRead)
	f.must(f.s.CreateAPIKey(f.Context(), one))
	f.must(f.s.CreateAPIKey(f.Context(), two))
	got, err := f.s.APIKeys(f.Context(), f.ws)
	f.must(err)
	if diff := cmp.Diff([]*cybervault.APIKey{two, one}, got); diff != "" {
		f.Errorf("keys, newest first (-created +listed):\n%s", diff)
	}
	found, err := f.s.APIKeyByHash(f.Context(), one.Hash)
	f.must(err)
	if diff := cmp.Diff(one, found); diff != "" {
		f.Errorf("key by hash (-created +found):\n%s", diff)
	}
	_, err = f.s.APIKeyByHash(f.Context(), sha256.Sum256([]byte("three")))
	f.wantCode(err, cybervault.CodeNotFound)
	if foreign, err := f.s.APIKeys(f.Context(), f.strangersWorkspace()); err != nil || len(foreign) != 0 {
		f.Errorf("another workspace sees %d keys, %v", len(foreign), err)
	}
	for name, end := range map[string]time.Duration{"soon": time.Hour, "later": 48 * time.Hour, "revoked": time.Hour} {
		k := f.apiKey(name)
		k.Name, k.ExpiresAt = name, start.Add(end)
		f.must(f.s.CreateAPIKey(f.Context(), k))
		if name == "revoked" {
			f.must(f.s.RevokeAPIKey(f.Context(), f.ws, k.ID, start.Add(time.Minute)))
		}
	}
	for within, want := range map[[2]time.Duration]string{{0, 24 * time.Hour}: "soon", {2 * time.Hour, 24 * time.Hour}: "", {2 * time.Hour, 72 * time.Hour}: "later"} {
		ending, err := f.s.ExpiringAPIKeys(f.Context(), start.Add(within[0]), start.Add(within[1]))
		f.must(err)
		if want == "" && len(ending) != 0 || want != "" && (len(ending) != 1 || ending[0].Name != want || ending[0].Workspace != f.ws) {
			f.Errorf("within %v: %+v, want %q", within, ending, want)
		}
	}
	bad := f.apiKey("four")
	bad.Name = "\xff"
	f.wantCode(f.s.CreateAPIKey(f.Context(), bad), cybervault.CodeInvalid)
}

func keyRevoked(f *fixture) {
	key := f.apiKey("one", cybervault.ScopeAdmin)
	f.must(f.s.CreateAPIKey(f.Context(), key))
	revoke := func(ws cybervault.WorkspaceID, id cybervault.APIKeyID) error {
		f.clock.Move(time.Second)
		return f.s.RevokeAPIKey(f.Context(), ws, id, f.clock.Now())
	}
	f.wantCode(revoke(f.strangersWorkspace(), key.ID), cybervault.CodeNotFound)
	f.wantCode(revoke(f.ws, cybervault.NewID[cybervault.APIKeyID](f.ids)), cybervault.CodeNotFound)
	f.must(revoke(f.ws, key.ID))
	key.RevokedAt = f.clock.Now()
	f.must(revoke(f.ws, key.ID)) // again: the first time stands
	found, err := f.s.APIKeyByHash(f.Context(), key.Hash)
	f.must(err)
	if diff := cmp.Diff(key, found); diff != "" {
		f.Errorf("revoked key (-want +got):\n%s", diff)
	}
}

func keyTwice(f *fixture) {
	f.must(f.s.CreateAPIKey(f.Context(), f.apiKey("one")))
	f.wantCode(f.s.CreateAPIKey(f.Context(), f.apiKey("one")), cybervault.CodeConflict)
	f.must(f.s.CreateAPIKey(f.Context(), f.apiKey("two")))
}

func workspaceOnce(f *fixture) {
	for range 3 {
		if got := f.workspace(); got != f.ws {
			f.Errorf("workspace = %s, want %s", got, f.ws)
		}
	}
}

func workspaceConcurrent(f *fixture) {
	// A second server on the same PostgreSQL would not see the first fixture's
	// row either, so begin without one.
	f.must(f.s.Close())
	f.s = f.open()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := f.s.Workspace(f.Context(), f.strangersWorkspace(), "another")
			if err != nil || got != f.ws {
				f.Errorf("workspace = %s, %v; want %s", got, err, f.ws)
			}
		})
	}
	wg.Wait()
}

func workspaceReopened(f *fixture) {
	f.must(f.s.Close())
	f.s = f.open()
	if got := f.workspace(); got != f.ws {
		f.Errorf("workspace = %s, want %s", got, f.ws)
	}
}

func pingAndDialect(f *fixture) {
	f.must(f.s.Ping(f.Context()))
	want := "sqlite"
	if f.cfg.DatabaseURL != "" {
		want = "postgres"
	}
	if got := f.s.Dialect(); got != want {
		f.Errorf("dialect = %q, want %q", got, want)
	}
}
