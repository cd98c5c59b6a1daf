package access_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/access/passkeytest"
)

const site = "https://cv.example.com:8400"

// passkey gives the user of a session a passkey, and returns the recovery codes.
func (h *house) passkey(s *cybervault.Session, name string) (*passkeytest.Authenticator, []string) {
	h.Helper()
	device := passkeytest.New(site)
	options, err := h.NewPasskey(h.Context(), s, site)
	h.must(err)
	answer, err := device.Create(options)
	h.must(err)
	codes, err := h.AddPasskey(h.Context(), s, site, name, answer)
	h.must(err)
	return device, codes
}

// half is a log-in whose password was right.
func (h *house) half(email, password string) string {
	h.Helper()
	cookie, due, err := h.Login(h.Context(), home, email, password)
	h.must(err)
	if !due {
		h.Fatal("no second factor is asked for")
	}
	return cookie
}

func (h *house) ask(cookie, origin string) []byte {
	h.Helper()
	ask, err := h.AskSecondFactor(h.Context(), cookie, origin)
	h.must(err)
	return ask.Passkey
}

func (h *house) sign(device *passkeytest.Authenticator, options []byte) []byte {
	h.Helper()
	answer, err := device.Get(options)
	h.must(err)
	return answer
}

func TestPasskey(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	elsewhere, _, err := h.Login(t.Context(), home, "ann@example.com", annsPassword)
	h.must(err)
	laptop, codes := h.passkey(ann, " laptop ")
	if len(codes) != 10 {
		t.Errorf("%d recovery codes", len(codes))
	}
	_, err = h.Session(t.Context(), elsewhere)
	h.want(err, cybervault.CodeUnauthorized)
	account, err := h.Account(t.Context(), ann)
	h.must(err)
	if len(account.Passkeys) != 1 || account.Passkeys[0].Name != "laptop" || !account.Passkeys[0].UsedAt.IsZero() {
		t.Errorf("%+v", account.Passkeys)
	}

	half := h.half("ann@example.com", annsPassword)
	answer := h.sign(laptop, h.ask(half, site))
	whole, err := h.GivePasskey(t.Context(), home, half, site, answer)
	h.must(err)
	if s := h.session(whole); !s.May(cybervault.PermitAdminister) || s.Method != "password and passkey" {
		t.Errorf("%+v", s)
	}
	_, err = h.Session(t.Context(), half)
	h.want(err, cybervault.CodeUnauthorized)
	// An answer is taken once.
	_, err = h.GivePasskey(t.Context(), home, half, site, answer)
	h.want(err, cybervault.CodeUnauthorized)
	_, err = h.GivePasskey(t.Context(), home, whole, site, answer)
	h.want(err, cybervault.CodeConflict)
	if account, err = h.Account(t.Context(), ann); err != nil || account.Passkeys[0].UsedAt.IsZero() {
		t.Errorf("%+v, %v", account.Passkeys, err)
	}

	// A second one, and the authenticator, leave the recovery codes as they are.
	phone, none := h.passkey(ann, "phone")
	app := h.NewAuthenticator("ann@example.com")
	more, err := h.AddAuthenticator(t.Context(), ann, app.Secret, h.code(app.Secret))
	h.must(err)
	if none != nil || more != nil {
		t.Errorf("new recovery codes are made: %v, %v", none, more)
	}
	half = h.half("ann@example.com", annsPassword)
	_, err = h.GivePasskey(t.Context(), home, half, site, h.sign(phone, h.ask(half, site)))
	h.must(err)
	h.must(h.RemoveAuthenticator(t.Context(), ann, home, annsPassword))
	_, err = h.GiveCode(t.Context(), home, h.half("ann@example.com", annsPassword), codes[0])
	h.must(err)

	// Removing asks for the password; with the last factor the codes go.
	h.want(h.RemovePasskey(t.Context(), ann, home, account.Passkeys[0].ID, "guess"), cybervault.CodeInvalid)
	h.must(h.RemovePasskey(t.Context(), ann, home, account.Passkeys[0].ID, annsPassword))
	h.want(h.RemovePasskey(t.Context(), ann, home, account.Passkeys[0].ID, annsPassword), cybervault.CodeNotFound)
	half = h.half("ann@example.com", annsPassword)
	laptop.Counter = 10
	_, err = h.GivePasskey(t.Context(), home, half, site, h.sign(laptop, h.ask(half, site)))
	h.want(err, cybervault.CodeInvalid)
	if account, err = h.Account(t.Context(), ann); err != nil || len(account.User.Recovery) != 9 {
		t.Errorf("%d recovery codes are left, %v", len(account.User.Recovery), err)
	}
	h.must(h.RemovePasskey(t.Context(), ann, home, account.Passkeys[0].ID, annsPassword))
	if _, due, err := h.Login(t.Context(), home, "ann@example.com", annsPassword); due || err != nil {
		t.Errorf("a second factor is asked for after it was removed: %v", err)
	}
	if account, err = h.Account(t.Context(), ann); err != nil || len(account.User.Recovery) != 0 {
		t.Errorf("%d recovery codes are left, %v", len(account.User.Recovery), err)
	}
	for _, line := range []string{"passkey.create", "passkey.delete", "user.remove_recovery_codes", "session.create"} {
		if !strings.Contains(h.actions(), " "+line) {
			t.Errorf("the log does not say %s:\n%s", line, h.actions())
		}
	}
}

