package fleet_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/fleet"
	"github.com/cybervault/cybervault/internal/store"
)

// yard is a fleet on a real store, with a clock that moves when told.
type yard struct {
	*fleet.Fleet
	*testing.T

	s  *store.Store
	ws cybervault.WorkspaceID

	mu     sync.Mutex
	at     time.Time
	events []cybervault.PublishRequest
}

func (y *yard) now() time.Time {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.at
}

func (y *yard) pass(d time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.at = y.at.Add(d)
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{T: t, at: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	if y.s, err = store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "cv.db"), Key: bytes.Repeat([]byte{7}, store.KeySize), Now: y.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = y.s.Close() })
	ids := cybervault.NewIDSource(1, 0, y.now)
	if y.ws, err = y.s.Workspace(t.Context(), cybervault.NewID[cybervault.WorkspaceID](ids), "default"); err != nil {
		t.Fatal(err)
	}
	y.Fleet = fleet.New(fleet.Config{
		Store: y.s, IDs: ids, Now: y.now, Mine: func() bool { return true }, Well: func() bool { return true }, Log: slog.New(slog.DiscardHandler),
		Publish: func(_ context.Context, _ cybervault.WorkspaceID, req cybervault.PublishRequest) error {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.events = append(y.events, req)
			return nil
		},
	})
	return y
}

func (y *yard) want(err error, code cybervault.Code, field string) {
	y.Helper()
	got, _ := err.(*cybervault.Error) //nolint:errorlint // as it was made
	if cybervault.ErrorCode(err) != code || got != nil && got.Field != field {
		y.Errorf("the error is %v, want code %q of %q", err, code, field)
	}
}

func (y *yard) token(t cybervault.AgentToken) string {
	y.Helper()
	t.Workspace = y.ws
	plain, err := y.NewToken(y.Context(), &t)
	y.want(err, "", "")
	return plain
}

var web = cybervault.HostFacts{Hostname: " Web-1.Example.com. ", OS: "Debian", Addresses: []string{"::ffff:192.0.2.7", "192.0.2.7"}}

func TestEnrol(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	plain := y.token(cybervault.AgentToken{Labels: map[string]string{"role": "web"}})
	if !strings.HasPrefix(plain, fleet.TokenPrefix) {
		t.Errorf("the token is %q", plain)
	}
	a, key, err := y.Enrol(t.Context(), plain, web)
	y.want(err, "", "")
	if a.Hostname != "web-1.example.com" || len(a.Addresses) != 1 || a.Addresses[0] != "192.0.2.7" || a.Interval != cybervault.DefaultHeartbeat || a.Missed != cybervault.DefaultMissed || a.Labels["role"] != "web" || !fleet.IsAgentKey(key) {
		t.Errorf("%+v, %q", a, key)
	}
	for _, token := range []string{plain, "", "cve_", "cve_made-up", "cvk_" + plain[4:], strings.Repeat("cve_", 100)} {
		_, _, err := y.Enrol(t.Context(), token, web)
		y.want(err, cybervault.CodeUnauthorized, "")
	}
	got, err := y.Authenticate(t.Context(), key)
	y.want(err, "", "")
	if got.Agent.ID != a.ID || got.Workspace != y.ws || !got.Allows(cybervault.ScopeAgent) || !got.Allows(cybervault.ScopeTelemetryWrite) || got.Allows(cybervault.ScopeRead) || got.Allows(cybervault.ScopeEventsWrite) || got.Allows(cybervault.ScopeAdmin) {
		t.Errorf("%+v", got)
	}
	y.want(y.Remove(t.Context(), y.ws, a.ID), "", "")
	_, err = y.Authenticate(t.Context(), key)
	y.want(err, cybervault.CodeUnauthorized, "")
	_, err = y.Authenticate(t.Context(), strings.Repeat("x", 1000))
	y.want(err, cybervault.CodeUnauthorized, "")
}

