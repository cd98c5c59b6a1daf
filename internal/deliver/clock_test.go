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

// A clock that is set forward makes due what a timer would still wait for: the next
// time that the lane sets an alarm, it sees so.
func TestAClockSetForwardRingsTheAlarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 24*time.Hour)
		hook := w.webhook(answering(500, 0))
		w.commit(hook, []byte("{}"), false)
		<-time.After(61 * time.Second) // a sweep has been, the next is to come
		w.clock.Add(int64(30 * 24 * time.Hour))
		w.commit(hook, []byte("{}"), false)
		<-time.After(5 * time.Second)
		synctest.Wait()
		if n := len(w.net.got(hook.URL)); n != 3 {
			t.Errorf("%d requests, want one of each delivery and the first one's retry", n)
		}
	})
}
