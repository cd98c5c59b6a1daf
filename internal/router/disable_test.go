package router_test

import (
	"sync"
	"testing"

	"github.com/cybervault/cybervault"
)

func TestDisable(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	k.mustPublish(threat(`{}`))
	const reason = "answered 410 Gone"
	// Many at once, and somebody changes it at the same moment: it is disabled
	// once, and the change is kept.
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range 8 {
		wg.Go(func() {
			got, err := k.r.Disable(t.Context(), w.ID, reason)
			if err != nil {
				t.Error(err)
			}
			if got != nil {
				mu.Lock()
				done++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	now, ok := k.r.Lookup(w.ID)
	if !ok || now.Status != cybervault.WebhookDisabled || now.DisabledReason != reason || done != 1 {
		t.Errorf("disabled %d times: %+v", done, now)
	}
	if d := k.store.of(w.ID); len(d) != 1 || d[0].Status != cybervault.DeliveryPending {
		t.Errorf("its deliveries: %+v; want them to wait", d)
	}
	k.restart()
	if now, _ := k.r.Lookup(w.ID); now.DisabledReason != reason {
		t.Errorf("after a restart: %+v", now)
	}
	if got, err := k.r.Disable(t.Context(), cybervault.NewID[cybervault.WebhookID](k.ids), reason); got != nil || err != nil {
		t.Errorf("a webhook that is gone: %v, %v", got, err)
	}
	k.update(w.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookEnabled)})
	k.store.breaks("SaveWebhook", errDisk)
	if _, err := k.r.Disable(t.Context(), w.ID, reason); err == nil {
		t.Error("the store refused, and nobody was told")
	}
}
