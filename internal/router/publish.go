package router

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/failpoint"
)

// Publish stores an event and its deliveries, and returns when that is on disk.
//
// Errors: CodeInvalid (unknown type, data that breaks the schema, bad key or
// timestamp), CodeTooLarge, CodeConflict (the key is taken by other content),
// CodeUnavailable (nothing was kept).
func (r *Router) Publish(ctx context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) (cybervault.PublishReceipt, error) {
	outcome := r.PublishBatch(ctx, ws, []cybervault.PublishRequest{req})[0]
	return outcome.Receipt, outcome.Err
}

// draft is a request on its way to the store.
type draft struct {
	request  int // its place in the batch
	pub      *cybervault.Publication
	severity cybervault.Severity // of all its deliveries
	leased   []*cybervault.Assignment
	woken    []cybervault.WebhookID // have deliveries that found no place in the window
}

// PublishBatch publishes each request as Publish does and answers each in its
// place; one that fails does not disturb the others.
func (r *Router) PublishBatch(ctx context.Context, ws cybervault.WorkspaceID, reqs []cybervault.PublishRequest) []cybervault.PublishOutcome {
	out := make([]cybervault.PublishOutcome, len(reqs))
	snap := r.registry.enter()
	defer r.registry.leave(snap)

	drafts := make([]*draft, 0, len(reqs))
	pubs := make([]*cybervault.Publication, 0, len(reqs))
	lease := r.dispatcher.NewLease()
	for i := range reqs {
		if answered, err := r.check(ctx, ws, &reqs[i], &out[i]); answered || err != nil {
			out[i].Err = err
			continue
		}
		d, err := r.draft(ctx, ws, &reqs[i], snap, snap.match(ws, reqs[i].Type), lease, false)
		if err != nil {
			out[i].Err = err
			continue
		}
		d.request = i
		drafts = append(drafts, d)
		pubs = append(pubs, d.pub)
	}
	if len(pubs) == 0 {
		return out
	}
	published, errs := r.cfg.Log.Publish(ctx, pubs)
	failpoint.Hit(failpoint.PublishStored)
	for i, d := range drafts {
		o := &out[d.request]
		switch {
		case errs[i] != nil:
			r.withdraw(d)
			o.Err = errs[i]
		case published[i].Existing != nil:
			r.withdraw(d)
			o.Receipt, o.Err = repeated(&reqs[d.request], published[i].Existing, published[i].ExistingDeliveries)
		default:
			r.hand(d)
			o.Receipt = receipt(d.pub)
		}
	}
	r.changed()
	return out
}

// check validates a request. answered says that it repeats an event by the key
// CyberVault made for that, and has its answer.
func (r *Router) check(ctx context.Context, ws cybervault.WorkspaceID, req *cybervault.PublishRequest, out *cybervault.PublishOutcome) (answered bool, err error) {
	if err := checkRequest(req); err != nil {
		return false, err
	}
	if req.Type == cybervault.EventWebhookTest {
		return false, cybervault.Invalid("event", "%q cannot be published: it is sent by a webhook's verify", req.Type)
	}
	if err := r.cfg.Catalogue.Validate(ws, req.Type, req.Data); err != nil {
		return false, err
	}
	original, deliveries, err := r.generatedKey(ctx, ws, req.IdempotencyKey)
	if original != nil {
		out.Receipt, err = repeated(req, original, deliveries)
	}
	return original != nil, err
}

// generatedKey finds the event that holds an idempotency key CyberVault made,
// nil if the key is none.
func (r *Router) generatedKey(ctx context.Context, ws cybervault.WorkspaceID, key string) (*cybervault.Event, int, error) {
	text, ok := strings.CutPrefix(key, cybervault.GeneratedKeyPrefix)
	if !ok {
		return nil, 0, nil
	}
	id, err := cybervault.ParseUUID(text)
	if err != nil {
		return nil, 0, nil //nolint:nilerr // then it is a key of the publisher's own
	}
	e, deliveries, err := r.cfg.Log.Original(ctx, ws, cybervault.EventID{UUID: id})
	switch {
	case cybervault.ErrorCode(err) == cybervault.CodeNotFound:
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	case e.PublisherKey:
		return nil, 0, nil
	}
	return e, deliveries, nil
}

