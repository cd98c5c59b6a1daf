package bench

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

const lightPerS = 100

// runLight publishes single events at a steady rate and measures how long the
// publisher waits and when the receiver has them. There is no reference.
func runLight(ctx context.Context, b *bench) error {
	b.report.Webhooks, b.report.Batch, b.report.Rounds, b.report.LightPerS = manyWebhooks, 1, 1, lightPerS
	s, err := b.newSite(ctx)
	if err != nil {
		return err
	}
	l := &load{fanout: 1, batch: b.o.Batch, connections: b.o.Publishers}
	if l.types, err = s.setUp(ctx, manyWebhooks, 1, nil); err != nil {
		return err
	}
	b.say("warming up")
	if err := s.warmUp(ctx, l); err != nil {
		return err
	}
	return s.light(ctx, l)
}

func (s *site) light(ctx context.Context, l *load) error {
	n := int(s.b.o.Light.Seconds() * lightPerS)
	s.b.report.Events = n
	if err := s.b.reset(ctx, n); err != nil {
		return err
	}
	recorded, err := s.ended(ctx)
	if err != nil {
		return err
	}
	s.b.say("%d events/s for %s", lightPerS, s.b.o.Light)
	before, _ := s.server.usage()
	started := time.Now()
	acks, err := s.trickle(ctx, l, n)
	if err != nil {
		return err
	}
	if _, err := s.drained(ctx, n, recorded+n); err != nil {
		return err
	}
	after, _ := s.server.usage()
	r := s.b.report
	r.DeliveredPerS, r.CPUPerDelivery = float64(n)/time.Since(started).Seconds(), float64((after-before).Microseconds())/float64(n)
	got, err := s.b.received(ctx)
	if err != nil {
		return err
	}
	ack, latency := quantiles(acks), quantiles(got.Latencies)
	r.PublishAck, r.Latency = &ack, &latency
	r.RSS = s.memory()
	return s.b.tally(ctx, n)
}

// trickle publishes n events one by one, whether those before are answered or
// not, and returns how long each publisher waited.
func (s *site) trickle(ctx context.Context, l *load, n int) (acks []time.Duration, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	ticker := time.NewTicker(time.Second / lightPerS)
	defer ticker.Stop()
	for range n {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
		wg.Go(func() {
			number, began := s.b.next.take(1), time.Now()
			_, failed := s.call(ctx, http.MethodPost, "/v1/events",
				[]byte(`{"event":"`+l.types[number%int64(len(l.types))]+`","data":`+data(number, began.UnixNano())+`}`))
			mu.Lock()
			defer mu.Unlock()
			acks = append(acks, time.Since(began))
			err = errors.Join(err, failed)
		})
	}
	wg.Wait()
	return acks, err
}
