package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Seeding is the past that Seed makes up, for benchmarks and tests that need a
// long one. The deliveries go to the store's webhooks in turn, each of the event
// type that the webhook names first.
type Seeding struct {
	Ended   int // events whose delivery has ended: 99 of 100 delivered, one a dead letter
	Waiting int // events whose delivery has failed a few times and waits for the next

	Since    time.Time // events are spread evenly from here …
	Until    time.Time // … to here
	RetryAt  time.Time // what waits is due from here …
	RetryEnd time.Time // … to here
	Data     []byte    // of every event: a JSON object
}

const (
	seedBatch    = 5000 // events a transaction
	deadAttempts = 13   // of a dead letter, by the default schedule
	waitAttempts = 3    // of what waits
	seedToken    = 1 << 8
)

// Seed commits events with deliveries and attempts, by the statements that the
// server's own go through, and tells progress how many it has made. The store
// must have webhooks, and nothing else may write to it meanwhile.
func (s *Store) Seed(ctx context.Context, past Seeding, progress func(events int)) error {
	hooks, err := s.seedTargets(ctx)
	if err != nil {
		return err
	}
	answer, err := s.seedExchange(ctx)
	if err != nil {
		return err
	}
	n := past.Ended + past.Waiting
	at := past.Since
	seed := seeder{s: s, past: past, hooks: hooks, answer: answer, ids: cybervault.NewIDSource(s.Node(), 0, func() time.Time { return at })}
	for made := 0; made < n; {
		size := min(seedBatch, n-made)
		batch := seed.batch(made, size, func(i int) {
			at = past.Since.Add(time.Duration(float64(past.Until.Sub(past.Since)) * float64(i) / float64(n))).UTC().Truncate(time.Microsecond)
		})
		if err := s.w.do(ctx, batch.insert); err != nil {
			return err
		}
		if made += size; progress != nil {
			progress(made)
		}
	}
	return nil
}

// seedTarget is a webhook that deliveries are made up for.
type seedTarget struct {
	webhook   cybervault.WebhookID
	workspace cybervault.WorkspaceID
	eventType string
}

