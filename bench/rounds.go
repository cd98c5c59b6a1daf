package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const warmUpEvents = 2000

// warmUp publishes a few events, so that no round pays for opening connections.
func (s *site) warmUp(ctx context.Context, l *load) error {
	_, err := s.round(ctx, l, l.whole(min(warmUpEvents, s.b.o.Events)))
	return err
}

// round publishes n events and waits until all have been received and recorded.
func (s *site) round(ctx context.Context, l *load, n int) (pace, error) {
	expect := l.expect(n)
	if err := s.b.reset(ctx, expect); err != nil {
		return pace{}, err
	}
	recorded, err := s.ended(ctx)
	if err != nil {
		return pace{}, err
	}
	before, _ := s.server.usage()
	started := time.Now()
	if err := s.publish(ctx, l, n); err != nil {
		return pace{}, err
	}
	end, err := s.drained(ctx, expect, recorded+expect)
	if err != nil {
		return pace{}, err
	}
	elapsed := end.Sub(started)
	after, _ := s.server.usage()
	if err := s.b.tally(ctx, expect); err != nil {
		return pace{}, err
	}
	return pace{float64(expect) / elapsed.Seconds(), float64((after - before).Microseconds()) / float64(expect)}, nil
}

// compare runs rounds of a load, the bare client before each.
func (s *site) compare(ctx context.Context, l *load, reference *bare, figures *Figures) error {
	s.b.say("warming up")
	if err := s.warmUp(ctx, l); err != nil {
		return err
	}
	reference.tune(ctx, s.b.o.Reference/3)
	for i := range s.b.o.Rounds {
		beside := reference.run(ctx, reference.at, s.b.o.Reference)
		own, err := s.round(ctx, l, l.whole(s.b.o.Events))
		if err != nil {
			return err
		}
		figures.add(beside, own)
		s.b.say("round %d: bare client %.0f/s, CyberVault %.0f/s, ratio %.2f", i+1, beside.rate, own.rate, own.rate/beside.rate)
	}
	figures.finish(reference, s)
	return nil
}

// reset makes the receiver forget what it has, and ready for so many deliveries.
func (b *bench) reset(ctx context.Context, expect int) error {
	_, err := b.ask(ctx, http.MethodPost, "/reset?expect="+strconv.Itoa(expect))
	return err
}

// tally adds what the receiver got in a round to the ledger.
func (b *bench) tally(ctx context.Context, expect int) error {
	got, err := b.received(ctx)
	if err != nil {
		return err
	}
	b.report.Lost += expect - got.Distinct
	b.report.Duplicates += got.Requests - got.Distinct
	return nil
}

func (b *bench) received(ctx context.Context) (received, error) {
	var got received
	raw, err := b.ask(ctx, http.MethodGet, "/stats")
	if err != nil {
		return got, err
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		return got, fmt.Errorf("read the receiver's count: %w", err)
	}
	return got, nil
}

// count asks the receiver how many distinct deliveries it has.
func (b *bench) count(ctx context.Context) (int, error) {
	raw, err := b.ask(ctx, http.MethodGet, "/count")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(raw))
}

// drained waits until the receiver has the deliveries that are expected and the
// server has recorded so many since its start, and says when that was so: when it
// was asked, since beside a long queue the metrics take a while.
func (s *site) drained(ctx context.Context, expect, recorded int) (end time.Time, err error) {
	return s.b.drained(ctx, expect, recorded, s.ended)
}

func (b *bench) drained(ctx context.Context, expect, recorded int, recordedNow func(context.Context) (int, error)) (end time.Time, err error) {
	deadline := time.Now().Add(2*time.Minute + time.Duration(expect)*10*time.Millisecond)
	for {
		have, err := b.count(ctx)
		if err != nil {
			return end, err
		}
		end = time.Now()
		if have >= expect {
			ended, err := recordedNow(ctx)
			if err != nil || ended >= recorded {
				return end, err
			}
		}
		if end.After(deadline) {
			b.report.AllRecorded = false
			return end, nil // what is missing stands in the ledger as lost
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return end, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// ask asks the receiver.
func (b *bench) ask(ctx context.Context, method, path string) ([]byte, error) {
	return request(ctx, b.control, method, "http://"+b.recv.address+path, nil)
}
