package store

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// What was committed lately is remembered, so that the audit log, which follows a
// second behind, need not read back the rows that the same process has just
// written: that is most of what it would cost. It is filled after a commit alone,
// with what that commit wrote, and bounded: what is not in it, because it is too
// old, another node's or from before the start, is read from the rows.

// auditRecent is how many events, and how many deliveries, are remembered.
const auditRecent = 16384

// birth is what the entry of a delivery's end needs of its beginning.
type birth struct {
	delivery  cybervault.DeliveryID
	event     cybervault.EventID
	workspace cybervault.WorkspaceID
	webhook   cybervault.WebhookID
	sequence  int64
	reason    string
	test      bool
	end       end
}

// end is how a delivery ended; its status is 0, pending, where it has not.
type end struct {
	delivery   int64
	status     int64
	attempts   int
	lastStatus int
	failure    cybervault.Failure
	finished   int64
}

// eventLeaf is the hash of the entry of an event.
type eventLeaf struct {
	event int64
	hash  [sha256.Size]byte
}

// written is what a transaction wrote of that.
type written struct {
	events []eventLeaf
	births []birth
	ends   []end
}

func (w *written) reset() {
	clear(w.births) // they hold texts
	w.events, w.births, w.ends = w.events[:0], w.births[:0], w.ends[:0]
}

// recent is what was committed lately. Safe for concurrent use.
type recent struct {
	mu     sync.Mutex
	events ring[eventLeaf]
	births ring[birth]
}

// committed remembers what a transaction wrote, once that is durable.
func (r *recent) committed(w *written) {
	if len(w.events)+len(w.births)+len(w.ends) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range w.events {
		r.events.put(w.events[i].event, w.events[i])
	}
	for i := range w.births {
		r.births.put(w.births[i].delivery.Key(), w.births[i])
	}
	for i := range w.ends {
		if b := r.births.get(w.ends[i].delivery); b != nil {
			b.end = w.ends[i]
		}
	}
}

// hash fills in the hashes of the leaves that it knows, and marks those in made.
func (r *recent) hash(leaves []cybervault.AuditLeaf, made []bool) {
	var buffer []byte
	births := make([]birth, 0, len(leaves)) // copied, so that no commit waits for the hashing
	places := make([]int, 0, len(leaves))
	r.mu.Lock()
	for i := range leaves {
		switch ref := leaves[i].Ref; ref.Kind {
		case cybervault.AuditEvent:
			if known := r.events.get(ref.Key); known != nil {
				leaves[i].Hash, made[i] = known.hash, true
			}
		case cybervault.AuditOutcome:
			if known := r.births.get(ref.Key); known != nil && known.end.status > statusHeld {
				births, places = append(births, *known), append(places, i)
			}
		case cybervault.AuditMissing, cybervault.AuditGap:
		}
	}
	r.mu.Unlock()
	for k := range births {
		entry := births[k].entry()
		buffer = entry.Append(append(buffer[:0], 0))
		leaves[places[k]].Hash, made[places[k]] = sha256.Sum256(buffer), true
	}
}

// entry is that of a delivery that has ended, as scanAuditOutcome makes it.
func (b *birth) entry() cybervault.AuditEntry {
	return cybervault.AuditEntry{
		Ref:      cybervault.AuditRef{Kind: cybervault.AuditOutcome, Key: b.delivery.Key(), Delivery: true},
		Delivery: b.delivery, Event: b.event, Workspace: b.workspace, Webhook: b.webhook, Sequence: b.sequence, Reason: b.reason, Test: b.test,
		Status: statusOf(b.end.status), Attempts: b.end.attempts, LastStatus: b.end.lastStatus, LastFailure: b.end.failure, FinishedAt: fromMicros(b.end.finished),
	}
}

// leafOf hashes the entry of an event that is about to be stored. The caller does
// that, not the writer, which there may be only one of.
func leafOf(e *cybervault.Event) [sha256.Size]byte {
	entry := cybervault.AuditEntry{
		Ref:   cybervault.AuditRef{Kind: cybervault.AuditEvent, Key: e.ID.Key()},
		Event: e.ID, Workspace: e.Workspace, EventType: e.Type, Timestamp: fromMicros(micros(e.Timestamp)), Test: e.Test, BodyDigest: sha256.Sum256(e.Body),
	}
	return cybervault.AuditLeafHash(entry.Append(make([]byte, 0, 384)))
}

// endOf is how a result ends its delivery.
func endOf(r *cybervault.Result) end {
	return end{
		delivery: r.Attempt.Delivery.Key(), status: statusCode(r.Status), attempts: r.Attempt.Number, lastStatus: r.Attempt.Status, failure: r.Attempt.Failure,
		finished: finishedAt(r).UnixMicro(),
	}
}

// finishedAt is when a delivery ended with a result.
func finishedAt(r *cybervault.Result) time.Time { return r.Attempt.StartedAt.Add(r.Attempt.Elapsed) }

// ring holds the auditRecent values that were put last, by their keys.
type ring[V any] struct {
	slots []slot[V]
	next  int
	at    map[int64]int32
}

type slot[V any] struct {
	key   int64
	value V
}

// put adds a value; it replaces the oldest where the ring is full.
func (r *ring[V]) put(key int64, value V) {
	if r.at == nil {
		r.at = map[int64]int32{}
	}
	if len(r.slots) < auditRecent {
		r.slots = append(r.slots, slot[V]{})
	} else if old := r.slots[r.next].key; r.at[old] == int32(r.next) {
		delete(r.at, old)
	}
	r.slots[r.next], r.at[key] = slot[V]{key, value}, int32(r.next)
	r.next = (r.next + 1) % auditRecent
}

// get is the value of a key, to be used under the lock; nil if it is not there.
func (r *ring[V]) get(key int64) *V {
	if i, ok := r.at[key]; ok {
		return &r.slots[i].value
	}
	return nil
}
