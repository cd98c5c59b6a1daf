package router_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/router"
)

func TestWebhooksAreCreatedReadChangedAndDeleted(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	first, second := k.webhook("*"), k.webhook("threat.*")
	if first.Status != cybervault.WebhookEnabled || first.Accept != cybervault.AcceptDefault || first.CreatedAt.IsZero() ||
		len(first.Secrets) != 1 || !strings.HasPrefix(first.Secrets[0].Value, cybervault.SecretPrefix) || first.Held() {
		t.Errorf("created: %+v", first)
	}
	list, err := k.r.Webhooks(t.Context(), k.ws)
	if err != nil || len(list) != 2 || list[0].ID != second.ID || list[1].ID != first.ID {
		t.Errorf("the list is %v, %v; want newest first", list, err)
	}
	stranger := cybervault.NewID[cybervault.WorkspaceID](k.ids)
	if list, _ := k.r.Webhooks(t.Context(), stranger); list == nil || len(list) != 0 {
		t.Errorf("another workspace sees %v", list)
	}
	_, err = k.r.Webhook(t.Context(), stranger, first.ID)
	wantCode(t, err, cybervault.CodeNotFound, "")

	changed := k.update(first.ID, cybervault.WebhookChange{Events: &[]string{"patch.*"}, Description: new("pager")})
	if changed.Description != "pager" || changed.Events[0] != "patch.*" || changed.URL != first.URL || first.Events[0] != "*" {
		t.Errorf("changed: %+v; the value before must stay as it was: %+v", changed, first)
	}
	k.mustPublish(threat(`{}`))
	if n := len(k.store.of(first.ID)); n != 0 {
		t.Errorf("%d deliveries by the old choice of events", n)
	}
	disabled := k.update(first.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookDisabled)})
	if disabled.DisabledReason == "" {
		t.Error("disabled without a reason")
	}
	if enabled := k.update(first.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookEnabled)}); enabled.DisabledReason != "" || !k.d.wokenFor(first.ID) {
		t.Errorf("enabled: %+v, woken %v", enabled, k.d.woken)
	}
	if err := k.r.DeleteWebhook(t.Context(), k.ws, second.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok := k.r.Lookup(second.ID); ok || !slices.Contains(k.d.forgot, second.ID) {
		t.Error("the deleted webhook is still known")
	}
	if stored := k.store.webhooks[second.ID]; len(stored.Secrets) != 0 || len(stored.Headers) != 0 || stored.URL == "" {
		t.Error("a deleted webhook stays for the log, without its secrets")
	}
	if d := k.store.of(second.ID); len(d) != 1 || d[0].Status != cybervault.DeliveryCancelled || d[0].Reason != cybervault.ReasonWebhookDeleted {
		t.Errorf("its deliveries: %+v", d)
	}
	wantCode(t, k.r.DeleteWebhook(t.Context(), k.ws, second.ID), cybervault.CodeNotFound, "")
	k.restart()
	if list, _ := k.r.Webhooks(t.Context(), k.ws); len(list) != 1 || list[0].Description != "pager" {
		t.Errorf("after a restart: %v", list)
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	for field, c := range map[string]cybervault.WebhookChange{
		"url":            {URL: new("https://refused.example/")},
		"events":         {Events: &[]string{}},
		"ca_certificate": {CACertificate: new("rubbish")},
		"retry_schedule": {RetrySchedule: &[]time.Duration{0}},
		"status":         {Status: new(cybervault.WebhookStatus("paused"))},
	} {
		_, err := k.r.UpdateWebhook(t.Context(), k.ws, w.ID, c)
		wantCode(t, err, cybervault.CodeInvalid, field)
	}
	_, err := k.r.CreateWebhook(t.Context(), k.ws, cybervault.WebhookChange{URL: new("https://refused.example/"), Events: &[]string{"*"}})
	wantCode(t, err, cybervault.CodeInvalid, "url")
	if now, _ := k.r.Lookup(w.ID); now != w || len(k.store.webhooks) != 1 {
		t.Error("a refused change was kept")
	}
	k.store.breaks("SaveWebhook", errDisk)
	_, err = k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{Description: new("x")})
	wantCode(t, err, cybervault.CodeUnavailable, "")
	if now, _ := k.r.Lookup(w.ID); now != w {
		t.Error("a change that was not stored is known")
	}
}

