package store

import (
	"testing"

	"github.com/cybervault/cybervault"
)

func TestRingForgetsTheOldest(t *testing.T) {
	t.Parallel()
	var r ring[int64]
	const more = 100
	for key := range int64(auditRecent + more) {
		r.put(key, key*2)
	}
	for _, key := range []int64{0, more - 1} {
		if v := r.get(key); v != nil {
			t.Errorf("%d is still there: %d", key, *v)
		}
	}
	for _, key := range []int64{more, auditRecent, auditRecent + more - 1} {
		if v := r.get(key); v == nil || *v != key*2 {
			t.Errorf("%d gives %v", key, v)
		}
	}
	// A key that was put again is not forgotten with its first slot.
	r.put(more+1, 7)
	for key := range int64(10) {
		r.put(-1-key, 0)
	}
	if v := r.get(more + 1); v == nil || *v != 7 {
		t.Errorf("the key that was put twice gives %v", v)
	}
	if len(r.slots) != auditRecent || len(r.at) > auditRecent {
		t.Errorf("%d slots, %d keys", len(r.slots), len(r.at))
	}
}

// An end whose beginning is not known, and a beginning without an end, are left
// to the rows.
func TestRecentKnowsOnlyWhatIsComplete(t *testing.T) {
	t.Parallel()
	id := func(key int64) cybervault.DeliveryID { return cybervault.MakeID[cybervault.DeliveryID](key, 1) }
	var r recent
	r.committed(&written{ends: []end{{delivery: 1, status: statusDelivered}}})
	r.committed(&written{births: []birth{{delivery: id(1)}, {delivery: id(2)}, {delivery: id(3)}}})
	r.committed(&written{ends: []end{{delivery: 3, status: statusDelivered}}})
	leaves := make([]cybervault.AuditLeaf, 4)
	for i := range leaves {
		leaves[i].Ref = cybervault.AuditRef{Kind: cybervault.AuditOutcome, Key: int64(i), Delivery: true}
	}
	made := make([]bool, len(leaves))
	r.hash(leaves, made)
	for i, want := range []bool{false, false, false, true} {
		if made[i] != want {
			t.Errorf("delivery %d: known %v, want %v", i, made[i], want)
		}
	}
}
