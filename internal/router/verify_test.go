package router_test

import (
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

func heldWebhook(k *desk) *cybervault.Webhook {
	k.t.Helper()
	w, err := k.r.CreateWebhook(k.t.Context(), k.ws, cybervault.WebhookChange{
		URL: new("https://receiver.example/in"), Events: &[]string{"*"}, Verification: new(true), CACertificate: new("PEM"),
	})
	if err != nil {
		k.t.Fatalf("CreateWebhook: %v", err)
	}
	return w
}

// status tells how the webhook's deliveries that are no tests stand.
func (k *desk) status(id cybervault.WebhookID) cybervault.DeliveryStatus {
	for _, d := range k.store.of(id) {
		if !d.Test {
			return d.Status
		}
	}
	return ""
}

func TestVerificationIsStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		w := heldWebhook(k)
		synctest.Wait()
		if len(k.d.taken) != 0 || !w.Held() {
			t.Error("created as verified, or the test payload was sent unasked")
		}
		disabled := *w
		disabled.Status = cybervault.WebhookDisabled
		for _, start := range []struct {
			before, now *cybervault.Webhook
			sends       int
		}{
			{w, w, 0},                       // it was waiting already
			{w, &disabled, 0},               // nobody waits for a disabled one
			{&disabled, w, 1},               // enabled
			{nil, w, 1},                     // new; it has been verified meanwhile, which does no harm
			{nil, k.webhook("threat.*"), 0}, // without verification
		} {
			k.d.taken = nil
			k.r.StartVerification(start.before, start.now)
			synctest.Wait()
			if len(k.d.taken) != start.sends {
				t.Errorf("%+v: the test payload was sent %d times, want %d", start, len(k.d.taken), start.sends)
			}
		}
		if now, _ := k.r.Lookup(w.ID); now.Held() || k.store.webhooks[w.ID].Held() {
			t.Error("not verified although the test payload was accepted")
		}
		k.mustPublish(threat(`{}`))
		if s := k.status(w.ID); s != cybervault.DeliveryPending {
			t.Errorf("its deliveries are %s", s)
		}
	})
}

func TestHeldDeliveriesAreFreed(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]func(*desk, cybervault.WebhookID){
		"by verifying": func(k *desk, id cybervault.WebhookID) {
			if a, err := k.r.VerifyWebhook(k.t.Context(), k.ws, id); err != nil || !a.Succeeded() {
				k.t.Errorf("verify: %+v, %v", a, err)
			}
		},
		"by switching verification off": func(k *desk, id cybervault.WebhookID) {
			k.update(id, cybervault.WebhookChange{Verification: new(false)})
		},
		"by enabling, which verifies": func(k *desk, id cybervault.WebhookID) {
			before := k.update(id, cybervault.WebhookChange{Status: new(cybervault.WebhookDisabled)})
			k.r.StartVerification(before, k.update(id, cybervault.WebhookChange{Status: new(cybervault.WebhookEnabled)}))
		},
		"in the end, by a store that fails at first": func(k *desk, id cybervault.WebhookID) {
			k.store.breaks("FreeHeld", errDisk)
			k.update(id, cybervault.WebhookChange{Verification: new(false)})
			if s := k.status(id); s != cybervault.DeliveryHeld {
				k.t.Errorf("the store failed and the delivery is %s", s)
			}
			<-time.After(10 * time.Second)
			k.store.breaks("FreeHeld", nil)
			<-time.After(time.Minute)
		},
		"by the next start, after a kill": func(k *desk, id cybervault.WebhookID) {
			verified := *k.store.webhooks[id]
			verified.VerifiedAt = time.Now()
			k.store.webhooks[id] = &verified
			k.restart()
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := newDesk(t)
			accept := k.d.answer
			k.d.answer = func(a *cybervault.Assignment) *cybervault.Attempt {
				attempt := accept(a)
				attempt.Status, attempt.Failure = 500, cybervault.FailureStatus
				return attempt
			}
			w := heldWebhook(k)
			synctest.Wait()
			k.mustPublish(threat(`{}`))
			if s := k.status(w.ID); s != cybervault.DeliveryHeld {
				t.Fatalf("%s: before, the delivery is %s", name, s)
			}
			if a, err := k.r.VerifyWebhook(t.Context(), k.ws, w.ID); err != nil || a.Succeeded() {
				t.Errorf("%s: a receiver that says no: %+v, %v", name, a, err)
			}
			k.d.answer = accept
			k.d.woken = nil
			free(k, w.ID)
			synctest.Wait()
			if s := k.status(w.ID); s != cybervault.DeliveryPending {
				t.Errorf("%s: after, the delivery is %s", name, s)
			}
			if name != "by the next start, after a kill" && !k.d.wokenFor(w.ID) {
				t.Errorf("%s: the lane was not woken", name)
			}
		})
	}
}

func TestAnAnswerThatNeverComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		w := k.webhook("*")
		k.d.answer = nil
		begin := time.Now()
		_, err := k.r.VerifyWebhook(t.Context(), k.ws, w.ID)
		wantCode(t, err, cybervault.CodeUnavailable, "")
		if took := time.Since(begin); took != 3*cybervault.AttemptTimeout {
			t.Errorf("it was waited for %v", took)
		}
		if len(k.d.awaited) != 0 {
			t.Error("somebody still waits")
		}
	})
}

func TestAWebhookChangesWhileItIsVerified(t *testing.T) {
	t.Parallel()
	const old, moved = "https://receiver.example/in", "https://new.example"
	move := func(url string) func(*desk, cybervault.WebhookID) {
		return func(k *desk, id cybervault.WebhookID) { k.update(id, cybervault.WebhookChange{URL: new(url)}) }
	}
	for name, c := range map[string]struct {
		meanwhile func(*desk, cybervault.WebhookID)
		url       string // where the test payload went
		code      cybervault.Code
	}{
		"nothing": {func(*desk, cybervault.WebhookID) {}, old, ""},
		"its description": {func(k *desk, id cybervault.WebhookID) {
			k.update(id, cybervault.WebhookChange{Description: new("x")})
		}, old, ""},
		"its URL, after the attempt":  {move(moved), old, cybervault.CodeConflict},
		"its URL, before the attempt": {move(moved), moved, ""},
		"its URL, there and back":     {move(old), moved, cybervault.CodeConflict},
		"its CA": {func(k *desk, id cybervault.WebhookID) {
			k.update(id, cybervault.WebhookChange{CACertificate: new("PEM2")})
		}, old, cybervault.CodeConflict},
		"it is deleted": {func(k *desk, id cybervault.WebhookID) {
			if err := k.r.DeleteWebhook(k.t.Context(), k.ws, id); err != nil {
				k.t.Error(err)
			}
		}, old, cybervault.CodeNotFound},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := newDesk(t)
			k.d.answer = nil
			w := heldWebhook(k)
			done := make(chan error, 1)
			go func() {
				_, err := k.r.VerifyWebhook(t.Context(), k.ws, w.ID)
				done <- err
			}()
			synctest.Wait() // the test payload is on its way
			c.meanwhile(k, w.ID)
			k.d.answers(&cybervault.Attempt{StartedAt: time.Now(), Exchange: cybervault.Exchange{URL: c.url, Status: 200}})
			err := <-done
			if got := cybervault.ErrorCode(err); got != c.code {
				t.Errorf("%s: %v, want code %q", name, err, c.code)
			}
			if now, ok := k.r.Lookup(w.ID); ok && now.Held() != (c.code != "") {
				t.Errorf("%s: held %v after %v", name, now.Held(), err)
			}
		})
	}
}

