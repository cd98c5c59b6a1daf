package deliver_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
)

func TestALeaseThatIsTooShortIsNotTried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		id := w.ids.NextRun(2)
		a := &cybervault.Assignment{Delivery: cybervault.DeliveryID{UUID: id[1]}, Event: cybervault.EventID{UUID: id[0]}, Webhook: hook.ID,
			Attempt: 1, Body: []byte(`{}`), Lease: cybervault.Lease{Token: 77, Until: w.now().Add(deliver.LeaseMargin - time.Millisecond)}}
		if !w.d.Admit(hook.ID, len(a.Body), "", false) {
			t.Fatal("not admitted")
		}
		w.queue.put(*a, 0, a.Lease.Until, a.Lease.Token)
		w.d.Dispatch([]*cybervault.Assignment{a})
		pass(time.Second)
		r := w.queue.get(a.Delivery)
		if r.status != cybervault.DeliveryDelivered || r.results[0].Lease.Token == 77 {
			t.Errorf("the delivery is %s; want it delivered under a new lease", r.status)
		}
		if n := len(w.net.got(hook.URL)); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
		w.nothingHeld()
	})
}

// A receiver that takes nearly the whole timeout works off a window more slowly
// than leases last. No attempt may begin under a lease that it could outlive.
func TestASlowReceiverNeverOutlivesALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 4900*time.Millisecond))
		const n = 1500
		for range n {
			w.publish(hook)
		}
		pass(time.Hour)
		if got := w.queue.count(cybervault.DeliveryDelivered); got != n {
			t.Errorf("%d delivered, want %d", got, n)
		}
		_, stale, _ := w.queue.counts()
		if got := len(w.net.got(hook.URL)); got != n || stale != 0 {
			t.Errorf("%d attempts for %d deliveries, %d stale results", got, n, stale)
		}
		if window, _ := w.d.Bounds(hook.ID); window >= deliver.StartWindow+n/2 {
			t.Errorf("a window of %d: it must shrink when it cannot be worked off", window)
		}
		// 32 at once, 4.9 s each: 230 s. What is given back is claimed again at
		// once, so it takes hardly longer.
		last := w.net.got(hook.URL)[n-1].at
		if took := last.Sub(w.net.got(hook.URL)[0].at); took > 270*time.Second {
			t.Errorf("it took %v; leases that run out must not leave the lane idle", took)
		}
		w.nothingHeld()
	})
}

func TestALostNodesLeaseIsTakenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		run := w.ids.NextRun(2)
		id := cybervault.DeliveryID{UUID: run[1]}
		until := w.now().Add(deliver.LeaseDuration)
		w.queue.put(cybervault.Assignment{Delivery: id, Event: cybervault.EventID{UUID: run[0]}, Webhook: hook.ID, Body: []byte(`{}`)}, 0, until, 4711)
		pass(deliver.LeaseDuration - time.Second)
		if n := len(w.net.got(hook.URL)); n != 0 {
			t.Fatalf("tried %d times while another node holds the lease", n)
		}
		pass(2 * time.Second) // the sweep has seen when the lease ends
		if r := w.queue.get(id); r.status != cybervault.DeliveryDelivered {
			t.Errorf("the delivery is %s after the lease of the lost node has ended", r.status)
		}
	})
}

func TestAStaleResultIsRefusedAndHarmless(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		hook := w.webhook(answering(200, 2*time.Second))
		id := w.publish(hook)
		pass(time.Second)
		w.queue.mu.Lock() // as if the lease had ended and another node had taken it
		w.queue.rows[id].token, w.queue.rows[id].due = 99, w.now().Add(10*time.Second)
		w.queue.mu.Unlock()
		pass(2 * time.Second)
		_, stale, _ := w.queue.counts()
		if r := w.queue.get(id); r.status != cybervault.DeliveryPending || len(r.results) != 0 || stale != 1 {
			t.Errorf("a stale result left the delivery %s with %d attempts", r.status, len(r.results))
		}
		pass(time.Minute) // nor is the delivery lost to this node when the other one dies
		if r := w.queue.get(id); r.status != cybervault.DeliveryDelivered {
			t.Errorf("the delivery is %s", r.status)
		}
		w.nothingHeld()
	})
}

func TestStopWaitsAndGivesLeasesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 3*time.Second))
		for range 100 {
			w.publish(hook)
		}
		synctest.Wait()
		running := w.d.Running()
		begin := time.Now()
		w.stop(10 * time.Second)
		if took := time.Since(begin); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("Stop took %v; want it to wait for the attempts, 3 s, and no longer", took)
		}
		pass(time.Second)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != running {
			t.Errorf("%d delivered, want the %d that were under way", n, running)
		}
		if released, _, _ := w.queue.counts(); released != 100-running {
			t.Errorf("%d leases given back, want %d", released, 100-running)
		}
		w.nothingHeld()

		// What comes after a stop is neither lost nor tried.
		if w.d.Admit(hook.ID, 2, "", true) {
			t.Error("admitted after a stop")
		}
		w.d.Wake(hook.ID, "")
		w.d.Forget(hook.ID)
		w.stop(0)
		pass(time.Hour)
		if n := len(w.net.got(hook.URL)); n != running {
			t.Errorf("%d attempts were begun after the stop", n-running)
		}

		begin = time.Now()
		w.restart()
		pass(time.Minute)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 100 {
			t.Errorf("%d delivered after the next start, want all 100", n)
		}
		if first := w.net.got(hook.URL)[running].at.Sub(begin); first > 100*time.Millisecond {
			t.Errorf("the next start waited %v for leases that were given back", first)
		}
	})
}

func TestStopBreaksOffAtItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(silent)
		id := w.publish(hook)
		pass(time.Second)
		begin := time.Now()
		w.stop(2 * time.Second)
		if took := time.Since(begin); took > 2500*time.Millisecond {
			t.Errorf("Stop took %v, its deadline was 2 s", took)
		}
		if r := w.queue.get(id); r.status != cybervault.DeliveryPending || r.attempts != 0 || r.token != 0 {
			t.Errorf("broken off, the delivery is %s with %d attempts and token %d; want it pending, free, and not blamed on the receiver", r.status, r.attempts, r.token)
		}
		w.nothingHeld()
	})
}

func TestDispatchAfterStopGivesTheLeaseBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		run := w.ids.NextRun(2)
		a := &cybervault.Assignment{Delivery: cybervault.DeliveryID{UUID: run[1]}, Webhook: hook.ID, Attempt: 1, Body: []byte(`{}`)}
		w.d.Admit(hook.ID, len(a.Body), "", false)
		a.Lease = w.d.NewLease()
		w.queue.put(*a, 0, a.Lease.Until, a.Lease.Token)
		w.stop(0)
		w.d.Dispatch([]*cybervault.Assignment{a})
		if r := w.queue.get(a.Delivery); r.token != 0 {
			t.Error("the lease of a delivery committed during the stop was not given back")
		}
		w.nothingHeld()
	})
}

func TestADisabledWebhookKeepsItsDeliveries(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]func(*cybervault.Webhook){
		"disabled":       func(h *cybervault.Webhook) { h.Status = cybervault.WebhookDisabled },
		"to be verified": func(h *cybervault.Webhook) { h.Verification = true },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			hook := w.webhook(answering(200, time.Second))
			for range 200 {
				w.publish(hook)
			}
			pass(500 * time.Millisecond)
			w.hooks.change(hook.ID, off)
			pass(time.Hour)
			made := len(w.net.got(hook.URL))
			if made > cybervault.DefaultConcurrency || w.queue.count(cybervault.DeliveryPending) != 200-made {
				t.Errorf("%s: %d attempts, %d pending", name, made, w.queue.count(cybervault.DeliveryPending))
			}
			w.nothingHeld()
			test := w.commit(hook, []byte(`{}`), true)
			pass(2 * time.Second)
			if r := w.queue.get(test); r.status != cybervault.DeliveryDelivered {
				t.Errorf("%s: a test is %s; tests are sent to any webhook", name, r.status)
			}
			w.hooks.change(hook.ID, func(h *cybervault.Webhook) { *h = *hook })
			w.d.Wake(hook.ID, "")
			pass(20 * time.Second)
			if n := w.queue.count(cybervault.DeliveryDelivered); n != 201 {
				t.Errorf("%s: %d delivered once it is enabled again, want 201", name, n)
			}
		})
	}
}

