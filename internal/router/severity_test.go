package router_test

import (
	"testing"

	"github.com/cybervault/cybervault"
)

// What the event says of itself counts, then what its type says, and the same
// word goes to the store, the dispatcher and into every replay.
func TestHowSevereADeliveryIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, data string
		want       cybervault.Severity
	}{
		{cybervault.EventThreatDetected, `{}`, "critical"},
		{cybervault.EventThreatDetected, `{"severity":"low"}`, "low"},
		{cybervault.EventPatchFailed, `{"severity":"urgent"}`, "high"},
		{cybervault.EventSystemAlert, `{"severity":4}`, "medium"},
		{cybervault.EventSystemAlert, `{"detail":{"severity":"low"}}`, "medium"},
		{cybervault.EventSystemAlert, `{"detail":{"severity":"low"},"severity":"critical"}`, "critical"},
	} {
		k := newDesk(t)
		w := k.webhook("*")
		req := cybervault.PublishRequest{Type: c.kind, Data: []byte(c.data)}
		k.mustPublish(req)
		k.d.full = true
		k.mustPublish(req)
		stored := k.store.of(w.ID)
		if len(stored) != 2 || stored[0].Severity != c.want || stored[1].Severity != c.want {
			t.Errorf("%s with %s: stored %+v, want %s", c.kind, c.data, stored, c.want)
		}
		if len(k.d.taken) != 1 || k.d.taken[0].Severity != c.want {
			t.Errorf("%s with %s: dispatched %+v, want %s", c.kind, c.data, k.d.taken, c.want)
		}
		if len(k.d.wokenBy) != 1 || k.d.wokenBy[0] != c.want {
			t.Errorf("%s with %s: woken by %q, want %s", c.kind, c.data, k.d.wokenBy, c.want)
		}
		replay, err := k.r.ReplayDelivery(t.Context(), k.ws, stored[0].ID)
		if err != nil || replay.Severity != c.want || k.d.wokenBy[1] != c.want {
			t.Errorf("%s with %s: replayed as %+v, %v; want %s", c.kind, c.data, replay, err, c.want)
		}
	}
}

// What nobody knows the severity of is info.
func TestATestPayloadIsInfo(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	k.d.answer = func(a *cybervault.Assignment) *cybervault.Attempt {
		return &cybervault.Attempt{Delivery: a.Delivery, Exchange: cybervault.Exchange{URL: w.URL}}
	}
	if _, err := k.r.VerifyWebhook(t.Context(), k.ws, w.ID); err != nil {
		t.Fatal(err)
	}
	if got := k.store.of(w.ID); len(got) != 1 || got[0].Severity != cybervault.SeverityInfo {
		t.Errorf("stored: %+v", got)
	}
}
