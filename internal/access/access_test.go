package access_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
)

// memory is a store of API keys that counts look-ups.
type memory struct {
	mu      sync.Mutex
	keys    []*cybervault.APIKey
	lookups int
	uses    int
	full    bool // cannot write
	fail    error
	during  func() // called in the middle of a look-up, after it has read
}

func (m *memory) CreateAPIKey(_ context.Context, key *cybervault.APIKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.keys {
		if k.Hash == key.Hash {
			return cybervault.Errorf(cybervault.CodeConflict, "that key exists")
		}
	}
	m.keys = append([]*cybervault.APIKey{key}, m.keys...)
	return m.fail
}

func (m *memory) APIKeys(_ context.Context, ws cybervault.WorkspaceID) ([]*cybervault.APIKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []*cybervault.APIKey
	for _, k := range m.keys {
		if k.Workspace == ws {
			keys = append(keys, k)
		}
	}
	return keys, m.fail
}

func (m *memory) RevokeAPIKey(_ context.Context, ws cybervault.WorkspaceID, id cybervault.APIKeyID, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, k := range m.keys {
		if k.ID == id && k.Workspace == ws {
			changed := *k
			changed.RevokedAt = at
			m.keys[i] = &changed
			return nil
		}
	}
	return cybervault.Errorf(cybervault.CodeNotFound, "no such API key")
}

func (m *memory) APIKeyByHash(_ context.Context, hash [32]byte) (*cybervault.APIKey, error) {
	m.mu.Lock()
	m.lookups++
	var found *cybervault.APIKey
	for _, k := range m.keys {
		if k.Hash == hash {
			found = k
		}
	}
	during, fail := m.during, m.fail
	m.during = nil
	m.mu.Unlock()
	if during != nil {
		during()
	}
	if fail != nil {
		return nil, fail
	}
	if found == nil {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "no such API key")
	}
	read := *found // as from a database
	return &read, nil
}

func (m *memory) UseAPIKey(ctx context.Context, id cybervault.APIKeyID, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uses++
	if m.full {
		<-ctx.Done()
		return ctx.Err()
	}
	for i, k := range m.keys {
		if k.ID == id {
			changed := *k
			changed.UsedAt = at
			m.keys[i] = &changed
		}
	}
	return nil
}

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

type fixture struct {
	*access.Access
	store *memory
	clock *clock
	ids   *cybervault.IDSource
	ws    cybervault.WorkspaceID
}

