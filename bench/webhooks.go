package bench

import (
	"context"
	"strconv"
	"time"
)

// runWebhooks sets servers with few and with many webhooks side by side. Each
// event has one delivery, whatever their number.
func runWebhooks(ctx context.Context, b *bench) error {
	counts := []int{1, manyWebhooks, b.o.Webhooks}
	b.report.Webhooks = b.o.Webhooks
	sites, loads, parts := make([]*site, len(counts)), make([]*load, len(counts)), make([]Part, len(counts))
	for i, n := range counts {
		var err error
		if sites[i], err = b.newSite(ctx); err != nil {
			return err
		}
		b.say("making %d webhooks", n)
		loads[i] = &load{fanout: 1, batch: b.o.Batch, connections: b.o.Publishers}
		began := time.Now()
		if loads[i].types, err = sites[i].setUp(ctx, n, 1, nil); err != nil {
			return err
		}
		parts[i] = Part{Name: strconv.Itoa(n), Webhooks: n, CreatedPerS: float64(n) / time.Since(began).Seconds()}
		if err := sites[i].warmUp(ctx, loads[i]); err != nil {
			return err
		}
	}
	reference := b.newBare()
	reference.tune(ctx, b.o.Reference/3)
	most := len(counts) - 1
	for round := range b.o.Rounds {
		beside := reference.run(ctx, reference.at, b.o.Reference)
		for i, s := range sites {
			own, err := s.round(ctx, loads[i], loads[i].whole(b.o.Events))
			if err != nil {
				return err
			}
			b.say("round %d: %d webhooks, %.0f/s", round+1, counts[i], own.rate)
			parts[i].add(beside, own)
		}
	}
	for i, s := range sites {
		parts[i].finish(reference, s)
	}
	ratios := make([]float64, b.o.Rounds)
	for i := range ratios {
		ratios[i] = parts[most].Rates[i] / parts[1].Rates[i]
	}
	b.report.Parts, b.report.Figures, b.report.MostTo100 = parts, parts[most].Figures, median(ratios)
	return nil
}
