package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"

	"github.com/cybervault/cybervault"
)

// publishing is a publication on its way through the writer.
type publishing struct {
	in     *cybervault.Publication
	leaf   [sha256.Size]byte // of the event, for the audit log
	stored bool
	out    cybervault.Published
	err    error
}

// Publish commits events with their deliveries, each event and its deliveries
// together, and returns once that is durable. Outcomes stand in the order of
// pubs. Either outcomes or an error of CodeUnavailable is returned for each;
// an event whose idempotency key is taken is not stored and its outcome names
// the one that has it. The sequence numbers of the deliveries are filled in.
func (s *Store) Publish(ctx context.Context, pubs []*cybervault.Publication) ([]cybervault.Published, []error) {
	states := make([]publishing, len(pubs))
	ops := make([]*operation, 0, len(pubs))
	var committed sync.WaitGroup
	for i, pub := range pubs {
		state := &states[i]
		state.in = pub
		if state.err = checkPublication(pub); state.err != nil {
			continue
		}
		state.leaf = leafOf(pub.Event)
		ops = append(ops, &operation{
			publication: state,
			bytes:       len(pub.Event.Body),
			done:        func(err error) { state.err = err; committed.Done() },
		})
	}
	committed.Add(len(ops))
	if len(ops) > 0 {
		if err := s.w.submit(ctx, ops...); err != nil {
			for _, op := range ops {
				op.done(err)
			}
		}
	}
	committed.Wait()
	out := make([]cybervault.Published, len(pubs))
	errs := make([]error, len(pubs))
	for i := range states {
		if errs[i] = states[i].err; errs[i] == nil {
			out[i] = states[i].out
		}
	}
	return out, errs
}

// checkPublication holds the caller to what the queries rely on: deliveries
// whose keys follow the event's own (IDSource.NextRun makes them), born alive or
// skipped.
func checkPublication(pub *cybervault.Publication) error {
	if err := checkText("idempotency_key", pub.Event.IdempotencyKey); err != nil {
		return err
	}
	event := pub.Event.ID.Key()
	end := birthsEnd(event, len(pub.Deliveries))
	for i := range pub.Deliveries {
		d := &pub.Deliveries[i]
		if key := d.ID.Key(); key <= event || key > end {
			return cybervault.Errorf(cybervault.CodeInternal, "the id %s does not follow %s: mint both in one run", d.ID, pub.Event.ID)
		}
		if d.Status.Ended() && d.Status != cybervault.DeliverySkipped {
			return cybervault.Errorf(cybervault.CodeInternal, "a delivery cannot be born %q", d.Status)
		}
	}
	return nil
}

// apply carries out a group inside one transaction. The answers are to be given
// once it is durable.
func (s *Store) apply(tx transaction, group []*operation) (answers []func(), err error) {
	tx.noted().reset()
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
	if err := s.insertEvents(tx, publications); err != nil {
		return nil, err
	}
	recorded, err := s.recordResults(tx, results)
	if err != nil {
		return nil, err
	}
	if err := s.storeSpans(tx); err != nil {
		return nil, err
	}
	return append(answers, recorded...), s.logChanges(tx)
}

