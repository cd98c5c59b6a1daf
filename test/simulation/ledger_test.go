package simulation

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// ledger is what must be true, kept in plain maps: an independent and simple model
// of router, queue and leases. It is told of everything at the instant at which
// it happened, and says at once what must not have.
type ledger struct {
	w          *world
	hooks      map[cybervault.WebhookID]*hook
	order      []*hook
	events     map[cybervault.EventID]*event
	keys       map[string]*event
	deliveries map[cybervault.DeliveryID]*entry
	all        []*entry // in the order of commit
	replays    map[cybervault.ReplayID]*replay
	answers    map[string]*event // what was answered last, by idempotency key
}

// hook is a webhook, as it was at each time.
type hook struct {
	n        int
	id       cybervault.WebhookID
	versions []*version
	mood     mood
	last     int64 // sequence number
	entries  []*entry
	cursor   cybervault.DeliveryID // what its receiver has fetched, to be acknowledged
}

// version is a webhook's settings from one change to the next.
type version struct {
	hook  *cybervault.Webhook
	of    *hook
	begun time.Time // somebody may go by it from here on
	known time.Time // and must; zero until then
	// answered is when whoever asked for the change had the answer.
	answered time.Time
	saved    bool
}

type event struct {
	id      cybervault.EventID
	n       int // in its data
	typ     string
	key     string
	body    []byte
	made    []*entry
	test    bool
	removed bool
}

// entry is a delivery.
type entry struct {
	n        int // in the order of commit
	id       cybervault.DeliveryID
	hook     *hook
	event    *event
	replayOf *entry
	sequence int64
	severity cybervault.Severity
	status   cybervault.DeliveryStatus
	test     bool
	attempts int
	due      time.Time
	born     time.Time

	token     int64
	until     time.Time     // of the lease
	moved     time.Duration // by how much the store may have moved that since, with its clock
	grants    []grant       // by which nodes may have it in memory
	holder    *node         // of the lease; nil where nobody knows of it
	lost      *node         // who has it in memory, and was not told yet that it has ended
	lostToken int64         // of the lease that lost had

	running  []running
	requests int
	handed   bool // its receiver has fetched it by a poll
	ends     int  // seen in the change log
	numbers  int  // attempts seen in the change log
	removed  bool
}

// grant is a lease that a node was given, as it may know of it still.
type grant struct {
	node  *node
	token int64
	at    time.Time
}

// running is an attempt under way, or one whose result is on its way.
type running struct {
	node   *node
	number int
	begun  time.Time
	until  time.Time // of its lease
	ended  bool
	answer cybervault.Exchange
}

type replay struct {
	made map[cybervault.DeliveryID]bool // of which deliveries
}

func newLedger(w *world) *ledger {
	return &ledger{
		w: w, hooks: map[cybervault.WebhookID]*hook{}, events: map[cybervault.EventID]*event{}, keys: map[string]*event{},
		deliveries: map[cybervault.DeliveryID]*entry{}, replays: map[cybervault.ReplayID]*replay{},
		answers: map[string]*event{},
	}
}

func (e *entry) ended() bool { return e.status.Ended() }

// permitted are the versions of a webhook that somebody who looked between two
// instants may have seen.
func (h *hook) permitted(from, to time.Time) (out []*version) {
	for i, v := range slices.Backward(h.versions) {
		if v.begun.After(to) {
			continue
		}
		out = append(out, h.versions[i])
		if !v.known.IsZero() && v.known.Before(from) {
			break
		}
	}
	return out
}

// bound are the versions whose bounds may have held between two instants: until a
// change was answered, the one before may.
func (h *hook) bound(from, to time.Time) (out []*version) {
	for _, v := range slices.Backward(h.versions) {
		if v.begun.After(to) {
			continue
		}
		out = append(out, v)
		if !v.answered.IsZero() && v.answered.Before(from) {
			break
		}
	}
	return out
}

func (h *hook) now() *cybervault.Webhook {
	for _, v := range slices.Backward(h.versions) {
		if v.saved {
			return v.hook
		}
	}
	return nil
}

// saving, saved and told follow a change of a webhook on its way to the store.
func (l *ledger) saving(w *cybervault.Webhook) *version {
	h := l.hooks[w.ID]
	if h == nil {
		h = &hook{n: len(l.order) + 1, id: w.ID}
		l.hooks[w.ID] = h
		l.order = append(l.order, h)
	}
	v := &version{hook: w, of: h, begun: time.Now()}
	h.versions = append(h.versions, v)
	return v
}

func (l *ledger) saved(v *version) {
	v.saved = true
	l.w.trace.add(0, "webhook %d saved: %s ordered=%t held=%t polled=%t", v.of.n, v.hook.Status, v.hook.Ordered, v.hook.Held(), v.hook.Polled())
}

func (l *ledger) told(v *version, err error) {
	switch {
	case !v.saved:
		v.of.versions = slices.DeleteFunc(v.of.versions, func(x *version) bool { return x == v })
	case err == nil:
		v.known = time.Now()
	}
}

