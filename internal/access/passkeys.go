package access

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/cybervault/cybervault"
)

// Limits on passkeys.
const (
	MaxPasskeys   = 10               // of one user
	ChallengeLife = 15 * time.Minute // from the page to the answer of the authenticator
	maxAnswer     = 64 << 10         // bytes of JSON that a browser answers with
)

// What a challenge is for. One for adding a passkey does not log in.
const (
	toAdd = "add"
	toUse = "use"
)

// SetChallengeKey has challenges of passkeys marked with a key that all nodes share, so
// that one node may take the answer to what another one asked. Without it the key is
// random. Called before anything is served.
func (a *Access) SetChallengeKey(key []byte) { a.challengeKey = bytes.Clone(key) }

func newChallengeKey() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	return key
}

// challenge makes what an authenticator is to sign (WebAuthn Level 3, section 13.4.3):
// when it ends, a nonce, and a mark by which it is known again. Nothing is stored of
// it: it holds for one purpose, session, user and origin. An answer is taken once,
// since logging in ends the half session that it was made for, and a passkey that is
// known is not added again.
func (a *Access) challenge(purpose string, s *cybervault.Session, origin string) []byte {
	head := make([]byte, 8, challengeHead+sha256.Size)
	binary.BigEndian.PutUint64(head, uint64(a.now().Add(ChallengeLife).Unix()))
	head = head[:challengeHead]
	_, _ = rand.Read(head[8:]) // never fails: crypto/rand ends the program instead
	return append(head, a.challengeMark(purpose, s, origin, head)...)
}

const challengeHead = 8 + 16

func (a *Access) challengeMark(purpose string, s *cybervault.Session, origin string, head []byte) []byte {
	mac := hmac.New(sha256.New, a.challengeKey)
	mac.Write(head) // of fixed length, as are the next two; what follows ends with the text
	mac.Write(s.Hash[:])
	mac.Write(s.User.UUID[:])
	mac.Write([]byte(purpose + " " + origin))
	return mac.Sum(nil)
}

// knows reports whether a challenge, in base64url, was made here for this, and still holds.
func (a *Access) knows(challenge, purpose string, s *cybervault.Session, origin string) (known, late bool) {
	raw, err := base64.RawURLEncoding.DecodeString(challenge)
	if err != nil || len(raw) != challengeHead+sha256.Size || !hmac.Equal(raw[challengeHead:], a.challengeMark(purpose, s, origin, raw[:challengeHead])) {
		return false, false
	}
	return true, uint64(a.now().Unix()) >= binary.BigEndian.Uint64(raw)
}

// place is where a dashboard is opened: passkeys belong to a host name.
type place struct {
	origin string
	host   string // the relying party's id
}

// placeOf reads an origin, such as https://cybervault.example.com:8400. An error of
// CodeConflict says why there can be no passkeys there.
func placeOf(origin string) (place, error) {
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil {
		return place{}, cybervault.Errorf(cybervault.CodeConflict, "Passkeys belong to a host name such as cv.example.com, and none can be read: open the dashboard by such a name.")
	}
	host := u.Hostname()
	switch {
	case net.ParseIP(host) != nil:
		return place{}, cybervault.Errorf(cybervault.CodeConflict, "Passkeys belong to a host name, and %s is an address: open the dashboard by its name, or, on this machine, as localhost.", host)
	case protocol.ValidateRPID(host) != nil:
		return place{}, cybervault.Errorf(cybervault.CodeConflict, "Passkeys belong to a host name such as cv.example.com, and %q is none: open the dashboard by such a name.", cutText(host, 100))
	case u.Scheme != "https" && host != "localhost" && !strings.HasSuffix(host, ".localhost"):
		return place{}, cybervault.Errorf(cybervault.CodeConflict, "Browsers offer passkeys over https only, and on localhost: put the dashboard behind TLS.")
	}
	return place{u.Scheme + "://" + u.Host, host}, nil
}

