package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

// KeyPrefix starts every API key that CyberVault makes; base64url of 32 random
// bytes follows. It lets secret scanners find a key that leaked.
const KeyPrefix = "cvk_"

// Limits on API keys.
const (
	MaxKeyNameBytes      = 100
	MinBootstrapKeyBytes = 4   // whoever gives one gets it; the server warns of a guessable one
	MaxKeyBytes          = 512 // of a key as it is presented
	MaxKeyYears          = 100 // from now to when it expires
)

// How seldom the use of a key is noted, and how long a request waits for it.
const (
	useEvery = 5 * time.Minute
	useWait  = 500 * time.Millisecond
)

// How many characters of a key are kept to recognise it by.
const (
	hintLength          = 10 // of 47: the prefix and six more
	bootstrapHintLength = 4  // of a bootstrap key, and never more than a quarter of it
)

// Authenticate finds the API key that a request presented. An unknown, revoked
// or malformed key is an error of CodeUnauthorized, the same for each, so that
// nothing can be learned from it; one that has expired says so. Every few minutes the
// use of a key is noted with it. A revocation on this node takes effect at
// once, one on another node within a second.
func (a *Access) Authenticate(ctx context.Context, bearer string) (*cybervault.APIKey, error) {
	if bearer == "" || len(bearer) > MaxKeyBytes {
		return nil, errUnknownKey()
	}
	// The look-up is by hash, so that the time it takes says nothing about how
	// much of a guessed key is right.
	hash := sha256.Sum256([]byte(bearer))
	now := a.now()
	key, generation := a.keys.get(hash, now)
	if key != nil {
		return key, nil
	}
	key, err := a.store.APIKeyByHash(ctx, hash)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		return nil, errUnknownKey()
	}
	if err != nil {
		return nil, err
	}
	if !key.RevokedAt.IsZero() {
		return nil, errUnknownKey()
	}
	if expired(key, now) { // whoever holds it learns nothing that the key's page did not tell
		return nil, cybervault.Errorf(cybervault.CodeUnauthorized, "the API key expired at %s: make a new one", key.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if now.Sub(key.UsedAt) >= useEvery {
		a.use(ctx, key, now)
	}
	a.keys.put(hash, key, generation, now)
	return key, nil
}

func expired(k *cybervault.APIKey, now time.Time) bool {
	return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt)
}

// use notes that a key is in use. A store that cannot write, or not soon, keeps no
// request from being answered.
func (a *Access) use(ctx context.Context, key *cybervault.APIKey, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, useWait)
	defer cancel()
	if a.store.UseAPIKey(ctx, key.ID, now) == nil {
		key.UsedAt = now
	}
}

func errUnknownKey() error {
	return cybervault.Errorf(cybervault.CodeUnauthorized, "the API key is unknown or was revoked")
}

// CreateKey makes an API key and returns it with its clear form, which is shown
// this once. It is refused from expires on; zero is never. A name, scopes or an end
// that will not do are an error of CodeInvalid.
func (a *Access) CreateKey(ctx context.Context, ws cybervault.WorkspaceID, name string, scopes []cybervault.Scope, expires time.Time) (*cybervault.APIKey, string, error) {
	if err := checkKeyName(name); err != nil {
		return nil, "", err
	}
	scopes, err := checkScopes(scopes)
	if err != nil {
		return nil, "", err
	}
	if err := a.checkExpiry(expires); err != nil {
		return nil, "", err
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	plain := KeyPrefix + base64.RawURLEncoding.EncodeToString(raw)
	key := a.newKey(ws, name, plain, plain[:hintLength], scopes)
	if !expires.IsZero() {
		key.ExpiresAt = expires.UTC().Truncate(time.Microsecond)
	}
	if err := a.store.CreateAPIKey(ctx, key); err != nil {
		return nil, "", err
	}
	return key, plain, nil
}

// Bootstrap makes sure that plain is an admin key of the workspace. It may be
// repeated at every start. A value that is too short or cannot be sent in a
// header is an error of CodeInvalid; one that was revoked, or belongs to
// another workspace or to a key without the admin scope, is CodeConflict: a
// restart must not undo what a person decided.
func (a *Access) Bootstrap(ctx context.Context, ws cybervault.WorkspaceID, plain string) error {
	if err := checkBootstrap(plain); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(plain))
	existing, err := a.store.APIKeyByHash(ctx, hash)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		key := a.newKey(ws, "bootstrap", plain, plain[:min(bootstrapHintLength, len(plain)/4)], []cybervault.Scope{cybervault.ScopeAdmin})
		err = a.store.CreateAPIKey(ctx, key)
		if cybervault.ErrorCode(err) != cybervault.CodeConflict {
			return err
		}
		// Another node that starts at this moment was first.
		existing, err = a.store.APIKeyByHash(ctx, hash)
	}
	if err != nil {
		return err
	}
	switch {
	case !existing.RevokedAt.IsZero():
		return bootstrapConflict("is an API key that was revoked: choose another value, or unset it")
	case expired(existing, a.now()):
		return bootstrapConflict("is an API key that has expired: choose another value")
	case existing.Workspace != ws:
		return bootstrapConflict("is an API key of another workspace: choose another value")
	case !existing.Allows(cybervault.ScopeAdmin):
		return bootstrapConflict("is an API key without the scope %q: choose another value", cybervault.ScopeAdmin)
	}
	return nil
}