// Something else about the webhook is changed in the very moment in which the
// outcome is stored.
func TestTheOutcomeOfAVerificationIsNotLostToAnotherChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		w := heldWebhook(k)
		var racing atomic.Int64
		k.store.before = func(method string) {
			if method == "SaveWebhook" && racing.Add(1) == 1 {
				go func() {
					_, _ = k.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{Description: new("x")})
				}()
			}
		}
		for range 20 {
			racing.Store(0)
			k.update(w.ID, cybervault.WebhookChange{URL: new("https://receiver.example/" + strconv.FormatInt(time.Now().UnixNano(), 36))})
			if _, err := k.r.VerifyWebhook(t.Context(), k.ws, w.ID); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if now, _ := k.r.Lookup(w.ID); now.Held() {
				t.Fatal("the outcome was lost")
			}
			<-time.After(time.Second)
		}
	})
}

// A publish that chose its webhooks before a change must have committed before
// what the change brings with it is done to the deliveries in the store, however
// many changes of other webhooks come in between.
func TestAChangeWaitsForPublishesUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		doomed, other := k.webhook("*"), k.webhook("patch.*")
		commit := make(chan struct{})
		k.store.before = func(method string) {
			if method == "Publish" {
				<-commit
			}
		}
		published := make(chan error, 1)
		go func() { _, err := k.publish(threat(`{}`)); published <- err }()
		synctest.Wait()
		changed, deleted := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := k.r.UpdateWebhook(t.Context(), k.ws, other.ID, cybervault.WebhookChange{Description: new("x")})
			changed <- err
		}()
		synctest.Wait()
		go func() { deleted <- k.r.DeleteWebhook(t.Context(), k.ws, doomed.ID) }()
		synctest.Wait()
		select {
		case <-changed:
			t.Error("the change did not wait for the publish")
		case <-deleted:
			t.Error("the deletion did not wait for the publish")
		default:
		}
		close(commit)
		if err := errors.Join(<-published, <-changed, <-deleted); err != nil {
			t.Fatal(err)
		}
		if s := k.status(doomed.ID); s != cybervault.DeliveryCancelled {
			t.Errorf("the delivery that was on its way to a webhook deleted meanwhile is %s", s)
		}
	})
}

func TestADeletionThatTheStoreDoesNotFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		w := k.webhook("*")
		k.mustPublish(threat(`{}`))
		k.store.breaks("CancelDeliveries", errDisk)
		if err := k.r.DeleteWebhook(t.Context(), k.ws, w.ID); err != nil {
			t.Fatalf("the webhook is deleted, and the caller told %v", err)
		}
		<-time.After(time.Minute)
		k.store.breaks("CancelDeliveries", nil)
		<-time.After(time.Minute)
		if s := k.status(w.ID); s != cybervault.DeliveryCancelled {
			t.Errorf("its delivery is %s", s)
		}
	})
}

func TestOrphaned(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	known, deleted, foreign := k.webhook("*"), k.webhook("*"), k.webhook("*")
	k.mustPublish(threat(`{}`))
	gone := *deleted
	gone.DeletedAt = time.Now()
	k.store.webhooks[gone.ID] = &gone
	delete(k.store.webhooks, foreign.ID) // until another node adds it
	k.restart()
	k.store.webhooks[foreign.ID] = foreign
	for _, w := range []*cybervault.Webhook{known, deleted, foreign} {
		if err := k.r.Orphaned(t.Context(), w.ID); err != nil {
			t.Fatal(err)
		}
	}
	if k.status(known.ID) != cybervault.DeliveryPending || k.status(foreign.ID) != cybervault.DeliveryPending {
		t.Error("deliveries of a webhook that exists were cancelled")
	}
	if s := k.status(deleted.ID); s != cybervault.DeliveryCancelled {
		t.Errorf("the delivery of a deleted webhook is %s", s)
	}
	k.store.breaks("Webhooks", errDisk)
	if err := k.r.Orphaned(t.Context(), deleted.ID); err == nil {
		t.Error("nothing is known of the store, and no error")
	}
}
