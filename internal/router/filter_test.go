package router_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func (k *desk) filtered(filter string, events ...string) *cybervault.Webhook {
	k.t.Helper()
	return k.update(k.webhook(events...).ID, cybervault.WebhookChange{Filter: &filter})
}

func TestPublishAsksTheFilters(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	all := k.webhook("*")
	critical := k.filtered(`data.severity == "critical" && data.confidence > 0.9`, "threat.*")
	held := k.filtered(`data.severity == "critical"`, "*")
	held = k.update(held.ID, cybervault.WebhookChange{Verification: new(true)})
	disabled := k.filtered(`data.severity == "critical"`, "*")
	disabled = k.update(disabled.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookDisabled)})
	for _, data := range []string{`{"severity":"critical","confidence":0.98}`, `{"severity":"low","confidence":0.98}`, `{"severity":"critical"}`} {
		k.mustPublish(threat(data))
	}
	for _, test := range []struct {
		webhook *cybervault.Webhook
		want    []string
	}{
		{all, []string{"pending ", "pending ", "pending "}},
		{critical, []string{"pending ", "skipped filter", "skipped filter_error"}},
		{held, []string{"held ", "skipped filter", "held "}},
		{disabled, []string{"skipped webhook_disabled", "skipped webhook_disabled", "skipped webhook_disabled"}},
	} {
		var got []string
		for _, d := range k.store.of(test.webhook.ID) {
			got = append(got, string(d.Status)+" "+d.Reason)
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%v; want %v", got, test.want)
		}
	}
}

// A change of the filter counts for the next event, also where it was compiled
// before; without one everything goes through again.
func TestAFilterIsChanged(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.filtered(`data.n == 1`, "*")
	statuses := func(want string) {
		t.Helper()
		list := k.store.of(w.ID)
		if got := list[len(list)-1]; string(got.Status)+" "+got.Reason != want {
			t.Errorf("%s %s, want %s", got.Status, got.Reason, want)
		}
	}
	k.mustPublish(threat(`{"n":2}`))
	statuses("skipped filter")
	k.update(w.ID, cybervault.WebhookChange{Description: new("other")})
	k.mustPublish(threat(`{"n":1}`))
	statuses("pending ")
	k.update(w.ID, cybervault.WebhookChange{Filter: new(`data.n == 2`)})
	k.mustPublish(threat(`{"n":1}`))
	statuses("skipped filter")
	k.restart()
	k.mustPublish(threat(`{"n":3}`))
	statuses("skipped filter")
	k.update(w.ID, cybervault.WebhookChange{Filter: new("")})
	k.mustPublish(threat(`{"n":3}`))
	statuses("pending ")
}

// A test payload is for the webhook that asked, whatever its filter says.
func TestAFilterIsNotAskedAboutTests(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.filtered(`false`, "*")
	d, err := k.r.TestWebhook(t.Context(), k.ws, w.ID, cybervault.EventThreatDetected)
	if err != nil || d.Status != cybervault.DeliveryPending {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestSettingsAreRefused(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	for field, change := range map[string]cybervault.WebhookChange{
		"filter":             {Filter: new("data.severity ==")},
		"client_certificate": {ClientCertificate: new("rubbish")},
		"rate_limit":         {RateLimit: new(-1.0)},
		"concurrency":        {Concurrency: new(cybervault.MaxConcurrency + 1)},
	} {
		_, err := k.r.UpdateWebhook(t.Context(), k.ws, w.ID, change)
		wantCode(t, err, cybervault.CodeInvalid, field)
	}
	k.update(w.ID, cybervault.WebhookChange{ClientCertificate: new("CERTIFICATE AND KEY")})
}

func TestPublishThatIsBrokenOffKeepsNothing(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.filtered(`data.l.all(x, x == 1)`, "*")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.r.Publish(ctx, k.ws, threat(`{"l":[1,1]}`))
	wantCode(t, err, cybervault.CodeUnavailable, "")
	if n := len(k.store.of(w.ID)); n != 0 {
		t.Errorf("%d deliveries were stored", n)
	}
}

func TestPreviewFilter(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	for i := range 250 {
		k.mustPublish(threat(fmt.Sprintf(`{"n":%d}`, i)))
		if i%50 == 0 {
			k.mustPublish(threat(`{}`))
			k.mustPublish(cybervault.PublishRequest{Type: cybervault.EventPatchFailed, Data: []byte(`{"n":249}`)})
		}
	}
	preview := func(filter string, choices ...string) *cybervault.FilterPreview {
		t.Helper()
		p, err := k.r.PreviewFilter(t.Context(), k.ws, filter, choices, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := preview(`data.n >= 240`, "threat.*")
	if p.Examined != 200 || p.Matched != 10 || p.Errors != 3 || len(p.Sample) != cybervault.PreviewSample {
		t.Errorf("preview %+v", p)
	}
	why := map[string]int{}
	for _, v := range p.Sample {
		why[v.Why]++
		if v.Matched != (v.Why == "the filter says true") || v.Event.IsZero() || v.Type != cybervault.EventThreatDetected {
			t.Errorf("verdict %+v", v)
		}
	}
	if len(why) != 3 || why["the event has no field n: ask has(…) for it first"] == 0 {
		t.Errorf("the sample shows %v", why)
	}
	if p := preview(`data.n >= 240`, "patch.failed", "patch.deployed"); p.Examined != 5 || p.Matched != 5 {
		t.Errorf("preview %+v", p)
	}
	if p := preview(``); p.Examined != 200 || p.Matched != 200 {
		t.Errorf("preview %+v", p)
	}
	_, err := k.r.PreviewFilter(t.Context(), k.ws, "nothing ==", nil, time.Time{})
	wantCode(t, err, cybervault.CodeInvalid, "filter")
	_, err = k.r.PreviewFilter(t.Context(), k.ws, "true", []string{"Nothing"}, time.Time{})
	wantCode(t, err, cybervault.CodeInvalid, "events[0]")
}
