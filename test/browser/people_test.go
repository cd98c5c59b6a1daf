package browser

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access/oidc/oidctest"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
	"github.com/cybervault/cybervault/test/testenv"
)

// populate makes an owner, two members, and an invitation that waits.
func (s *server) populate(t *testing.T) {
	t.Helper()
	owner := s.makeOwner(t)
	for email, name := range map[string]string{"grace@example.com": "Grace Hopper", "mary-elizabeth.longname@security.example.com": ""} {
		_, token, err := s.access.Invite(t.Context(), owner, email, cybervault.RoleAnalyst)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.access.Accept(t.Context(), cybervault.Caller{Address: "198.51.100.7"}, token, name, "window staple garden"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.access.Invite(t.Context(), owner, "alan@example.com", cybervault.RoleViewer); err != nil {
		t.Fatal(err)
	}
}

// From the printed link to an owner with a webhook, and what is next.
func TestFirstRun(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := newTab(t, s, wide)
	axe := axeScript(t)
	p.run(chromedp.Navigate(strings.Replace(s.link, "next=/&", "", 1)))
	p.until("the page that makes the owner's account", `location.pathname === "/setup"`)
	p.faultless("setup", axe, wide)
	p.fill(`#email`, dashboardtest.OwnersEmail)
	p.fill(`#name`, "Ann")
	p.fill(`#password`, "too short")
	p.expect("422")
	p.follow(`.login button.primary`)
	if text := p.text(`main`); !strings.Contains(text, "fewer than 12 characters") {
		t.Errorf("the page says %s", text)
	}
	p.fill(`#password`, dashboardtest.OwnersPassword)
	p.follow(`.login button.primary`)
	p.until("the overview", `location.pathname === "/" && document.querySelectorAll(".todo li").length === 4`)
	p.faultless("what is next", axe, wide)
	p.follow(`.todo a[href$="/webhooks/new"]`)
	p.fill(`#url`, "https://receiver.example.com/in")
	p.run(chromedp.Click(chromedp.CSS(`[data-all]`)))
	p.follow(`form.form button.primary`)
	p.open("/")
	p.until("one step is done", `document.querySelectorAll(".todo li.done").length === 1`)
}

// An owner invites a viewer, who looks at everything and changes nothing.
func TestInviteAViewer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Seed()
	s.makeOwner(t)
	p := newTab(t, s, wide)
	p.login()
	p.open("/settings/members")
	p.fill(`#email`, "vera@example.com")
	p.follow(`.aside-form button.primary`)
	link, err := url.Parse(p.text(`#link-text`))
	if err != nil {
		t.Fatal(err)
	}
	v := newTab(t, s, phone)
	axe := axeScript(t)
	v.open(link.RequestURI())
	v.faultless("invitation", axe, phone)
	v.fill(`#name`, "Vera")
	v.fill(`#password`, "window staple garden")
	v.follow(`.login button.primary`)
	for name, path := range tour(t, s) {
		if name == "webhook-form" || name == "webhook-edit" || name == "keys" || name == "members" {
			v.expect("403")
			v.open(path)
			if text := v.text(`main`); !strings.Contains(text, "Not allowed") {
				t.Errorf("%s: the page says %s", name, text)
			}
			continue
		}
		if name == "error-404" {
			v.expect("the server responded with a status of 404")
		}
		v.open(path)
		if left := eval[string](v, `[...document.querySelectorAll("main form[method=post]")].map(f => f.getAttribute("action")).filter(a => a !== "/theme" && !a.startsWith("/account")).join(" ")`); left != "" {
			t.Errorf("%s offers a viewer %s", name, left)
		}
	}
	// What is not offered is refused, too.
	v.expect("403")
	v.open("/account")
	status := eval[float64](v, `(() => { const x = new XMLHttpRequest(); x.open("POST", "/settings/members", false);
		x.setRequestHeader("Content-Type", "application/x-www-form-urlencoded"); x.send("email=a@example.com&role=viewer"); return x.status; })()`)
	if status != 403 {
		t.Errorf("a viewer's change is answered %v", status)
	}
}

func TestLogInWithACode(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.makeOwner(t)
	p := newTab(t, s, wide)
	axe := axeScript(t)
	p.login()
	p.open("/account/authenticator")
	p.faultless("authenticator", axe, wide)
	secret := eval[string](p, `document.querySelector("input[name=secret]").value`)
	code := func(later time.Duration) string {
		c, err := totp.GenerateCode(secret, time.Now().Add(later))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	p.fill(`#code`, code(0))
	p.follow(`main button.primary`)
	if codes := regexp.MustCompile(`[a-z2-7]{5}-[a-z2-7]{5}`).FindAllString(p.text(`#codes-text`), -1); len(codes) != 10 {
		t.Errorf("the page shows %d recovery codes: %s", len(codes), p.text(`#codes-text`))
	}
	p.faultless("recovery codes", axe, wide)
	v := newTab(t, s, phone)
	v.login()
	v.until("the second factor", `location.pathname === "/login/code"`)
	v.faultless("code", axe, phone)
	v.fill(`#code`, code(30*time.Second))
	v.follow(`.login button.primary`)
	v.until("the overview", `location.pathname === "/"`)
	v.open("/account")
	v.faultless("account", axe, phone)
}

// On the real server, with a provider of its own: log in there, and be who its groups
// say.
func TestLoginByOpenID(t *testing.T) {
	t.Parallel()
	idp, front := oidctest.New(t), testenv.NewFront(t)
	product := testenv.StartServer(t, testenv.ServerOptions{
		Args: []string{"--public-url", front.URL, "--oidc-issuer", idp.URL, "--oidc-client-id", idp.ClientID, "--oidc-name", "Example ID", "--oidc-role", "security=analyst"},
		Env:  []string{"CYBERVAULT_OIDC_CLIENT_SECRET=" + idp.ClientSecret},
	})
	front.Behind(t, product.URL())
	p := newTab(t, &server{url: front.URL}, wide)
	axe := axeScript(t)
	p.open("/login")
	p.faultless("the log-in page with a provider", axe, wide)
	idp.Deny("access_denied", "not today")
	p.expect("401")
	p.follow(`a[href^="/login/openid"]`)
	if text := p.text(`main`); !strings.Contains(text, "refused at the OpenID provider") {
		t.Errorf("refused, the page says %s", text)
	}
	idp.Deny("", "")
	p.follow(`a[href^="/login/openid"]`)
	p.until("the overview", `location.pathname === "/" && document.querySelector(".who").innerText.includes("Ada Lovelace")`)
	p.open("/settings/integrations/webhooks")
	if text := p.text(`main`); strings.Contains(text, "Add webhook") {
		t.Errorf("an analyst is offered %s", text)
	}
}
