package bench

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// runBacklog sets a server with very many deliveries that wait for a retry beside
// one with none, then kills it and times its start.
func runBacklog(ctx context.Context, b *bench) error {
	plain, full, l, err := b.pair(ctx, 0, b.o.Backlog)
	if err != nil {
		return err
	}
	b.report.Backlog = b.o.Backlog
	if err := b.besides(ctx, l, plain, full, [2]string{"no backlog", "beside a backlog"}); err != nil {
		return err
	}
	b.say("kill -9, and start again")
	return full.restart(ctx, l)
}

// restart kills the server and times how long until it is ready and until an
// event that is published then has arrived.
func (s *site) restart(ctx context.Context, l *load) error {
	s.server.kill()
	s.client.CloseIdleConnections()
	if err := s.b.reset(ctx, 1); err != nil {
		return err
	}
	began := time.Now()
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.b.report.ReadyS = time.Since(began).Seconds()
	alone := *l
	alone.batch, alone.connections = 1, 1
	if err := s.publish(ctx, &alone, 1); err != nil {
		return err
	}
	if _, err := s.drained(ctx, 1, 1); err != nil {
		return err
	}
	s.b.report.FirstDeliveryS = time.Since(began).Seconds()
	return s.b.tally(ctx, 1)
}

// ready waits until the server says that it can do its work.
func (s *site) ready(ctx context.Context) error {
	for deadline := time.Now().Add(2 * time.Minute); ; {
		_, err := request(ctx, s.client, http.MethodGet, "http://"+s.server.address+"/readyz", nil)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return errLog(errors.Join(errors.New("the server did not become ready"), err), s.server)
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}
