package router_test

import (
	"testing"

	"github.com/cybervault/cybervault"
)

// A webhook that is made ordered has what it holds put in line, and so has one
// that a server which was killed meanwhile left behind.
func TestAWebhookIsMadeOrdered(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	k.update(w.ID, cybervault.WebhookChange{Description: new("no matter")})
	if k.store.marked != 0 {
		t.Errorf("marked %d times, though it is not ordered", k.store.marked)
	}
	k.update(w.ID, cybervault.WebhookChange{Ordered: new(true)})
	if k.store.marked != 1 || !k.d.wokenFor(w.ID) {
		t.Errorf("marked %d times, woken %v", k.store.marked, k.d.woken)
	}
	k.update(w.ID, cybervault.WebhookChange{Description: new("still")})
	if k.store.marked != 1 {
		t.Errorf("marked %d times after a change of something else", k.store.marked)
	}
	k.restart()
	if k.store.marked != 2 {
		t.Errorf("marked %d times after a restart, want once more", k.store.marked)
	}
	k.update(w.ID, cybervault.WebhookChange{Ordered: new(false)})
	k.restart()
	if k.store.marked != 2 {
		t.Errorf("marked %d times, though it is not ordered any more", k.store.marked)
	}
}
