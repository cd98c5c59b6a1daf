package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// Limits on dashboard sessions.
const (
	SessionIdle = 12 * time.Hour     // a session unused for so long has ended
	SessionLife = 7 * 24 * time.Hour // and so has one that began so long ago
	MaxSessions = 1000               // at once; the one unused for longest makes room
)

// Wrong tokens are answered at most this often: a burst, then one a second.
const (
	maxLoginBurst = 10
	loginInterval = time.Second
)

// dashboard holds who has come by the link that the server printed. All of it is in
// memory: a restart prints a new link and ends every such session.
type dashboard struct {
	workspace cybervault.WorkspaceID
	recovery  bool // the link opens although there is an owner

	mu       sync.Mutex
	token    [32]byte // SHA-256 of the current token
	hasToken bool
	sessions map[[32]byte]session // by SHA-256, so that memory holds nothing that opens a door

	allowance int       // wrong tokens that may still be answered at refilled
	refilled  time.Time // when allowance was last reckoned
}

type session struct {
	began, used time.Time
	from        cybervault.Caller
}

// Recover lets the printed link open the dashboard although there is an owner, for an
// owner who has lost password or second factor. Called before anything is served.
func (a *Access) Recover() { a.dashboard.recovery = true }

// NewDashboardToken makes the token that opens the dashboard and returns it, to
// be printed as part of a link. An earlier token no longer works; sessions stay.
func (a *Access) NewDashboardToken() string {
	token := randomToken()
	a.SetDashboardToken(token)
	return token
}

// SetDashboardToken is NewDashboardToken with a token of the caller's, who sees to it
// that nobody guesses it.
func (a *Access) SetDashboardToken(token string) {
	d := &a.dashboard
	d.mu.Lock()
	defer d.mu.Unlock()
	d.token, d.hasToken = sha256.Sum256([]byte(token)), true
}

// OperatorLogin exchanges the token for a session, to be kept in a cookie. A
// wrong token is an error of CodeUnauthorized; after ten of them, every
// attempt is refused with CodeUnavailable but for one a second. Once there is an
// owner no token is right, unless Recover was called.
func (a *Access) OperatorLogin(ctx context.Context, from cybervault.Caller, token string) (string, error) {
	if !a.dashboard.recovery {
		owned, err := a.SetUp(ctx)
		if err != nil {
			return "", err
		}
		if owned {
			return "", cybervault.Errorf(cybervault.CodeForbidden, "the owner's account exists: log in with an account")
		}
	}
	given := sha256.Sum256([]byte(token))
	now := a.now()
	d := &a.dashboard
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mayTry(now) {
		return "", errTooManyTries()
	}
	if subtle.ConstantTimeCompare(given[:], d.token[:]) != 1 || !d.hasToken {
		d.allowance--
		return "", cybervault.Errorf(cybervault.CodeUnauthorized, "the dashboard link is not valid any more: use the one that the server printed when it last started")
	}
	d.makeRoom(now)
	name := randomToken()
	d.sessions[sha256.Sum256([]byte(name))] = session{began: now, used: now, from: from}
	return name, nil
}

// operator finds the session of whoever came by the link, and keeps it alive.
func (a *Access) operator(name string) (*cybervault.Session, bool) {
	hash := sha256.Sum256([]byte(name))
	now := a.now()
	d := &a.dashboard
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sessions[hash]
	if !ok {
		return nil, false
	}
	if s.ended(now) {
		delete(d.sessions, hash)
		return nil, false
	}
	s.used = now
	d.sessions[hash] = s
	return &cybervault.Session{
		Workspace: d.workspace, Role: cybervault.RoleOwner, Name: "Operator", Method: "printed link",
		Address: s.from.Address, Agent: s.from.Agent, CreatedAt: s.began, UsedAt: s.used,
	}, true
}

// endOperator ends such a session, and reports whether there was one.
func (a *Access) endOperator(name string) bool {
	hash := sha256.Sum256([]byte(name))
	d := &a.dashboard
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.sessions[hash]
	delete(d.sessions, hash)
	return ok
}

// endOperators ends all of them.
func (a *Access) endOperators() {
	d := &a.dashboard
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.sessions)
}

func (s session) ended(now time.Time) bool {
	return now.Sub(s.used) >= SessionIdle || now.Sub(s.began) >= SessionLife
}

// mayTry refills the allowance and reports whether there is some.
func (d *dashboard) mayTry(now time.Time) bool {
	if gained := now.Sub(d.refilled) / loginInterval; gained > 0 {
		d.allowance = int(min(maxLoginBurst, time.Duration(d.allowance)+gained))
		d.refilled = now
	}
	return d.allowance > 0
}

// makeRoom removes what has ended and, if that is not enough, the session
// unused for longest.
func (d *dashboard) makeRoom(now time.Time) {
	if len(d.sessions) < MaxSessions {
		return
	}
	var oldest [32]byte
	var oldestUsed time.Time
	for hash, s := range d.sessions {
		if s.ended(now) {
			delete(d.sessions, hash)
		} else if oldestUsed.IsZero() || s.used.Before(oldestUsed) {
			oldest, oldestUsed = hash, s.used
		}
	}
	if len(d.sessions) >= MaxSessions {
		delete(d.sessions, oldest)
	}
}

func randomToken() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(raw)
}
