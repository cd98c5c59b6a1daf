package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func overviewCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"overview/counted by hand": overviewCounts,
		"overview/nothing":         overviewNothing,
		"overview/buckets":         overviewBuckets,
	}
}

// at starts the clock over at start+d.
func (f *fixture) at(d time.Duration) { f.clock.Move(start.Add(d).Sub(f.clock.Now())) }

func overviewCounts(f *fixture) {
	w := f.webhook(unverified)
	f.publish(f.publication(event{}, waiting(w))) // before the span

	f.at(time.Hour) // the first bucket
	a := f.publication(event{kind: "threat.detected"}, f.leased(w), f.leased(w), f.leased(w))
	b := f.publication(event{kind: "patch.failed"}, born(w, cybervault.DeliverySkipped, "filter"))
	f.publish(a, b)
	f.clock.Move(100 * time.Millisecond)
	f.must(f.record(f.result(&a.Deliveries[0], 1, cybervault.DeliveryDelivered))) // 120 ms after birth
	f.clock.Move(200 * time.Millisecond)
	f.must(f.record(f.result(&a.Deliveries[1], 1, cybervault.DeliveryDelivered))) // 320 ms
	f.must(f.record(f.result(&a.Deliveries[2], 1, cybervault.DeliveryPending)))
	f.at(time.Hour + 10*time.Minute) // the second
	f.must(f.record(f.result(asBirth(f.claim(w, 2)[1]), 2, cybervault.DeliveryDelivered)))
	c := f.publication(event{kind: "threat.detected"}, f.leased(w), waiting(w), born(w, cybervault.DeliveryHeld, ""))
	f.publish(c, f.publication(event{kind: "threat.detected", ws: f.strangersWorkspace()}))
	f.must(f.record(f.result(&c.Deliveries[0], 1, cybervault.DeliveryDeadLetter)))
	f.must(f.s.CancelDelivery(f.Context(), f.ws, c.Deliveries[1].ID, cybervault.ReasonCancelled))
	f.at(time.Hour + 29*time.Minute) // the third

	f.at(time.Hour + 30*time.Minute)
	got, err := f.s.Overview(f.Context(), f.ws, start.Add(time.Hour), 3)
	f.must(err)
	bucket := func(n int, types map[string]int64, delivered, failed int64) cybervault.OverviewBucket {
		return cybervault.OverviewBucket{Start: start.Add(time.Hour + time.Duration(n)*10*time.Minute), ByType: types, Delivered: delivered, Failed: failed}
	}
	want := &cybervault.Overview{
		Since: start.Add(time.Hour), Width: 10 * time.Minute,
		Buckets: []cybervault.OverviewBucket{
			bucket(0, map[string]int64{"threat.detected": 1, "patch.failed": 1}, 3, 1),
			bucket(1, map[string]int64{"threat.detected": 1}, 0, 1),
			bucket(2, map[string]int64{}, 0, 0),
			bucket(3, map[string]int64{}, 0, 0), // has just begun
		},
		ByType: map[string]int64{"threat.detected": 2, "patch.failed": 1},
		ByStatus: map[cybervault.DeliveryStatus]int64{
			cybervault.DeliveryDelivered: 3, cybervault.DeliverySkipped: 1, cybervault.DeliveryDeadLetter: 1,
			cybervault.DeliveryCancelled: 1, cybervault.DeliveryHeld: 1,
		},
		LatencyP50: 120 * time.Millisecond, LatencyP99: 320 * time.Millisecond,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("overview (-want +got):\n%s", diff)
	}
}

func overviewNothing(f *fixture) {
	got, err := f.s.Overview(f.Context(), f.ws, start.Add(-time.Hour), 60)
	f.must(err)
	if len(got.Buckets) != 61 || got.Width != time.Minute || got.Capped || got.LatencyP50 != 0 || len(got.ByType) != 0 {
		f.Errorf("overview: %d buckets of %v, capped %v, p50 %v", len(got.Buckets), got.Width, got.Capped, got.LatencyP50)
	}
}

func overviewBuckets(f *fixture) {
	f.at(17*time.Second + 300*time.Millisecond)
	f.publish(f.publication(event{}))
	for _, c := range []struct {
		span    time.Duration
		buckets int
		most    int
	}{
		{time.Hour, 60, 61}, {84 * time.Second, 60, 61}, {time.Second, 60, 2}, {0, 10, 1}, {-time.Hour, 10, 1}, {time.Hour, 0, 2}, {time.Hour, -1, 2},
		{7 * time.Minute, 1, 2}, {30 * 24 * time.Hour, 30, 31},
	} {
		now := f.clock.Now()
		got, err := f.s.Overview(f.Context(), f.ws, now.Add(-c.span), c.buckets)
		f.must(err)
		if n := len(got.Buckets); n < 1 || n > c.most {
			f.Errorf("%v in %d: %d buckets", c.span, c.buckets, n)
			continue
		}
		var counted int64
		for i, b := range got.Buckets {
			counted += b.ByType[cybervault.EventThreatDetected]
			if i > 0 && b.Start.Sub(got.Buckets[i-1].Start) != got.Width {
				f.Errorf("%v in %d: bucket %d begins %v after the one before", c.span, c.buckets, i, b.Start.Sub(got.Buckets[i-1].Start))
			}
		}
		last := got.Buckets[len(got.Buckets)-1].Start
		if counted != 1 || last.After(now) || !last.Add(got.Width).After(now) || got.Buckets[0].Start != got.Since ||
			c.span > 0 && got.Since.After(now.Add(-c.span)) {
			f.Errorf("%v in %d: counted %d, since %v, last bucket at %v", c.span, c.buckets, counted, got.Since, last)
		}
	}
}
