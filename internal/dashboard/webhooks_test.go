package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/dashboard"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

const hooks = "/settings/integrations/webhooks"

func (s *site) hooks() []*cybervault.Webhook {
	s.t.Helper()
	list, err := s.fake.Webhooks(s.t.Context(), s.fake.Workspace)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

func TestAddWebhook(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.get(hooks).want(t, 200, "No webhooks yet", hooks+"/new")
	form := s.get(hooks+"/new").want(t, 200, `value="*"`, `value="threat.*"`, "Enable Verification", "5s, 30s, 2m")
	for _, e := range s.fake.List(s.fake.Workspace) {
		form.want(t, 200, `value="`+e.Name+`"`)
	}
	a := s.post(hooks, url.Values{
		"url": {" https://example.com/in "}, "description": {"SIEM"}, "events": {"threat.*", "threat.detected", "auth.suspicious"},
		"accept": {"any_2xx"}, "retry_schedule": {"1s, 2m"}, "headers": {"Authorization: Bearer abc\r\n\r\nX-Team:  blue "},
		"ca_certificate": {"-----BEGIN CERTIFICATE-----\r\nx\r\n-----END CERTIFICATE-----"},
	})
	w := s.hooks()[0]
	a.want(t, 200, strings.ReplaceAll(w.Secrets[0].Value, "+", "&#43;"), "shown this once", "X-CyberVault-Signature", `data-replace="`+hooks+"/"+w.ID.String()+`"`)
	if w.URL != "https://example.com/in" || fmt.Sprint(w.Events) != "[threat.* auth.suspicious]" || w.Accept != cybervault.AcceptAny2xx || w.Verification ||
		fmt.Sprint(w.RetrySchedule) != "[1s 2m0s]" || fmt.Sprint(w.Headers) != "[{Authorization Bearer abc} {X-Team blue}]" || strings.Contains(w.CACertificate, "\r") {
		t.Errorf("it was saved as %+v", w)
	}
	s.get(hooks+"/"+w.ID.String()).want(t, 200, "SIEM", "threat.*", "X-Team").without(t, w.Secrets[0].Value[:20], "Bearer abc")
	s.get(hooks).want(t, 200, "SIEM", "no deliveries yet")
}

func TestAddWebhookWithVerification(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	form := url.Values{"url": {"https://example.com/in"}, "events": {"*"}, "verification": {"on"}}
	s.post(hooks, form).want(t, 200, "whsec_", "Test payload", "200 OK").without(t, "Not verified")
	if w := s.hooks()[0]; w.Held() || !w.Verification {
		t.Errorf("it was saved as %+v", w)
	}
}

func TestWebhookFormKeepsWhatWasTyped(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	good := func() url.Values {
		return url.Values{"url": {"https://example.com/in"}, "events": {"patch.*"}, "description": {"my words"}, "verification": {"on"}}
	}
	for field, bad := range map[string]struct{ value, says string }{
		"url":            {"http://10.0.0.1/typed", "only https:// is accepted"},
		"retry_schedule": {"5s,soon", "is not a duration"},
		"headers":        {"no colon here", "has no colon"},
		"description":    {strings.Repeat("long ", 300), "more than 1000"},
		"events":         {"Threat", "is no event type name"},
	} {
		form := good()
		form.Set(field, bad.value)
		a := s.post(hooks, form).want(t, http.StatusUnprocessableEntity, bad.says, strings.TrimSpace(bad.value))
		if field != "description" {
			a.want(t, http.StatusUnprocessableEntity, "my words")
		}
		if field != "events" {
			a.want(t, http.StatusUnprocessableEntity, `value="patch.*" checked`, `id="`+field+`-error"><p class="error">`)
		}
		if !regexp.MustCompile(`name="verification" value="on" checked`).MatchString(a.body) {
			t.Errorf("%s: the toggle was lost", field)
		}
	}
	form := good()
	form.Set("headers", "X-Cybervault-Event: x")
	s.post(hooks, form).want(t, http.StatusUnprocessableEntity, "X-Cybervault-Event is set by CyberVault")
	s.post(hooks, url.Values{"url": {"https://example.com/"}}).want(t, http.StatusUnprocessableEntity, "choose at least one event type")
	s.post(hooks, url.Values{"url": {strings.Repeat("x", 2<<20)}}).want(t, http.StatusRequestEntityTooLarge, "larger than 1 MiB")
	if n := len(s.hooks()); n != 0 {
		t.Errorf("%d webhooks were added", n)
	}
}

func TestEditWebhook(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	w := s.fake.Hook("https://example.com/in", "old words", dashboardtest.OK, "threat.*", "custom.*")
	headers := []cybervault.Header{{Name: "Authorization", Value: "Bearer abc"}, {Name: "X-Team", Value: "blue"}}
	if _, err := s.fake.UpdateWebhook(t.Context(), s.fake.Workspace, w.ID, cybervault.WebhookChange{Headers: &headers}); err != nil {
		t.Fatal(err)
	}
	path := hooks + "/" + w.ID.String()
	page := s.get(path+"/edit").want(t, 200, "Authorization: ••••••••", `value="threat.*" checked`, `value="custom.*" checked`, "old words")
	page.without(t, "Bearer abc")
	s.post(path+"/edit", url.Values{
		"url": {"https://example.com/new"}, "description": {"new words"}, "events": {"custom.*"},
		"headers": {"authorization: ••••••••\r\nX-Team: red"}, "retry_schedule": {""},
	}).leadsTo(t, path+"?done=saved")
	s.get(path+"?done=saved").want(t, 200, "Settings saved.", "new words")
	got := s.hooks()[0]
	if got.URL != "https://example.com/new" || fmt.Sprint(got.Headers) != "[{authorization Bearer abc} {X-Team red}]" || fmt.Sprint(got.Events) != "[custom.*]" || got.RetrySchedule != nil {
		t.Errorf("it was saved as %+v", got)
	}
	s.post(path+"/edit", url.Values{"url": {"https://example.com/new"}, "events": {"*"}, "headers": {"X-New: ••••••••"}}).
		want(t, http.StatusUnprocessableEntity, "no stored value to keep", "X-New: ••••••••")
	s.get(path+"?done=<script>").want(t, 200).without(t, "<script>")
}

func TestWebhookActions(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	w := s.fake.Hook("https://example.com/in", "", dashboardtest.OK, "threat.*")
	path := hooks + "/" + w.ID.String()
	secret := func() string { return strings.ReplaceAll(s.hooks()[0].Secrets[0].Value, "+", "&#43;") }

	s.post(path+"/status", url.Values{"status": {"disabled"}}).leadsTo(t, path+"?done=disabled")
	s.get(path+"?done=disabled").want(t, 200, "The webhook is disabled", ">Enable<")
	s.post(path+"/status", url.Values{"status": {"sleeping"}}).want(t, http.StatusUnprocessableEntity)
	s.post(path+"/status", url.Values{"status": {"enabled"}}).leadsTo(t, path+"?done=enabled")

	s.post(path+"/secret", nil).want(t, 200, secret())
	old := secret()
	s.post(path+"/rotate", url.Values{"overlap": {"1h"}}).want(t, 200, secret(), "The new signing secret", "expires").without(t, old)
	if secret() == old || len(s.hooks()[0].Secrets) != 2 {
		t.Error("the secret did not change, or the old one is gone")
	}
	s.post(path+"/rotate", url.Values{"overlap": {"100y"}}).want(t, http.StatusUnprocessableEntity)

	s.fake.SetAnswer(w.ID, dashboardtest.Down)
	s.post(path+"/verify", nil).want(t, 200, "Answered 503 Service Unavailable", "Retry-After", "&lt;center&gt;")
	s.fake.SetAnswer(w.ID, dashboardtest.OK)
	s.post(path+"/verify", nil).want(t, 200, "200 OK", "verified")

	a := s.post(path+"/test", url.Values{"event": {"patch.failed"}}).want(t, http.StatusSeeOther)
	s.get(a.header.Get("Location")).want(t, 200, "on its way", "patch.failed", `<span class="tag">test</span>`)
	s.post(path+"/test", url.Values{"event": {"no.such"}}).want(t, http.StatusUnprocessableEntity, "not in the catalogue")

	s.post(path+"/delete", nil).want(t, http.StatusUnprocessableEntity, "ticked")
	s.post(path+"/delete", url.Values{"confirm": {"yes"}}).leadsTo(t, hooks+"?done=deleted")
	s.get(path).want(t, http.StatusNotFound, "deleted")
	s.get(path+"/edit").want(t, http.StatusNotFound)
	s.get(strings.TrimSuffix(a.header.Get("Location"), "?done=tested")).want(t, 200, `<span class="tag">deleted</span>`)
	s.get("/deliveries?webhook="+w.ID.String()).want(t, 200, "patch.failed")
}

// cannotVerify is a router whose verification fails before anything is sent.
type cannotVerify struct{ *dashboardtest.Fake }

func (cannotVerify) VerifyWebhook(context.Context, cybervault.WorkspaceID, cybervault.WebhookID) (*cybervault.Attempt, error) {
	return nil, errors.New("no sender")
}

func TestSecretIsShownEvenWhenVerificationCannotBeSent(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *dashboard.Config) { c.Webhooks = cannotVerify{c.Webhooks.(*dashboardtest.Fake)} }).login()
	s.post(hooks, url.Values{"url": {"https://example.com/in"}, "events": {"*"}, "verification": {"on"}}).
		want(t, 200, "whsec_", "could not be sent", "Not verified").without(t, "no sender")
}

