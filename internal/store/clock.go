package store

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
)

// On PostgreSQL the time of the queue is the database's: a due time that one node
// writes is compared by another, and the clocks of two machines differ. Asking
// with each statement would cost a round trip where the node has to know the time
// itself, as for the end of a lease, so the clock is sighted now and then and
// reckoned with in between, by what the machine measures rather than by what its
// clock is set to.

const (
	// clockEvery is how often the database's clock is sighted.
	clockEvery = 2 * time.Second
	// clockTrip is how long a question may take of which the answer is believed;
	// half of it is how far the reckoned time can be off.
	clockTrip = 50 * time.Millisecond
	// clockStale is after how long a slow answer is better than none.
	clockStale = 10 * time.Second
	// clockSights is how often the clock is sighted at the start; the quickest
	// answer counts.
	clockSights = 3
)

// sight is what the database's clock said, and what the node's did then.
type sight struct {
	database, node time.Time
	trip           time.Duration
}

// databaseClock is the clock of a database, as this node knows it.
type databaseClock struct {
	node func() time.Time
	ask  func(context.Context) (at time.Time, trip time.Duration, err error)
	last atomic.Pointer[sight]

	stop  context.CancelFunc
	ended chan struct{}
}

// startClock sights the clock and keeps doing so until leave.
func startClock(ctx context.Context, node func() time.Time, ask func(context.Context) (time.Time, time.Duration, error)) (*databaseClock, error) {
	c := &databaseClock{node: node, ask: ask, ended: make(chan struct{})}
	for range clockSights {
		if err := c.look(ctx); err != nil {
			return nil, readError(err)
		}
	}
	keep, stop := context.WithCancel(context.Background())
	c.stop = stop
	go c.keep(keep)
	return c, nil
}

// now is the database's time.
func (c *databaseClock) now() time.Time {
	last := c.last.Load()
	return last.database.Add(c.node().Sub(last.node))
}

// ahead is by how much the database's clock is ahead of the node's.
func (c *databaseClock) ahead() time.Duration {
	return c.now().Sub(c.node().Round(0))
}

// look sights the clock once. The answer is taken to be of the middle of the trip.
func (c *databaseClock) look(ctx context.Context) error {
	database, trip, err := c.ask(ctx)
	if err != nil {
		return err
	}
	fresh := &sight{database: database.Add(trip / 2), node: c.node(), trip: trip}
	if last := c.last.Load(); last == nil || c.better(fresh, last) {
		c.last.Store(fresh)
	}
	return nil
}

func (c *databaseClock) better(fresh, last *sight) bool {
	return fresh.trip <= max(clockTrip, last.trip) || fresh.node.Sub(last.node) >= clockStale
}

// keep sights the clock until the store is closed. While the database does not
// answer, the machine's own measure of time goes on.
func (c *databaseClock) keep(ctx context.Context) {
	defer close(c.ended)
	ticker := time.NewTicker(clockEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		patient, cancel := context.WithTimeout(ctx, clockEvery)
		_ = c.look(patient) // whoever needs the database says that it does not answer
		cancel()
	}
}

func (c *databaseClock) leave() {
	c.stop()
	<-c.ended
}

// askPostgres asks what time it is. The wait for a connection is no part of the trip.
func askPostgres(db *sql.DB) func(context.Context) (time.Time, time.Duration, error) {
	return func(ctx context.Context) (at time.Time, trip time.Duration, err error) {
		conn, err := db.Conn(ctx)
		if err != nil {
			return at, 0, err
		}
		defer func() { _ = conn.Close() }()
		var us int64
		begin := time.Now()
		err = conn.QueryRowContext(ctx, "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint").Scan(&us)
		return fromMicros(us), time.Since(begin), err
	}
}

// Now is the time that the queue goes by: on PostgreSQL the database's, whatever
// this machine's clock says, otherwise the node's own.
func (s *Store) Now() time.Time { return s.now() }

// ClockAhead tells by how much the database's clock is ahead of this machine's;
// negative when it is behind, 0 on SQLite.
func (s *Store) ClockAhead() time.Duration {
	if s.clock == nil {
		return 0
	}
	return s.clock.ahead()
}

// Shared reports whether other nodes may be using the same database.
func (s *Store) Shared() bool { return s.place != nil }

// Steady reports whether an attempt for an ordered webhook that begins now is over
// before another node may have what this one claimed, even if the database has
// just taken it for lost.
func (s *Store) Steady() bool {
	return s.place == nil || s.place.silence() < cybervault.LineGrace-cybervault.AttemptTimeout-cybervault.LineTrust
}
