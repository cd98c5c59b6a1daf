package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// SeedMarker begins each line in which the seeding process tells how many events
// it has made.
const SeedMarker = "seeded"

// SeedData is the data of events that are made up.
func SeedData() []byte { return []byte(data(1000000, 0)) }

// seed gives a site a past, by a process of its own, while its server is down,
// and returns how many events a second that made.
func (s *site) seed(ctx context.Context, ended, waiting int) (perS float64, err error) {
	s.stop()
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this program: %w", err)
	}
	args := append([]string{"bench", "seed", "--data", s.data, "--ended", strconv.Itoa(ended), "--waiting", strconv.Itoa(waiting)}, s.database...)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("seed: %w", err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("seed: %w", err)
	}
	told := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), SeedMarker+" ")
		if n, _ := strconv.Atoi(rest); ok && n >= told+500_000 {
			told = n
			s.b.say("made up %d events", n)
		}
	}
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("seed: %w", err)
	}
	perS = float64(ended+waiting) / time.Since(began).Seconds()
	return perS, s.start(ctx)
}

// besides runs rounds on two sites in turn and sets them side by side.
func (b *bench) besides(ctx context.Context, l *load, plain, full *site, names [2]string) error {
	for _, s := range []*site{plain, full} {
		if err := s.warmUp(ctx, l); err != nil {
			return err
		}
	}
	reference := b.newBare()
	reference.tune(ctx, b.o.Reference/3)
	without, with := Part{Name: names[0], Webhooks: manyWebhooks}, Part{Name: names[1], Webhooks: manyWebhooks}
	for i := range b.o.Rounds {
		beside := reference.run(ctx, reference.at, b.o.Reference)
		usual, err := plain.round(ctx, l, l.whole(b.o.Events))
		if err != nil {
			return err
		}
		troubled, err := full.round(ctx, l, l.whole(b.o.Events))
		if err != nil {
			return err
		}
		without.add(beside, usual)
		with.add(beside, troubled)
		b.say("round %d: %s %.0f/s, %s %.0f/s, kept %.2f", i+1, names[0], usual.rate, names[1], troubled.rate, troubled.rate/usual.rate)
	}
	without.finish(reference, plain)
	with.finish(reference, full)
	b.report.keep(&without, &with)
	return nil
}

// pair starts two servers of a hundred webhooks each, one of them with a past.
func (b *bench) pair(ctx context.Context, ended, waiting int) (plain, full *site, l *load, err error) {
	b.report.Webhooks = manyWebhooks
	l = &load{fanout: 1, batch: b.o.Batch, connections: b.o.Publishers}
	for _, s := range []**site{&plain, &full} {
		if *s, err = b.newSite(ctx); err != nil {
			return nil, nil, nil, err
		}
		if l.types, err = (*s).setUp(ctx, manyWebhooks, 1, nil); err != nil {
			return nil, nil, nil, err
		}
	}
	b.say("warming up")
	if err := full.warmUp(ctx, l); err != nil { // what is made up is like what has happened
		return nil, nil, nil, err
	}
	b.say("making up %d deliveries", ended+waiting)
	b.report.SeededPerS, err = full.seed(ctx, ended, waiting)
	return plain, full, l, err
}