func TestWebhooksArePagedAndFound(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	for i := range 60 {
		s.fake.Hook(fmt.Sprintf("https://example.com/%03d", i), "", dashboardtest.OK, "*")
	}
	rows := func(a answer) int { return strings.Count(a.body, `class="row-link"`) }
	first := s.get(hooks).want(t, 200, "/059", `rel="next" href="`+hooks+`?page=2"`).without(t, `rel="prev"`)
	last := s.get(hooks+"?page=3").want(t, 200, "/000", `rel="prev"`).without(t, `rel="next"`)
	if rows(first) != 25 || rows(last) != 10 {
		t.Errorf("%d and %d rows, want 25 and 10", rows(first), rows(last))
	}
	s.get(hooks+"?page=999").want(t, 200, "/000")
	s.get(hooks+"?page=-1").want(t, 200, "/059")
	if a := s.get(hooks + "?q=%2F04"); rows(a) != 10 {
		t.Errorf("%d rows, want 10", rows(a))
	}
	s.get(hooks+"?q=nothing").want(t, 200, "Nothing matches", "Show all 60")
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	w := s.fake.Hook("https://example.com/in", "", dashboardtest.OK, "*")
	for range 3 {
		s.fake.Publish(cybervault.EventPatchDeployed, nil)
	}
	s.fake.SetAnswer(w.ID, dashboardtest.Down)
	s.fake.Publish(cybervault.EventPatchFailed, nil)
	s.get(hooks).want(t, 200, "3 of 4 delivered, 1 failing", "fill-high", "fill-ok")
	s.get("/").want(t, 200, "Failing", "1 delivery of the last 4 failing", "Answered 503")
	none := []time.Duration{}
	if _, err := s.fake.UpdateWebhook(t.Context(), s.fake.Workspace, w.ID, cybervault.WebhookChange{RetrySchedule: &none}); err != nil {
		t.Fatal(err)
	}
	s.fake.Publish(cybervault.EventPatchFailed, nil)
	s.get(hooks).want(t, 200, "fill-bad")
	s.get("/deliveries?status=dead_letter").want(t, 200, "Dead letter")
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	const keys = "/settings/api-keys"
	s.get(keys).want(t, 200, "No API keys yet", "telemetry:write")
	s.post(keys, url.Values{"scopes": {"read"}}).want(t, http.StatusUnprocessableEntity, "Give the key a name")
	s.post(keys, url.Values{"name": {"typed"}, "scopes": {"everything"}}).want(t, http.StatusUnprocessableEntity, "Choose at least one", `value="typed"`)
	s.post(keys, url.Values{"name": {strings.Repeat("n", 101)}, "scopes": {"read"}}).want(t, http.StatusUnprocessableEntity, "longer than 100")
	a := s.post(keys, url.Values{"name": {"CI"}, "scopes": {"read", "events:write"}}).want(t, 200, "shown this once", `data-replace="`+keys+`"`)
	clear := regexp.MustCompile(`cv_[0-9a-f]{32}`).FindString(a.body)
	if clear == "" {
		t.Fatal("the key is not shown")
	}
	s.get(keys).want(t, 200, "CI", clear[:11]+"…", ">Revoke<").without(t, clear)
	list, err := s.fake.Keys(t.Context(), s.fake.Workspace)
	if err != nil || len(list) != 1 || fmt.Sprint(list[0].Scopes) != "[read events:write]" {
		t.Fatalf("the keys are %v (%v)", list, err)
	}
	s.post(keys+"/"+list[0].ID.String()+"/revoke", nil).leadsTo(t, keys+"?done=revoked")
	s.get(keys+"?done=revoked").want(t, 200, "Revoked", "The API key is revoked.")
	s.post(keys+"/key_nonsense/revoke", nil).want(t, http.StatusNotFound)

	s.post(keys, url.Values{"name": {"short"}, "scopes": {"read"}, "expires": {"7"}}).want(t, http.StatusUnprocessableEntity, "Choose when the key expires")
	s.post(keys, url.Values{"name": {"short"}, "scopes": {"read"}, "expires": {"90"}}).want(t, 200, "shown this once", "Expires")
	list, _ = s.fake.Keys(t.Context(), s.fake.Workspace)
	if life := list[0].ExpiresAt.Sub(list[0].CreatedAt); life < 89*24*time.Hour || life > 91*24*time.Hour {
		t.Errorf("the key lives %s", life)
	}
}

