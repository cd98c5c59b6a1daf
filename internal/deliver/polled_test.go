package deliver_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

// A polled webhook is never sent anything: what a lane holds of it, a test
// included, is given back, the sweep passes it by, and once it has a URL to send
// to its deliveries go there.
func TestAPolledWebhookIsSentNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		url := hook.URL
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.URL = cybervault.PollURL })
		first, second := w.publish(hook), w.commit(hook, []byte(`{"test":1}`), true)
		pass(10 * time.Minute)
		w.d.Wake(hook.ID, "")
		synctest.Wait()
		if n := len(w.net.got(url)) + len(w.net.got(cybervault.PollURL)); n != 0 {
			t.Fatalf("%d attempts were made to a polled webhook", n)
		}
		for _, id := range []cybervault.DeliveryID{first, second} {
			if r := w.queue.get(id); r.status != cybervault.DeliveryPending || r.token != 0 {
				t.Errorf("a delivery is %s, under lease %d", r.status, r.token)
			}
		}
		if w.d.Lag() != 0 {
			t.Errorf("%d deliveries are kept in memory", w.d.Lag())
		}
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) { h.URL = url })
		w.d.Wake(hook.ID, "")
		pass(time.Second)
		if n := len(w.net.got(url)); n != 2 {
			t.Errorf("%d attempts once it has a URL, want 2", n)
		}
	})
}

// What a poll hands out carries what an attempt at the same moment does.
func TestHeadersForAPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hook := w.webhook(answering(200, 0))
		w.hooks.change(hook.ID, func(h *cybervault.Webhook) {
			h.Headers = []cybervault.Header{{Name: "X-Team", Value: "blue"}}
		})
		id := w.publish(hook)
		synctest.Wait()
		sent := w.net.got(hook.URL)[0]
		now, _ := w.hooks.Lookup(hook.ID)
		r := w.queue.get(id)
		headers := w.d.Headers(now, &r.assignment)
		// The static header is for the receiver at the URL alone.
		if len(headers) != len(sent.headers)-1 || slices.ContainsFunc(headers, func(h cybervault.Header) bool { return h.Name == "X-Team" }) {
			t.Errorf("%d headers, an attempt has %d", len(headers), len(sent.headers))
		}
		polled := *now
		polled.URL = cybervault.PollURL
		if headers := w.d.Headers(&polled, &r.assignment); len(headers) != len(sent.headers) {
			t.Errorf("%d headers for a polled webhook, want all %d", len(headers), len(sent.headers))
		}
		for _, h := range headers {
			if sent.headers[h.Name] != h.Value {
				t.Errorf("%s: %q, an attempt has %q", h.Name, h.Value, sent.headers[h.Name])
			}
		}
	})
}
