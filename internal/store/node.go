package store

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cybervault/cybervault"
)

// A node's number is the last eight bits of every row key and lease token it
// makes (see cybervault.UUID). On SQLite there is one node, 0. On PostgreSQL a
// node holds its number by a session-level advisory lock, which the database
// takes from it the moment its process or its connection is gone: whoever gets
// the number next knows that the leases under it are dead.

// maxNodes is how many nodes can share a database.
const maxNodes = 256

// nodeLockClass is the first key of the advisory locks: "CYBV".
const nodeLockClass = 0x43594256

// nodeCheck is how often a node looks whether its number is still its own.
const nodeCheck = 2 * time.Second

// place is a node's place among those that share a PostgreSQL database.
type place struct {
	cfg    *pgx.ConnConfig
	log    *slog.Logger
	number atomic.Int32
	conn   *pgx.Conn // holds the lock; used by one goroutine at a time
	stop   context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	follow func(uint8)
}

// takePlace takes the lowest free number and keeps it.
func takePlace(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger) (*place, error) {
	p := &place{cfg: cfg, log: log, ended: make(chan struct{})}
	if err := p.take(ctx, 0); err != nil {
		return nil, err
	}
	keep, stop := context.WithCancel(context.Background())
	p.stop = stop
	go p.keep(keep)
	return p, nil
}

// take connects and locks a number, the one before if it can.
func (p *place) take(ctx context.Context, before int) error {
	conn, err := pgx.ConnectConfig(ctx, p.cfg)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	for i := range maxNodes {
		n := (before + i) % maxNodes
		var free bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, $2)", nodeLockClass, n).Scan(&free); err != nil {
			_ = conn.Close(ctx)
			return fmt.Errorf("take a node number: %w", err)
		}
		if free {
			p.conn = conn
			p.number.Store(int32(n))
			return nil
		}
	}
	_ = conn.Close(ctx)
	return cybervault.Invalid("database-url", "%d nodes use this database already, the most that can", maxNodes)
}

// keep looks after the lock until the node stops. A lost one, as after a
// restart of the database, is taken again, under another number if need be.
func (p *place) keep(ctx context.Context) {
	defer close(p.ended)
	ticker := time.NewTicker(nodeCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = p.conn.Close(context.WithoutCancel(ctx))
			return
		case <-ticker.C:
		}
		check, cancel := context.WithTimeout(ctx, 2*nodeCheck)
		if p.conn.Ping(check) != nil && ctx.Err() == nil {
			_ = p.conn.Close(check)
			if err := p.take(check, int(p.number.Load())); err != nil {
				p.log.Warn("the database does not answer; trying again", slog.Any("error", err))
			} else {
				p.tell()
			}
		}
		cancel()
	}
}

func (p *place) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.follow != nil {
		p.follow(uint8(p.number.Load()))
	}
}

func (p *place) leave() {
	p.stop()
	<-p.ended
}

// Node is this node's number, for cybervault.NewIDSource.
func (s *Store) Node() uint8 {
	if s.place == nil {
		return 0
	}
	return uint8(s.place.number.Load())
}

// FollowNode names a function that is told of the number whenever the node had
// to take another one.
func (s *Store) FollowNode(follow func(uint8)) {
	if s.place == nil {
		return
	}
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	s.place.follow = follow
}

// freeOwnLeases gives back the leases that an earlier process under this
// node's number took with it when it died.
func (s *Store) freeOwnLeases(ctx context.Context) error {
	return s.w.do(ctx, func(tx transaction) error {
		return exec(tx, "UPDATE deliveries SET lease_token = 0, due_at = ? WHERE status = 0 AND lease_token <> 0 AND lease_token % 256 = ?",
			micros(s.now()), int64(s.Node()))
	})
}
