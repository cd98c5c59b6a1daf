package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/cybervault/cybervault"
)

// Codes of an authenticator, after RFC 6238, as every app makes them.
const (
	codePeriod    = 30 * time.Second
	codeSkew      = 1  // periods that a clock may be off by, either way
	secretBytes   = 20 // RFC 4226, section 4
	recoveryCodes = 10
)

// NewAuthenticator makes the secret of an authenticator for a user. It counts once
// AddAuthenticator was given a code that the app made of it.
func (a *Access) NewAuthenticator(email string) cybervault.Authenticator {
	raw := make([]byte, secretBytes)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	return authenticatorOf(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw), email)
}

func authenticatorOf(secret, email string) cybervault.Authenticator {
	q := url.Values{"secret": {secret}, "issuer": {"CyberVault"}, "algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"}}
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/CyberVault:" + email, RawQuery: q.Encode()}
	return cybervault.Authenticator{Secret: secret, URI: u.String()}
}

// AuthenticatorOf is the authenticator of a secret that NewAuthenticator has made, or
// an error where it has not.
func (a *Access) AuthenticatorOf(secret, email string) (cybervault.Authenticator, error) {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil || len(raw) != secretBytes {
		return cybervault.Authenticator{}, cybervault.Invalid("secret", "is not one that was offered: begin again")
	}
	return authenticatorOf(secret, email), nil
}

// stepOf finds the time step around now whose code is given; 0: none.
func stepOf(secret, code string, now time.Time) int64 {
	found := int64(0)
	current := now.Unix() / int64(codePeriod/time.Second)
	for step := current - codeSkew; step <= current+codeSkew; step++ {
		want, err := hotp.GenerateCodeCustom(secret, uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			found = step
		}
	}
	return found
}

// checkCode takes a code of the authenticator or a recovery code of a user, and says
// which it was; "" where it is neither.
func (a *Access) checkCode(ctx context.Context, ws cybervault.WorkspaceID, u *cybervault.User, code string) (kind string, err error) {
	code = strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(strings.TrimSpace(code)))
	if len(code) == 6 {
		if u.TOTPSecret == "" {
			return "", nil
		}
		step := stepOf(u.TOTPSecret, code, a.now())
		if step == 0 {
			return "", nil
		}
		fresh, err := a.people.TakeStep(ctx, u.ID, step)
		if err != nil || !fresh {
			return "", err
		}
		return "code", nil
	}
	taken, err := a.people.TakeRecovery(ctx, ws, u.ID, recoveryHash(code))
	if err != nil || !taken {
		return "", err
	}
	return "recovery code", nil
}

func recoveryHash(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

// newRecoveryCodes makes codes of 50 random bits, to be shown once, and their hashes.
// So many bits need no slow hash: only who can read the store gets to guess, and they
// have sealed values before them.
func newRecoveryCodes() (codes, hashes []string) {
	for range recoveryCodes {
		raw := make([]byte, 10)
		_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
		code := strings.ToLower(base32.StdEncoding.EncodeToString(raw)[:10])
		codes, hashes = append(codes, code[:5]+"-"+code[5:]), append(hashes, recoveryHash(code))
	}
	return codes, hashes
}

// AddAuthenticator gives the user of a session a second factor, once a code shows that
// their app has the secret. It returns recovery codes, which are shown this once, where
// it is the user's first second factor; otherwise those they have stay good.
// Other sessions of the user end: whoever has one has not given the new factor.
func (a *Access) AddAuthenticator(ctx context.Context, s *cybervault.Session, secret, code string) ([]string, error) {
	u, err := a.own(ctx, s)
	if err != nil {
		return nil, err
	}
	if _, err := a.AuthenticatorOf(secret, u.Email); err != nil {
		return nil, err
	}
	step := stepOf(secret, strings.ReplaceAll(strings.TrimSpace(code), " ", ""), a.now())
	if step == 0 {
		return nil, cybervault.Invalid("code", "is not the one that the app shows: check that the clock of your phone is right")
	}
	another, err := a.hasSecondFactor(ctx, u)
	if err != nil {
		return nil, err
	}
	var codes []string
	if !another {
		codes, u.Recovery = newRecoveryCodes()
	}
	u.TOTPSecret, u.TOTPStep = secret, step
	if err := a.people.SaveUser(ctx, s.Workspace, u, "user.add_authenticator"); err != nil {
		return nil, err
	}
	return codes, a.people.EndSessions(ctx, s.Workspace, u.ID, s.Hash)
}

// RemoveAuthenticator takes the authenticator away from the user of a session, who
// gives the password once more. With the last second factor the recovery codes go.
func (a *Access) RemoveAuthenticator(ctx context.Context, s *cybervault.Session, from cybervault.Caller, password string) error {
	u, err := a.own(ctx, s)
	if err != nil {
		return err
	}
	if err := a.confirm(ctx, u, from, password); err != nil {
		return err
	}
	u.TOTPSecret = ""
	another, err := a.hasSecondFactor(ctx, u)
	if err != nil {
		return err
	}
	if !another {
		u.Recovery = nil
	}
	return a.people.SaveUser(ctx, s.Workspace, u, "user.remove_authenticator")
}

// NewRecoveryCodes replaces the recovery codes, after the password was given once more.
func (a *Access) NewRecoveryCodes(ctx context.Context, s *cybervault.Session, from cybervault.Caller, password string) ([]string, error) {
	u, err := a.own(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := a.confirm(ctx, u, from, password); err != nil {
		return nil, err
	}
	codes, hashes := newRecoveryCodes()
	u.Recovery = hashes
	return codes, a.people.SaveUser(ctx, s.Workspace, u, "user.new_recovery_codes")
}
