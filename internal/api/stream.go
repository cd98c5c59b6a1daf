package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// ChangeLog is what was committed, in its order: the store.
type ChangeLog interface {
	// LastChange is the end of the log as it is now.
	LastChange(ctx context.Context) (cybervault.ChangePosition, error)
	// Changes reads on from a position; CodeGone if that is not in the log.
	Changes(ctx context.Context, q cybervault.ChangeQuery) (cybervault.ChangePage, error)
}

// Commits tells when something was committed by this node.
type Commits interface {
	// Watch returns a channel that is sent to after commits, and closed when the
	// server stops, and a function that ends the watch.
	Watch() (committed <-chan struct{}, stop func())
}

// Bounds of a stream. What it holds in memory is one look at the change log.
const (
	MaxStreams          = 500
	MaxWorkspaceStreams = 100

	// streamLook is how often the log is looked at when this node commits nothing:
	// other nodes may.
	streamLook = time.Second
	// streamGap is the least time between two looks of a reader that has caught up,
	// however many commits there are.
	streamGap = 50 * time.Millisecond
	// streamHeartbeat keeps proxies from closing a quiet stream, and finds a key
	// that was revoked.
	streamHeartbeat = 15 * time.Second
	// streamPatience is how long a reader may take for one item.
	streamPatience = 10 * time.Second
	streamRetry    = "2000" // milliseconds until a reader connects again
)

// streamDeliveryJSON is a delivery on the stream.
type streamDeliveryJSON struct {
	deliveryJSON
	ChangedTo cybervault.DeliveryStatus `json:"changed_to" doc:"The status that this change gave it. The rest is as it is now, and may have moved on."`
}

// streamAttemptJSON is an attempt on the stream.
type streamAttemptJSON struct {
	attemptJSON
	EventID   cybervault.EventID   `json:"event_id"`
	Event     string               `json:"event" doc:"The event type."`
	WebhookID cybervault.WebhookID `json:"webhook_id"`
}

// streaming is one reader of the stream.
type streaming struct {
	*call

	s       *server
	control *http.ResponseController
	query   cybervault.ChangeQuery // After is how far it has come
	item    bytes.Buffer
}

func (s *server) stream(c *call) error {
	q, err := streamQuery(c)
	if err != nil {
		return err
	}
	leave, err := s.streams.take(c.workspace())
	if err != nil {
		return err
	}
	defer leave()
	committed, stop := s.Commits.Watch()
	defer stop()
	st := &streaming{call: c, s: s, control: http.NewResponseController(c.w), query: q}
	page, err := st.begin()
	if err != nil {
		return err
	}
	// Neither the limit on reading a request nor any on writing the answer is
	// meant for a stream; not every writer has them.
	_ = st.control.SetReadDeadline(time.Time{})
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold the items back
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodHead {
		return nil
	}
	// Whoever connects again before the first item goes on from here.
	if st.send("retry: "+streamRetry+"\nid: "+encodePosition(st.query.After)+"\n\n") && st.flush() {
		st.follow(page, committed)
	}
	return nil
}

// streamQuery reads the filters of the request.
func streamQuery(c *call) (cybervault.ChangeQuery, error) {
	q := cybervault.ChangeQuery{Workspace: c.workspace()}
	f := &filters{query: c.query}
	if text, ok := f.text("events"); ok {
		for choice := range strings.SplitSeq(text, ",") {
			q.Types = append(q.Types, f.eventChoice("events", choice))
		}
	}
	if text, ok := f.text("webhook"); ok {
		id, err := cybervault.ParseID[cybervault.WebhookID](text)
		f.wrong = f.wrong.with("webhook", err)
		q.Webhook = id
	}
	if text, ok := f.text("kinds"); ok {
		for word := range strings.SplitSeq(text, ",") {
			kind := cybervault.ChangeKind(word)
			switch {
			case !slices.Contains(cybervault.ChangeKinds(), kind):
				f.refusef("kinds", "%q is not a kind: use event, delivery or attempt, with commas between", shorten(word))
			case kind == cybervault.ChangeEvent && c.query.Has("webhook"):
				f.refusef("kinds", "an event belongs to no webhook: leave out event, or webhook")
			}
			q.Kinds = append(q.Kinds, kind)
		}
	}
	return q, f.wrong.err()
}

// begin finds where to go on, and reads from there: a position that cannot be
// gone on from is answered with a problem, before the stream begins.
func (st *streaming) begin() (page cybervault.ChangePage, err error) {
	if last := st.r.Header.Get("Last-Event-ID"); last != "" {
		at, ok := decodePosition(last)
		if !ok {
			return page, &problem{status: http.StatusBadRequest, code: string(cybervault.CodeInvalid), field: "Last-Event-ID",
				message: "is not the id of an item of this stream: send it as it came, or leave the header out to begin now"}
		}
		st.query.After = at
		return st.s.Changes.Changes(st.ctx(), st.query)
	}
	if st.query.After, err = st.s.Changes.LastChange(st.ctx()); err != nil {
		return page, err
	}
	return cybervault.ChangePage{Next: st.query.After}, nil
}

// follow sends page and what is committed from then on, until the reader goes,
// is too slow or loses its key, or the server stops.
func (st *streaming) follow(page cybervault.ChangePage, committed <-chan struct{}) {
	t := streamTimers{
		heartbeat: time.NewTicker(streamHeartbeat), look: time.NewTicker(streamLook), gap: time.NewTimer(streamGap),
	}
	defer t.stop()
	for {
		if !st.sendPage(page) || !st.wait(&t, committed, page.More) {
			return
		}
		var err error
		if page, err = st.s.Changes.Changes(st.ctx(), st.query); err != nil {
			// Connecting again is answered with what is the matter.
			st.s.Logger.DebugContext(st.ctx(), "a stream ended", "error", err, "request_id", st.w.Header().Get("X-Request-Id"))
			return
		}
	}
}