// What is not a passkey's answer to what was asked here, now, of this person is refused.
func TestPasskeyRefusals(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	bob := h.bob(ann, cybervault.RoleViewer)
	device, _ := h.passkey(ann, "laptop")
	bobs, _ := h.passkey(bob, "phone")
	var cookie string
	var until time.Time
	fresh := func() (string, []byte) {
		h.clock.add(30 * time.Second) // a try comes back
		if now := h.clock.now(); now.After(until) {
			cookie, until = h.half("ann@example.com", annsPassword), now.Add(access.SecondFactorLife-time.Minute)
		}
		return cookie, h.ask(cookie, site)
	}
	refused := func(name string, wrong func(cookie string, options []byte) (answer []byte, origin string)) {
		t.Helper()
		cookie, options := fresh()
		answer, origin := wrong(cookie, options)
		_, err := h.GivePasskey(t.Context(), home, cookie, origin, answer)
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
		if s := h.session(cookie); !s.Due {
			t.Errorf("%s: the session is whole", name)
		}
	}
	with := func(change func(d *passkeytest.Authenticator)) func(string, []byte) ([]byte, string) {
		return func(_ string, options []byte) ([]byte, string) {
			d := *device
			d.Counter = 100
			change(&d)
			return h.sign(&d, options), site
		}
	}
	refused("another origin", with(func(d *passkeytest.Authenticator) { d.Origin = "https://cv.example.org:8400" }))
	refused("another port", with(func(d *passkeytest.Authenticator) { d.Origin = "https://cv.example.com" }))
	refused("another host's passkey", with(func(d *passkeytest.Authenticator) { d.Host = "example.org" }))
	refused("nobody was there", with(func(d *passkeytest.Authenticator) { d.Flags = passkeytest.UserVerified }))
	refused("a backup that cannot be", with(func(d *passkeytest.Authenticator) { d.Flags |= passkeytest.BackedUp }))
	refused("an unknown passkey", with(func(d *passkeytest.Authenticator) { d.ID = []byte("another one") }))
	refused("another user's", func(_ string, options []byte) ([]byte, string) { return h.sign(bobs, options), site })
	refused("another key", func(_ string, options []byte) ([]byte, string) {
		d := *bobs
		d.ID = device.ID
		return h.sign(&d, options), site
	})
	refused("nothing", func(string, []byte) ([]byte, string) { return nil, site })
	refused("no JSON", func(string, []byte) ([]byte, string) { return []byte("{"), site })
	refused("too much", func(string, []byte) ([]byte, string) { return bytes.Repeat([]byte(" "), 70<<10), site })
	refused("a signature that was changed", func(_ string, options []byte) ([]byte, string) {
		answer := string(h.sign(device, options))
		at := strings.Index(answer, `"signature":"`) + len(`"signature":"`) + 20 // within the first number
		other := "A"
		if answer[at:at+1] == other {
			other = "B"
		}
		return []byte(answer[:at] + other + answer[at+1:]), site
	})
	refused("another session's challenge", func(string, []byte) ([]byte, string) {
		other := h.half("ann@example.com", annsPassword)
		return h.sign(device, h.ask(other, site)), site
	})
	refused("bob's challenge", func(string, []byte) ([]byte, string) {
		return h.sign(device, h.ask(h.half("bob@example.com", bobsPassword), site)), site
	})
	refused("a challenge for adding", func(string, []byte) ([]byte, string) {
		options, err := h.NewPasskey(t.Context(), ann, site)
		h.must(err)
		return h.sign(device, options), site
	})
	refused("a challenge made up", func(_ string, options []byte) ([]byte, string) {
		return h.sign(device, []byte(`{"rpId":"cv.example.com","challenge":"`+strings.Repeat("A", 75)+`"}`)), site
	})
	refused("asked elsewhere", func(cookie string, options []byte) ([]byte, string) {
		return h.sign(device, options), "https://cv.example.com"
	})

	// It still logs in; then a copy of it, whose counter is behind, does not.
	half, options := fresh()
	device.Counter = 200
	_, err := h.GivePasskey(t.Context(), home, half, site, h.sign(device, options))
	h.must(err)
	until = time.Time{}
	refused("a copy", with(func(*passkeytest.Authenticator) {}))

	// The half session ends, and its challenge with it.
	half, options = fresh()
	h.clock.add(access.SecondFactorLife)
	_, err = h.GivePasskey(t.Context(), home, half, site, h.sign(device, options))
	h.want(err, cybervault.CodeUnauthorized)

	// Tries are few.
	half, options = fresh()
	n := 0
	for ; n < 20; n++ {
		if _, err := h.GivePasskey(t.Context(), home, half, site, h.sign(bobs, options)); cybervault.ErrorCode(err) == cybervault.CodeUnavailable {
			break
		}
	}
	if n > 6 {
		t.Errorf("%d tries", n)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(h.actions(), "ann@example.com session.refuse"); {
		if time.Now().After(deadline) {
			t.Fatalf("the log says:\n%s", h.actions())
		}
	}
}

func TestPasskeyThatCannotBeAdded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	bob := h.bob(ann, cybervault.RoleViewer)
	for _, origin := range []string{"http://127.0.0.1:8400", "https://[::1]:8400", "http://cv.example.com", "https://cv", "https://", "cv.example.com", "https://a b", ""} {
		_, err := h.NewPasskey(t.Context(), ann, origin)
		h.want(err, cybervault.CodeConflict)
		_, err = h.AddPasskey(t.Context(), ann, origin, "laptop", nil)
		h.want(err, cybervault.CodeConflict)
	}
	for _, origin := range []string{"http://localhost:8400", "http://cv.localhost", "https://CV.example.com:1"} {
		_, err := h.NewPasskey(t.Context(), ann, origin)
		h.must(err)
	}
	answer := func(s *cybervault.Session, change func(d *passkeytest.Authenticator)) []byte {
		d := passkeytest.New(site)
		change(d)
		options, err := h.NewPasskey(t.Context(), s, site)
		h.must(err)
		made, err := d.Create(options)
		h.must(err)
		return made
	}
	good := answer(ann, func(*passkeytest.Authenticator) {})
	late := answer(ann, func(*passkeytest.Authenticator) {})
	for name, wrong := range map[string]struct {
		name   string
		answer []byte
		field  string
	}{
		"no name":         {" ", good, "name"},
		"long name":       {strings.Repeat("x", 101), good, "name"},
		"control":         {"a\x1b[31m", good, "name"},
		"nothing":         {"laptop", nil, "passkey"},
		"no JSON":         {"laptop", []byte("[]"), "passkey"},
		"too much":        {"laptop", bytes.Repeat([]byte(" "), 70<<10), "passkey"},
		"another origin":  {"laptop", answer(ann, func(d *passkeytest.Authenticator) { d.Origin = "https://evil.example" }), "passkey"},
		"another host":    {"laptop", answer(ann, func(d *passkeytest.Authenticator) { d.Host = "evil.example" }), "passkey"},
		"nobody there":    {"laptop", answer(ann, func(d *passkeytest.Authenticator) { d.Flags = 0 }), "passkey"},
		"bob's challenge": {"laptop", answer(bob, func(*passkeytest.Authenticator) {}), "passkey"},
	} {
		_, err := h.AddPasskey(t.Context(), ann, site, wrong.name, wrong.answer)
		h.want(err, cybervault.CodeInvalid)
		if field := err.(*cybervault.Error).Field; field != wrong.field { //nolint:errorlint // as it was made
			t.Errorf("%s: the error is of %q: %v", name, field, err)
		}
	}
	_, err := h.AddPasskey(t.Context(), ann, site, "laptop", good)
	h.must(err)
	_, err = h.AddPasskey(t.Context(), ann, site, "again", good) // what was taken is not taken again
	h.want(err, cybervault.CodeConflict)
	h.clock.add(access.ChallengeLife)
	_, err = h.AddPasskey(t.Context(), ann, site, "late", late)
	h.want(err, cybervault.CodeInvalid)
	if !strings.Contains(err.Error(), "begin again") {
		t.Errorf("%v", err)
	}

	// The device says itself that it is known; ten are kept.
	account, err := h.Account(t.Context(), ann)
	h.must(err)
	d := passkeytest.New(site)
	d.ID = account.Passkeys[0].Credential
	options, err := h.NewPasskey(t.Context(), ann, site)
	h.must(err)
	if _, err := d.Create(options); err == nil {
		t.Error("a passkey that is there already is offered again")
	}
	for n := 1; n < access.MaxPasskeys; n++ {
		h.passkey(ann, fmt.Sprint("key ", n))
	}
	_, err = h.NewPasskey(t.Context(), ann, site)
	h.want(err, cybervault.CodeConflict)
	_, err = h.AddPasskey(t.Context(), ann, site, "eleventh", good)
	h.want(err, cybervault.CodeConflict)

	// The operator has no account to add one to.
	h.Recover()
	cookie, err := h.OperatorLogin(t.Context(), home, h.NewDashboardToken())
	h.must(err)
	_, err = h.NewPasskey(t.Context(), h.session(cookie), site)
	h.want(err, cybervault.CodeConflict)
}

