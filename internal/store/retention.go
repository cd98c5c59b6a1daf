package store

import (
	"context"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/failpoint"
)

// sweepRows bounds how many events and deliveries one step of a sweep looks at:
// few enough that who shares the transaction hardly notices.
const sweepRows = 200

const (
	selectOld = `SELECT d.id, d.deliveries FROM events d WHERE d.id > ? AND d.id < ? ORDER BY d.id LIMIT ?`
	// What keeps an event: a delivery that is alive, newer than the rest (a
	// replay), or a dead letter that is not old enough.
	keeps            = `(d.status < 2 OR d.id >= ? OR d.status = 3 AND d.id >= ?)`
	selectKeptBirths = `SELECT DISTINCT d.event_id FROM deliveries d WHERE d.id > ? AND d.id <= ? AND d.replay_of = 0 AND ` + keeps
	replaysOf        = ` FROM events e JOIN deliveries d ON d.event_id = e.id AND d.replay_of <> 0 WHERE e.id >= ? AND e.id <= ?`
	selectKeptLater  = `SELECT DISTINCT d.event_id` + replaysOf + ` AND ` + keeps
	selectOldBirths  = `SELECT d.id, d.event_id, d.webhook_id, d.sequence FROM deliveries d WHERE d.id > ? AND d.id <= ? AND d.replay_of = 0 ORDER BY d.id LIMIT ?`
	selectOldLater   = `SELECT d.id, d.event_id, d.webhook_id, d.sequence` + replaysOf + ` ORDER BY d.id LIMIT ?`
	deleteAttempts   = `DELETE FROM attempts WHERE delivery_id = ?`
	deleteMark       = `DELETE FROM webhook_sequence_marks WHERE webhook_id = ? AND sequence = ?`
	deleteDelivery   = `DELETE FROM deliveries WHERE id = ?`
	// The deliveries are looked at again: those of a large event went in several
	// transactions, and it may not have been removable in each.
	selectLeftBirths = `SELECT DISTINCT d.event_id FROM deliveries d WHERE d.id > ? AND d.id <= ? AND d.replay_of = 0`
	selectLeftLater  = `SELECT DISTINCT d.event_id` + replaysOf
	deleteEvent      = `DELETE FROM events WHERE id = ?`
)

// oldDelivery is a delivery of an event that is old.
type oldDelivery struct{ id, event, webhook, sequence int64 }

// oldEvents is a run of old events and what a sweep finds out about them.
type oldEvents struct {
	ids        []int64
	births     map[int64]int64
	kept       map[int64]bool
	deliveries []oldDelivery
	cut        bool // not all of its deliveries are listed
	unread     bool // the audit log is too far behind to tell what may go
}

// Sweep removes what is old enough, from a position on, in one short transaction
// that publishers share. It is to be called again with the position it returns
// until it is done. An event that somebody is replaying right now is passed over,
// and so is one that the audit log has yet to read.
// On PostgreSQL a day is left alone until all of it is old: see Rotate.
func (s *Store) Sweep(ctx context.Context, expiry cybervault.Expiry, from cybervault.SweepPosition) (cybervault.Swept, error) {
	var swept cybervault.Swept
	expiry.Before = s.dialect.dayFloor(expiry.Before)
	err := s.w.do(ctx, func(tx transaction) error {
		swept = cybervault.Swept{Position: from}
		old, err := s.findOld(tx, expiry, from)
		if err != nil {
			return err
		}
		if old.unread {
			swept.Done = true // for now: the next sweep goes on from here
			return nil
		}
		if len(old.ids) == 0 {
			swept.Done = true
			return nil
		}
		if err := s.removeOld(tx, old, &swept); err != nil {
			return err
		}
		swept.Position = cybervault.SweepPosition{After: old.ids[len(old.ids)-1]}
		if old.cut { // then it is a single event
			swept.Position = cybervault.SweepPosition{After: old.ids[0] - 1, Delivery: old.deliveries[len(old.deliveries)-1].id}
		}
		return nil
	})
	return swept, err
}

