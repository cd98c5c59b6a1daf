package bench

import "context"

// manyWebhooks is how many webhooks the plain scenarios have.
const manyWebhooks = 100

// runBatch is the plain way of publishing much.
func runBatch(ctx context.Context, b *bench) error {
	return b.plain(ctx, manyWebhooks, 1, b.o.Batch, b.o.Publishers)
}

// runSingle is the plain way of publishing one event when it happens.
func runSingle(ctx context.Context, b *bench) error {
	const connections = 64
	return b.plain(ctx, manyWebhooks, 1, 1, connections)
}

// runFanout has one type, and webhooks that all want it.
func runFanout(ctx context.Context, b *bench) error {
	const fanout = 10
	return b.plain(ctx, 1, fanout, b.o.Batch, b.o.Publishers)
}

// plain compares one load on one server with the bare client.
func (b *bench) plain(ctx context.Context, types, fanout, batch, connections int) error {
	b.report.Webhooks, b.report.Batch, b.report.Publishers = types*fanout, batch, connections
	s, err := b.newSite(ctx)
	if err != nil {
		return err
	}
	l := &load{fanout: fanout, batch: batch, connections: connections}
	if l.types, err = s.setUp(ctx, types, fanout, nil); err != nil {
		return err
	}
	return s.compare(ctx, l, b.newBare(), &b.report.Figures)
}
