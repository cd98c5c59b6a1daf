package storetest

import (
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

func deedCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"deeds/a webhook's changes": webhookDeeds,
		"deeds/hold no secret":      secretDeeds,
		"deeds/other changes":       otherDeeds,
	}
}

// last is the last line of the log.
func (f *fixture) last(action string) *cybervault.Action {
	f.Helper()
	all := f.chain()
	if len(all) == 0 || all[len(all)-1].Action != action {
		f.Fatalf("the log does not end with %s: %+v", action, all)
	}
	return all[len(all)-1]
}

func webhookDeeds(f *fixture) {
	w := f.webhook()
	a := f.last("webhook.create")
	if a.Target != w.ID.String() || a.Workspace != f.ws || a.Before != nil || !strings.Contains(string(a.After), `"url":"`+w.URL+`"`) {
		f.Errorf("%+v %s", a, a.After)
	}
	change := func(by string, action string, do func(*cybervault.Webhook)) *cybervault.Action {
		f.Helper()
		next := *w
		do(&next)
		f.must(f.s.SaveWebhook(f.as(by), &next))
		w = &next
		return f.last(action)
	}
	a = change("ann", "webhook.update", func(w *cybervault.Webhook) { w.Description = "SIEM" })
	if string(a.Before) != `{"description":""}` || string(a.After) != `{"description":"SIEM"}` || a.Actor.Name != "ann@example.com" || a.Actor.Address != "203.0.113.9" {
		f.Errorf("%+v %s %s", a, a.Before, a.After)
	}
	change("bob", "webhook.disable", func(w *cybervault.Webhook) { w.Status = cybervault.WebhookDisabled })
	change("bob", "webhook.enable", func(w *cybervault.Webhook) { w.Status = cybervault.WebhookEnabled })
	change("bob", "webhook.rotate_secret", func(w *cybervault.Webhook) {
		w.Secrets = append([]cybervault.Secret{{Value: "whsec_bmV3ZXN0c2VjcmV0b2ZhbGw=", CreatedAt: start}}, w.Secrets...)
	})
	n := len(f.chain())
	stale := *w
	stale.Revision--
	f.wantCode(f.s.SaveWebhook(f.as("eve"), &stale), cybervault.CodeConflict)
	if len(f.chain()) != n {
		f.Error("a change that was refused stands in the log")
	}
	change("ann", "webhook.delete", func(w *cybervault.Webhook) { w.DeletedAt = f.clock.Now() })
}

func secretDeeds(f *fixture) {
	w := f.webhook(func(w *cybervault.Webhook) {
		w.Headers = []cybervault.Header{{Name: "X-Team", Value: "hush-header"}}
		w.ClientCertificate = "hush-certificate"
		w.Authentication = cybervault.Authentication{Type: cybervault.AuthenticationBearer, Token: "hush-token"}
		w.Proxy = "http://user:hush-proxy@203.0.113.1:3128"
	})
	next := *w
	next.Headers = []cybervault.Header{{Name: "X-Team", Value: "hush-other"}}
	f.must(f.s.SaveWebhook(f.as("ann"), &next))
	a := f.last("webhook.update")
	if !strings.Contains(string(a.Before), "header_values") || strings.Contains(string(a.After), "credentials") {
		f.Errorf("%s %s", a.Before, a.After)
	}
	for _, a := range f.chain() {
		all := string(a.Before) + string(a.After)
		if strings.Contains(all, "hush") || strings.Contains(all, "whsec_") {
			f.Errorf("a secret is in the log: %s", all)
		}
	}
}

func otherDeeds(f *fixture) {
	key := f.apiKey("one", cybervault.ScopeRead)
	key.ExpiresAt = start.Add(time.Hour)
	f.must(f.s.CreateAPIKey(f.as("ann"), key))
	if a := f.last("key.create"); a.Target != key.ID.String() || !strings.Contains(string(a.After), "expires_at") {
		f.Errorf("%+v %s", a, a.After)
	}
	f.must(f.s.UseAPIKey(f.Context(), key.ID, start.Add(time.Minute)))
	if got, err := f.s.APIKeyByHash(f.Context(), key.Hash); err != nil || !got.ExpiresAt.Equal(key.ExpiresAt) || !got.UsedAt.Equal(start.Add(time.Minute)) {
		f.Errorf("%+v, %v", got, err)
	}
	f.must(f.s.RevokeAPIKey(f.as("ann"), f.ws, key.ID, f.clock.Now()))
	f.last("key.revoke")

	t := &cybervault.OwnEventType{Workspace: f.ws}
	t.Name, t.Severity, t.Schema, t.Example = "shop.order", cybervault.SeverityLow, []byte(`{}`), []byte(`{}`)
	f.must(f.s.SaveEventType(f.as("ann"), t))
	if a := f.last("event_type.save"); a.Before != nil {
		f.Errorf("%+v", a)
	}
	t.Severity = cybervault.SeverityHigh
	f.must(f.s.SaveEventType(f.as("ann"), t))
	if a := f.last("event_type.save"); string(a.Before) != `{"severity":"low"}` || string(a.After) != `{"severity":"high"}` {
		f.Errorf("%s %s", a.Before, a.After)
	}
	f.must(f.s.DeleteEventType(f.as("ann"), f.ws, "shop.order"))
	f.last("event_type.delete")
	f.wantCode(f.s.DeleteEventType(f.as("ann"), f.ws, "shop.order"), cybervault.CodeNotFound)
	f.last("event_type.delete")

	c := &cybervault.Controls{Off: map[string]cybervault.RuleOff{"942100": {Reason: "noisy", At: start}}}
	f.must(f.s.SaveControls(f.as("bob"), f.ws, c))
	if a := f.last("rule.off"); a.Target != "942100" || string(a.After) != `{"reason":"noisy"}` {
		f.Errorf("%+v %s", a, a.After)
	}
	e := cybervault.Exception{ID: cybervault.NewID[cybervault.ExceptionID](f.ids), Rule: "sqli", Reason: "scanner"}
	f.must(f.s.SaveControls(f.as("bob"), f.ws, &cybervault.Controls{Revision: 1, Off: c.Off, Exceptions: []cybervault.Exception{e}}))
	f.last("exception.add")
	f.must(f.s.SaveControls(f.as("bob"), f.ws, &cybervault.Controls{Revision: 2, Off: c.Off}))
	f.last("exception.remove")
	f.must(f.s.SaveControls(f.as("bob"), f.ws, &cybervault.Controls{Revision: 3}))
	f.last("rule.on")

	w := f.webhook()
	pub := f.publication(event{}, born(w, cybervault.DeliveryPending, ""))
	f.publish(pub)
	f.must(f.s.CancelDelivery(f.as("bob"), f.ws, pub.Deliveries[0].ID, cybervault.ReasonCancelled))
	if a := f.last("delivery.cancel"); a.Target != pub.Deliveries[0].ID.String() || a.Actor.ID != "usr_bob" {
		f.Errorf("%+v", a)
	}
}