func (s *Store) findOld(tx transaction, expiry cybervault.Expiry, from cybervault.SweepPosition) (*oldEvents, error) {
	old := &oldEvents{births: map[int64]int64{}, kept: map[int64]bool{}}
	before, deadBefore := cybervault.KeyAt(expiry.Before), cybervault.KeyAt(expiry.DeadLettersBefore)
	// In PostgreSQL this locks the events, so that AddDelivery waits.
	size, full := int64(0), false
	err := tx.query(selectOld+s.dialect.skipLocked, []any{from.After, before, int64(sweepRows)}, func(row []any) {
		id, births := asInt(row[0]), asInt(row[1])
		if full = full || len(old.ids) > 0 && size+1+births > sweepRows; full {
			return
		}
		size += 1 + births
		old.ids, old.births[id] = append(old.ids, id), births
	})
	if err != nil || len(old.ids) == 0 {
		return old, err
	}
	first, last := old.ids[0], old.ids[len(old.ids)-1]
	end := birthsEnd(last, int(old.births[last]))
	keep := func(row []any) { old.kept[asInt(row[0])] = true }
	if err := tx.query(selectKeptBirths, []any{first, end, before, deadBefore}, keep); err != nil {
		return nil, err
	}
	if err := tx.query(selectKeptLater, []any{first, last, before, deadBefore}, keep); err != nil {
		return nil, err
	}
	// After what shows which deliveries have ended: see unaudited.
	unaudited, ok, err := s.unaudited(tx)
	if err != nil {
		return nil, err
	}
	old.unread = !ok
	for _, id := range old.ids {
		old.kept[id] = old.kept[id] || unaudited[id]
	}
	list := func(row []any) {
		d := oldDelivery{asInt(row[0]), asInt(row[1]), asInt(row[2]), asInt(row[3])}
		if _, ours := old.births[d.event]; ours {
			old.deliveries = append(old.deliveries, d)
			old.kept[d.event] = old.kept[d.event] || unaudited[d.id]
		}
	}
	if err := tx.query(selectOldBirths, []any{max(first, from.Delivery), end, int64(sweepRows)}, list); err != nil {
		return nil, err
	}
	if len(old.ids) == 1 && len(old.deliveries) == sweepRows {
		old.cut = true
		return old, nil
	}
	return old, tx.query(selectOldLater, []any{first, last, int64(sweepRows)}, list)
}

func (s *Store) removeOld(tx transaction, old *oldEvents, swept *cybervault.Swept) error {
	gone := make([]oldDelivery, 0, len(old.deliveries))
	var marks []mark // for those that stay, so that they are found by their number
	for _, d := range old.deliveries {
		switch {
		case !old.kept[d.event]:
			gone = append(gone, d)
		case d.sequence > 0:
			marks = append(marks, mark{d.webhook, d.sequence, d.id})
		}
	}
	delivery := func(i int) int64 { return gone[i].id }
	byDelivery := func(i int, a []any) []any { return append(a, gone[i].id) }
	err := s.eachByKey(tx, "attempts", deleteAttempts, len(gone), delivery, byDelivery, func(_ int, n int64) { swept.Attempts += n })
	if err != nil {
		return err
	}
	if err := tx.each(deleteMark, len(gone), func(i int, a []any) []any { return append(a, gone[i].webhook, gone[i].sequence) }, nil); err != nil {
		return err
	}
	if err := s.eachByKey(tx, "deliveries", deleteDelivery, len(gone), delivery, byDelivery, func(_ int, n int64) { swept.Deliveries += n }); err != nil {
		return err
	}
	failpoint.Hit(failpoint.SweepHalf)
	events, err := old.empty(tx)
	if err != nil {
		return err
	}
	if err := s.eachByKey(tx, "events", deleteEvent, len(events), func(i int) int64 { return events[i] }, func(i int, a []any) []any {
		return append(a, events[i])
	}, func(_ int, n int64) { swept.Events += n }); err != nil {
		return err
	}
	return insertMarks(tx, marks)
}

// empty lists the events that have no deliveries any more.
func (old *oldEvents) empty(tx transaction) (events []int64, err error) {
	if old.cut {
		return nil, nil
	}
	left := map[int64]bool{}
	first, last := old.ids[0], old.ids[len(old.ids)-1]
	keep := func(row []any) { left[asInt(row[0])] = true }
	if err := tx.query(selectLeftBirths, []any{first, birthsEnd(last, int(old.births[last]))}, keep); err != nil {
		return nil, err
	}
	if err := tx.query(selectLeftLater, []any{first, last}, keep); err != nil {
		return nil, err
	}
	for _, id := range old.ids {
		if !left[id] && !old.kept[id] {
			events = append(events, id)
		}
	}
	return events, nil
}

// lockEvent makes sure that an event is there and stays until the commit.
func (s *Store) lockEvent(tx transaction, e *cybervault.Event) error {
	found := false
	err := tx.query("SELECT 1 FROM events WHERE id = ? AND id_rest = ?"+s.dialect.forShare, []any{e.ID.Key(), e.ID.Rest()}, func([]any) { found = true })
	if err == nil && !found {
		return cybervault.Errorf(cybervault.CodeNotFound, "the event %s has been removed because of its age", e.ID)
	}
	return err
}