// restarted is when all that is stored is known, since a router has read it.
func (l *ledger) restarted() {
	for _, h := range l.order {
		for _, v := range h.versions {
			if v.saved && v.known.IsZero() {
				v.known = time.Now()
			}
		}
	}
}

func (l *ledger) checkWebhooks(stored []*cybervault.Webhook) {
	found := map[cybervault.WebhookID]bool{}
	for _, s := range stored {
		found[s.ID] = true
		if h := l.hooks[s.ID]; h == nil || h.now() == nil || h.now().Status != s.Status || h.now().Ordered != s.Ordered || h.now().URL != s.URL {
			l.w.fail(0, "webhook %s is not stored as it was saved", s.ID)
		}
	}
	for _, h := range l.order {
		if now := h.now(); now != nil && found[h.id] != now.DeletedAt.IsZero() {
			l.w.fail(0, "webhook %d is stored: %t, deleted at %s", h.n, found[h.id], now.DeletedAt)
		}
	}
}

// numberOf is the number that the simulation put into an event's data.
func numberOf(body []byte) int {
	var envelope struct {
		Data struct {
			N int `json:"n"`
		} `json:"data"`
	}
	_ = json.Unmarshal(body, &envelope)
	return envelope.Data.N
}

// published is told of what the store has made of a publish, which chose its
// webhooks at called.
func (l *ledger) published(n *node, pubs []*cybervault.Publication, out []cybervault.Published, errs []error, called time.Time) {
	for i, p := range pubs {
		key := ""
		if p.Event.PublisherKey {
			key = p.Event.IdempotencyKey
		}
		holder := l.keys[key]
		if key == "" || holder != nil && holder.removed {
			holder = nil
		}
		switch {
		case errs[i] != nil:
			l.w.fail(0, "a publish failed although nothing was in trouble: %v", errs[i])
		case out[i].Existing != nil:
			if holder == nil || out[i].Existing.ID != holder.id {
				l.w.fail(0, "key %q was taken for that of %s", key, out[i].Existing.ID)
			}
		case holder != nil:
			l.w.fail(0, "key %q was stored twice", key)
		default:
			l.born(n, p, key, called)
		}
	}
}

func (l *ledger) born(n *node, p *cybervault.Publication, key string, called time.Time) {
	ev := &event{id: p.Event.ID, n: numberOf(p.Event.Body), typ: p.Event.Type, key: key, body: bytes.Clone(p.Event.Body), test: p.Event.Test}
	l.events[ev.id] = ev
	if key != "" {
		l.keys[key] = ev
	}
	l.w.trace.add(0, "event %d %s stored, %d deliveries", ev.n, ev.typ, len(p.Deliveries))
	for i := range p.Deliveries {
		l.enter(n, ev, &p.Deliveries[i])
	}
	if !p.Event.Test {
		l.checkChosen(ev, p, called)
	} else if len(ev.made) != 1 || ev.made[0].status != cybervault.DeliveryPending {
		l.w.fail(0, "a test was made into %d deliveries", len(ev.made))
	}
}

// enter notes a new delivery.
func (l *ledger) enter(n *node, ev *event, d *cybervault.NewDelivery) *entry {
	h := l.hooks[d.Webhook]
	e := &entry{n: len(l.all) + 1, id: d.ID, hook: h, event: ev, replayOf: l.deliveries[d.ReplayOf], sequence: d.Sequence, severity: d.Severity,
		status: d.Status, test: ev.test, due: l.w.storeNow(), born: time.Now()}
	if l.deliveries[d.ID] != nil {
		l.w.fail(e.n, "the id of #%d was given out again", l.deliveries[d.ID].n)
	}
	if d.Status != cybervault.DeliverySkipped {
		if h.last++; d.Sequence != h.last {
			l.w.fail(e.n, "has sequence number %d, not %d", d.Sequence, h.last)
		}
	} else if d.Sequence != 0 {
		l.w.fail(e.n, "is skipped and has sequence number %d", d.Sequence)
	}
	if d.Lease.Token != 0 {
		e.token, e.until, e.holder, e.due, e.moved = d.Lease.Token, d.Lease.Until, n, d.Lease.Until, 0
		e.grant(n, d.Lease.Token)
	}
	l.deliveries[d.ID] = e
	l.all = append(l.all, e)
	h.entries = append(h.entries, e)
	ev.made = append(ev.made, e)
	l.w.trace.add(e.n, "born: event %d to webhook %d, sequence %d, %s %s, leased=%t", ev.n, h.n, e.sequence, e.status, d.Reason, e.token != 0)
	return e
}

