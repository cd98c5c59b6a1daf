package browser

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

// device gives the browser of a tab an authenticator of its own, whose owner is there,
// and is who they say.
func (p *tab) device() webauthn.AuthenticatorID {
	p.t.Helper()
	var id webauthn.AuthenticatorID
	p.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		made, err := cdp.Call(ctx, t, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true, HasUserVerification: true,
			IsUserVerified: true, AutomaticPresenceSimulation: true,
		}})
		if err == nil {
			id = made.AuthenticatorID
		}
		return err
	}))
	return id
}

// bogus has the authenticator sign with zeros, or no more.
func (p *tab) bogus(id webauthn.AuthenticatorID, on bool) {
	p.t.Helper()
	p.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, webauthn.SetResponseOverrideBits, webauthn.SetResponseOverrideBitsParams{AuthenticatorID: id, IsBogusSignature: &on})
		return err
	}))
}

// A passkey is added with what the browser has, asked for at the next log-in, and removed.
func TestLogInWithAPasskey(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.makeOwner(t)
	s.url = strings.Replace(s.url, "127.0.0.1", "localhost", 1) // a passkey belongs to a name
	p := newTab(t, s, wide)
	axe := axeScript(t)
	device := p.device()
	p.login()
	p.open("/account")
	p.follow(`a[href="/account/passkeys/new"]`)
	p.faultless("add a passkey", axe, wide)
	p.shoot("passkey-new", "light", wide)
	p.run(chromedp.Clear(chromedp.CSS(`#name`)))
	p.run(chromedp.Click(chromedp.CSS(`main button.primary`)))
	p.until("the browser asks for a name", `document.querySelector("#name:invalid") === document.activeElement`)
	p.fill(`#name`, "laptop")
	p.follow(`main button.primary`)
	if text := p.text(`main`); !strings.Contains(text, "Your recovery codes") || !strings.Contains(text, "laptop") {
		t.Errorf("the page says %s", text)
	}
	p.faultless("the account with a passkey", axe, wide)
	p.shoot("passkey-added", "light", wide)

	// The same device again: the browser knows, and the page says so.
	p.open("/account/passkeys/new")
	p.run(chromedp.Click(chromedp.CSS(`main button.primary`)))
	p.until("why not", `document.querySelector("[data-passkey-problem]").innerText.includes("has a passkey for this account already")`)
	if eval[bool](p, `document.querySelector("main button.primary").disabled`) {
		t.Error("nobody can try again")
	}

	p.open("/account")
	p.follow(`form[action="/logout"] button`)
	p.loginAs(dashboardtest.OwnersEmail, dashboardtest.OwnersPassword)
	p.until("the second factor", `location.pathname === "/login/code"`)
	p.faultless("a passkey is asked for", axe, wide)
	p.shoot("passkey-asked", "light", wide)
	p.bogus(device, true)
	p.expect("422")
	p.follow(`form[action="/login/passkey"] button`)
	if text := p.text(`main`); !strings.Contains(text, "was not accepted") {
		t.Errorf("refused, the page says %s", text)
	}
	p.faultless("a passkey is refused", axe, wide)
	p.shoot("passkey-refused", "light", wide)
	p.bogus(device, false)
	p.follow(`form[action="/login/passkey"] button`)
	p.until("the overview", `location.pathname === "/"`)

	p.open("/account")
	p.fill(`#factor-current`, dashboardtest.OwnersPassword)
	p.follow(`button[formaction$="/remove"]`)
	if text := p.text(`main`); !strings.Contains(text, "keeps out whoever learns the password") {
		t.Errorf("after it is removed, the page says %s", text)
	}
}