// A passkey belongs to a host: at another one the log-in says where it is for.
func TestPasskeyElsewhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.owner()
	h.passkey(ann, "laptop")
	half := h.half("ann@example.com", annsPassword)
	for _, origin := range []string{"https://cv.example.org", "http://127.0.0.1:8400"} {
		ask, err := h.AskSecondFactor(t.Context(), half, origin)
		h.must(err)
		if ask.Passkey != nil || ask.Authenticator || len(ask.Elsewhere) != 1 || ask.Elsewhere[0] != "cv.example.com" {
			t.Errorf("%s: %+v", origin, ask)
		}
		_, err = h.GivePasskey(t.Context(), home, half, origin, []byte("{}"))
		if code := cybervault.ErrorCode(err); code != cybervault.CodeInvalid && code != cybervault.CodeConflict {
			t.Errorf("%s: %v", origin, err)
		}
	}
	ask, err := h.AskSecondFactor(t.Context(), half, site)
	h.must(err)
	if ask.Passkey == nil || ask.Elsewhere != nil {
		t.Errorf("%+v", ask)
	}
	_, err = h.AskSecondFactor(t.Context(), "nobody's", site)
	h.want(err, cybervault.CodeUnauthorized)
}

// Nodes that share the key take the answer to what another one asked; others do not.
func TestPasskeyOverNodes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	other := access.New(h.s, h.s, h.ws, h.clock.now, cybervault.NewIDSource(2, 0, h.clock.now))
	ann := h.owner()
	device, _ := h.passkey(ann, "laptop")
	half := h.half("ann@example.com", annsPassword)
	_, err := other.GivePasskey(t.Context(), home, half, site, h.sign(device, h.ask(half, site)))
	h.want(err, cybervault.CodeInvalid)
	h.SetChallengeKey(bytes.Repeat([]byte{1}, 32))
	other.SetChallengeKey(bytes.Repeat([]byte{1}, 32))
	_, err = other.GivePasskey(t.Context(), home, half, site, h.sign(device, h.ask(half, site)))
	h.must(err)
}
