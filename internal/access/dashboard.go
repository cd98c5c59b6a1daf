package access

import (
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

// dashboard holds who may see the dashboard. All of it is in memory: a restart
// prints a new link and ends every session.
type dashboard struct {
	mu       sync.Mutex
	token    [32]byte // SHA-256 of the current token
	hasToken bool
	sessions map[[32]byte]session // by SHA-256, so that memory holds nothing that opens a door

	allowance int       // wrong tokens that may still be answered at refilled
	refilled  time.Time // when allowance was last reckoned
}

type session struct {
	began, used time.Time
}

// NewDashboardToken makes the token that opens the dashboard and returns it, to
// be printed as part of a link. An earlier token no longer works; sessions stay.
func (a *Access) NewDashboardToken() string {
	token := randomToken()
	d := &a.dashboard
	d.mu.Lock()
	defer d.mu.Unlock()
	d.token, d.hasToken = sha256.Sum256([]byte(token)), true
	return token
}

// DashboardLogin exchanges the token for a session, to be kept in a cookie. A
// wrong token is an error of CodeUnauthorized; after ten of them, every
// attempt is refused with CodeUnavailable but for one a second.
func (a *Access) DashboardLogin(token string) (string, error) {
	given := sha256.Sum256([]byte(token))
	now := a.now()
	d := &a.dashboard
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mayTry(now) {
		return "", cybervault.Errorf(cybervault.CodeUnavailable, "too many wrong dashboard tokens: wait a few seconds, then open the link again")
	}
	if subtle.ConstantTimeCompare(given[:], d.token[:]) != 1 || !d.hasToken {
		d.allowance--
		return "", cybervault.Errorf(cybervault.CodeUnauthorized, "the dashboard link is not valid any more: use the one that the server printed when it last started")
	}
	d.makeRoom(now)
	name := randomToken()
	d.sessions[sha256.Sum256([]byte(name))] = session{began: now, used: now}
	return name, nil
}

// DashboardSession reports whether the session is alive, and keeps it so.
func (a *Access) DashboardSession(name string) bool {
	hash := sha256.Sum256([]byte(name))
	now := a.now()
	d := &a.dashboard
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sessions[hash]
	if !ok {
		return false
	}
	if s.ended(now) {
		delete(d.sessions, hash)
		return false
	}
	s.used = now
	d.sessions[hash] = s
	return true
}

// DashboardLogout ends the session, if there is one.
func (a *Access) DashboardLogout(name string) {
	d := &a.dashboard
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, sha256.Sum256([]byte(name)))
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
