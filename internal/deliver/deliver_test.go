package deliver_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

func TestFirstTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 30*time.Millisecond))
		begin := time.Now()
		id := w.publish(hook)
		attempts, unwatch := w.d.Await(id)
		defer unwatch()
		a := <-attempts
		if a.Number != 1 || !a.Succeeded() || a.Status != 200 || a.Delivery != id {
			t.Errorf("the attempt told is %+v", a)
		}
		got := w.net.got(hook.URL)
		if len(got) != 1 || !got[0].at.Equal(begin) {
			t.Fatalf("the receiver got %d attempts, the first at %v; want one at once, at %v", len(got), got[0].at, begin)
		}
		if r := w.queue.get(id); r.status != cybervault.DeliveryDelivered || r.attempts != 1 {
			t.Errorf("the store has it %s after %d attempts", r.status, r.attempts)
		}
		w.nothingHeld()
	})
}

func TestRetriesFollowTheSchedule(t *testing.T) {
	t.Parallel()
	schedule := []time.Duration{5 * time.Second, 30 * time.Second, 10 * time.Minute, 24 * time.Hour}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, schedule...)
		hook := w.webhook(answering(500, 0))
		id := w.publish(hook)
		pass(72 * time.Hour)
		got := w.net.got(hook.URL)
		if len(got) != len(schedule)+1 {
			t.Fatalf("%d attempts, want %d", len(got), len(schedule)+1)
		}
		for i, delay := range schedule {
			waited := got[i+1].at.Sub(got[i].at)
			// A claim and a commit lie between a retry's time and its attempt.
			if low, high := delay*9/10, delay*11/10+20*time.Millisecond; waited < low || waited > high {
				t.Errorf("retry %d came after %v, want %v to %v", i+1, waited, low, high)
			}
			if n := got[i+1].headers["X-CyberVault-Attempt"]; n != strconv.Itoa(i+2) {
				t.Errorf("retry %d says it is attempt %s", i+1, n)
			}
			if string(got[i+1].request.Body) != string(got[0].request.Body) || got[i+1].headers["webhook-id"] != got[0].headers["webhook-id"] {
				t.Errorf("retry %d carries other bytes or another webhook-id", i+1)
			}
		}
		if r := w.queue.get(id); r.status != cybervault.DeliveryDeadLetter || r.attempts != 5 {
			t.Errorf("the store has it %s after %d attempts, want dead_letter after 5", r.status, r.attempts)
		}
		w.nothingHeld()
	})
}

func TestAWebhooksOwnSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Hour)
		never, twice := w.webhook(answering(500, 0)), w.webhook(answering(500, 0))
		w.hooks.change(never.ID, func(h *cybervault.Webhook) { h.RetrySchedule = []time.Duration{} })
		w.hooks.change(twice.ID, func(h *cybervault.Webhook) { h.RetrySchedule = []time.Duration{time.Second, time.Second} })
		w.publish(never)
		w.publish(twice)
		pass(10 * time.Second)
		if n, m := len(w.net.got(never.URL)), len(w.net.got(twice.URL)); n != 1 || m != 3 {
			t.Errorf("%d and %d attempts, want 1 and 3", n, m)
		}
		if n := w.queue.count(cybervault.DeliveryDeadLetter); n != 2 {
			t.Errorf("%d dead letters, want 2", n)
		}
	})
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		asked, low, high time.Duration
	}{
		{time.Hour, time.Hour, time.Hour},
		{100 * time.Hour, cybervault.MaxRetryAfter, cybervault.MaxRetryAfter},
		{time.Millisecond, 4500 * time.Millisecond, 5500 * time.Millisecond}, // the schedule asks for more
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 5*time.Second)
			hook := w.webhook(func(_ context.Context, n int) (cybervault.Exchange, error) {
				if n == 1 {
					return cybervault.Exchange{Status: 429, RetryAfter: c.asked}, nil
				}
				return cybervault.Exchange{Status: 200}, nil
			})
			id := w.publish(hook)
			pass(101 * time.Hour)
			got := w.net.got(hook.URL)
			if len(got) != 2 {
				t.Fatalf("%d attempts, want 2", len(got))
			}
			if waited := got[1].at.Sub(got[0].at); waited < c.low || waited > c.high+20*time.Millisecond {
				t.Errorf("asked to wait %v, it waited %v", c.asked, waited)
			}
			if r := w.queue.get(id); r.status != cybervault.DeliveryDelivered {
				t.Errorf("the delivery is %s", r.status)
			}
		})
	}
}