// How a receiver stands: how many it took, how fast, what waits, and what the breaker does.
func TestHowAWebhookStands(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	w := s.fake.Hook("https://example.com/in", "Desk", dashboardtest.OK, "*")
	page := hooks + "/" + w.ID.String()
	s.get(page).want(t, 200, "no deliveries yet", "closed: attempts are made")
	for range 19 {
		s.fake.Publish(cybervault.EventThreatDetected, nil)
	}
	s.get(page).want(t, 200, "100 %", "19 of 19 delivered")
	s.fake.SetAnswer(w.ID, dashboardtest.Down)
	s.fake.Publish(cybervault.EventThreatDetected, nil)
	s.get(page).want(t, 200, "95 %", "19 of 20 delivered, 1 failing", " ms")
	s.get(hooks).want(t, 200, "19 of 20 delivered, 1 failing", "p95 ", "1 waiting", ">Enabled<")
	s.fake.SetHealth(cybervault.WebhookHealth{Webhook: w.ID, Breaker: cybervault.BreakerOpen, ProbeAt: time.Now().Add(time.Minute)})
	s.get(hooks).want(t, 200, ">Paused<").without(t, ">Enabled<")
	s.get("/").want(t, 200, ">Paused<", "Its breaker is open")
	s.get(page).want(t, 200, "the breaker is open", "The next attempt is made")
	s.fake.SetHealth(cybervault.WebhookHealth{Webhook: w.ID, Breaker: cybervault.BreakerHalfOpen})
	s.get(page).want(t, 200, "half open").without(t, "the breaker is open")
	s.fake.SetHealth(cybervault.WebhookHealth{Webhook: w.ID, Breaker: cybervault.BreakerOpen})
	s.fake.SetWebhook(w.ID, func(w *cybervault.Webhook) { w.Status = cybervault.WebhookDisabled })
	s.get(hooks).want(t, 200, ">Disabled<").without(t, ">Paused<")
	s.fake.Fail(errors.New("no"))
	s.get(hooks).want(t, 500)
}

func TestOverviewByType(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.fake.Publish(cybervault.EventPatchFailed, nil)
	for range 3 {
		s.fake.Publish(cybervault.EventThreatDetected, nil)
	}
	page := s.get("/?span=24h").want(t, 200, "Events by type", `href="/events?event=threat.detected&amp;since=24h"`, "UTC: 3")
	if strings.Index(page.body, "event=threat.detected") > strings.Index(page.body, "event=patch.failed") {
		t.Error("the type with most events does not stand first")
	}
	for i := range 10 {
		name := fmt.Sprintf("own.type%d", i)
		s.fake.AddType(cybervault.EventType{Name: name, Severity: cybervault.SeverityInfo})
		s.fake.Publish(name, nil)
	}
	s.get("/").want(t, 200, "and 4 more")
}