const (
	insertEvent = `INSERT INTO events (id, id_rest, workspace_id, type, timestamp, idempotency_key, test, deliveries, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	nextSequences = `INSERT INTO webhook_sequences (webhook_id, last, last_delivery) VALUES (?, ?, ?)
ON CONFLICT (webhook_id) DO UPDATE SET last = webhook_sequences.last + excluded.last, before = webhook_sequences.last_delivery, last_delivery = excluded.last_delivery
RETURNING last, before`
	insertDelivery = `INSERT INTO deliveries (id, id_rest, workspace_id, event_id, webhook_id, sequence, previous, status, reason, attempts, due_at, lease_token, finished_at, replay_of, test, ordered, severity, last_status, last_failure)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, 0, '')`
	selectByIdempotencyKey = `SELECT e.id, e.id_rest, e.type, e.timestamp, e.test, e.deliveries, e.body FROM `
	countBirths            = `SELECT COUNT(*) FROM deliveries WHERE id > ? AND id <= ? AND event_id = ? AND status <> 5`
)

func (s *Store) insertEvents(tx transaction, pubs []*publishing) error {
	if len(pubs) == 0 {
		return nil
	}
	err := s.eachByKey(tx, "events", insertEvent, len(pubs), func(i int) int64 { return pubs[i].in.Event.ID.Key() }, func(i int, a []any) []any {
		e := pubs[i].in.Event
		var key any
		if e.PublisherKey {
			key = e.IdempotencyKey
		}
		return append(a, e.ID.Key(), e.ID.Rest(), e.Workspace.Key(), e.Type, micros(e.Timestamp), key,
			boolInt(e.Test), int64(len(pubs[i].in.Deliveries)), e.Body)
	}, func(i int, rows int64) { pubs[i].stored, pubs[i].out = rows == 1, cybervault.Published{} })
	if err != nil {
		return err
	}
	fresh := make([]newborn, 0, len(pubs))
	list := tx.noted()
	for _, p := range pubs {
		if !p.stored {
			continue
		}
		list.event(p.in.Event.ID.Key())
		list.typed(p.in.Event.Type, p.in.Event.ID.Key())
		list.wrote.events = append(list.wrote.events, eventLeaf{p.in.Event.ID.Key(), p.leaf})
		for i := range p.in.Deliveries {
			fresh = append(fresh, newborn{event: p.in.Event, delivery: &p.in.Deliveries[i]})
		}
	}
	if err := s.insertDeliveries(tx, fresh); err != nil {
		return err
	}
	// Last, since the event that has the key may be one of this group.
	for _, p := range pubs {
		if !p.stored {
			if err := s.findExisting(tx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) findExisting(tx transaction, p *publishing) error {
	e := p.in.Event
	err := tx.query(selectByIdempotencyKey+s.dialect.byIdempotencyKey, []any{e.Workspace.Key(), e.IdempotencyKey}, func(row []any) {
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
	later    bool // not made together with its event
}

// replayOfNone marks a delivery that was made after its event and replays none.
const replayOfNone = -1

func (n newborn) replayOf() int64 {
	if n.later && n.delivery.ReplayOf.IsZero() {
		return replayOfNone
	}
	return n.delivery.ReplayOf.Key()
}

// birth is what the audit log is to know of it, once it has a sequence number.
func (n newborn) birth(now int64) birth {
	d, e := n.delivery, n.event
	b := birth{delivery: d.ID, event: e.ID, workspace: e.Workspace, webhook: d.Webhook, sequence: d.Sequence, reason: d.Reason, test: e.Test}
	if d.Status == cybervault.DeliverySkipped {
		b.end = end{delivery: d.ID.Key(), status: statusSkipped, finished: now}
	}
	return b
}

// insertDeliveries gives each delivery that is not skipped the next sequence
// number of its webhook, in the order given, and inserts all.
func (s *Store) insertDeliveries(tx transaction, fresh []newborn) error {
	if len(fresh) == 0 {
		return nil
	}
	if err := s.freeNewborn(tx, fresh); err != nil {
		return err
	}
	if err := s.orderLater(tx, fresh); err != nil {
		return err
	}
	now := micros(s.now())
	runs, err := nextRuns(tx, fresh)
	if err != nil {
		return err
	}
	var marks []mark
	list := tx.noted()
	err = s.eachByKey(tx, "deliveries", insertDelivery, len(fresh), func(i int) int64 { return fresh[i].delivery.ID.Key() }, func(i int, a []any) []any {
		d, e := fresh[i].delivery, fresh[i].event
		webhook := d.Webhook.Key()
		var finished, previous int64
		if d.Status == cybervault.DeliverySkipped {
			finished = now
		} else {
			previous = runs[webhook].take(d)
			if d.Sequence%markEvery == 0 {
				marks = append(marks, mark{webhook, d.Sequence, d.ID.Key()})
			}
		}
		list.delivery(d.ID.Key(), statusCode(d.Status))
		list.typed(e.Type, d.ID.Key())
		due := now // not the id's time, which may run ahead of the clock
		if d.Lease.Token != 0 {
			due = d.Lease.Until.UnixMicro()
		}
		return append(a, d.ID.Key(), d.ID.Rest(), e.Workspace.Key(), e.ID.Key(), webhook, d.Sequence, previous,
			statusCode(d.Status), d.Reason, due, d.Lease.Token, finished, fresh[i].replayOf(), boolInt(e.Test), boolInt(d.Ordered), severityCode(d.Severity))
	}, nil)
	if err != nil {
		return err
	}
	for _, n := range fresh {
		list.wrote.births = append(list.wrote.births, n.birth(now))
	}
	return insertMarks(tx, marks)
}

// freeNewborn makes held deliveries pending whose webhook has been verified
// since the caller looked: FreeHeld may have run already.
func (s *Store) freeNewborn(tx transaction, fresh []newborn) error {
	held := map[cybervault.WebhookID]bool{}
	for _, n := range fresh {
		if n.delivery.Status == cybervault.DeliveryHeld {
			held[n.delivery.Webhook] = true
		}
	}
	for id := range held {
		err := tx.query("SELECT verification, verified_at FROM webhooks WHERE id = ?"+s.dialect.forShare, []any{id.Key()}, func(row []any) {
			held[id] = asInt(row[0]) != 0 && asInt(row[1]) == 0
		})
		if err != nil {
			return err
		}
	}
	for _, n := range fresh {
		if still, ok := held[n.delivery.Webhook]; ok && !still && n.delivery.Status == cybervault.DeliveryHeld {
			n.delivery.Status = cybervault.DeliveryPending
		}
	}
	return nil
}

// AddDelivery commits one more delivery of an event that is already stored: a
// replay. CodeNotFound when the event has been removed. Its sequence number is filled in. A publication or replay that is held
// for a webhook that has been verified in the meantime is made pending.
func (s *Store) AddDelivery(ctx context.Context, event *cybervault.Event, d *cybervault.NewDelivery) error {
	return s.w.do(ctx, func(tx transaction) error {
		if err := s.lockEvent(tx, event); err != nil {
			return err
		}
		if err := s.insertDeliveries(tx, []newborn{{event: event, delivery: d, later: true}}); err != nil {
			return err
		}
		return s.actDeed(ctx, tx, event.Workspace)
	})
}