const bootstrapVariable = "CYBERVAULT_BOOTSTRAP_API_KEY"

func bootstrapConflict(format string, args ...any) error {
	err := cybervault.Errorf(cybervault.CodeConflict, format, args...)
	err.Field = bootstrapVariable
	return err
}

func checkBootstrap(plain string) error {
	if len(plain) < MinBootstrapKeyBytes || len(plain) > MaxKeyBytes {
		return cybervault.Invalid(bootstrapVariable, "has %d characters: give it %d to %d, for example from `openssl rand -hex 32`",
			len(plain), MinBootstrapKeyBytes, MaxKeyBytes)
	}
	if strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return cybervault.Invalid(bootstrapVariable, "holds a space, a control character or a letter outside ASCII, which cannot be sent in an Authorization header")
	}
	return nil
}

// Keys lists the API keys of a workspace, revoked ones included, newest first.
func (a *Access) Keys(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.APIKey, error) {
	return a.store.APIKeys(ctx, ws)
}

// Revoke ends an API key. CodeNotFound if the workspace has none of that id.
func (a *Access) Revoke(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.APIKeyID) error {
	if err := a.store.RevokeAPIKey(ctx, ws, id, a.now()); err != nil {
		return err
	}
	a.keys.forget(id)
	return nil
}

// Forget has every key looked up anew: another node has revoked some.
func (a *Access) Forget() { a.keys.forgetAll() }

func (a *Access) newKey(ws cybervault.WorkspaceID, name, plain, hint string, scopes []cybervault.Scope) *cybervault.APIKey {
	return &cybervault.APIKey{
		ID:        cybervault.APIKeyID{UUID: a.ids.Next()},
		Workspace: ws,
		Name:      name,
		Hint:      hint,
		Hash:      sha256.Sum256([]byte(plain)),
		Scopes:    scopes,
		CreatedAt: a.now().UTC(),
	}
}

func (a *Access) checkExpiry(expires time.Time) error {
	switch now := a.now(); {
	case expires.IsZero():
		return nil
	case !expires.After(now):
		return cybervault.Invalid("expires_at", "is %s, which is not in the future", expires.UTC().Format(time.RFC3339))
	case expires.After(now.AddDate(MaxKeyYears, 0, 0)):
		return cybervault.Invalid("expires_at", "is more than %d years away: give an earlier one, or none for a key that does not expire", MaxKeyYears)
	}
	return nil
}

func checkKeyName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return cybervault.Invalid("name", "is missing: say what will use the key, such as \"billing exporter\"")
	case len(name) > MaxKeyNameBytes:
		return cybervault.Invalid("name", "is %d bytes long, more than %d", len(name), MaxKeyNameBytes)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return cybervault.Invalid("name", "holds a control character")
	}
	return nil
}

// checkScopes returns the scopes in the order of cybervault.Scopes, each once.
func checkScopes(scopes []cybervault.Scope) ([]cybervault.Scope, error) {
	if len(scopes) == 0 {
		return nil, cybervault.Invalid("scopes", "is missing: choose at least one of %s", scopeNames())
	}
	for _, s := range scopes {
		if !slices.Contains(cybervault.Scopes(), s) {
			return nil, cybervault.Invalid("scopes", "%q is not a scope: choose from %s", shorten(string(s)), scopeNames())
		}
	}
	sorted := make([]cybervault.Scope, 0, len(scopes))
	for _, s := range cybervault.Scopes() {
		if slices.Contains(scopes, s) {
			sorted = append(sorted, s)
		}
	}
	return sorted, nil
}

func scopeNames() string {
	names := make([]string, 0, 4)
	for _, s := range cybervault.Scopes() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func shorten(s string) string {
	if len(s) <= 40 {
		return s
	}
	return strings.ToValidUTF8(s[:40], "") + "…"
}