func checkRequest(req *cybervault.PublishRequest) error {
	if req.Type == "" {
		return cybervault.Invalid("event", "is missing: name the event type, such as %q", cybervault.EventThreatDetected)
	}
	if len(req.Data) > cybervault.MaxEventBytes {
		return &cybervault.Error{Code: cybervault.CodeTooLarge, Field: "data",
			Message: "is " + strconv.Itoa(len(req.Data)) + " bytes long, more than " + strconv.Itoa(cybervault.MaxEventBytes) + ": send a reference to what is large instead"}
	}
	if len(req.Data) == 0 {
		return cybervault.Invalid("data", "is missing: give the event's data as a JSON object")
	}
	if key := req.IdempotencyKey; key != "" {
		if len(key) > cybervault.MaxIdempotencyKeyBytes {
			return cybervault.Invalid("idempotency_key", "is %d bytes long, more than %d", len(key), cybervault.MaxIdempotencyKeyBytes)
		}
		if !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl) {
			return cybervault.Invalid("idempotency_key", "has a control character or is not UTF-8")
		}
	}
	// The first microsecond of 1970 is how the store writes "none".
	if t := req.Timestamp.UTC(); !t.IsZero() && (t.Year() > 9999 || t.Year() < 1970 || t.UnixMicro() == 0) {
		return cybervault.Invalid("timestamp", "is not after the beginning of 1970 and before the year 10000")
	}
	return nil
}

// newEvent makes the event with its envelope. The data keeps its bytes but for
// white space between tokens, so that an envelope is one line.
func (r *Router) newEvent(id cybervault.EventID, ws cybervault.WorkspaceID, req *cybervault.PublishRequest, test bool) (*cybervault.Event, error) {
	e := &cybervault.Event{
		ID: id, Workspace: ws, Type: req.Type, Timestamp: req.Timestamp,
		IdempotencyKey: req.IdempotencyKey, PublisherKey: req.IdempotencyKey != "", Test: test,
	}
	if e.Timestamp.IsZero() {
		e.Timestamp = r.cfg.Now().Truncate(time.Millisecond)
	}
	e.Timestamp = e.Timestamp.UTC().Truncate(time.Microsecond)
	if !e.PublisherKey {
		e.IdempotencyKey = cybervault.GeneratedKeyPrefix + e.ID.UUID.String()
	}
	var b bytes.Buffer
	b.Grow(len(req.Data) + 320)
	b.WriteString(`{"id":"`)
	b.WriteString(e.ID.String())
	b.WriteString(`","event":"`)
	b.WriteString(e.Type)
	b.WriteString(`","timestamp":"`)
	b.Write(e.Timestamp.AppendFormat(b.AvailableBuffer(), time.RFC3339Nano))
	b.WriteString(`","data":`)
	if err := json.Compact(&b, req.Data); err != nil {
		return nil, cybervault.Invalid("data", "is not JSON: %v", err)
	}
	b.WriteString(`,"metadata":{"workspace_id":"`)
	b.WriteString(ws.String())
	b.WriteString(`","engine_version":"`)
	b.WriteString(r.cfg.EngineVersion)
	b.WriteString(`","idempotency_key":`)
	key, err := json.Marshal(e.IdempotencyKey)
	if err != nil {
		return nil, cybervault.Invalid("idempotency_key", "is not text: %v", err)
	}
	b.Write(key)
	b.WriteString(`}}`)
	e.Body = b.Bytes()
	return e, nil
}

