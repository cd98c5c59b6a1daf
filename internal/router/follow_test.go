package router_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/router"
)

// neighbour is a second router over the desk's store, as another node has it.
func (k *desk) neighbour() *desk {
	k.t.Helper()
	other := &desk{t: k.t, line: k.line, store: k.store, ids: cybervault.NewIDSource(1, 0, time.Now), ws: k.ws, shared: true}
	other.restart()
	return other
}

func (k *desk) follow(w *cybervault.Webhook) {
	k.t.Helper()
	if err := k.r.Follow(k.t.Context(), map[int64]bool{w.ID.Key(): true}); err != nil {
		k.t.Fatal(err)
	}
}

func TestAnotherNodesChangesAreFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		other := k.neighbour()
		w := k.webhook("*")
		if _, ok := other.r.Lookup(w.ID); ok {
			t.Fatal("known before anyone told")
		}
		other.follow(w)
		synctest.Wait()
		if now, ok := other.r.Lookup(w.ID); !ok || now.URL != w.URL || !other.d.wokenFor(w.ID) {
			t.Errorf("after it was told, it knows %+v", now)
		}
		// An event goes by what the node knows.
		w = k.update(w.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookDisabled), URL: new("https://moved.example/in")})
		other.follow(w)
		if now, _ := other.r.Lookup(w.ID); now.Live() || now.URL != "https://moved.example/in" {
			t.Errorf("it knows %+v", now)
		}
		// A database that took over need not have heard of everything: what it says
		// holds, and a change can be made from that.
		stale := *w
		other.update(w.ID, cybervault.WebhookChange{Description: new("lost")})
		k.store.webhooks[w.ID] = &stale
		if now := other.update(w.ID, cybervault.WebhookChange{RateLimit: new(3.0)}); now.Description == "lost" || now.RateLimit != 3 {
			t.Errorf("after a change was lost, the next gives %+v", now)
		}
		never := other.webhook("*")
		delete(k.store.webhooks, never.ID)
		if err := other.r.FollowAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, ok := other.r.Lookup(never.ID); ok {
			t.Error("a webhook that the store never heard of is still known")
		}
	})
}

// What this node published by the settings of before, after the other one had
// freed or cancelled what there was, is freed or cancelled here.
func TestWhatFollowsFromAnotherNodesChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		other := k.neighbour()
		k.d.answer = nil
		held, err := k.r.CreateWebhook(t.Context(), k.ws, cybervault.WebhookChange{URL: new("https://held.example/in"), Events: &[]string{"*"}, Verification: new(true)})
		if err != nil {
			t.Fatal(err)
		}
		gone, line := k.webhook("*"), k.webhook("*")
		if err := other.r.FollowAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := *held
		w.VerifiedAt = time.Now()
		if err := k.store.SaveWebhook(t.Context(), &w); err != nil {
			t.Fatal(err)
		}
		if err := k.r.DeleteWebhook(t.Context(), k.ws, gone.ID); err != nil {
			t.Fatal(err)
		}
		k.update(line.ID, cybervault.WebhookChange{Ordered: new(true)})
		other.mustPublish(threat(`{}`)) // has not heard of any of it
		if err := other.r.FollowAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := other.r.Poll(t.Context(), k.ws, line.ID, cybervault.Poll{Admin: true, Limit: 1}); cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
			t.Errorf("handed out before all is in line: %v", err)
		}
		marked := k.store.marked
		<-time.After(10 * time.Second)
		synctest.Wait()
		if d := k.store.of(held.ID); len(d) != 1 || d[0].Status != cybervault.DeliveryPending {
			t.Errorf("for the verified webhook: %+v", d)
		}
		if d := k.store.of(gone.ID); len(d) != 1 || d[0].Status != cybervault.DeliveryCancelled || d[0].Reason != cybervault.ReasonWebhookDeleted {
			t.Errorf("for the deleted webhook: %+v", d)
		}
		if _, ok := other.r.Lookup(gone.ID); ok || !slices.Contains(other.d.forgot, gone.ID) {
			t.Error("the deleted webhook is still known")
		}
		if k.store.marked <= marked {
			t.Error("what came late was not put in line")
		}
		if _, err := other.r.Poll(t.Context(), k.ws, line.ID, cybervault.Poll{Admin: true, Limit: 1}); err != nil {
			t.Errorf("after all is in line: %v", err)
		}
	})
}