func TestWhatIsWrongWithATokenOrWithFacts(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	labels := map[string]string{}
	for i := range 21 {
		labels[strings.Repeat("x", i+1)] = ""
	}
	for field, tokens := range map[string][]cybervault.AgentToken{
		"interval":   {{Interval: time.Millisecond}, {Interval: 2 * time.Hour}},
		"missed":     {{Missed: 1}, {Missed: 101}},
		"uses":       {{Uses: -1}, {Uses: 100_001}},
		"expires_in": {{ExpiresAt: y.now()}, {ExpiresAt: y.now().Add(366 * 24 * time.Hour)}},
		"labels":     {{Labels: labels}, {Labels: map[string]string{"": "x"}}, {Labels: map[string]string{"a\n": "x"}}, {Labels: map[string]string{"a": strings.Repeat("x", 101)}}},
		"name":       {{Name: strings.Repeat("x", 201)}},
	} {
		for _, token := range tokens {
			token.Workspace = y.ws
			_, err := y.NewToken(t.Context(), &token)
			y.want(err, cybervault.CodeInvalid, field)
		}
	}
	plain := y.token(cybervault.AgentToken{Uses: 5})
	for field, all := range map[string][]cybervault.HostFacts{
		"hostname":  {{}, {Hostname: strings.Repeat("x", 254)}, {Hostname: "a\x1b[31m"}, {Hostname: "a\u202eb"}, {Hostname: "\xff"}},
		"os":        {{Hostname: "a", OS: strings.Repeat("x", 201)}},
		"version":   {{Hostname: "a", Version: "\n"}},
		"addresses": {{Hostname: "a", Addresses: []string{"nowhere"}}, {Hostname: "a", Addresses: []string{"fe80::1%eth0"}}, {Hostname: "a", Addresses: make([]string, 65)}},
	} {
		for _, facts := range all {
			_, _, err := y.Enrol(t.Context(), plain, facts)
			y.want(err, cybervault.CodeInvalid, field)
		}
	}
}

// A key that is old is followed by another one; the old one is good until that is used.
func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	_, first, err := y.Enrol(t.Context(), y.token(cybervault.AgentToken{}), web)
	y.want(err, "", "")
	beat := func(key string) string {
		t.Helper()
		k, err := y.Authenticate(t.Context(), key)
		y.want(err, "", "")
		facts := web
		next, err := y.Beat(t.Context(), k.Agent, facts)
		y.want(err, "", "")
		return next
	}
	if next := beat(first); next != "" {
		t.Errorf("a new key is followed by %q", next)
	}
	y.pass(fleet.KeyLife)
	lost := beat(first)
	second := beat(first) // the answer with the one before was lost
	if !fleet.IsAgentKey(second) || second == first || second == lost {
		t.Errorf("the next key is %q", second)
	}
	_, err = y.Authenticate(t.Context(), lost)
	y.want(err, cybervault.CodeUnauthorized, "")
	if next := beat(second); next != "" {
		t.Errorf("the second key is followed by %q at once", next)
	}
	_, err = y.Authenticate(t.Context(), first)
	y.want(err, cybervault.CodeUnauthorized, "")
}

// Run writes down who was heard of.
func TestRun(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	_, key, err := y.Enrol(t.Context(), y.token(cybervault.AgentToken{}), web)
	y.want(err, "", "")
	k, err := y.Authenticate(t.Context(), key)
	y.want(err, "", "")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		y.Fleet.Run(ctx)
	}()
	facts := web
	facts.Version = "v2"
	y.pass(time.Second)
	_, err = y.Beat(ctx, k.Agent, facts)
	y.want(err, "", "")
	stop() // what was not written down yet is, at the end
	<-done
	a, err := y.Agent(t.Context(), y.ws, k.Agent.ID)
	y.want(err, "", "")
	if !a.LastSeen.Equal(y.now()) || a.Version != "v2" {
		t.Errorf("%+v", a)
	}
	counts, err := y.Counts(t.Context(), y.ws)
	y.want(err, "", "")
	if counts.Total() != 1 {
		t.Errorf("%v", counts)
	}
}