// streamTimers are what wakes a stream beside commits.
type streamTimers struct {
	heartbeat *time.Ticker
	look      *time.Ticker
	gap       *time.Timer
}

func (t *streamTimers) stop() {
	t.heartbeat.Stop()
	t.look.Stop()
	t.gap.Stop()
}

// wait returns true when the log is to be looked at again: at once if more is
// known to be there, else when something may have been committed. False ends the
// stream.
func (st *streaming) wait(t *streamTimers, committed <-chan struct{}, more bool) bool {
	t.gap.Reset(streamGap)
	pending, ready := more, more
	for {
		if pending && ready {
			return st.here(t, committed)
		}
		select {
		case <-st.ctx().Done():
			return false
		case _, open := <-committed:
			if !open {
				return false
			}
			pending = true
		case <-t.look.C:
			pending = true
		case <-t.gap.C:
			ready = true
		case <-t.heartbeat.C:
			if !st.beat() {
				return false
			}
		}
	}
}

// here looks after the heartbeat, and for the end, of a stream that never waits
// because it has much to catch up with.
func (st *streaming) here(t *streamTimers, committed <-chan struct{}) bool {
	select {
	case <-t.heartbeat.C:
		if !st.beat() {
			return false
		}
	default:
	}
	select {
	case _, open := <-committed:
		return open
	default:
		return st.ctx().Err() == nil
	}
}

// beat says that the stream is alive, and how far it has come, which filters may
// keep from showing. It reports false once the API key will not do any more.
func (st *streaming) beat() bool {
	key, err := st.s.authenticate(st.w, st.r)
	if cybervault.ErrorCode(err) == cybervault.CodeUnauthorized || err == nil && !key.Allows(cybervault.ScopeRead) {
		return false
	}
	return st.send(": still here\nid: "+encodePosition(st.query.After)+"\n\n") && st.flush()
}

// sendPage sends changes; the position moves with each.
func (st *streaming) sendPage(page cybervault.ChangePage) bool {
	for i := range page.Rows {
		if err := st.write(&page.Rows[i]); err != nil {
			st.s.Logger.ErrorContext(st.ctx(), "an item of a stream cannot be written", "error", err)
			return false
		}
		if !st.send(st.item.String()) {
			return false
		}
	}
	st.query.After = page.Next
	return len(page.Rows) == 0 || st.flush()
}

// write makes an item out of a change. No line of its data can be mistaken for a
// field: JSON holds no line ends but between tokens.
func (st *streaming) write(c *cybervault.Change) error {
	data, err := streamData(c)
	if err != nil {
		return err
	}
	st.item.Reset()
	st.item.WriteString("id: " + encodePosition(c.At) + "\nevent: " + string(c.Kind) + "\n")
	for line := range bytes.FieldsFuncSeq(data, func(r rune) bool { return r == '\n' || r == '\r' }) {
		st.item.WriteString("data: ")
		st.item.Write(line)
		st.item.WriteByte('\n')
	}
	st.item.WriteByte('\n')
	return nil
}

func streamData(c *cybervault.Change) ([]byte, error) {
	switch c.Kind {
	case cybervault.ChangeEvent:
		return c.Event.Body, nil
	case cybervault.ChangeAttempt:
		return encode(streamAttemptJSON{attemptJSON: showAttempt(c.Attempt), EventID: c.Delivery.Event, Event: c.Delivery.EventType, WebhookID: c.Delivery.Webhook})
	case cybervault.ChangeDelivery:
	}
	return encode(streamDeliveryJSON{deliveryJSON: showDelivery(c.Delivery), ChangedTo: c.Status})
}

// send writes within the reader's patience: one that does not take what it asked
// for is cut off, and nothing is kept for it.
func (st *streaming) send(text string) bool {
	_ = st.control.SetWriteDeadline(time.Now().Add(streamPatience)) // not every writer has one
	_, err := io.WriteString(st.w, text)
	return err == nil
}

func (st *streaming) flush() bool { return st.control.Flush() == nil }

func aboutStream(rt *route) {
	rt.id, rt.tag, rt.summary = "stream", tagEvents, "Follow what happens"
	rt.doc = "Server-sent events, in the order of commit, until the caller closes the connection: an item `event` carries an event's envelope, " +
		"`delivery` a delivery that was made or changed (as it is now, with changed_to beside it), `attempt` an attempt. " +
		"It begins with what is committed from now on. Send the id of the last item as Last-Event-ID to go on right behind it, after a restart and on any node too; " +
		"a position that is not kept any more is answered with 410. A reader that takes longer than ten seconds for one item is cut off."
	rt.params = []param{
		{"events", "Only about events of these types: names, namespaces such as threat.*, or *, with commas between.", schema{"type": "string"}},
		{"webhook", "Only deliveries to this webhook, and their attempts.", of[cybervault.WebhookID]()},
		{"kinds", "Only these items: event, delivery, attempt, with commas between.", schema{"type": "string"}},
	}
	rt.headers = []param{{"Last-Event-ID", "The id of the last item that was handled.", schema{"type": "string"}}}
	rt.answers = []answer{{status: 200, doc: "The stream; the data of an item is one JSON value.", media: "text/event-stream",
		schema: schema{"anyOf": []schema{of[cybervault.Envelope](), of[streamDeliveryJSON](), of[streamAttemptJSON]()}}}}
	rt.errors = []int{410, 503}
}
