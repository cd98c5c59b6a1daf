package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// mostNodes is how many nodes share the database at most.
const mostNodes = 3

// settingsKnown is more than it takes until a webhook that was made on one node is
// known to all.
const settingsKnown = 3 * time.Second

// runNodes sets one, two and three nodes on one database side by side, and three
// of which the database is restarted in mid-round.
func runNodes(ctx context.Context, b *bench) error {
	if b.o.Scratch == nil {
		return errors.New("several nodes share a PostgreSQL: give --database-url")
	}
	b.report.Webhooks = manyWebhooks
	reference := b.newBare()
	reference.tune(ctx, b.o.Reference/3)
	for n := 1; n <= mostNodes; n++ {
		name := strconv.Itoa(n) + " nodes"
		if n == 1 {
			name = "1 node"
		}
		nodes, l, err := b.newNodes(ctx, n)
		if err != nil {
			return err
		}
		part := Part{Name: name, Webhooks: manyWebhooks}
		if err := b.nodesRounds(ctx, nodes, l, reference, &part, ""); err != nil {
			return err
		}
		b.report.Parts = append(b.report.Parts, part)
		if n == mostNodes && b.o.Restart != "" {
			restarted := Part{Name: name + ", the database restarted", Webhooks: manyWebhooks}
			l.keyed = true
			if err := b.nodesRounds(ctx, nodes, l, reference, &restarted, b.o.Restart); err != nil {
				return err
			}
			b.report.Parts = append(b.report.Parts, restarted)
		}
		for _, s := range nodes {
			s.stop()
		}
	}
	b.report.Figures = b.report.Parts[mostNodes-1].Figures
	return nil
}

// newNodes starts nodes on one empty database, with the webhooks of a load.
func (b *bench) newNodes(ctx context.Context, n int) ([]*site, *load, error) {
	first, err := b.newSite(ctx)
	if err != nil {
		return nil, nil, err
	}
	nodes := []*site{first}
	for len(nodes) < n {
		b.made++
		s := &site{
			b: b, data: filepath.Join(b.dir, "data"+strconv.Itoa(b.made)), client: first.client,
			database: append([]string{"--secret-key-file", filepath.Join(first.data, "secret.key")}, first.database...),
		}
		b.undo = append(b.undo, func() {
			if s.server != nil {
				s.server.stop()
			}
		})
		if err := s.start(ctx); err != nil {
			return nil, nil, err
		}
		nodes = append(nodes, s)
	}
	l := &load{fanout: 1, batch: b.o.Batch, connections: max(1, b.o.Publishers/n)}
	if l.types, err = first.setUp(ctx, manyWebhooks, 1, nil); err != nil {
		return nil, nil, err
	}
	return nodes, l, pause(ctx, settingsKnown)
}

func (b *bench) nodesRounds(ctx context.Context, nodes []*site, l *load, reference *bare, part *Part, trouble string) error {
	b.say("%s: warming up", part.Name)
	if _, err := b.roundOver(ctx, nodes, l, warmUpEvents, ""); err != nil {
		return err
	}
	for i := range b.o.Rounds {
		beside := reference.run(ctx, reference.at, b.o.Reference)
		own, err := b.roundOver(ctx, nodes, l, b.o.Events, trouble)
		if err != nil {
			return err
		}
		part.add(beside, own)
		b.say("%s, round %d: bare client %.0f/s, CyberVault %.0f/s, ratio %.2f", part.Name, i+1, beside.rate, own.rate, own.rate/beside.rate)
	}
	part.finish(reference, nodes[0])
	return nil
}

// roundOver is a round whose events are published on all nodes. A command that
// makes trouble runs when a third has been delivered.
func (b *bench) roundOver(ctx context.Context, nodes []*site, l *load, n int, trouble string) (pace, error) {
	each := l.whole(n / len(nodes))
	expect := l.expect(each) * len(nodes)
	if err := b.reset(ctx, expect); err != nil {
		return pace{}, err
	}
	recorded, before, err := b.sum(ctx, nodes)
	if err != nil {
		return pace{}, err
	}
	started := time.Now()
	errs := make(chan error, len(nodes)+1)
	var wg sync.WaitGroup
	for _, s := range nodes {
		wg.Go(func() { errs <- s.publish(ctx, l, each) })
	}
	if trouble != "" {
		wg.Go(func() { errs <- b.makeTrouble(ctx, expect/3, trouble) })
	}
	wg.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	if err != nil {
		return pace{}, err
	}
	end, err := b.drained(ctx, expect, recorded+expect, func(ctx context.Context) (int, error) { n, _, err := b.sum(ctx, nodes); return n, err })
	if err != nil {
		return pace{}, err
	}
	_, after, err := b.sum(ctx, nodes)
	if err != nil {
		return pace{}, err
	}
	if err := b.tally(ctx, expect); err != nil {
		return pace{}, err
	}
	return pace{float64(expect) / end.Sub(started).Seconds(), float64((after - before).Microseconds()) / float64(expect)}, nil
}

// sum adds up what nodes have recorded as delivered and the processor time that
// they have used.
func (b *bench) sum(ctx context.Context, nodes []*site) (ended int, cpu time.Duration, err error) {
	for _, s := range nodes {
		n, err := s.ended(ctx)
		if err != nil {
			return 0, 0, err
		}
		used, _ := s.server.usage()
		ended, cpu = ended+n, cpu+used
	}
	return ended, cpu, nil
}

// makeTrouble runs a command once so much has been delivered.
func (b *bench) makeTrouble(ctx context.Context, after int, command string) error {
	for {
		n, err := b.count(ctx)
		if err != nil {
			return err
		}
		if n >= after {
			break
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	began := time.Now()
	if out, err := exec.CommandContext(ctx, "sh", "-c", command).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	b.say("%s took %s", command, time.Since(began).Round(time.Millisecond))
	return nil
}

// errRefused says that the server did not take events, or not for certain.
var errRefused = errors.New("refused")

// insist sends events until all of them are taken. They have keys, so that those
// which were taken before are not taken twice.
func (p *publisher) insist(ctx context.Context, n int64) error {
	const patience = 2 * time.Minute
	first := p.b.next.take(n)
	for began := time.Now(); ; {
		err := p.sendFrom(ctx, first, n)
		if err == nil {
			return nil
		}
		p.close()
		p.conn = nil
		if time.Since(began) > patience {
			return fmt.Errorf("not taken within %s: %w", patience, err)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// taken reports whether every event of a batch was.
func taken(answer []byte) bool {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusTooManyRequests} {
		if bytes.Contains(answer, []byte(`"status":`+strconv.Itoa(status))) {
			return false
		}
	}
	return true
}
