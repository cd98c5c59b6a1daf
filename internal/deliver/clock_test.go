package deliver_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// A node whose clock is ahead of the store's believes that a retry is due before
// it is. It must not spend the time until then asking.
func TestAClockAheadDoesNotAskAllTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Minute)
		ahead := 10 * time.Second
		w.queue.now = func() time.Time { return w.now().Add(-ahead) }
		hook := w.webhook(once(1, 500))
		w.commit(hook, []byte("{}"), false)
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if n := len(w.net.got(hook.URL)); n != 2 {
			t.Errorf("%d requests", n)
		}
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		if most := int(ahead/(50*time.Millisecond)) + 50; w.queue.claims > most || w.queue.claims < 10 {
			t.Errorf("asked %d times, at most %d", w.queue.claims, most)
		}
	})
}
