package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/deliver"
	"github.com/cybervault/cybervault/internal/router"
)

// hand does one thing to the world. What chance decides about it is keyed by its
// place in the plan.
type hand struct {
	*world
	*rand.Rand

	op     op
	router *router.Router
}

func (w *world) do(o op) {
	h := &hand{world: w, Rand: w.plan.seed.rand(ofOp, uint64(o.n)), op: o, router: w.router()}
	w.mu.Lock()
	w.trace.add(0, "step %d: %s", o.n, o.what)
	w.mu.Unlock()
	h.act()
}

func (h *hand) act() {
	switch h.op.what {
	case "publish":
		h.publish()
	case "create":
		h.create()
	case "delete":
		if hook := h.hook(nil); hook != nil && h.IntN(2) == 0 {
			h.note("deleted", h.router.DeleteWebhook(h.ctx, h.workspace, hook.id))
		}
	case "disable":
		h.status(cybervault.WebhookDisabled)
	case "enable":
		h.status(cybervault.WebhookEnabled)
	case "edit":
		h.edit()
	case "move", "verification":
		h.move()
	case "rotate":
		if hook := h.hook(nil); hook != nil {
			_, err := h.router.RotateSecret(h.ctx, h.workspace, hook.id, []time.Duration{0, time.Minute, time.Hour}[h.IntN(3)])
			h.note("rotated", err)
		}
	case "verify":
		if hook := h.hook(nil); hook != nil {
			_, err := h.router.VerifyWebhook(h.ctx, h.workspace, hook.id)
			h.note("verified", err)
		}
	case "test":
		if hook := h.hook(nil); hook != nil {
			_, err := h.router.TestWebhook(h.ctx, h.workspace, hook.id, cybervault.EventThreatDetected)
			h.note("tested", err)
		}
	case "cancel":
		h.cancel()
	case "replay":
		if e := h.delivery(); e != nil {
			_, err := h.router.ReplayDelivery(h.ctx, h.workspace, e.id)
			h.note("replayed", err)
		}
	case "bulk", "unbulk":
		h.bulk()
	case "poll":
		h.poll()
	default:
		h.harm()
	}
}

// harm is what happens to the server and around it.
func (h *hand) harm() {
	switch h.op.what {
	case "mood":
		if hook := h.hook(nil); hook != nil {
			h.mu.Lock()
			hook.mood = mood(h.IntN(int(moods)))
			h.trace.add(0, "webhook %d has mood %d", hook.n, hook.mood)
			h.mu.Unlock()
		}
	case "kill", "stop":
		h.restart(h.IntN(h.plan.nodes), h.op.what == "stop")
	case "stall":
		h.mu.Lock()
		n := h.nodes[h.IntN(len(h.nodes))]
		h.mu.Unlock()
		n.stall([]time.Duration{5 * time.Second, 62 * time.Second, 3 * time.Minute}[h.IntN(3)] + time.Duration(h.Int64N(int64(time.Second))))
	case "clock":
		by := time.Duration(h.Int64N(int64(6*time.Hour))) - 3*time.Hour
		if h.IntN(2) == 0 {
			by /= 360
		}
		h.set(by)
	case "trouble":
		h.mu.Lock()
		h.trouble = true
		h.mu.Unlock()
		<-time.After([]time.Duration{time.Second, 10 * time.Second, time.Minute}[h.IntN(3)] + time.Duration(h.Int64N(int64(time.Second))))
		h.mu.Lock()
		h.trouble = false
		h.mu.Unlock()
	case "sweep":
		h.sweep()
	case "look":
		h.look()
	}
}

// note puts into the trace how a call was answered.
func (h *hand) note(what string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trace.add(0, "step %d: %s %q", h.op.n, what, cybervault.ErrorCode(err))
	if cybervault.ErrorCode(err) == cybervault.CodeInternal {
		h.fail(0, "step %d: %s: %v", h.op.n, what, err)
	}
}

// hook is some webhook that exists.
func (h *hand) hook(fits func(*cybervault.Webhook) bool) *hook {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all, fitting []*hook
	for _, k := range h.ledger.order {
		if w := k.now(); w != nil && w.DeletedAt.IsZero() {
			if all = append(all, k); fits != nil && fits(w) {
				fitting = append(fitting, k)
			}
		}
	}
	if len(fitting) > 0 {
		all = fitting
	}
	if len(all) == 0 {
		return nil
	}
	return all[h.IntN(len(all))]
}

