package dashboardtest

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// PauseSearch makes the first page of events end at one.
func (f *Fake) PauseSearch(at cybervault.EventID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pause = at
}

// Events implements dashboard.Log, as do the methods after it.
func (f *Fake) Events(_ context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var page cybervault.Page[*cybervault.Event]
	for _, e := range f.events {
		if e.ID == f.pause && q.Before.IsZero() {
			page.More, page.Resume = true, e.ID.UUID
			break
		}
		if !within(e.ID.Time(), q.Since, q.Until) || q.Unmatched || q.Type != "" && !cybervault.MatchesEventType(q.Type, e.Type) || !contains(e.Body, q.Text) || !fits(&q.Search, e) ||
			!q.Before.IsZero() && e.ID.Key() >= q.Before.Key() {
			continue
		}
		if len(page.Rows) == q.Limit {
			page.More = true
			break
		}
		page.Rows = append(page.Rows, e)
	}
	return page, f.check(q.Workspace)
}

// Event reads one.
func (f *Fake) Event(_ context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return find(f, ws, f.events, "event", func(e *cybervault.Event) bool { return e.ID == id })
}

// Deliveries lists them.
func (f *Fake) Deliveries(_ context.Context, q cybervault.DeliveryQuery) (cybervault.Page[*cybervault.Delivery], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var page cybervault.Page[*cybervault.Delivery]
	for _, d := range f.deliveries {
		switch {
		case !within(d.CreatedAt(), q.Since, q.Until),
			!q.Webhook.IsZero() && d.Webhook != q.Webhook,
			!q.Event.IsZero() && d.Event != q.Event,
			q.EventType != "" && !cybervault.MatchesEventType(q.EventType, d.EventType),
			len(q.Statuses) > 0 && !slices.Contains(q.Statuses, d.Status),
			!q.Before.IsZero() && d.ID.Key() >= q.Before.Key(),
			q.Text != "" && !contains(f.body(d.Event), q.Text):
			continue
		}
		if len(page.Rows) == q.Limit {
			page.More = true
			break
		}
		page.Rows = append(page.Rows, d)
	}
	return page, f.check(q.Workspace)
}

func (f *Fake) body(id cybervault.EventID) []byte {
	if i := slices.IndexFunc(f.events, func(e *cybervault.Event) bool { return e.ID == id }); i >= 0 {
		return f.events[i].Body
	}
	return nil
}

func within(t, since, until time.Time) bool {
	return (since.IsZero() || !t.Before(since)) && (until.IsZero() || t.Before(until))
}

func fits(s *cybervault.Search, e *cybervault.Event) bool {
	return s.Match(e) && !slices.ContainsFunc(s.Words(), func(word string) bool { return !contains(e.Body, word) })
}

func contains(body []byte, text string) bool {
	return text == "" || bytes.Contains(bytes.ToLower(body), []byte(strings.ToLower(text)))
}

// Delivery reads one.
func (f *Fake) Delivery(_ context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return find(f, ws, f.deliveries, "delivery", func(d *cybervault.Delivery) bool { return d.ID == id })
}

// Attempts lists those of a delivery.
func (f *Fake) Attempts(_ context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) ([]*cybervault.Attempt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.attempts[id]), f.check(ws)
}

// Overview counts what is there.
func (f *Fake) Overview(_ context.Context, ws cybervault.WorkspaceID, since time.Time, buckets int) (*cybervault.Overview, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	width := f.now().Sub(since) / time.Duration(buckets)
	o := &cybervault.Overview{
		Since: since, Width: width, Buckets: make([]cybervault.OverviewBucket, buckets),
		ByType: make(map[string]int64), ByStatus: make(map[cybervault.DeliveryStatus]int64), Capped: f.capped,
	}
	for i := range o.Buckets {
		o.Buckets[i].Start = since.Add(time.Duration(i) * width)
		o.Buckets[i].ByType = make(map[string]int64)
	}
	at := func(t time.Time) *cybervault.OverviewBucket {
		return &o.Buckets[min(buckets-1, max(0, int(t.Sub(since)/width)))]
	}
	for _, e := range f.events {
		if t := e.ID.Time(); !t.Before(since) {
			o.ByType[e.Type]++
			at(t).ByType[e.Type]++
		}
	}
	var latencies []time.Duration
	for _, d := range f.deliveries {
		if d.CreatedAt().Before(since) {
			continue
		}
		o.ByStatus[d.Status]++
		for _, a := range f.attempts[d.ID] {
			if a.StartedAt.Before(since) {
				continue
			}
			if b := at(a.StartedAt); a.Succeeded() {
				b.Delivered++
			} else {
				b.Failed++
			}
		}
		if d.Status == cybervault.DeliveryDelivered {
			latencies = append(latencies, d.FinishedAt.Sub(d.CreatedAt()))
		}
	}
	slices.Sort(latencies)
	if n := len(latencies); n > 0 {
		o.LatencyP50, o.LatencyP99 = latencies[n/2], latencies[n*99/100]
	}
	return o, f.check(ws)
}