func setUp(t *testing.T) *fixture {
	t.Helper()
	c := &clock{at: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	store := &memory{}
	ids := cybervault.NewIDSource(1, 0, c.now)
	return &fixture{
		Access: access.New(store, nobody{}, cybervault.WorkspaceID{UUID: ids.Next()}, c.now, ids), store: store, clock: c, ids: ids,
		ws: cybervault.WorkspaceID{UUID: ids.Next()},
	}
}

func wantCode(t *testing.T, err error, code cybervault.Code) {
	t.Helper()
	if got := cybervault.ErrorCode(err); got != code {
		t.Fatalf("error %v has code %q, want %q", err, got, code)
	}
}

func TestCreatedKeyAuthenticates(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	key, plain, err := f.CreateKey(t.Context(), f.ws, "exporter", []cybervault.Scope{cybervault.ScopeRead, cybervault.ScopeEventsWrite, cybervault.ScopeRead}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(plain, "cvk_") || len(plain) != 4+43 {
		t.Errorf("key %q is not cvk_ and 43 characters of base64url", plain)
	}
	if !strings.HasPrefix(plain, key.Hint) || len(key.Hint) >= len(plain)/2 {
		t.Errorf("hint %q", key.Hint)
	}
	if len(key.Scopes) != 2 || key.Scopes[0] != cybervault.ScopeEventsWrite {
		t.Errorf("scopes %v, want each once, in the order of the list", key.Scopes)
	}
	got, err := f.Authenticate(t.Context(), plain)
	if err != nil || got.ID != key.ID || got.Workspace != f.ws {
		t.Fatalf("Authenticate gave %+v, %v", got, err)
	}
	for _, wrong := range []string{"", plain + "x", plain[:len(plain)-1], strings.ToUpper(plain), strings.Repeat("a", access.MaxKeyBytes+1)} {
		_, err := f.Authenticate(t.Context(), wrong)
		wantCode(t, err, cybervault.CodeUnauthorized)
	}
	keys, err := f.Keys(t.Context(), f.ws)
	if err != nil || len(keys) != 1 {
		t.Errorf("Keys gave %d, %v", len(keys), err)
	}
}

func TestTwoKeysDiffer(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	_, one, _ := f.CreateKey(t.Context(), f.ws, "one", cybervault.Scopes(), time.Time{})
	_, two, _ := f.CreateKey(t.Context(), f.ws, "two", cybervault.Scopes(), time.Time{})
	if one == two || one[:20] == two[:20] {
		t.Errorf("%q and %q", one, two)
	}
}

func TestCreateKeyRefusesBadInput(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	all := cybervault.Scopes()
	for name, c := range map[string]struct {
		name   string
		scopes []cybervault.Scope
		field  string
	}{
		"no name":           {"", all, "name"},
		"blank name":        {"  ", all, "name"},
		"long name":         {strings.Repeat("n", access.MaxKeyNameBytes+1), all, "name"},
		"control character": {"a\nb", all, "name"},
		"invalid UTF-8":     {"a\xff", all, "name"},
		"no scope":          {"a", nil, "scopes"},
		"unknown scope":     {"a", []cybervault.Scope{"read", "root"}, "scopes"},
	} {
		_, plain, err := f.CreateKey(t.Context(), f.ws, c.name, c.scopes, time.Time{})
		e, ok := errors.AsType[*cybervault.Error](err)
		if !ok || e.Code != cybervault.CodeInvalid || e.Field != c.field || plain != "" {
			t.Errorf("%s: gave %q, %v", name, plain, err)
		}
	}
	if _, _, err := f.CreateKey(t.Context(), f.ws, strings.Repeat("n", access.MaxKeyNameBytes), all, time.Time{}); err != nil {
		t.Errorf("the longest name was refused: %v", err)
	}
}

func TestRevokedKeyIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	key, plain, _ := f.CreateKey(t.Context(), f.ws, "a", cybervault.Scopes(), time.Time{})
	if _, err := f.Authenticate(t.Context(), plain); err != nil {
		t.Fatal(err)
	}
	if err := f.Revoke(t.Context(), f.ws, key.ID); err != nil {
		t.Fatal(err)
	}
	_, err := f.Authenticate(t.Context(), plain)
	wantCode(t, err, cybervault.CodeUnauthorized)

	other := cybervault.WorkspaceID{UUID: f.ids.Next()}
	wantCode(t, f.Revoke(t.Context(), other, key.ID), cybervault.CodeNotFound)
}

// A look-up that read the key before it was revoked must not bring it back.
func TestRevocationDuringLookUp(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	key, plain, _ := f.CreateKey(t.Context(), f.ws, "a", cybervault.Scopes(), time.Time{})
	f.store.during = func() {
		if err := f.Revoke(context.Background(), f.ws, key.ID); err != nil {
			t.Error(err)
		}
	}
	_, _ = f.Authenticate(t.Context(), plain) // this one began before the revocation
	_, err := f.Authenticate(t.Context(), plain)
	wantCode(t, err, cybervault.CodeUnauthorized)
}

func TestRevocationElsewhereIsSeenWithinASecond(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	key, plain, _ := f.CreateKey(t.Context(), f.ws, "a", cybervault.Scopes(), time.Time{})
	for range 100 {
		if _, err := f.Authenticate(t.Context(), plain); err != nil {
			t.Fatal(err)
		}
	}
	if f.store.lookups != 1 {
		t.Errorf("%d look-ups for 100 requests at one moment, want 1", f.store.lookups)
	}
	if err := f.store.RevokeAPIKey(t.Context(), f.ws, key.ID, f.clock.now()); err != nil {
		t.Fatal(err)
	}
	f.clock.add(time.Second)
	_, err := f.Authenticate(t.Context(), plain)
	wantCode(t, err, cybervault.CodeUnauthorized)
}

// Where one is told of it, at once.
func TestRevocationElsewhereIsHeardOf(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	key, plain, _ := f.CreateKey(t.Context(), f.ws, "a", cybervault.Scopes(), time.Time{})
	if _, err := f.Authenticate(t.Context(), plain); err != nil {
		t.Fatal(err)
	}
	if err := f.store.RevokeAPIKey(t.Context(), f.ws, key.ID, f.clock.now()); err != nil {
		t.Fatal(err)
	}
	f.Forget()
	_, err := f.Authenticate(t.Context(), plain)
	wantCode(t, err, cybervault.CodeUnauthorized)
}

func TestStoreFailureIsNoRefusal(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	_, plain, _ := f.CreateKey(t.Context(), f.ws, "a", cybervault.Scopes(), time.Time{})
	f.store.fail = cybervault.Errorf(cybervault.CodeUnavailable, "the store is full")
	_, err := f.Authenticate(t.Context(), plain)
	wantCode(t, err, cybervault.CodeUnavailable)
}

func TestManyKeysStayBounded(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	var last string
	for range 1100 {
		_, plain, err := f.CreateKey(t.Context(), f.ws, "a", cybervault.Scopes(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Authenticate(t.Context(), plain); err != nil {
			t.Fatal(err)
		}
		last = plain
	}
	if n := f.CachedKeys(); n > 1024 {
		t.Errorf("%d keys are remembered", n)
	}
	f.clock.add(time.Minute)
	if _, err := f.Authenticate(t.Context(), last); err != nil {
		t.Error(err)
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	const plain = "0123456789abcdef"
	for range 3 {
		if err := f.Bootstrap(t.Context(), f.ws, plain); err != nil {
			t.Fatal(err)
		}
	}
	keys, _ := f.Keys(t.Context(), f.ws)
	if len(keys) != 1 {
		t.Fatalf("%d keys after three starts, want 1", len(keys))
	}
	if len(keys[0].Hint) > 4 {
		t.Errorf("hint %q shows too much of a 16 character key", keys[0].Hint)
	}
	key, err := f.Authenticate(t.Context(), plain)
	if err != nil || !key.Allows(cybervault.ScopeAdmin) {
		t.Fatalf("%+v, %v", key, err)
	}

	other := cybervault.WorkspaceID{UUID: f.ids.Next()}
	wantCode(t, f.Bootstrap(t.Context(), other, plain), cybervault.CodeConflict)
	if err := f.Revoke(t.Context(), f.ws, key.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.Bootstrap(t.Context(), f.ws, plain), cybervault.CodeConflict)

	_, weak, _ := f.CreateKey(t.Context(), f.ws, "reader", []cybervault.Scope{cybervault.ScopeRead}, time.Time{})
	wantCode(t, f.Bootstrap(t.Context(), f.ws, weak), cybervault.CodeConflict)
}

func TestBootstrapRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for _, plain := range []string{"", "abc", "sixteen letters!", "sixteen-letters\n", "sechzehn-zeichen-ä", strings.Repeat("a", access.MaxKeyBytes+1)} {
		err := f.Bootstrap(t.Context(), f.ws, plain)
		wantCode(t, err, cybervault.CodeInvalid)
		if !strings.Contains(err.Error(), "CYBERVAULT_BOOTSTRAP_API_KEY") {
			t.Errorf("the error does not name the variable: %v", err)
		}
		if len(plain) > 10 && strings.Contains(err.Error(), plain[:10]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

// Two nodes that start at the same moment both find no key and both create it.
func TestBootstrapRace(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	const plain = "0123456789abcdef"
	f.store.during = func() {
		if err := f.Bootstrap(context.Background(), f.ws, plain); err != nil {
			t.Error(err)
		}
	}
	if err := f.Bootstrap(t.Context(), f.ws, plain); err != nil {
		t.Fatal(err)
	}
	if keys, _ := f.Keys(t.Context(), f.ws); len(keys) != 1 {
		t.Errorf("%d keys", len(keys))
	}
}

// nobody is a store without people.
type nobody struct{ access.People }

func (nobody) HasOwner(context.Context) (bool, error) { return false, nil }

func (nobody) SessionByHash(context.Context, [32]byte) (*cybervault.Session, error) {
	return nil, cybervault.Errorf(cybervault.CodeNotFound, "no such session")
}

func (f *fixture) alive(cookie string) bool {
	s, err := f.Session(context.Background(), cookie)
	return err == nil && s.Operator() && s.Role == cybervault.RoleOwner
}

func (f *fixture) logout(cookie string) { _ = f.Logout(context.Background(), cookie) }

func TestOperatorLogin(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	_, err := f.OperatorLogin(context.Background(), cybervault.Caller{}, "")
	wantCode(t, err, cybervault.CodeUnauthorized) // no token was made yet
	token := f.NewDashboardToken()
	if len(token) < 43 {
		t.Errorf("token %q is short", token)
	}
	_, err = f.OperatorLogin(context.Background(), cybervault.Caller{}, token+"x")
	wantCode(t, err, cybervault.CodeUnauthorized)
	session, err := f.OperatorLogin(context.Background(), cybervault.Caller{}, token)
	if err != nil || session == token {
		t.Fatal(session == token, err)
	}
	if !f.alive(session) || f.alive(token) || f.alive("") {
		t.Error("only the session opens the dashboard")
	}
	f.logout(session)
	if f.alive(session) {
		t.Error("the session outlived the log-out")
	}
	f.NewDashboardToken()
	_, err = f.OperatorLogin(context.Background(), cybervault.Caller{}, token)
	wantCode(t, err, cybervault.CodeUnauthorized)
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token := f.NewDashboardToken()
	idle, _ := f.OperatorLogin(context.Background(), cybervault.Caller{}, token)
	busy, _ := f.OperatorLogin(context.Background(), cybervault.Caller{}, token)
	f.clock.add(access.SessionIdle - time.Second)
	if !f.alive(busy) {
		t.Fatal("a session ended before its time")
	}
	f.clock.add(time.Second)
	if f.alive(idle) || !f.alive(busy) {
		t.Error("only the idle session should have ended")
	}
	for range 12 { // 12 hours more each, less a second: never idle, but past seven days
		f.clock.add(access.SessionIdle - time.Second)
		f.alive(busy)
	}
	if !f.alive(busy) {
		t.Error("a session in use ended before seven days")
	}
	f.clock.add(access.SessionIdle - time.Second)
	if !f.alive(busy) {
		t.Error("a session in use ended 13 seconds before seven days")
	}
	f.clock.add(13 * time.Second)
	if f.alive(busy) {
		t.Error("a session outlived seven days")
	}
}

func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token := f.NewDashboardToken()
	first, _ := f.OperatorLogin(context.Background(), cybervault.Caller{}, token)
	second, _ := f.OperatorLogin(context.Background(), cybervault.Caller{}, token)
	f.clock.add(time.Second)
	f.alive(first)
	var last string
	for range access.MaxSessions - 1 {
		last, _ = f.OperatorLogin(context.Background(), cybervault.Caller{}, token)
	}
	if f.alive(second) {
		t.Error("the session unused for longest did not make room")
	}
	if !f.alive(first) || !f.alive(last) {
		t.Error("a session in use was dropped")
	}
}

func TestWrongTokensAreLimited(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token := f.NewDashboardToken()
	for range 50 { // right ones are not counted
		if _, err := f.OperatorLogin(context.Background(), cybervault.Caller{}, token); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		_, err := f.OperatorLogin(context.Background(), cybervault.Caller{}, "guess")
		wantCode(t, err, cybervault.CodeUnauthorized)
	}
	_, err := f.OperatorLogin(context.Background(), cybervault.Caller{}, token)
	wantCode(t, err, cybervault.CodeUnavailable)
	f.clock.add(time.Second)
	_, err = f.OperatorLogin(context.Background(), cybervault.Caller{}, "guess")
	wantCode(t, err, cybervault.CodeUnauthorized)
	_, err = f.OperatorLogin(context.Background(), cybervault.Caller{}, "guess")
	wantCode(t, err, cybervault.CodeUnavailable)
	f.clock.add(time.Hour)
	if _, err := f.OperatorLogin(context.Background(), cybervault.Caller{}, token); err != nil {
		t.Errorf("the link is still refused after an hour: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token := f.NewDashboardToken()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			key, plain, err := f.CreateKey(context.Background(), f.ws, "a", cybervault.Scopes(), time.Time{})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := f.Authenticate(context.Background(), plain); err != nil {
				t.Error(err)
			}
			if session, err := f.OperatorLogin(context.Background(), cybervault.Caller{}, token); err != nil || !f.alive(session) {
				t.Error("no session", err)
			}
			if err := f.Revoke(context.Background(), f.ws, key.ID); err != nil {
				t.Error(err)
			}
			if _, err := f.Authenticate(context.Background(), plain); err == nil {
				t.Error("a revoked key was let in")
			}
		})
	}
	wg.Wait()
}

func TestKeyExpires(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	now := f.clock.now()
	for _, wrong := range []time.Time{now, now.Add(-time.Hour), now.AddDate(100, 0, 1)} {
		_, _, err := f.CreateKey(t.Context(), f.ws, "a", cybervault.Scopes(), wrong)
		wantCode(t, err, cybervault.CodeInvalid)
		if e, ok := errors.AsType[*cybervault.Error](err); !ok || e.Field != "expires_at" {
			t.Errorf("%v is not about expires_at", err)
		}
	}
	key, plain, err := f.CreateKey(t.Context(), f.ws, "a", cybervault.Scopes(), now.Add(500*time.Millisecond))
	if err != nil || !key.ExpiresAt.Equal(now.Add(500*time.Millisecond)) {
		t.Fatalf("%+v, %v", key, err)
	}
	f.clock.add(499 * time.Millisecond)
	if _, err := f.Authenticate(t.Context(), plain); err != nil {
		t.Fatal(err)
	}
	f.clock.add(time.Millisecond) // while it is still remembered as good
	_, err = f.Authenticate(t.Context(), plain)
	wantCode(t, err, cybervault.CodeUnauthorized)
	if !strings.Contains(err.Error(), "expired at 2026-11-01T12:00:00Z") {
		t.Error(err)
	}
}

func TestUseOfAKeyIsNotedSeldom(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	_, plain, _ := f.CreateKey(t.Context(), f.ws, "a", cybervault.Scopes(), time.Time{})
	begin := f.clock.now()
	for range 600 {
		if _, err := f.Authenticate(t.Context(), plain); err != nil {
			t.Fatal(err)
		}
		f.clock.add(time.Second)
	}
	if keys, _ := f.Keys(t.Context(), f.ws); f.store.uses != 2 || !keys[0].UsedAt.Equal(begin.Add(5*time.Minute)) {
		t.Errorf("noted %d times in ten minutes, last at %s", f.store.uses, keys[0].UsedAt)
	}
}

// A store that cannot write holds nobody up for long.
func TestUseOfAKeyWaitsForNoStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setUp(t)
		_, plain, _ := f.CreateKey(t.Context(), f.ws, "a", cybervault.Scopes(), time.Time{})
		f.store.full = true
		began := time.Now()
		if _, err := f.Authenticate(t.Context(), plain); err != nil || time.Since(began) != 500*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}