// What its owner most wants to do with a webhook whose address is refused by now.
func TestAWebhookThatLeadsNowhereCanBeDisabled(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := *k.webhook("*")
	w.URL = "https://refused.example/"
	k.store.webhooks[w.ID] = &w
	k.restart()
	k.update(w.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookDisabled)})
	_, err := k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookEnabled)})
	wantCode(t, err, cybervault.CodeInvalid, "url")
}

func TestTwoChangesAtOnce(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	// The second change comes between the first one's reading and its storing.
	var once sync.Once
	var second error
	checks := slowDestinations{func() {
		once.Do(func() {
			_, second = k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{Description: new("second")})
		})
	}}
	r, err := router.New(t.Context(), router.Config{Log: k.store, Webhooks: k.store, Catalogue: catalogue{}, Destinations: checks, IDs: k.ids, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.SetDispatcher(k.d)
	k.r = r
	_, first := k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{URL: new("https://other.example")})
	wantCode(t, first, cybervault.CodeConflict, "")
	if now, _ := k.r.Lookup(w.ID); second != nil || now.Description != "second" || now.URL != w.URL {
		t.Errorf("it is %+v after the second change (%v) came first", now, second)
	}
}

type slowDestinations struct{ meanwhile func() }

func (d slowDestinations) CheckURL(context.Context, string) error { d.meanwhile(); return nil }
func (slowDestinations) CheckCACertificate(string) error          { return nil }
func (slowDestinations) CheckProxiedURL(string) error             { return nil }
func (slowDestinations) CheckProxy(context.Context, string) error { return nil }
func (slowDestinations) CheckClientCertificate(string) error      { return nil }

func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		w := k.webhook("*")
		old := w.Secrets[0].Value
		rotate := func(overlap time.Duration) []cybervault.Secret {
			t.Helper()
			w, err := k.r.RotateSecret(t.Context(), k.ws, w.ID, overlap)
			if err != nil {
				t.Fatalf("rotate: %v", err)
			}
			return w.Secrets
		}
		now := time.Now()
		s := rotate(24 * time.Hour)
		if len(s) != 2 || s[1].Value != old || !s[1].ExpiresAt.Equal(now.Add(24*time.Hour)) || s[0].Value == old || !s[0].ExpiresAt.IsZero() {
			t.Errorf("after a rotation: %+v", s)
		}
		if s = rotate(time.Hour); len(s) != 3 || !s[2].ExpiresAt.Equal(now.Add(time.Hour)) {
			t.Errorf("a shorter overlap holds for the older secrets too: %+v", s)
		}
		<-time.After(2 * time.Hour)
		if s = rotate(time.Hour); len(s) != 2 {
			t.Errorf("secrets that have ended stay: %+v", s)
		}
		if s = rotate(0); len(s) != 1 {
			t.Errorf("an overlap of 0s leaves %d secrets", len(s))
		}
		for range router.MaxSecrets - 1 {
			rotate(time.Hour)
		}
		_, err := k.r.RotateSecret(t.Context(), k.ws, w.ID, time.Hour)
		wantCode(t, err, cybervault.CodeConflict, "")
		if s = rotate(0); len(s) != 1 {
			t.Errorf("an overlap of 0s leaves %d secrets", len(s))
		}
		for _, overlap := range []time.Duration{-1, router.MaxOverlap + 1} {
			_, err := k.r.RotateSecret(t.Context(), k.ws, w.ID, overlap)
			wantCode(t, err, cybervault.CodeInvalid, "overlap")
		}
		rotate(router.MaxOverlap)
	})
}