// draft makes an event and its delivery to each webhook. The keys of the
// deliveries follow the event's, so that the store finds them without an index.
func (r *Router) draft(ctx context.Context, ws cybervault.WorkspaceID, req *cybervault.PublishRequest, snap *snapshot, webhooks []*cybervault.Webhook, lease cybervault.Lease, test bool) (*draft, error) {
	run := r.cfg.IDs.NextRun(1 + len(webhooks))
	e, err := r.newEvent(cybervault.EventID{UUID: run[0]}, ws, req, test)
	if err != nil {
		return nil, err
	}
	d := &draft{severity: r.severity(ws, req), pub: &cybervault.Publication{Event: e, Deliveries: make([]cybervault.NewDelivery, len(webhooks))}}
	view := filterView{event: e, engine: r.cfg.EngineVersion, data: req.Data}
	for i, w := range webhooks {
		n := &d.pub.Deliveries[i]
		*n = cybervault.NewDelivery{ID: cybervault.DeliveryID{UUID: run[1+i]}, Webhook: w.ID, Status: cybervault.DeliveryPending, Severity: d.severity, Ordered: w.InLine()}
		switch {
		case e.Test:
		case !w.Live():
			n.Status, n.Reason = cybervault.DeliverySkipped, cybervault.ReasonWebhookDisabled
			continue
		default:
			if own, ok := snap.filters[w.ID]; ok {
				reason, err := r.skips(ctx, own, &view)
				if err != nil {
					r.withdraw(d)
					return nil, &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "nothing was kept: the call was broken off", Err: err}
				}
				if reason != "" {
					n.Status, n.Reason = cybervault.DeliverySkipped, reason
					continue
				}
			}
			if w.Held() {
				n.Status = cybervault.DeliveryHeld
				continue
			}
		}
		if w.Polled() {
			continue // its receiver comes for it
		}
		if !r.dispatcher.Admit(w.ID, len(e.Body), d.severity, e.Test) {
			d.woken = append(d.woken, w.ID)
			continue
		}
		n.Lease = lease
		d.leased = append(d.leased, &cybervault.Assignment{
			Delivery: n.ID, Webhook: w.ID, Event: e.ID, EventType: e.Type, Severity: d.severity, Attempt: 1, Test: e.Test, Body: e.Body, Lease: lease,
		})
	}
	return d, nil
}

// withdraw gives back the places of a draft that was not stored.
func (r *Router) withdraw(d *draft) {
	for _, a := range d.leased {
		r.dispatcher.Withdraw(a.Webhook, len(a.Body), a.Severity)
	}
}

// hand gives the deliveries of a stored draft to the dispatcher.
func (r *Router) hand(d *draft) {
	leased := 0
	for i := range d.pub.Deliveries {
		if n := &d.pub.Deliveries[i]; n.Lease.Token != 0 {
			d.leased[leased].Sequence = n.Sequence
			leased++
		}
	}
	r.dispatcher.Dispatch(d.leased)
	for _, id := range d.woken {
		r.dispatcher.Wake(id, d.severity)
	}
}

func receipt(pub *cybervault.Publication) cybervault.PublishReceipt {
	n := 0
	for i := range pub.Deliveries {
		if pub.Deliveries[i].Status != cybervault.DeliverySkipped {
			n++
		}
	}
	return eventReceipt(pub.Event, n)
}

func eventReceipt(e *cybervault.Event, deliveries int) cybervault.PublishReceipt {
	return cybervault.PublishReceipt{ID: e.ID, Type: e.Type, Timestamp: e.Timestamp, IdempotencyKey: e.IdempotencyKey, Deliveries: deliveries}
}

// repeated answers a publish whose key is taken: with the first receipt when
// the content is the same, with CodeConflict when it is not. A timestamp counts
// as content only where the publisher gave one.
func repeated(req *cybervault.PublishRequest, e *cybervault.Event, deliveries int) (cybervault.PublishReceipt, error) {
	what := ""
	switch {
	case e.Type != req.Type:
		what = "event type " + e.Type
	case !req.Timestamp.IsZero() && !req.Timestamp.Truncate(time.Microsecond).Equal(e.Timestamp):
		what = "another timestamp"
	case !sameData(req.Data, e.Body):
		what = "other data"
	}
	if what != "" {
		return cybervault.PublishReceipt{}, &cybervault.Error{Code: cybervault.CodeConflict, Field: "idempotency_key",
			Message: "was used before for " + e.ID.String() + " with " + what + ": use a new key for a new event"}
	}
	rec := eventReceipt(e, deliveries)
	rec.Replayed = true
	return rec, nil
}

// sameData compares by value: white space and the order of names do not
// matter, the digits of a number do.
func sameData(data, body []byte) bool {
	var envelope struct {
		Data any `json:"data"`
	}
	var mine any
	return decodeNumbers(data, &mine) == nil && decodeNumbers(body, &envelope) == nil && reflect.DeepEqual(mine, envelope.Data)
}

func decodeNumbers(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec.Decode(v)
}