// checkChosen is the router in a few lines: who gets an event, and how.
func (l *ledger) checkChosen(ev *event, p *cybervault.Publication, called time.Time) {
	made := map[*hook]*cybervault.NewDelivery{}
	for i := range p.Deliveries {
		h := l.hooks[p.Deliveries[i].Webhook]
		if made[h] != nil {
			l.w.fail(0, "event %d has two deliveries to webhook %d", ev.n, h.n)
		}
		made[h] = &p.Deliveries[i]
	}
	for _, h := range l.order {
		versions := h.permitted(called, called)
		// A new webhook may not be known yet.
		fits := made[h] == nil && (len(versions) == 0 || versions[len(versions)-1] == h.versions[0] && (h.versions[0].known.IsZero() || !h.versions[0].known.Before(called)))
		for _, v := range versions {
			fits = fits || chosen(v.hook, ev, made[h], h.now())
		}
		if !fits {
			got := "none"
			if d := made[h]; d != nil {
				got = string(d.Status) + " " + d.Reason
			}
			l.w.fail(0, "event %d of type %s got the delivery %q to webhook %d, which is %+v", ev.n, ev.typ, got, h.n, versions[0].hook)
		}
	}
}

// chosen reports whether a delivery is what a webhook, as it is, must get of an
// event; nil for none.
func chosen(w *cybervault.Webhook, ev *event, d *cybervault.NewDelivery, now *cybervault.Webhook) bool {
	subscribed := false
	for _, choice := range w.Events {
		subscribed = subscribed || choice == "*" || choice == ev.typ || choice == "incident.*" && ev.typ[:9] == "incident."
	}
	if !w.DeletedAt.IsZero() || !subscribed {
		return d == nil
	}
	if d == nil || d.Severity != severityOf(ev) {
		return false
	}
	status, reason := cybervault.DeliveryPending, ""
	switch {
	case w.Status == cybervault.WebhookDisabled:
		status, reason = cybervault.DeliverySkipped, cybervault.ReasonWebhookDisabled
	case w.Filter == filterOdd && ev.n%2 == 0:
		status, reason = cybervault.DeliverySkipped, cybervault.ReasonFilter
	case w.Filter == filterBroken:
		status, reason = cybervault.DeliverySkipped, cybervault.ReasonFilterError
	case w.Verification && w.VerifiedAt.IsZero():
		status = cybervault.DeliveryHeld
		if now != nil && !now.Held() && d.Status == cybervault.DeliveryPending {
			status = cybervault.DeliveryPending // verified while it was on its way
		}
	}
	return d.Status == status && d.Reason == reason
}

// The filters that webhooks have.
const (
	filterOdd    = "data.n % 2 == 1"
	filterBroken = "data.missing == 1"
)

// severityOf is how severe the simulation made an event.
func severityOf(ev *event) cybervault.Severity {
	if ev.typ == cybervault.EventSystemAlert {
		return cybervault.SeverityHigh // by its data
	}
	if s := cybervault.Severities(); ev.n%3 == 0 {
		return s[ev.n/3%len(s)]
	}
	return typeSeverity[ev.typ]
}

var typeSeverity = map[string]cybervault.Severity{
	cybervault.EventThreatDetected:  cybervault.SeverityCritical,
	cybervault.EventIncidentCreated: cybervault.SeverityHigh,
	cybervault.EventIncidentUpdated: cybervault.SeverityMedium,
	cybervault.EventEndpointOnline:  cybervault.SeverityInfo,
	cybervault.EventSystemAlert:     cybervault.SeverityMedium,
	cybervault.EventWebhookTest:     cybervault.SeverityInfo,
}

// added is told of a replay of one delivery.
func (l *ledger) added(n *node, id cybervault.EventID, d *cybervault.NewDelivery) {
	ev := l.events[id]
	if ev == nil || ev.removed {
		l.w.fail(0, "a replay of event %s, which is gone", id)
		return
	}
	e := l.enter(n, ev, d)
	if e.replayOf == nil || e.replayOf.event != ev {
		l.w.fail(e.n, "is a replay of nothing")
	}
	if s := d.Status; s != cybervault.DeliveryPending && s != cybervault.DeliveryHeld {
		l.w.fail(e.n, "a replay was born %s", s)
	}
}

// stepped is told of a step of a replay of many. The store says what it made.
func (l *ledger) stepped(n *node, r *cybervault.Replay, born []cybervault.DeliveryID) {
	slices.SortFunc(born, func(a, b cybervault.DeliveryID) int { return int(a.Key() - b.Key()) })
	for _, id := range slices.Compact(born) {
		d, err := l.w.store.Delivery(l.w.ctx, l.w.workspace, id)
		if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
			continue // of a transaction that was tried again
		}
		if err != nil {
			l.w.fail(0, "read a replay: %v", err)
			return
		}
		if l.replays[r.ID].made[d.ReplayOf] {
			l.w.fail(0, "%s was replayed twice by one replay", d.ReplayOf)
		}
		l.replays[r.ID].made[d.ReplayOf] = true
		l.added(n, d.Event, &cybervault.NewDelivery{ID: d.ID, Webhook: d.Webhook, Status: d.Status, Severity: d.Severity, ReplayOf: d.ReplayOf, Sequence: d.Sequence})
	}
}