func TestReplay(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	k.mustPublish(threat(`{}`))
	original := k.store.of(w.ID)[0]
	replay, err := k.r.ReplayDelivery(t.Context(), k.ws, original.ID)
	if err != nil || replay.ReplayOf != original.ID || replay.Event != original.Event || replay.Sequence != original.Sequence+1 ||
		replay.Status != cybervault.DeliveryPending || !k.d.wokenFor(w.ID) {
		t.Errorf("the replay is %+v, %v", replay, err)
	}
	k.update(w.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookDisabled)})
	_, err = k.r.ReplayDelivery(t.Context(), k.ws, original.ID)
	wantCode(t, err, cybervault.CodeConflict, "")
	k.update(w.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookEnabled)})
	k.d.answer = nil
	k.update(w.ID, cybervault.WebhookChange{Verification: new(true)})
	if replay, err = k.r.ReplayDelivery(t.Context(), k.ws, original.ID); err != nil || replay.Status != cybervault.DeliveryHeld {
		t.Errorf("to a webhook that is not verified the replay is %+v, %v", replay, err)
	}
	if err := k.r.DeleteWebhook(t.Context(), k.ws, w.ID); err != nil {
		t.Fatal(err)
	}
	_, err = k.r.ReplayDelivery(t.Context(), k.ws, original.ID)
	wantCode(t, err, cybervault.CodeConflict, "")
	_, err = k.r.ReplayDelivery(t.Context(), k.ws, cybervault.NewID[cybervault.DeliveryID](k.ids))
	wantCode(t, err, cybervault.CodeNotFound, "")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	k.mustPublish(threat(`{}`))
	id := k.store.of(w.ID)[0].ID
	d, err := k.r.CancelDelivery(t.Context(), k.ws, id)
	if err != nil || d.Status != cybervault.DeliveryCancelled || d.Reason != cybervault.ReasonCancelled || !slices.Contains(k.d.dropped, id) {
		t.Errorf("cancelled: %+v, %v, dropped %v", d, err, k.d.dropped)
	}
	_, err = k.r.CancelDelivery(t.Context(), k.ws, id)
	wantCode(t, err, cybervault.CodeConflict, "")
	_, err = k.r.CancelDelivery(t.Context(), cybervault.WorkspaceID{}, id)
	wantCode(t, err, cybervault.CodeNotFound, "")
}

func TestTestWebhook(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("patch.*")
	bystander := k.webhook("*")
	k.d.answer, k.d.full = nil, true
	k.update(w.ID, cybervault.WebhookChange{Verification: new(true), Status: new(cybervault.WebhookDisabled)})
	d, err := k.r.TestWebhook(t.Context(), k.ws, w.ID, cybervault.EventThreatDetected)
	if err != nil || !d.Test || d.Status != cybervault.DeliveryPending || d.EventType != cybervault.EventThreatDetected || !d.Running {
		t.Errorf("to a webhook that is disabled, held and did not choose it: %+v, %v", d, err)
	}
	if a := k.d.taken[len(k.d.taken)-1]; a.Delivery != d.ID || !a.Test || !strings.Contains(string(a.Body), `"data":{"example":true}`) {
		t.Errorf("dispatched: %+v", a)
	}
	if n := len(k.store.of(bystander.ID)); n != 0 {
		t.Error("a test goes to one webhook only")
	}
	if len(k.d.awaited) != 0 {
		t.Error("somebody still waits for the attempt")
	}
	_, err = k.r.TestWebhook(t.Context(), k.ws, w.ID, "nothing.known")
	wantCode(t, err, cybervault.CodeInvalid, "event")
	_, err = k.r.TestWebhook(t.Context(), k.ws, cybervault.WebhookID{}, cybervault.EventThreatDetected)
	wantCode(t, err, cybervault.CodeNotFound, "")
}
