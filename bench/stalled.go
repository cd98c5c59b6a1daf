package bench

import (
	"context"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

// runStalled publishes the same events twice in each round: while ten of the
// event types have no webhook, and while those have one whose receiver holds
// every request open until the server gives up. Only deliveries to the other
// ninety are counted.
func runStalled(ctx context.Context, b *bench) error {
	const silent = manyWebhooks / 10
	b.report.Webhooks = manyWebhooks
	s, err := b.newSite(ctx)
	if err != nil {
		return err
	}
	l := &load{fanout: 1, silent: silent, batch: b.o.Batch, connections: b.o.Publishers}
	if l.types, err = s.setUp(ctx, manyWebhooks-silent, 1, nil); err != nil {
		return err
	}
	none, err := s.silentTypes(ctx, silent)
	if err != nil {
		return err
	}
	l.types = append(l.types, none...)
	b.say("warming up")
	if err := s.warmUp(ctx, l); err != nil {
		return err
	}
	reference := b.newBare()
	reference.tune(ctx, b.o.Reference/3)
	without, with := Part{Name: "90 alone", Webhooks: manyWebhooks - silent}, Part{Name: "90 beside 10 that never answer", Webhooks: manyWebhooks}
	for i := range b.o.Rounds {
		beside := reference.run(ctx, reference.at, b.o.Reference)
		alone, err := s.round(ctx, l, l.whole(b.o.Events))
		if err != nil {
			return err
		}
		troubled, err := s.stalledRound(ctx, l, none)
		if err != nil {
			return err
		}
		without.add(beside, alone)
		with.add(beside, troubled)
		b.say("round %d: alone %.0f/s, beside stalled ones %.0f/s, kept %.2f", i+1, alone.rate, troubled.rate, troubled.rate/alone.rate)
	}
	without.finish(reference, s)
	with.finish(reference, s)
	b.report.keep(&without, &with)
	return nil
}

// silentTypes makes event types that no webhook has chosen yet.
func (s *site) silentTypes(ctx context.Context, n int) ([]string, error) {
	names := make([]string, n)
	for i := range names {
		names[i] = "bench.silent" + string(rune('a'+i))
		if err := s.addType(ctx, names[i]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// stalledRound makes the webhooks that never answer, lets their first attempts
// run into their time limit, and measures the others.
func (s *site) stalledRound(ctx context.Context, l *load, none []string) (pace, error) {
	ids := make([]string, len(none))
	for i, name := range none {
		var err error
		if ids[i], err = s.addWebhook(ctx, name, func(webhook map[string]any) {
			webhook["url"] = "http://" + s.b.recv.address + "/stall"
		}); err != nil {
			return pace{}, err
		}
	}
	stalling := &load{types: none, batch: s.b.o.Batch, connections: 1}
	if err := s.publish(ctx, stalling, stalling.whole(min(1000, s.b.o.Events))); err != nil {
		return pace{}, err
	}
	if err := pause(ctx, min(cybervault.AttemptTimeout+time.Second, 2*s.b.o.Reference)); err != nil {
		return pace{}, err
	}
	p, err := s.round(ctx, l, l.whole(s.b.o.Events))
	if err != nil {
		return p, err
	}
	for _, id := range ids {
		if _, err := s.call(ctx, http.MethodDelete, "/v1/webhooks/"+id, nil); err != nil {
			return p, err
		}
	}
	return p, s.idle(ctx)
}

// idle waits until no delivery is pending.
func (s *site) idle(ctx context.Context) error {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		page, err := s.page(ctx, "/v1/deliveries?status=pending&limit=1")
		if err != nil || len(page.Data) == 0 {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil // the next round says how it went
}