// SetCapped makes the overview say that it could not count everything.
func (f *Fake) SetCapped(capped bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capped = capped
}

// severity is what e says of itself, or its type's.
func (f *Fake) severity(e *cybervault.Event) cybervault.Severity {
	var envelope struct {
		Data struct {
			Severity cybervault.Severity `json:"severity"`
		} `json:"data"`
	}
	if json.Unmarshal(e.Body, &envelope) == nil && envelope.Data.Severity.Rank() >= 0 {
		return envelope.Data.Severity
	}
	for _, t := range f.types {
		if t.Name == e.Type {
			return t.Severity
		}
	}
	return cybervault.SeverityInfo
}

// deliver makes a delivery of e to w and lives through as many of its attempts
// as the time that has passed allows.
func (f *Fake) deliver(w *cybervault.Webhook, e *cybervault.Event) *cybervault.Delivery {
	d := &cybervault.Delivery{Workspace: f.Workspace, Event: e.ID, EventType: e.Type, Severity: f.severity(e), Webhook: w.ID, Status: cybervault.DeliveryPending, Test: e.Test}
	d.ID.UUID = f.ids.Next()
	f.deliveries = slices.Insert(f.deliveries, 0, d)
	sortNewest(f.deliveries, func(d *cybervault.Delivery) int64 { return d.ID.Key() })
	switch {
	case w.Status == cybervault.WebhookDisabled:
		d.Status, d.Reason = cybervault.DeliverySkipped, cybervault.ReasonWebhookDisabled
		return d
	case w.Held():
		d.Status = cybervault.DeliveryHeld
		return d
	}
	for _, other := range f.deliveries {
		if other.Webhook == w.ID {
			d.Sequence++
		}
	}
	schedule := w.RetrySchedule
	if schedule == nil {
		schedule = cybervault.DefaultRetrySchedule()
	}
	start := f.clock()
	for n := 1; ; n++ {
		a := f.attempt(w, d.ID, e.Type, n)
		a.StartedAt = start
		sign(a, w, e)
		f.attempts[d.ID] = append(f.attempts[d.ID], a)
		d.Attempts, d.LastStatus, d.LastFailure = n, a.Status, a.Failure
		end := start.Add(a.Elapsed)
		if a.Succeeded() {
			d.Status, d.FinishedAt = cybervault.DeliveryDelivered, end
			return d
		}
		delay, more := cybervault.NextRetry(schedule, n, a.RetryAfter)
		if !more {
			d.Status, d.FinishedAt = cybervault.DeliveryDeadLetter, end
			return d
		}
		if start = end.Add(delay); start.After(f.now()) {
			d.NextAttemptAt = start
			return d
		}
	}
}

// AddAttempt records an attempt as it is, for tests with odd answers.
func (f *Fake) AddAttempt(id cybervault.DeliveryID, exchange cybervault.Exchange) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &cybervault.Attempt{Delivery: id, Number: len(f.attempts[id]) + 1, StartedAt: f.clock(), Exchange: exchange}
	a.ID.UUID = f.ids.Next()
	f.attempts[id] = append(f.attempts[id], a)
}

// SetDelivery changes a delivery in place.
func (f *Fake) SetDelivery(id cybervault.DeliveryID, change func(*cybervault.Delivery)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, d := range f.deliveries {
		if d.ID == id {
			changed := *d
			change(&changed)
			f.deliveries[i] = &changed
		}
	}
	f.signal()
}
