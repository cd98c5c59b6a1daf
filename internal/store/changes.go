package store

import (
	"encoding/binary"
	"errors"

	"github.com/cybervault/cybervault"
)

// The change log is what GET /v1/stream reads: one row for each transaction of
// the writer that changed an event, a delivery or an attempt, written by that
// transaction itself, so that nothing is in the log that did not happen and
// nothing is missing. Leases are no changes. See docs/decisions/0018.
//
// A row is packed: a format byte, then for each change a tag (its kind in the low
// two bits, the delivery's status above them), the difference of its row key to
// the one before as a varint, and for an attempt its number. That is three or
// four bytes for most.

// changeFormat starts every packed row, so that the format can change.
const changeFormat = 1

// The tags of changes, in the low two bits.
const (
	tagEvent    = 0
	tagDelivery = 1
	tagResult   = 2 // an attempt and what became of its delivery: two changes
	tagBits     = 2
	tagMask     = 1<<tagBits - 1
)

// changeList gathers what a transaction changes.
type changeList struct {
	packed []byte
	last   int64      // the row key noted last
	spans  []typeSpan // where what was written is of which type
	wrote  written    // what the audit log is to know of it
}

func (l *changeList) reset() {
	l.packed, l.last = append(l.packed[:0], changeFormat), 0
	l.spans = l.spans[:0]
	l.wrote.reset()
}

func (l *changeList) empty() bool { return len(l.packed) <= 1 }

func (l *changeList) note(tag byte, key int64) {
	l.packed = binary.AppendVarint(append(l.packed, tag), key-l.last)
	l.last = key
}

func (l *changeList) event(key int64) { l.note(tagEvent, key) }

func (l *changeList) delivery(key, status int64) { l.note(tagDelivery|byte(status)<<tagBits, key) }

func (l *changeList) result(key, number, status int64) {
	l.note(tagResult|byte(status)<<tagBits, key)
	l.packed = binary.AppendUvarint(l.packed, uint64(number))
}

// changed is one change of a row of the log, before anything is looked up.
type changed struct {
	kind   cybervault.ChangeKind
	key    int64 // of the event or the delivery
	number int   // of the attempt
	status cybervault.DeliveryStatus
}

var errDamagedChanges = errors.New("a row of the change log is damaged or of an unknown format")

// unpackChanges calls each for every change of a row, until it says no.
func unpackChanges(b []byte, each func(changed) bool) error {
	if len(b) == 0 || b[0] != changeFormat {
		return errDamagedChanges
	}
	var key int64
	for b = b[1:]; len(b) > 0; {
		tag := b[0]
		diff, n := binary.Varint(b[1:])
		status := int64(tag >> tagBits)
		if n <= 0 || status > statusSkipped {
			return errDamagedChanges
		}
		b, key = b[1+n:], key+diff
		c := changed{key: key, status: statusOf(status)}
		switch tag & tagMask {
		case tagEvent:
			c.kind, c.status = cybervault.ChangeEvent, ""
		case tagDelivery:
			c.kind = cybervault.ChangeDelivery
		case tagResult:
			number, n := binary.Uvarint(b)
			if n <= 0 || number > maxAttemptNumber {
				return errDamagedChanges
			}
			b = b[n:]
			c.kind, c.number = cybervault.ChangeAttempt, int(number)
			if !each(c) {
				return nil
			}
			c.kind = cybervault.ChangeDelivery
		default:
			return errDamagedChanges
		}
		if !each(c) {
			return nil
		}
	}
	return nil
}

// maxAttemptNumber is more than any schedule has steps.
const maxAttemptNumber = 1 << 31

// logChanges writes the row of a transaction that changed something.
func (s *Store) logChanges(tx transaction) error {
	list := tx.noted()
	if list.empty() {
		return nil
	}
	return exec(tx, s.dialect.insertChanges, micros(s.now()), list.packed)
}