// delivery is some delivery, rather a young one.
func (h *hand) delivery() *entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.ledger.all)
	if n == 0 {
		return nil
	}
	if h.IntN(4) == 0 {
		return h.ledger.all[h.IntN(n)]
	}
	return h.ledger.all[n-1-h.IntN(min(n, 12))]
}

var types = []string{cybervault.EventThreatDetected, cybervault.EventIncidentCreated, cybervault.EventIncidentUpdated, cybervault.EventEndpointOnline}

func (h *hand) publish() {
	reqs := make([]cybervault.PublishRequest, 1+h.IntN(4))
	if h.IntN(30) == 0 {
		reqs = make([]cybervault.PublishRequest, 60)
	}
	h.mu.Lock()
	for i := range reqs {
		h.events++
		n := h.events
		if h.IntN(12) == 0 {
			n = 1 + h.IntN(n) // published before, or at this moment
		}
		reqs[i] = request(n, h.IntN(3) == 0)
	}
	h.mu.Unlock()
	out := h.router.PublishBatch(h.ctx, h.workspace, reqs)
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, o := range out {
		if o.Err != nil {
			if cybervault.ErrorCode(o.Err) != cybervault.CodeUnavailable {
				h.fail(0, "event %d was refused: %v", numberIn(reqs[i]), o.Err)
			}
			continue
		}
		h.ledger.answered(&reqs[i], o.Receipt)
	}
}

// request is the event of a number. The same number is always the same event, and
// every second one has a key.
func request(n int, stamped bool) cybervault.PublishRequest {
	req := cybervault.PublishRequest{Type: types[n%len(types)], Data: fmt.Appendf(nil, `{"n":%d}`, n)}
	if n%3 == 0 {
		s := cybervault.Severities()
		req.Data = fmt.Appendf(nil, `{"n":%d,"severity":%q}`, n, s[n/3%len(s)])
	}
	if n%2 == 0 {
		req.IdempotencyKey = fmt.Sprintf("key-%d", n)
	} else if stamped {
		req.Timestamp = time.Date(2020, 1, 1, 0, 0, n, 0, time.UTC)
	}
	return req
}

func numberIn(req cybervault.PublishRequest) int {
	return numberOf(fmt.Appendf(nil, `{"data":%s}`, req.Data))
}

func (h *hand) create() {
	schedule := []time.Duration{time.Second, 3 * time.Second}
	url := h.url()
	change := cybervault.WebhookChange{URL: &url, Events: &[]string{"*"}}
	if h.IntN(3) == 0 {
		change.RetrySchedule = &schedule
	}
	if ordered := h.IntN(3) == 0; ordered {
		change.Ordered = &ordered
	}
	if verification := h.IntN(5) == 0; verification {
		change.Verification = &verification
	}
	hook, err := h.router.CreateWebhook(h.ctx, h.workspace, change)
	h.note("created", err)
	if err == nil {
		h.settled(hook)
		h.router.StartVerification(nil, hook)
	}
}

// url is where a webhook leads to: mostly to a receiver, else nowhere.
func (h *hand) url() string {
	if h.IntN(5) == 0 {
		return cybervault.PollURL
	}
	return fmt.Sprintf("https://receiver.example/%d", h.op.n)
}

// settled notes that a change was answered, and that it is what is stored.
func (h *hand) settled(hook *cybervault.Webhook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range h.ledger.hooks[hook.ID].versions {
		if v.hook == hook && v.saved {
			v.answered = time.Now()
			return
		}
	}
	h.fail(0, "step %d: a change of webhook %s was answered, and not stored", h.op.n, hook.ID)
}

// change changes a webhook.
func (h *hand) change(hook *hook, change cybervault.WebhookChange) *cybervault.Webhook {
	after, err := h.router.UpdateWebhook(h.ctx, h.workspace, hook.id, change)
	h.note("changed", err)
	if err != nil {
		return nil
	}
	h.settled(after)
	return after
}

func (h *hand) status(s cybervault.WebhookStatus) {
	hook := h.hook(func(w *cybervault.Webhook) bool { return w.Status != s })
	if hook == nil {
		return
	}
	if after := h.change(hook, cybervault.WebhookChange{Status: &s}); after != nil && after.Status != s {
		h.mu.Lock()
		h.fail(0, "webhook %d was asked to be %s and is %s", hook.n, s, after.Status)
		h.mu.Unlock()
	}
}