// A change is made from what is stored, also where this node has not heard of it
// yet; and whoever asks for a webhook that another node has just made finds it.
func TestAChangeAfterAnotherNodesOwn(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	other := k.neighbour()
	w := k.webhook("*")
	if got, err := other.r.Webhook(t.Context(), k.ws, w.ID); err != nil || got.URL != w.URL {
		t.Fatalf("made a moment ago, it is %+v, %v", got, err)
	}
	k.update(w.ID, cybervault.WebhookChange{Description: new("first")})
	got := other.update(w.ID, cybervault.WebhookChange{RateLimit: new(5.0)})
	if got.Description != "first" || got.RateLimit != 5 || got.Revision != 3 {
		t.Errorf("the second change gives %+v", got)
	}
	secret := got.Secrets[0].Value
	rotated, err := k.r.RotateSecret(t.Context(), k.ws, w.ID, time.Hour)
	if err != nil || rotated.RateLimit != 5 || len(rotated.Secrets) != 2 || rotated.Secrets[1].Value != secret {
		t.Errorf("rotated: %+v, %v", rotated, err)
	}
	if disabled, err := other.r.Disable(t.Context(), w.ID, "gone"); err != nil || disabled == nil || len(disabled.Secrets) != 2 {
		t.Errorf("disabled: %+v, %v", disabled, err)
	}
	if err := k.r.DeleteWebhook(t.Context(), k.ws, w.ID); err != nil {
		t.Fatal(err)
	}
	_, err = other.r.UpdateWebhook(t.Context(), k.ws, w.ID, cybervault.WebhookChange{Description: new("late")})
	wantCode(t, err, cybervault.CodeNotFound, "")
	if again, err := other.r.Disable(t.Context(), w.ID, "gone"); again != nil || err != nil {
		t.Errorf("a deleted webhook was disabled: %+v, %v", again, err)
	}
	_, err = other.r.Webhook(t.Context(), k.ws, cybervault.NewID[cybervault.WebhookID](k.ids))
	wantCode(t, err, cybervault.CodeNotFound, "")
}

// The same where this node hears of the other one's change after it has begun to
// make its own.
func TestAnotherNodesChangeIsHeardOfMeanwhile(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	var once sync.Once
	heard := slowDestinations{func() {
		once.Do(func() {
			k.update(w.ID, cybervault.WebhookChange{Description: new("first")})
			if err := k.r.Follow(t.Context(), map[int64]bool{w.ID.Key(): true}); err != nil {
				t.Error(err)
			}
		})
	}}
	r, err := router.New(t.Context(), router.Config{Log: k.store, Webhooks: k.store, Catalogue: catalogue{}, Destinations: heard, IDs: k.ids, Now: time.Now, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.SetDispatcher(k.d)
	k.r = r
	if got := k.update(w.ID, cybervault.WebhookChange{URL: new("https://other.example")}); got.Description != "first" || got.URL != "https://other.example" {
		t.Errorf("the second change gives %+v", got)
	}
}

// A store that cannot be read is no webhook that does not exist.
func TestWhatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	other := k.neighbour()
	w := k.webhook("*")
	k.store.breaks("WebhooksByKey", errDisk)
	_, err := other.r.Webhook(t.Context(), k.ws, w.ID)
	wantCode(t, err, cybervault.CodeUnavailable, "")
	if err := other.r.Follow(t.Context(), map[int64]bool{w.ID.Key(): true}); err == nil {
		t.Error("nothing was read, and nobody was told")
	}
	k.store.breaks("Webhooks", errDisk)
	if err := other.r.FollowAll(t.Context()); err == nil {
		t.Error("nothing was read, and nobody was told")
	}
}

var _ router.WebhookStore = (*memStore)(nil)

// Whoever asks for a webhook that does not exist does not wait for a change, and a
// change does not wait for them.
func TestAskingForNoWebhookHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		other := k.neighbour()
		w := k.webhook("*")
		saving, saved := make(chan struct{}), make(chan struct{})
		k.store.mu.Lock()
		k.store.before = func(method string) {
			if method == "SaveWebhook" {
				close(saving)
				<-saved
			}
		}
		k.store.mu.Unlock()
		go func() {
			_, err := other.r.CreateWebhook(t.Context(), k.ws, cybervault.WebhookChange{URL: new("https://hooks.example/in"), Events: &[]string{"*"}})
			if err != nil {
				t.Error(err)
			}
		}()
		<-saving // the change is under way
		answered := make(chan error, 1)
		go func() {
			_, err := other.r.Webhook(t.Context(), k.ws, cybervault.NewID[cybervault.WebhookID](k.ids))
			answered <- err
		}()
		synctest.Wait()
		select {
		case err := <-answered:
			wantCode(t, err, cybervault.CodeNotFound, "")
		default:
			t.Error("asking for no webhook waits for a change")
		}
		_, err := other.r.Webhook(t.Context(), cybervault.NewID[cybervault.WorkspaceID](k.ids), w.ID)
		wantCode(t, err, cybervault.CodeNotFound, "")
		close(saved)
		synctest.Wait()
		if got, err := other.r.Webhook(t.Context(), k.ws, w.ID); err != nil || got.ID != w.ID {
			t.Errorf("the other node's webhook: %v", err)
		}
	})
}

// The log says what is to be done again in few words, once.
func TestWhatFollowsIsLoggedAsAStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		w := k.webhook("*")
		var out bytes.Buffer
		k.log = slog.New(slog.NewTextHandler(&out, nil))
		k.restart()
		k.store.breaks("MarkOrdered", errDisk)
		k.update(w.ID, cybervault.WebhookChange{Ordered: new(true)})
		synctest.Wait()
		if got := out.String(); strings.Count(got, "trying again") != 1 || !strings.Contains(got, `step="put deliveries in line"`) {
			t.Errorf("logged %q", got)
		}
		k.store.breaks("MarkOrdered", nil)
		<-time.After(time.Minute) // of the bubble's time
	})
}