// The lane is woken while the leases that it is giving back are still in the
// claim's way; nothing may wait for the sweep.
func TestEnablingWhileLeasesAreGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, time.Second))
		for range 8 { // four attempts at once, at first
			w.publish(hook)
		}
		pass(900 * time.Millisecond)
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Status = cybervault.WebhookDisabled })
		w.queue.slow.Store(int64(500 * time.Millisecond))
		pass(101 * time.Millisecond) // the workers find it disabled and begin to release
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.Status = cybervault.WebhookEnabled })
		w.d.Wake(hook.ID, "")
		pass(6 * time.Second)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 8 {
			t.Errorf("%d delivered, want 8", n)
		}
	})
}

func TestADeletedWebhook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		hook := w.webhook(answering(500, time.Second))
		for range 50 {
			w.publish(hook)
		}
		pass(500 * time.Millisecond)
		under := w.d.Running()
		w.hooks.remove(hook.ID)
		w.d.Forget(hook.ID)
		w.queue.end(func(*row) bool { return true })
		pass(2 * deliver.SweepEvery)
		if n := len(w.net.got(hook.URL)); n != under {
			t.Errorf("%d attempts were begun after the webhook was deleted", n-under)
		}
		if n := w.queue.count(cybervault.DeliveryCancelled); n != 50 {
			t.Errorf("%d cancelled, want 50", n)
		}
		if n := w.d.Lanes(); n != 0 {
			t.Errorf("%d lanes left", n)
		}
		w.nothingHeld()
	})
}

// A server that is killed between deleting a webhook and cancelling its
// deliveries leaves deliveries that nobody may deliver.
func TestOrphansAreReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		w.stop(0)
		id := w.publish(hook)
		w.hooks.remove(hook.ID)
		w.restart()
		if r := w.queue.get(id); r.status != cybervault.DeliveryCancelled {
			t.Errorf("the delivery of a deleted webhook is %s after the start", r.status)
		}
	})
}

func TestDropTakesACancelledDeliveryOutOfTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, time.Second))
		var last cybervault.DeliveryID
		for range 10 {
			last = w.publish(hook)
		}
		synctest.Wait()
		w.queue.end(func(r *row) bool { return r.assignment.Delivery == last })
		w.d.Drop(hook.ID, last)
		pass(time.Minute)
		if n := len(w.net.got(hook.URL)); n != 9 {
			t.Errorf("%d attempts, want 9: the cancelled delivery was still waiting", n)
		}
		w.nothingHeld()
	})
}

func TestADatabaseInTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second, time.Second)
		var up atomic.Bool
		hook := w.webhook(func(context.Context, int) (cybervault.Exchange, error) {
			if up.Load() {
				return cybervault.Exchange{Status: 200}, nil
			}
			return cybervault.Exchange{Status: 500}, nil
		})
		for range 20 {
			w.publish(hook)
		}
		pass(500 * time.Millisecond) // each is waiting for its first retry
		w.queue.breakDown()
		up.Store(true)
		pass(10 * time.Minute)
		if _, _, n := w.queue.counts(); n < 20 || n > 200 {
			t.Errorf("a database in trouble was asked %d times in ten minutes", n)
		}
		w.queue.recover()
		pass(40 * time.Second)
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 20 {
			t.Errorf("%d delivered after the database came back, want 20", n)
		}
		w.nothingHeld()
	})
}

// Results that a database in trouble does not take are kept by the store; their
// deliveries are not tried again meanwhile.
func TestTroubleBetweenAnAttemptAndItsRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, time.Second))
		w.publish(hook)
		pass(500 * time.Millisecond)
		w.queue.breakDown()
		pass(5 * time.Minute)
		w.queue.recover()
		pass(time.Minute)
		if n := len(w.net.got(hook.URL)); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
		if n := w.queue.count(cybervault.DeliveryDelivered); n != 1 {
			t.Error("not delivered")
		}
	})
}

func TestWithdrawGivesThePlaceBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		places := 0
		for w.d.Admit(hook.ID, 100, "", false) {
			places++
		}
		if places != deliver.StartWindow {
			t.Errorf("%d places, want %d", places, deliver.StartWindow)
		}
		if !w.d.Admit(hook.ID, 100, "", true) {
			t.Error("an urgent delivery was not admitted")
		}
		id := w.publish(hook) // finds no place, and the lane no room for a claim
		pass(time.Second)
		for range places + 1 {
			w.d.Withdraw(hook.ID, 100, "")
		}
		pass(100 * time.Millisecond)
		if r := w.queue.get(id); r.status != cybervault.DeliveryDelivered {
			t.Errorf("the delivery that waited for a place is %s", r.status)
		}
		w.nothingHeld()
	})
}

// After a start the first alarm comes from the sweep, the others from what each
// claim finds out.
func TestRetriesComeInTimeAfterARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		w.stop(0)
		begin := time.Now()
		waits := []time.Duration{5 * time.Second, 12 * time.Second, 13 * time.Second, 25 * time.Second}
		for _, wait := range waits {
			run := w.ids.NextRun(2)
			id := cybervault.DeliveryID{UUID: run[1]}
			w.queue.put(cybervault.Assignment{Delivery: id, Webhook: hook.ID}, 3, w.now().Add(wait), 0)
		}
		w.restart()
		pass(deliver.SweepEvery - time.Second)
		got := w.net.got(hook.URL)
		if len(got) != len(waits) {
			t.Fatalf("%d attempts before the first sweep, want %d", len(got), len(waits))
		}
		for i, wait := range waits {
			if late := got[i].at.Sub(begin) - wait; late < 0 || late > 20*time.Millisecond || got[i].headers["X-CyberVault-Attempt"] != "4" {
				t.Errorf("retry %d was made %v late, as attempt %s", i, late, got[i].headers["X-CyberVault-Attempt"])
			}
		}
	})
}

func TestAnAlarmMovesEarlier(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		w.d.WakeAt(hook.ID, w.now().Add(20*time.Second))
		w.d.WakeAt(hook.ID, w.now().Add(10*time.Second))
		w.d.WakeAt(hook.ID, w.now().Add(15*time.Second))
		run := w.ids.NextRun(2)
		id := cybervault.DeliveryID{UUID: run[1]}
		w.queue.put(cybervault.Assignment{Delivery: id, Webhook: hook.ID}, 0, w.now().Add(10*time.Second), 0)
		pass(10*time.Second + 10*time.Millisecond)
		if r := w.queue.get(id); r.status != cybervault.DeliveryDelivered {
			t.Errorf("at its time the delivery is %s", r.status)
		}
	})
}

func TestTheClockIsSet(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 10*time.Second)
			flaky := w.webhook(func(_ context.Context, n int) (cybervault.Exchange, error) {
				return cybervault.Exchange{Status: map[bool]int{true: 500, false: 200}[n == 1]}, nil
			})
			slow := w.webhook(answering(200, time.Second))
			w.publish(flaky)
			for range 40 {
				w.publish(slow)
			}
			pass(500 * time.Millisecond)
			w.clock.Store(int64(step))
			pass(deliver.SweepEvery + 10*time.Second)
			if step < 0 { // what is due by the wall clock waits for the wall clock
				pass(-step)
			}
			if n := w.queue.count(cybervault.DeliveryDelivered); n != 41 {
				t.Errorf("clock set by %v: %d delivered, want 41", step, n)
			}
			if n := len(w.net.got(slow.URL)); n != 40 {
				t.Errorf("clock set by %v: %d attempts for 40 deliveries", step, n)
			}
			w.nothingHeld()
		})
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, time.Second)
		hook := w.webhook(answering(500, time.Second))
		id := w.publish(hook)
		first, unwatch := w.d.Await(id)
		second, unwatchSecond := w.d.Await(id) // takes the place of the first
		unwatch()
		unwatch()
		if a := <-second; a.Number != 1 || a.Failure != cybervault.FailureStatus {
			t.Errorf("told of %+v", a)
		}
		unwatchSecond()
		pass(time.Minute)
		select {
		case a := <-first:
			t.Errorf("told of %+v after it was no longer wanted", a)
		default:
		}
	})
}