func (h *hand) edit() {
	hook := h.hook(nil)
	if hook == nil {
		return
	}
	var c cybervault.WebhookChange
	switch h.IntN(7) {
	case 0:
		c.RetrySchedule = &[][]time.Duration{{}, {time.Second, 3 * time.Second}, {20 * time.Second}, cybervault.DefaultRetrySchedule()}[h.IntN(4)]
	case 1:
		c.RateLimit = &[]float64{0, 0.5, 2, 40}[h.IntN(4)]
	case 2:
		c.Concurrency = &[]int{0, 1, 3}[h.IntN(3)]
	case 3:
		c.Filter = &[]string{"", "", filterOdd, filterBroken}[h.IntN(4)]
	case 4:
		c.Accept = &[]cybervault.Accept{cybervault.AcceptDefault, cybervault.AcceptAny2xx}[h.IntN(2)]
	case 5:
		c.Events = &[][]string{{"*"}, {"*"}, {cybervault.EventThreatDetected}, {"incident.*"}}[h.IntN(4)]
	default:
		ordered := h.IntN(2) == 0
		c.Ordered = &ordered
	}
	h.change(hook, c)
}

func (h *hand) move() {
	hook := h.hook(nil)
	if hook == nil {
		return
	}
	before, err := h.router.Webhook(h.ctx, h.workspace, hook.id)
	if err != nil {
		return
	}
	var c cybervault.WebhookChange
	if url := h.url(); h.op.what == "move" {
		c.URL = &url
	} else {
		verification := h.IntN(2) == 0
		c.Verification = &verification
	}
	if after := h.change(hook, c); after != nil {
		h.router.StartVerification(before, after)
	}
}

func (h *hand) cancel() {
	e := h.delivery()
	if e == nil {
		return
	}
	_, err := h.router.CancelDelivery(h.ctx, h.workspace, e.id)
	h.note("cancelled", err)
	if err == nil {
		h.mu.Lock()
		h.ledger.toldOf(e.id)
		h.mu.Unlock()
	}
}

func (h *hand) bulk() {
	if h.op.what == "unbulk" {
		page, err := h.router.Replays(h.ctx, h.workspace, cybervault.ReplayID{}, 5)
		if err == nil && len(page.Rows) > 0 {
			_, err = h.router.CancelReplay(h.ctx, h.workspace, page.Rows[h.IntN(len(page.Rows))].ID)
			h.note("replay cancelled", err)
		}
		return
	}
	hook := h.hook(func(w *cybervault.Webhook) bool { return w.Live() })
	if hook == nil || !h.plan.replays {
		return
	}
	since := h.storeNow().Add(-time.Duration(1 + h.Int64N(int64(10*time.Minute))))
	_, err := h.router.StartReplay(h.ctx, h.workspace, hook.id, cybervault.ReplayCriteria{Since: since}, []int{1, 10, 1000}[h.IntN(3)])
	h.note("replay begun", err)
}

func (h *hand) poll() {
	if hook := h.hook(func(w *cybervault.Webhook) bool { return w.Polled() }); hook != nil {
		h.fetch(hook, h.IntN(4) > 0, 1+h.IntN(20))
	}
}

// fetch polls a webhook, and acknowledges what was handed out before.
func (h *hand) fetch(hook *hook, acknowledge bool, limit int) {
	p := cybervault.Poll{Limit: limit, Admin: true}
	h.mu.Lock()
	if acknowledge {
		p.After = hook.cursor
	}
	h.mu.Unlock()
	answer, err := h.router.Poll(h.ctx, h.workspace, hook.id, p)
	h.note("polled", err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if cybervault.ErrorCode(err) == cybervault.CodeGone {
		hook.cursor = cybervault.DeliveryID{}
	}
	if err != nil {
		return
	}
	for _, r := range answer.Acknowledged {
		h.ledger.toldOf(r.Attempt.Delivery)
	}
	for _, a := range answer.Deliveries {
		h.ledger.deliveries[a.Delivery].handed = true
		if e := h.ledger.deliveries[hook.cursor]; e == nil || e.sequence < a.Sequence {
			hook.cursor = a.Delivery
		}
	}
}

// headers of a delivery that a receiver checks.
func (w *world) checkSignature(e *entry, r *deliver.Request) {
	if string(r.Body) != string(e.event.body) {
		w.fail(e.n, "was sent with other bytes than its event has")
	}
	now := time.Now()
	for _, v := range e.hook.permitted(now, now) {
		for _, s := range v.hook.Secrets {
			signature := cybervault.SignHex(s.Value, r.Body)
			if slices.ContainsFunc(r.Header, func(h cybervault.Header) bool {
				return h.Name == "X-CyberVault-Signature" && h.Value == signature
			}) {
				return
			}
		}
	}
	w.fail(e.n, "is not signed with a secret of webhook %d", e.hook.n)
}