func (s *Store) seedTargets(ctx context.Context) (all []seedTarget, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT w.id, w.id_rest, w.workspace_id, p.id_rest, w.events
FROM webhooks w JOIN workspaces p ON p.id = w.workspace_id WHERE w.deleted_at = 0 ORDER BY w.id`)
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var key, rest, wsKey, wsRest int64
		var choices string
		if err := rows.Scan(&key, &rest, &wsKey, &wsRest, &choices); err != nil {
			return nil, readError(err)
		}
		t := seedTarget{cybervault.MakeID[cybervault.WebhookID](key, rest), cybervault.MakeID[cybervault.WorkspaceID](wsKey, wsRest), cybervault.EventThreatDetected}
		var names []string
		if err := json.Unmarshal([]byte(choices), &names); err != nil {
			return nil, fmt.Errorf("read the event choice of %s: %w", t.webhook, err)
		}
		if len(names) > 0 && !strings.HasSuffix(names[0], "*") {
			t.eventType = names[0]
		}
		all = append(all, t)
	}
	if err == nil && len(all) == 0 {
		return nil, errors.New("the store has no webhook to make deliveries for")
	}
	return all, readError(rows.Err())
}

// seedExchange is what every attempt is like: the first one that the store has,
// or else a plain one.
func (s *Store) seedExchange(ctx context.Context) (x cybervault.Exchange, err error) {
	x = cybervault.Exchange{URL: "https://receiver.test/in", Status: http.StatusOK, Elapsed: 1500 * time.Microsecond, Protocol: "HTTP/1.1"}
	var packed []byte
	switch err = s.db.QueryRowContext(ctx, "SELECT detail, body FROM attempts WHERE failure = '' LIMIT 1").Scan(&packed, &x.Body); {
	case errors.Is(err, sql.ErrNoRows):
		return x, nil
	case err != nil:
		return x, readError(err)
	}
	return x, decodeDetail(packed, &x)
}

type seeder struct {
	s      *Store
	past   Seeding
	hooks  []seedTarget
	answer cybervault.Exchange
	ids    *cybervault.IDSource
}

// seeded is one transaction of it.
type seeded struct {
	s       *Store
	pubs    []*publishing
	earlier []*cybervault.Attempt // of deliveries that were tried more than once, all but the last
	results []*operation
}

// batch makes up events from number first on; tick moves the clock to one.
func (g *seeder) batch(first, size int, tick func(i int)) *seeded {
	b := &seeded{s: g.s}
	for i := first; i < first+size; i++ {
		tick(i)
		run := g.ids.NextRun(2)
		hook := g.hooks[i%len(g.hooks)]
		event := g.event(cybervault.EventID{UUID: run[0]}, hook)
		until := event.Timestamp.Add(time.Minute)
		birth := cybervault.NewDelivery{ID: cybervault.DeliveryID{UUID: run[1]}, Webhook: hook.webhook, Status: cybervault.DeliveryPending,
			Lease: cybervault.Lease{Token: seedToken, Until: until}}
		b.pubs = append(b.pubs, &publishing{in: &cybervault.Publication{Event: event, Deliveries: []cybervault.NewDelivery{birth}}})

		result := &cybervault.Result{Webhook: hook.webhook, Lease: birth.Lease, Status: cybervault.DeliveryDelivered}
		attempts, waiting := 1, i-g.past.Ended
		switch {
		case waiting >= 0:
			result.Status, attempts = cybervault.DeliveryPending, waitAttempts
			result.NextAttemptAt = g.past.RetryAt.Add(time.Duration(float64(g.past.RetryEnd.Sub(g.past.RetryAt)) * float64(waiting) / float64(g.past.Waiting)))
		case i/len(g.hooks)%100 == i%len(g.hooks)%100: // of each webhook one in a hundred
			result.Status, attempts = cybervault.DeliveryDeadLetter, deadAttempts
		}
		for number := 1; number <= attempts; number++ {
			t := &cybervault.Attempt{ID: cybervault.NewID[cybervault.AttemptID](g.ids), Delivery: birth.ID, Number: number, StartedAt: event.Timestamp, Exchange: g.answer}
			if result.Status != cybervault.DeliveryDelivered {
				t.Status, t.Failure, t.Error = http.StatusServiceUnavailable, cybervault.FailureStatus, "answered 503; this webhook counts only 200 and 201 as success"
			}
			if number < attempts {
				b.earlier = append(b.earlier, t)
			} else {
				result.Attempt = t
			}
		}
		b.results = append(b.results, &operation{result: result, done: func(error) {}})
	}
	return b
}

func (g *seeder) event(id cybervault.EventID, hook seedTarget) *cybervault.Event {
	at := id.Time()
	key := cybervault.GeneratedKeyPrefix + id.UUID.String()
	return &cybervault.Event{
		ID: id, Workspace: hook.workspace, Type: hook.eventType, Timestamp: at, IdempotencyKey: key,
		Body: fmt.Appendf(make([]byte, 0, len(g.past.Data)+320), `{"id":"%s","event":"%s","timestamp":"%s","data":%s,"metadata":{"workspace_id":"%s","engine_version":"ai_v1.0","idempotency_key":"%s"}}`,
			id, hook.eventType, at.Format(time.RFC3339Nano), g.past.Data, hook.workspace, key),
	}
}

func (b *seeded) insert(tx transaction) error {
	if err := b.s.insertEvents(tx, b.pubs); err != nil {
		return err
	}
	err := tx.each(insertAttempt, len(b.earlier), func(i int, a []any) []any { return appendAttempt(a, b.earlier[i]) }, nil)
	if err != nil {
		return err
	}
	_, err = b.s.recordResults(tx, b.results)
	return err
}
