package store

import (
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
)

// clockStep is what a clock must be set back by at once to be taken notice of. Less
// is over before anybody waits for it.
const clockStep = 10 * time.Second

// moveDue moves what is due, or leased, later than now, with the clock.
const moveDue = `UPDATE deliveries SET due_at = due_at - ? WHERE status < 2 AND status = 0 AND due_at > ?`

// setback notices that the system's clock is set back. What waits for a later
// attempt would otherwise wait for the clock to come back first. The writer asks
// before each transaction, so that nothing is written by the new time before what
// was written by the old one is moved.
//
// It serves the embedded store, whose writer is one; in PostgreSQL it is not the
// clock of one node that says what is due.
type setback struct{ latest int64 } // when the last transaction was

// look returns the time, and by how much it went back; both in microseconds.
func (c *setback) look(s *Store) (now, back int64) {
	now = micros(s.now())
	if c == nil || c.latest-now < clockStep.Microseconds() {
		return now, 0
	}
	return now, c.latest - now
}

// follow moves what waits, as part of a transaction.
func (c *setback) follow(tx transaction, now, back int64) error {
	if back == 0 {
		return nil
	}
	return exec(tx, moveDue, back, now)
}

// followed is told once that is committed.
func (c *setback) followed(s *Store, now, back int64) {
	switch {
	case c == nil:
	case back > 0:
		c.latest = now
		s.log.Warn("the clock was set back: deliveries that wait for an attempt are moved with it",
			slog.Duration("by", time.Duration(back)*time.Microsecond))
	default:
		// Even after a small step back: what is written from here on goes by the clock
		// as it is, and a later step must not move it by this one as well.
		c.latest = now
	}
}

// due is when a delivery is to be attempted again. What was decided later than now
// was decided by the clock as it was: what waits has been moved already.
func (c *setback) due(s *Store, r *cybervault.Result) int64 {
	due := micros(r.NextAttemptAt)
	if c == nil {
		return due
	}
	if ahead := micros(r.DecidedAt) - micros(s.now()); ahead >= clockStep.Microseconds() {
		due -= ahead
	}
	return due
}
