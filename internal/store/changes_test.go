package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func unpackAll(t *testing.T, b []byte) (out []changed, err error) {
	t.Helper()
	err = unpackChanges(b, func(c changed) bool { out = append(out, c); return true })
	return out, err
}

func TestChangesArePacked(t *testing.T) {
	t.Parallel()
	var list changeList
	for range 2 { // a list is used again
		list.reset()
		if !list.empty() {
			t.Error("a list is not empty at first")
		}
		list.event(1 << 60)
		list.delivery(1<<60+cybervault.KeyStep, statusPending)
		list.delivery(5, statusSkipped)
		list.result(1<<62, 13, statusDeadLetter)
	}
	want := []changed{
		{kind: cybervault.ChangeEvent, key: 1 << 60},
		{kind: cybervault.ChangeDelivery, key: 1<<60 + cybervault.KeyStep, status: cybervault.DeliveryPending},
		{kind: cybervault.ChangeDelivery, key: 5, status: cybervault.DeliverySkipped},
		{kind: cybervault.ChangeAttempt, key: 1 << 62, number: 13, status: cybervault.DeliveryDeadLetter},
		{kind: cybervault.ChangeDelivery, key: 1 << 62, number: 13, status: cybervault.DeliveryDeadLetter},
	}
	got, err := unpackAll(t, list.packed)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(changed{})); diff != "" || err != nil {
		t.Errorf("%v; (-want +got):\n%s", err, diff)
	}
	for n := range list.packed {
		if got, err := unpackAll(t, list.packed[:n]); err == nil && len(got) >= len(want) {
			t.Errorf("cut to %d bytes it reads as %d changes", n, len(got))
		}
	}
}

// A damaged row is an error or reads as something, and never ends the server.
func FuzzUnpackChanges(f *testing.F) {
	var list changeList
	list.reset()
	list.event(1 << 60)
	list.result(1<<60+256, 1, statusDelivered)
	f.Add(list.packed)
	f.Add([]byte{changeFormat, 0xff, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := unpackAll(t, b)
		if err == nil && len(got) > len(b) {
			t.Errorf("%d bytes read as %d changes", len(b), len(got))
		}
	})
}
