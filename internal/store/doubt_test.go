package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// A commit whose answer is lost may have been made. Its publications are refused,
// in words that say so, and what they leased is free as soon as the database
// answers; a result is offered again and recognised, whichever it was.
func TestPostgresAnswerToACommitIsLost(t *testing.T) {
	t.Parallel()
	s := open(t, postgresConfig(t))
	lose, err := s.LoseAnswers()
	if err != nil {
		t.Fatal(err)
	}
	x := newSource(t, s)
	for _, made := range []bool{true, false} {
		lose(made)
		pub, err := x.publish(100)
		wantCode(t, err, cybervault.CodeUnavailable)
		if !strings.Contains(err.Error(), "may have been kept") {
			t.Errorf("made %t: the refusal is %v", made, err)
		}
		x.wantStored(pub, made)
		if made {
			var got []*cybervault.Assignment
			until(t, "the lease of the refused publication is free", func() bool {
				got, err = s.Claim(t.Context(), cybervault.Claim{Webhook: x.w.ID, Limit: 10, Lease: cybervault.Lease{Token: 77, Until: time.Now().Add(time.Hour)}})
				return err == nil && len(got) > 0 // refused for a moment
			})
			if len(got) != 1 || got[0].Delivery != pub.Deliveries[0].ID {
				t.Errorf("claimed %v of what was refused and kept", got)
			}
		}

		until(t, "publishing works again", func() bool { pub, err = x.publish(100); return err == nil })
		lose(made)
		if err := <-x.record(pub); err != nil {
			t.Errorf("made %t: the result: %v", made, err)
		}
		if d, err := s.Delivery(t.Context(), x.ws, pub.Deliveries[0].ID); err != nil || d.Status != cybervault.DeliveryDelivered || d.Attempts != 1 {
			t.Errorf("made %t: delivery %+v, %v", made, d, err)
		}
		if attempts, err := s.Attempts(t.Context(), x.ws, pub.Deliveries[0].ID); err != nil || len(attempts) != 1 {
			t.Errorf("made %t: attempts %v, %v", made, attempts, err)
		}
	}
	if n := s.StaleResults(); n != 0 {
		t.Errorf("%d results count as stale", n)
	}

	// One that was recorded by nobody stays refused.
	var pub *cybervault.Publication
	until(t, "publishing works again", func() bool { pub, err = x.publish(100); return err == nil })
	if err := s.CancelDelivery(t.Context(), x.ws, pub.Deliveries[0].ID, "by hand"); err != nil {
		t.Fatal(err)
	}
	lose(false)
	wantCode(t, <-x.record(pub), cybervault.CodeConflict)
}