func TestWhatCountsAsSuccess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		accept  cybervault.Accept
		status  int
		failure cybervault.Failure
	}{
		{cybervault.AcceptDefault, 200, ""},
		{cybervault.AcceptDefault, 201, ""},
		{cybervault.AcceptDefault, 204, cybervault.FailureStatus},
		{cybervault.AcceptAny2xx, 204, ""},
		{cybervault.AcceptAny2xx, 299, ""},
		{cybervault.AcceptAny2xx, 302, cybervault.FailureRedirect},
		{cybervault.AcceptDefault, 308, cybervault.FailureRedirect},
		{cybervault.AcceptDefault, 404, cybervault.FailureStatus},
		{cybervault.AcceptDefault, 500, cybervault.FailureStatus},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			hook := w.webhook(answering(c.status, 0))
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Accept = c.accept })
			id := w.publish(hook)
			pass(time.Second)
			r := w.queue.get(id)
			if got := r.results[0].Attempt.Failure; got != c.failure {
				t.Errorf("%s, %d: failure %q, want %q", c.accept, c.status, got, c.failure)
			}
			if text := r.results[0].Attempt.Error; (text == "") != (c.failure == "") {
				t.Errorf("%s, %d: explained as %q", c.accept, c.status, text)
			}
		})
	}
}

func TestATestIsTriedOnceAndFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		hook := w.webhook(answering(500, 100*time.Millisecond))
		for range 50 {
			w.publish(hook)
		}
		test := w.commit(hook, []byte(`{}`), true)
		pass(250 * time.Millisecond)
		place := slices.IndexFunc(w.net.got(hook.URL), func(s seen) bool { return s.headers["X-CyberVault-Test"] == "true" })
		if place < 0 || place > 2*cybervault.DefaultConcurrency {
			t.Errorf("the test was attempt %d, behind all that waited", place)
		}
		pass(time.Minute)
		if r := w.queue.get(test); r.status != cybervault.DeliveryDeadLetter || r.attempts != 1 {
			t.Errorf("the test is %s after %d attempts, want dead_letter after one", r.status, r.attempts)
		}
	})
}

func TestConcurrencyToOneWebhookIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 100*time.Millisecond))
		for range 600 {
			w.publish(hook)
		}
		pass(time.Minute)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 600 {
			t.Errorf("%d delivered, want 600", n)
		}
		if peak := w.net.peak[hook.URL]; peak != cybervault.DefaultConcurrency {
			t.Errorf("at most %d attempts at once, want %d reached and not passed", peak, cybervault.DefaultConcurrency)
		}
	})
}

func TestLaneBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		learn := func(n int, x cybervault.Exchange) (window, limit int) {
			for range n {
				w.d.Learn(hook.ID, &x)
			}
			return w.d.Bounds(hook.ID)
		}
		type step struct {
			name          string
			n             int
			x             cybervault.Exchange
			window, limit int
		}
		for _, s := range []step{
			{"success", 20_000, cybervault.Exchange{Status: 200}, deliver.MaxWindow, cybervault.DefaultConcurrency},
			{"one timeout", 1, cybervault.Exchange{Failure: cybervault.FailureTimeout}, deliver.MaxWindow / 2, cybervault.DefaultConcurrency / 2},
			{"timeouts", 100, cybervault.Exchange{Failure: cybervault.FailureTimeout}, deliver.MinWindow, 1},
			{"a refusal is an answer", 3, cybervault.Exchange{Status: 500, Failure: cybervault.FailureStatus}, deliver.MinWindow, 4},
			{"429 asks for less", 1, cybervault.Exchange{Status: 429, Failure: cybervault.FailureStatus}, deliver.MinWindow, 2},
			{"503 asks for less", 9, cybervault.Exchange{Status: 503, Failure: cybervault.FailureStatus}, deliver.MinWindow, 1},
			{"success again", 2, cybervault.Exchange{Status: 200}, deliver.MinWindow + 2, 3},
		} {
			if window, limit := learn(s.n, s.x); window != s.window || limit != s.limit {
				t.Errorf("%s: window %d and limit %d, want %d and %d", s.name, window, limit, s.window, s.limit)
			}
		}
	})
}

func TestReceiversThatHangDoNotDelayOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Hour)
		const hanging = 2*deliver.QuickSlots + 100
		dead := make([]*cybervault.Webhook, hanging)
		for i := range dead {
			dead[i] = w.webhook(silent)
			w.publish(dead[i])
		}
		good := w.webhook(answering(200, 0))
		pass(time.Minute) // each lane has met its receiver
		for _, hook := range dead {
			for range 3 {
				w.publish(hook)
			}
		}
		pass(time.Second)
		if n := w.d.Running(); n < 1000 {
			t.Fatalf("only %d attempts hang: the test shows nothing", n)
		}
		for range 100 {
			w.publish(good)
		}
		before := time.Now()
		pass(20 * time.Millisecond)
		if n := len(w.net.got(good.URL)); n != 100 {
			t.Errorf("of 100 deliveries to the good receiver %d were made while others hang", n)
		}
		for _, s := range w.net.got(good.URL) {
			if late := s.at.Sub(before); late > 10*time.Millisecond {
				t.Errorf("a delivery to the good receiver was %v late", late)
			}
		}
		w.stop(0)
	})
}

func TestOverflowIsDeliveredInOrderWithinTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const n = 6000
		hook := w.webhook(answering(200, 10*time.Millisecond))
		for range n {
			w.publish(hook)
			if lag := w.d.Lag(); lag > deliver.MaxWindow {
				t.Fatalf("%d deliveries in memory, more than %d", lag, deliver.MaxWindow)
			}
		}
		pass(5 * time.Minute)
		if got := w.queue.count(cybervault.DeliveryDelivered); got != n {
			t.Fatalf("%d delivered, want %d", got, n)
		}
		got := w.net.got(hook.URL)
		if len(got) != n {
			t.Errorf("%d attempts for %d deliveries", len(got), n)
		}
		for i, s := range got {
			sequence, err := strconv.Atoi(s.headers["X-CyberVault-Sequence"])
			// As many as are under way at once may overtake each other.
			if shift := sequence - 1 - i; err != nil || shift > 2*cybervault.DefaultConcurrency || shift < -2*cybervault.DefaultConcurrency {
				t.Fatalf("attempt %d was of sequence number %d", i+1, sequence)
			}
		}
		w.nothingHeld()
	})
}

func TestMemoryIsBoundedWhateverTheBacklog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		body := make([]byte, cybervault.MaxEventBytes)
		const hooks, each = 40, 60
		for range hooks {
			hook := w.webhook(answering(200, 200*time.Millisecond))
			for range each {
				w.commit(hook, body, false)
			}
		}
		most := w.d.HeldBytes()
		for range 1000 {
			pass(10 * time.Millisecond)
			most = max(most, w.d.HeldBytes())
		}
		// Beyond the bound each lane may hold a starved lane's claim and what its
		// workers have in hand.
		if bound := int64(deliver.WindowBytes + hooks*(8+4)*len(body)); most > bound {
			t.Errorf("%d MiB held, more than %d", most>>20, bound>>20)
		}
		pass(time.Hour)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != hooks*each {
			t.Errorf("%d delivered, want %d", n, hooks*each)
		}
		w.nothingHeld()
	})
}
