package dashboard_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

func TestTuneWebhook(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	form := func(more ...string) url.Values {
		form := url.Values{"url": {"https://example.com/in"}, "events": {"*"}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form
	}
	s.post(hooks, form("filter", " data.severity\r\n > \"a\" ", "rate_limit", "0.5", "concurrency", "4", "client_certificate", "CERTIFICATE\r\nAND KEY")).want(t, 200, "whsec_")
	w := s.hooks()[0]
	if want := (cybervault.Tuning{Filter: "data.severity\n > \"a\"", RateLimit: 0.5, Concurrency: 4, ClientCertificate: "CERTIFICATE\nAND KEY\n"}); w.Tuning != want {
		t.Errorf("it was saved as %+v", w.Tuning)
	}
	path := hooks + "/" + w.ID.String()
	s.get(path).want(t, 200, "data.severity", "at most 0.5 attempts a second", "at most 4 at once", "kept encrypted").without(t, "AND KEY")
	s.get(path+"/edit").want(t, 200, `id="advanced" open`, `value="0.5"`, `value="4"`, "••••••••").without(t, "AND KEY")

	// The dots keep the certificate, an empty field takes it away.
	s.post(path+"/edit", form("ordered", "on", "client_certificate", "••••••••")).leadsTo(t, path+"?done=saved")
	if got := s.hooks()[0].Tuning; got != (cybervault.Tuning{Ordered: true, ClientCertificate: "CERTIFICATE\nAND KEY\n"}) {
		t.Errorf("it was saved as %+v", got)
	}
	s.get(path).want(t, 200, "one after the other, in order")
	s.post(path+"/edit", form()).leadsTo(t, path+"?done=saved")
	if got := s.hooks()[0].Tuning; got != (cybervault.Tuning{}) {
		t.Errorf("it was saved as %+v", got)
	}
	for field, bad := range map[string]struct{ value, says string }{
		"rate_limit":  {"fast", "is not a number above 0"},
		"concurrency": {"2.5", "is not a whole number from 1 to 512"},
		"filter":      {strings.Repeat("true ", 1000), "more than 4096"},
	} {
		s.post(path+"/edit", form(field, bad.value)).want(t, http.StatusUnprocessableEntity, bad.says, `id="advanced" open`, `id="`+field+`-error"><p class="error">`, strings.TrimSpace(bad.value))
	}
}

func TestPreviewInTheForm(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	preview := hooks + "/preview"
	s.post(preview, url.Values{"filter": {"203.0"}}).want(t, 200, "no events of the chosen types yet")
	for _, e := range []string{"203.0.113.1", "203.0.113.2", "198.51.100.1"} {
		s.fake.Publish(cybervault.EventThreatDetected, json.RawMessage(`{"source_ip":"`+e+`"}`))
	}
	form := url.Values{"url": {"https://example.com/in"}, "events": {"threat.*"}, "filter": {"203.0"}, "description": {"my words"}}
	// Without JavaScript the whole form comes back.
	s.post(preview, form).want(t, 200, "Would have matched 2 of the last 3 events", "the filter says false", "my words", `value="threat.*" checked`, ">203.0</textarea>", "Add Webhook")
	s.do(http.MethodPost, preview, form, "HX-Request", "true").want(t, 200, "Would have matched 2 of the last 3 events").without(t, "<html", "<form")
	form.Set("filter", "error")
	s.post(preview, form).want(t, 200, "on 3 it could not be evaluated", "ask has(…) for it first")
	form.Set("filter", "x ==")
	s.post(preview, form).want(t, 200, "Syntax error")
	w := s.fake.Hook("https://example.com/in", "old words", dashboardtest.OK, "*")
	form.Set("id", w.ID.String())
	s.post(preview, form).want(t, 200, hooks+"/"+w.ID.String()+"/edit", "Save changes")
	form.Set("id", "nonsense")
	s.post(preview, form).want(t, 404, "no such webhook")
	if n := len(s.hooks()); n != 1 {
		t.Errorf("a preview left %d webhooks", n)
	}
}
