package store

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/cybervault/cybervault"
)

// publishing is a publication on its way through the writer.
type publishing struct {
	in     *cybervault.Publication
	stored bool
	out    cybervault.Published
}

// Publish commits events with their deliveries, each event and its deliveries
// together, and returns once that is durable. Outcomes stand in the order of
// pubs. Either outcomes or an error of CodeUnavailable is returned for each;
// an event whose idempotency key is taken is not stored and its outcome names
// the one that has it. The sequence numbers of the deliveries are filled in.
func (s *Store) Publish(ctx context.Context, pubs []*cybervault.Publication) ([]cybervault.Published, []error) {
	states := make([]*publishing, len(pubs))
	errs := make([]error, len(pubs))
	done := make(chan struct{}, len(pubs))
	waiting := 0
	for i, pub := range pubs {
		states[i] = &publishing{in: pub}
		err := s.w.submit(ctx, &operation{
			publication: states[i],
			bytes:       len(pub.Event.Body),
			done:        func(err error) { errs[i] = err; done <- struct{}{} },
		})
		if err != nil {
			errs[i] = err
			continue
		}
		waiting++
	}
	for range waiting {
		<-done
	}
	out := make([]cybervault.Published, len(pubs))
	for i, state := range states {
		out[i] = state.out
	}
	return out, errs
}

// apply carries out a group inside one transaction. The answers are to be given
// once it is durable.
func (s *Store) apply(tx transaction, group []*operation) (answers []func(), err error) {
	var publications []*publishing
	var results []*operation
	for _, op := range group {
		switch {
		case op.publication != nil:
			publications = append(publications, op.publication)
		case op.result != nil:
			results = append(results, op)
			continue
		default:
			err := op.run(tx)
			if refusal, ok := errors.AsType[*cybervault.Error](err); ok {
				answers = append(answers, func() { op.done(refusal) })
				continue
			}
			if err != nil {
				return nil, err // the group is taken apart, and this one fails alone
			}
		}
		answers = append(answers, func() { op.done(nil) })
	}
	if err := insertEvents(tx, publications); err != nil {
		return nil, err
	}
	recorded, err := s.recordResults(tx, results)
	if err != nil {
		return nil, err
	}
	return append(answers, recorded...), nil
}