// party is the relying party there.
func (p place) party() (*webauthn.WebAuthn, error) {
	return webauthn.New(&webauthn.Config{
		RPID: p.host, RPDisplayName: "CyberVault", RPOrigins: []string{p.origin}, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationPreferred},
		// Password managers answer with extensions that nobody has asked for. None is read.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
}

// record is what is kept of a credential.
type record struct {
	Host           string   `json:"host"` // that it belongs to
	PublicKey      []byte   `json:"public_key"`
	Counter        uint32   `json:"counter"`
	BackupEligible bool     `json:"backup_eligible"`
	BackedUp       bool     `json:"backed_up"`
	Verified       bool     `json:"user_verified"`
	Model          []byte   `json:"aaguid,omitempty"`
	Transports     []string `json:"transports,omitempty"`
}

func recordOf(host string, c *webauthn.Credential) ([]byte, error) {
	r := record{
		Host: host, PublicKey: c.PublicKey, Counter: c.Authenticator.SignCount, BackupEligible: c.Flags.BackupEligible, BackedUp: c.Flags.BackupState,
		Verified: c.Flags.UserVerified, Model: c.Authenticator.AAGUID,
	}
	for _, t := range c.Transport {
		r.Transports = append(r.Transports, string(t))
	}
	return json.Marshal(r)
}

// person is a user as the library wants them: with the passkeys of one host.
type person struct {
	*cybervault.User

	credentials []webauthn.Credential
	passkeys    []*cybervault.Passkey // of the same order
	elsewhere   []string              // hosts of the others
}

func (p *person) WebAuthnID() []byte                         { return p.ID.UUID[:] }
func (p *person) WebAuthnName() string                       { return p.Email }
func (p *person) WebAuthnDisplayName() string                { return p.DisplayName() }
func (p *person) WebAuthnCredentials() []webauthn.Credential { return p.credentials }

func (p *person) descriptors() []protocol.CredentialDescriptor {
	var all []protocol.CredentialDescriptor
	for i := range p.credentials {
		all = append(all, p.credentials[i].Descriptor())
	}
	return all
}

func (a *Access) person(ctx context.Context, u *cybervault.User, host string) (*person, error) {
	all, err := a.people.Passkeys(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	p := &person{User: u}
	for _, k := range all {
		var r record
		if err := json.Unmarshal(k.Data, &r); err != nil {
			return nil, fmt.Errorf("access: the passkey %s cannot be read: %w", k.ID, err)
		}
		if r.Host != host {
			p.elsewhere = append(p.elsewhere, r.Host)
			continue
		}
		c := webauthn.Credential{
			ID: k.Credential, PublicKey: r.PublicKey, Flags: webauthn.CredentialFlags{BackupEligible: r.BackupEligible, BackupState: r.BackedUp, UserVerified: r.Verified},
			Authenticator: webauthn.Authenticator{AAGUID: r.Model, SignCount: r.Counter},
		}
		for _, t := range r.Transports {
			c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
		}
		p.credentials, p.passkeys = append(p.credentials, c), append(p.passkeys, k)
	}
	return p, nil
}

// NewPasskey makes the options, as JSON, that the browser of a session makes a passkey
// by (PublicKeyCredentialCreationOptionsJSON). origin is where the dashboard was
// opened. CodeConflict says why there can be none.
func (a *Access) NewPasskey(ctx context.Context, s *cybervault.Session, origin string) ([]byte, error) {
	u, err := a.own(ctx, s)
	if err != nil {
		return nil, err
	}
	at, err := placeOf(origin)
	if err != nil {
		return nil, err
	}
	p, err := a.person(ctx, u, at.host)
	if err != nil {
		return nil, err
	}
	if err := roomFor(p); err != nil {
		return nil, err
	}
	party, err := at.party()
	if err != nil {
		return nil, err
	}
	options, _, err := party.BeginRegistration(p, webauthn.WithExclusions(p.descriptors()), func(o *protocol.PublicKeyCredentialCreationOptions) error {
		o.Challenge = a.challenge(toAdd, s, at.origin)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(options.Response)
}

func roomFor(p *person) error {
	if len(p.credentials)+len(p.elsewhere) >= MaxPasskeys {
		return cybervault.Errorf(cybervault.CodeConflict, "You have %d passkeys, and more are not kept: remove one first.", MaxPasskeys)
	}
	return nil
}

// AddPasskey takes what the browser has made of NewPasskey's options
// (RegistrationResponseJSON). It returns recovery codes, which are shown this once, where
// it is the user's first second factor. Other sessions of the user end: whoever has one
// has not given the new factor.
func (a *Access) AddPasskey(ctx context.Context, s *cybervault.Session, origin, name string, answer []byte) ([]string, error) {
	u, err := a.own(ctx, s)
	if err != nil {
		return nil, err
	}
	at, err := placeOf(origin)
	if err != nil {
		return nil, err
	}
	if name, err = cleanName(name); err != nil {
		return nil, err
	}
	if name == "" {
		return nil, cybervault.Invalid("name", "is missing: say where the passkey lies, such as laptop")
	}
	p, err := a.person(ctx, u, at.host)
	if err != nil {
		return nil, err
	}
	if err := roomFor(p); err != nil {
		return nil, err
	}
	made, err := a.registered(p, s, at, answer)
	if err != nil {
		return nil, err
	}
	data, err := recordOf(at.host, made)
	if err != nil {
		return nil, err
	}
	first := u.TOTPSecret == "" && len(p.passkeys)+len(p.elsewhere) == 0
	var codes []string
	if first { // before the passkey: codes without it are never asked for, and it is not to be without them
		codes, u.Recovery = newRecoveryCodes()
		if err := a.people.SaveUser(ctx, s.Workspace, u, "user.new_recovery_codes"); err != nil {
			return nil, err
		}
	}
	k := &cybervault.Passkey{
		ID: cybervault.NewID[cybervault.PasskeyID](a.ids), User: u.ID, Name: name, Credential: made.ID, Data: data, CreatedAt: a.now().UTC().Truncate(time.Microsecond),
	}
	if err := a.people.AddPasskey(ctx, s.Workspace, u.Email, k); err != nil {
		return nil, err
	}
	return codes, a.people.EndSessions(ctx, s.Workspace, u.ID, s.Hash)
}

// registered checks a new credential (WebAuthn Level 3, section 7.1).
func (a *Access) registered(p *person, s *cybervault.Session, at place, answer []byte) (*webauthn.Credential, error) {
	if len(answer) > maxAnswer {
		return nil, cybervault.Invalid("passkey", "is an answer of more than %d bytes: begin again", maxAnswer)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return nil, cybervault.Invalid("passkey", "is nothing that a browser answers with: begin again")
	}
	given := parsed.Response.CollectedClientData
	if err := a.answers(given, toAdd, s, at); err != nil {
		return nil, err
	}
	party, err := at.party()
	if err != nil {
		return nil, err
	}
	made, err := party.CreateCredential(p, webauthn.SessionData{
		Challenge: given.Challenge, RelyingPartyID: at.host, Origin: at.origin, UserID: p.WebAuthnID(), UserVerification: protocol.VerificationPreferred,
		CredParams: webauthn.CredentialParametersDefault(),
	}, parsed)
	if err != nil {
		return nil, cybervault.Invalid("passkey", "was not accepted: %s", detailOf(err))
	}
	return made, nil
}

// answers checks that an answer is one to a challenge of ours, and says what to do
// where it is not.
func (a *Access) answers(given protocol.CollectedClientData, purpose string, s *cybervault.Session, at place) error {
	// A proxy that hides the host name is the usual reason, and nobody finds it without help.
	if !strings.EqualFold(given.Origin, at.origin) {
		return cybervault.Invalid("passkey", "was made at %s, and this server takes itself for %s: if there is a proxy, let it pass on Host and X-Forwarded-Proto", cutText(given.Origin, 100), at.origin)
	}
	known, late := a.knows(given.Challenge, purpose, s, at.origin)
	if !known {
		return cybervault.Invalid("passkey", "answers what was not asked here: begin again")
	}
	if late {
		return cybervault.Invalid("passkey", "took more than %d minutes: begin again", int(ChallengeLife.Minutes()))
	}
	return nil
}

// detailOf is what the library says in words.
func detailOf(err error) string {
	if e, ok := err.(*protocol.Error); ok && e.Details != "" { //nolint:errorlint // it hands its own out bare
		return e.Details
	}
	return "it is damaged"
}

// RemovePasskey takes a passkey away from the user of a session, who gives the password
// once more. With the last second factor the recovery codes go.
func (a *Access) RemovePasskey(ctx context.Context, s *cybervault.Session, from cybervault.Caller, id cybervault.PasskeyID, password string) error {
	u, err := a.own(ctx, s)
	if err != nil {
		return err
	}
	if err := a.confirm(ctx, u, from, password); err != nil {
		return err
	}
	if err := a.people.DeletePasskey(ctx, s.Workspace, u.ID, id); err != nil {
		return err
	}
	left, err := a.hasSecondFactor(ctx, u)
	if err != nil || left || len(u.Recovery) == 0 {
		return err
	}
	u.Recovery = nil
	return a.people.SaveUser(ctx, s.Workspace, u, "user.remove_recovery_codes")
}

// AskSecondFactor says what a log-in whose password was right may be finished with,
// where the dashboard was opened at origin.
func (a *Access) AskSecondFactor(ctx context.Context, cookie, origin string) (cybervault.SecondFactor, error) {
	s, u, err := a.due(ctx, cookie)
	if err != nil {
		return cybervault.SecondFactor{}, err
	}
	ask := cybervault.SecondFactor{Authenticator: u.TOTPSecret != ""}
	at, err := placeOf(origin)
	if err != nil {
		at = place{} // none of the passkeys is for there
	}
	p, err := a.person(ctx, u, at.host)
	if err != nil {
		return ask, err
	}
	ask.Elsewhere = p.elsewhere
	if len(p.passkeys) == 0 {
		return ask, nil
	}
	party, err := at.party()
	if err != nil {
		return ask, err
	}
	options, _, err := party.BeginLogin(p, webauthn.WithChallenge(a.challenge(toUse, s, at.origin)), webauthn.WithUserVerification(protocol.VerificationPreferred))
	if err != nil {
		return ask, err
	}
	ask.Passkey, err = json.Marshal(options.Response)
	return ask, err
}

// GivePasskey gives the second factor of a session whose password was right: what the
// browser has made of AskSecondFactor's options (AuthenticationResponseJSON). The session
// goes on under a new cookie.
func (a *Access) GivePasskey(ctx context.Context, from cybervault.Caller, cookie, origin string, answer []byte) (string, error) {
	s, u, err := a.due(ctx, cookie)
	if err != nil {
		return "", err
	}
	keys := map[string]allowance{"code " + u.ID.String(): allowCode}
	if err := a.throttle.take(a.now(), keys); err != nil {
		return "", err
	}
	k, err := a.asserted(ctx, s, u, origin, answer)
	if cybervault.ErrorCode(err) == cybervault.CodeInvalid {
		a.refused(ctx, u, from, "passkey")
	}
	if err != nil {
		return "", err
	}
	k.UsedAt = a.now().UTC().Truncate(time.Microsecond)
	if err := a.people.UsePasskey(ctx, k); err != nil {
		return "", err
	}
	a.throttle.give(keys)
	return a.promote(ctx, s, cookie, s.Method+" and passkey")
}

// asserted checks an answer (WebAuthn Level 3, section 7.2) and returns the passkey that
// gave it, with its counter put forward.
func (a *Access) asserted(ctx context.Context, s *cybervault.Session, u *cybervault.User, origin string, answer []byte) (*cybervault.Passkey, error) {
	at, err := placeOf(origin)
	if err != nil {
		return nil, err
	}
	if len(answer) > maxAnswer {
		return nil, cybervault.Invalid("passkey", "is an answer of more than %d bytes: try again", maxAnswer)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, cybervault.Invalid("passkey", "is nothing that a browser answers with: try again")
	}
	given := parsed.Response.CollectedClientData
	if err := a.answers(given, toUse, s, at); err != nil {
		return nil, err
	}
	p, err := a.person(ctx, u, at.host)
	if err != nil {
		return nil, err
	}
	party, err := at.party()
	if err != nil {
		return nil, err
	}
	used, err := party.ValidateLogin(p, webauthn.SessionData{
		Challenge: given.Challenge, RelyingPartyID: at.host, Origin: at.origin, UserID: p.WebAuthnID(), UserVerification: protocol.VerificationPreferred,
	}, parsed)
	if err != nil {
		return nil, cybervault.Invalid("passkey", "was not accepted: take one that was added to this account")
	}
	if used.Authenticator.CloneWarning {
		return nil, cybervault.Invalid("passkey", "counts backwards, so there may be a copy of it: log in by another way, and remove it")
	}
	for _, k := range p.passkeys {
		if bytes.Equal(k.Credential, used.ID) {
			k.Data, err = recordOf(at.host, used)
			return k, err
		}
	}
	return nil, cybervault.Errorf(cybervault.CodeInternal, "the passkey that was used is none of the user's") // the library found it among them
}
