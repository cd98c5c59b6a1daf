package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A network that swallows packets, or a server that hangs, ends no connection:
// whoever waits for an answer waits for as long as it has patience, and a slow
// query looks the same. But the connection that holds the node's place is asked
// for something small all the time. When it does not answer, and a fresh one
// cannot be had either, every other connection is cut, which ends all waits at
// once, and none is opened until the place is taken again.

const (
	// connectPatience is how long one host may take to connect to, unless the URL
	// says otherwise (connect_timeout).
	connectPatience = 3 * time.Second
	// settlePatience is how long taking a place may take besides: ten answers.
	settlePatience = 5 * time.Second
	// deadAfter is when the operating system gives a connection up whose other end
	// acknowledges nothing.
	deadAfter = 10 * time.Second
)

// errHangs is why nothing is sent at the moment.
var errHangs = errors.New("PostgreSQL did not answer in time, and is asked again and again")

// lines are a node's connections to PostgreSQL.
type lines struct {
	dialer net.Dialer  //nolint:forbidigo // the address is the operator's, not a user's
	hangs  atomic.Bool // the place is not taken again yet

	mu   sync.Mutex
	open map[*line]struct{}
}

func newLines() *lines {
	const probes = 3
	return &lines{
		open: map[*line]struct{}{},
		//nolint:forbidigo // the address is the operator's, not a user's
		dialer: net.Dialer{
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadAfter / 2, Interval: deadAfter / 2 / probes, Count: probes},
			Control:         giveUpAfter(deadAfter),
		},
	}
}

// own is the configuration of the connection that holds the place.
func (l *lines) own(cfg *pgx.ConnConfig) *pgx.ConnConfig {
	own := cfg.Copy()
	own.DialFunc = l.dialer.DialContext
	if own.ConnectTimeout == 0 {
		own.ConnectTimeout = connectPatience
	}
	return own
}

// work is the configuration of all others.
func (l *lines) work(cfg *pgx.ConnConfig) *pgx.ConnConfig {
	own := l.own(cfg)
	own.DialFunc = l.dial
	return own
}

func (l *lines) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if l.hangs.Load() {
		return nil, errHangs
	}
	conn, err := l.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	own := &line{Conn: conn, of: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[own] = struct{}{}
	return own, nil
}

// noteTake notes what came of taking the place again. Where that took too long
// nobody else is to wait for as long; one that is refused is refused to everybody
// at once, so the others may try.
func (l *lines) noteTake(err error) {
	hangs := err != nil && (pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded))
	l.hangs.Store(hangs)
	if hangs {
		l.cut()
	}
}

// cut ends all connections; whoever uses one is told.
func (l *lines) cut() {
	l.mu.Lock()
	open := l.open
	l.open = map[*line]struct{}{}
	l.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close()
	}
}

// takePatience bounds taking a place, which may have to pass hosts that are gone.
func takePatience(cfg *pgx.ConnConfig) time.Duration {
	return time.Duration(1+len(cfg.Fallbacks))*cfg.ConnectTimeout + settlePatience
}

// meet notes which PostgreSQL the place is held at. When that is another than
// before, what is connected to the one before would speak to a server that hangs,
// or that was replaced: it is cut.
func (p *place) meet(ctx context.Context, conn *pgx.Conn) error {
	var server string
	if err := conn.QueryRow(ctx, "SELECT pg_postmaster_start_time()::text").Scan(&server); err != nil {
		return fmt.Errorf("ask which PostgreSQL this is: %w", err)
	}
	if p.server != "" && p.server != server {
		p.lines.cut()
	}
	p.server = server
	return nil
}

// line is a connection that can be cut.
type line struct {
	net.Conn
	of *lines
}

// Close implements net.Conn.
func (c *line) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