const (
	insertEvent = `INSERT INTO events (id, id_rest, workspace_id, type, timestamp, idempotency_key, test, deliveries, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	nextSequences = `INSERT INTO webhook_sequences (webhook_id, last) VALUES (?, ?)
ON CONFLICT (webhook_id) DO UPDATE SET last = webhook_sequences.last + excluded.last RETURNING last`
	insertDelivery = `INSERT INTO deliveries (id, id_rest, workspace_id, event_id, webhook_id, sequence, status, reason, attempts, due_at, lease_token, finished_at, replay_of, test, last_status, last_failure)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, 0, '')`
	selectByIdempotencyKey = `SELECT id, id_rest, type, timestamp, test, deliveries, body FROM events WHERE workspace_id = ? AND idempotency_key = ?`
	countBirths            = `SELECT COUNT(*) FROM deliveries WHERE id > ? AND id <= ? AND event_id = ? AND status <> 5`
)

func insertEvents(tx transaction, pubs []*publishing) error {
	err := tx.each(insertEvent, len(pubs), func(i int, a []any) []any {
		e := pubs[i].in.Event
		var key any
		if e.PublisherKey {
			key = e.IdempotencyKey
		}
		return append(a, e.ID.Key(), e.ID.Rest(), e.Workspace.Key(), e.Type, micros(e.Timestamp), key,
			boolInt(e.Test), int64(len(pubs[i].in.Deliveries)), e.Body)
	}, func(i int, rows int64) { pubs[i].stored = rows == 1 })
	if err != nil {
		return err
	}
	var fresh []newborn
	for _, p := range pubs {
		if !p.stored {
			if err := findExisting(tx, p); err != nil {
				return err
			}
			continue
		}
		for i := range p.in.Deliveries {
			fresh = append(fresh, newborn{event: p.in.Event, delivery: &p.in.Deliveries[i]})
		}
	}
	return insertDeliveries(tx, fresh)
}

func findExisting(tx transaction, p *publishing) error {
	e := p.in.Event
	err := tx.query(selectByIdempotencyKey, []any{e.Workspace.Key(), e.IdempotencyKey}, func(row []any) {
		p.out.Existing = &cybervault.Event{
			ID: cybervault.MakeID[cybervault.EventID](asInt(row[0]), asInt(row[1])), Workspace: e.Workspace, Type: asString(row[2]),
			Timestamp: fromMicros(asInt(row[3])), IdempotencyKey: e.IdempotencyKey, PublisherKey: true,
			Test: asInt(row[4]) != 0, Body: slices.Clone(asBytes(row[6])),
		}
		p.out.ExistingDeliveries = int(asInt(row[5]))
	})
	if err != nil {
		return err
	}
	if p.out.Existing == nil {
		return cybervault.Errorf(cybervault.CodeInternal, "the event's row key is taken: is another server using this node number?")
	}
	from := p.out.Existing.ID.Key()
	return tx.query(countBirths, []any{from, birthsEnd(from, p.out.ExistingDeliveries), from},
		func(row []any) { p.out.ExistingDeliveries = int(asInt(row[0])) })
}

// birthsEnd is the greatest key that a delivery made together with an event can have.
func birthsEnd(event int64, births int) int64 { return event + int64(births)*cybervault.KeyStep }

// newborn is a delivery about to be inserted.
type newborn struct {
	event    *cybervault.Event
	delivery *cybervault.NewDelivery
}

// insertDeliveries gives each delivery that is not skipped the next sequence
// number of its webhook, in the order given, and inserts all.
func insertDeliveries(tx transaction, fresh []newborn) error {
	if len(fresh) == 0 {
		return nil
	}
	// Webhooks are taken in the order of their keys, so that two writers that
	// want the same ones cannot wait for each other.
	counts := map[int64]int64{}
	for _, n := range fresh {
		if n.delivery.Status != cybervault.DeliverySkipped {
			counts[n.delivery.Webhook.Key()]++
		}
	}
	webhooks := make([]int64, 0, len(counts))
	for key := range counts {
		webhooks = append(webhooks, key)
	}
	slices.SortFunc(webhooks, cmp.Compare[int64])
	next := make(map[int64]int64, len(webhooks))
	err := tx.eachRow(nextSequences, len(webhooks), func(i int, a []any) []any {
		return append(a, webhooks[i], counts[webhooks[i]])
	}, func(i int, row []any) { next[webhooks[i]] = asInt(row[0]) - counts[webhooks[i]] })
	if err != nil {
		return err
	}
	return tx.each(insertDelivery, len(fresh), func(i int, a []any) []any {
		d, e := fresh[i].delivery, fresh[i].event
		webhook := d.Webhook.Key()
		var finished int64
		if d.Status == cybervault.DeliverySkipped {
			finished = d.ID.Time().UnixMicro()
		} else {
			next[webhook]++
			d.Sequence = next[webhook]
		}
		due := d.ID.Time().UnixMicro()
		if d.Lease.Token != 0 {
			due = d.Lease.Until.UnixMicro()
		}
		return append(a, d.ID.Key(), d.ID.Rest(), e.Workspace.Key(), e.ID.Key(), webhook, d.Sequence,
			statusCode(d.Status), d.Reason, due, d.Lease.Token, finished, d.ReplayOf.Key(), boolInt(e.Test))
	}, nil)
}

// AddDelivery commits one more delivery of an event that is already stored: a
// replay. Its sequence number is filled in.
func (s *Store) AddDelivery(ctx context.Context, event *cybervault.Event, d *cybervault.NewDelivery) error {
	return s.w.do(ctx, func(tx transaction) error {
		return insertDeliveries(tx, []newborn{{event: event, delivery: d}})
	})
}
