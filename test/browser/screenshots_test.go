package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/dashboard"
)

// TestScreenshots writes a picture of every page, in both themes, wide and as
// on a phone: go test ./test/browser -run Screenshots -args -screenshots DIR.
// Without the flag it only walks through the pages. The picture in the README,
// docs/images/dashboard.png, is readme-light-1440.png with 224 colours, no dithering and no
// metadata (ImageMagick: convert -strip +dither -colors 224).
func TestScreenshots(t *testing.T) {
	seeded, empty := newServer(t), newServer(t, func(c *dashboard.Config) { c.Dev = true })
	seeded.fake.Seed()
	seeded.populate(t)
	t.Run("readme", func(t *testing.T) {
		readme := newTab(t, seeded, size{1440, 968})
		readme.run(dark(false))
		readme.login()
		readme.shoot("readme", "light", wide)
	})
	for _, window := range []size{wide, phone} {
		for _, theme := range []string{"light", "dark"} {
			t.Run(fmt.Sprint(window.width, " ", theme), func(t *testing.T) { // a tab has only so much time, which ends with its own test
				full := newTab(t, seeded, window)
				full.run(dark(theme == "dark"))
				full.open("/login")
				full.shoot("login", theme, window)
				full.login()
				for name, path := range tour(t, seeded) {
					if strings.HasPrefix(name, "error-") {
						full.expect("the server responded with a status of 404")
					}
					full.open(path)
					full.shoot(name, theme, window)
				}
				full.open(tour(t, seeded)["webhook"])
				full.follow(`form[action$="/secret"] button`)
				full.shoot("webhook-secret", theme, window)
				full.open("/settings/api-keys")
				full.fill(`#name`, "Nightly import")
				full.follow(`form[action="/settings/api-keys"] button[type=submit]`)
				full.shoot("key-new", theme, window)
				full.open("/settings/integrations/webhooks/new")
				full.fill(`#url`, "http://10.0.0.1/")
				full.run(chromedp.Click(chromedp.CSS(`[data-all]`)))
				full.expect("422")
				full.follow(`form.form button.primary`)
				full.shoot("webhook-form-error", theme, window)

				fresh := newTab(t, empty, window)
				fresh.run(dark(theme == "dark"))
				fresh.login()
				for name, path := range map[string]string{"fresh-overview": "/", "fresh-deliveries": "/deliveries", "fresh-incidents": "/incidents", "fresh-rules": "/rules", "fresh-exceptions": "/rules/exceptions", "fresh-webhooks": "/settings/integrations/webhooks", "fresh-setup": "/setup", "fresh-members": "/settings/members", "fresh-audit-log": "/settings/audit-log", "fresh-health": "/settings/health", "fresh-account": "/account", "fresh-agents": "/agents", "fresh-alerts": "/alerts"} {
					fresh.open(path)
					fresh.shoot(name, theme, window)
				}
			})
		}
	}
}

// tour is every page that can be linked to.
func tour(t *testing.T, s *server) map[string]string {
	t.Helper()
	ctx, ws := context.Background(), s.fake.Workspace
	hooks, err := s.fake.Webhooks(ctx, ws)
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{
		"overview": "/", "overview-24h": "/?span=24h", "deliveries": "/deliveries", "deliveries-none": "/deliveries?q=nothing+like+it",
		"events": "/events", "incidents": "/incidents", "incidents-open": "/incidents?status=open", "incidents-none": "/incidents?q=nothing+like+it", "rules": "/rules", "rules-fired": "/rules?show=fired", "rules-off": "/rules?show=off", "exceptions": "/rules/exceptions",
		"rule": "/rules/8b1c2a52-1f0e-4a55-9b3a-7f1f5c0d9e21?field=user&value=www-data", "rule-web": "/rules/942100", "rule-off": "/rules/5e9a6a5c-6f0e-4d0e-9a0b-0f5a9f3a7c03", "webhooks": "/settings/integrations/webhooks", "webhook-form": "/settings/integrations/webhooks/new",
		"keys": "/settings/api-keys", "members": "/settings/members", "audit-log": "/settings/audit-log", "health": "/settings/health", "event-types": "/settings/event-types", "event-type": "/settings/event-types/threat.detected", "event-type-own": "/settings/event-types/door.opened", "event-type-new": "/settings/event-types/new", "account": "/account", "authenticator": "/account/authenticator", "passkey": "/account/passkeys/new", "agents": "/agents", "alerts": "/alerts", "error-404": "/nowhere",
	}
	for _, w := range hooks {
		path := "/settings/integrations/webhooks/" + w.ID.String()
		switch w.Description {
		case "Ticket desk":
			pages["webhook"], pages["webhook-edit"] = path, path+"/edit"
		case "Data lake, staging":
			pages["webhook-held"] = path
		case "Legacy SOC":
			pages["webhook-disabled"] = path
		}
	}
	incidents, err := s.fake.Incidents(ctx, cybervault.IncidentQuery{Workspace: ws, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := s.fake.Agents(ctx, cybervault.AgentQuery{Workspace: ws, Status: cybervault.AgentOffline, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	pages["agent"] = "/agents/" + fleet.Rows[0].ID.String()
	pages["incident"] = "/incidents/" + incidents.Rows[0].ID.String()
	all, err := s.fake.Deliveries(ctx, cybervault.DeliveryQuery{Workspace: ws, Limit: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all.Rows {
		switch {
		case d.Status == cybervault.DeliveryDelivered && d.Attempts == 3:
			pages["delivery-retried"] = "/deliveries/" + d.ID.String()
		case d.Status == cybervault.DeliveryPending:
			pages["delivery-pending"] = "/deliveries/" + d.ID.String()
		case d.EventType == cybervault.EventThreatDetected && d.Status == cybervault.DeliveryDelivered:
			pages["delivery"], pages["event"] = "/deliveries/"+d.ID.String(), "/events/"+d.Event.String()
		}
	}
	return pages
}

// shoot writes a picture of the whole page, and checks that it does not
// overflow sideways.
func (p *tab) shoot(name, theme string, window size) {
	p.t.Helper()
	if over := eval[int](p, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		p.t.Errorf("%s at %d: the page is %d px too wide: %s", name, window.width, over, eval[string](p, widest))
	}
	if *screenshots == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(*screenshots, fmt.Sprintf("%s-%s-%d.png", name, theme, window.width))
	if err := os.WriteFile(file, png, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// widest names the elements that stick out.
const widest = `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map(e => e.tagName + "." + e.className).join(", ")`
