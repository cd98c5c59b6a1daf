package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cybervault/cybervault"
)

// A node's number is the last eight bits of every row key and lease token it
// makes (see cybervault.UUID). On SQLite there is one node, 0. On PostgreSQL a
// node holds its number by a session-level advisory lock, which the database
// takes from it the moment its process or its connection is gone. On the same
// connection it hears of what the other nodes change, and frees the leases of
// those that are gone: see lost.go. See docs/decisions/0021.

// maxNodes is how many nodes can share a database.
const maxNodes = 256

// The first keys of the advisory locks: of the nodes' numbers, "CYBV", whose second
// key is the number, and of the duties that one node at a time has, "CYBD", whose
// second key is of the schema too: a database can have several stores.
const (
	nodeLockClass = 0x43594256
	dutyLockClass = 0x43594244
)

const (
	// nodeLook is how often a node looks at its place, and for news that no
	// notification told of.
	nodeLook = 500 * time.Millisecond
	// nodePatience is how long one look may take before the connection counts as
	// lost.
	nodePatience = 2 * time.Second
	// nodeSilence is after how long without a word from a node the database ends
	// its session, so that the number is free even where the network swallows
	// whatever would end the connection. PostgreSQL before 14 does not know the
	// setting; there it is the operating system that notices.
	nodeSilence = 6 * time.Second
	// nodeTrust is how long after its last word with the database a node may
	// still rely on its leases. Nobody frees them earlier: see lostAfter.
	nodeTrust = nodeSilence
)

// Duty is work that one node at a time does for all.
type Duty int

// The duties.
const (
	DutyRetention Duty = iota // removes what is old
	DutyIncidents             // resolves incidents that are quiet, and tells of what had to wait
	DutyFleet                 // tells of agents that come and go
	duties
)

// place is a node's place among those that share a PostgreSQL database.
type place struct {
	cfg    *pgx.ConnConfig
	lines  *lines
	server string // when the PostgreSQL that holds the place was started
	log    *slog.Logger
	number atomic.Int32
	heard  atomic.Int64 // the monotonic moment of the last word with the database, see since
	began  time.Time
	peers  atomic.Int32 // nodes that live, this one included
	voided atomic.Int64 // before which the leases are void, as heard; 0: none is
	duty   [duties]atomic.Bool
	conn   *pgx.Conn // holds the locks; used by one goroutine at a time
	lost   suspects
	graves sync.WaitGroup // burials under way
	digs   atomic.Bool    // there is one
	stop   context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	follow func(uint8)
	news   news
}

// news are those who want to hear what other nodes did. They must not block.
type news struct {
	settings func()                // settings were changed, or may have been
	freed    func()                // leases of a lost node were freed, or may have been
	ended    func(delivery string) // another node has ended a delivery
}

// takePlace takes the lowest free number and keeps it.
func takePlace(ctx context.Context, cfg *pgx.ConnConfig, lines *lines, log *slog.Logger) (*place, error) {
	p := &place{cfg: cfg, lines: lines, log: log, began: time.Now(), ended: make(chan struct{})}
	p.peers.Store(1)
	if err := p.take(ctx, 0, true); err != nil {
		return nil, err
	}
	keep, stop := context.WithCancel(context.Background())
	p.stop = stop
	go p.keep(keep)
	return p, nil
}

// take connects and locks a number, the one before if it can. The leases that this
// node has are void from then on where another node may have them: it was silent
// for too long, it has another number now, or it was taken for lost.
func (p *place) take(ctx context.Context, before int, first bool) error {
	sent := time.Now()
	conn, err := pgx.ConnectConfig(ctx, p.cfg)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	n, mine, err := p.settle(ctx, conn, before, first)
	if err != nil {
		_ = conn.Close(ctx)
		return err
	}
	if err := p.meet(ctx, conn); err != nil {
		_ = conn.Close(ctx)
		return err
	}
	if !first && (!mine || !p.trusted()) {
		p.voided.Store(int64(max(time.Since(p.began), 1)))
	}
	p.conn = conn
	p.number.Store(int32(n))
	p.lost = suspects{}
	p.spoke(sent)
	return nil
}

// settle makes a fresh connection the one that holds the place. mine tells whether
// it is the place that the node had, and nobody has taken the node for lost.
func (p *place) settle(ctx context.Context, conn *pgx.Conn, before int, first bool) (n int, mine bool, err error) {
	// A session that has nothing to say, or that stands still in the middle of a
	// transaction, is a lost one's.
	for _, setting := range []string{"idle_session_timeout", "idle_in_transaction_session_timeout"} {
		_, err := conn.Exec(ctx, "SELECT set_config(name, $2, false) FROM pg_settings WHERE name = $1", setting, fmt.Sprint(nodeSilence.Milliseconds()))
		if err != nil {
			return 0, false, fmt.Errorf("set %s: %w", setting, err)
		}
	}
	if first {
		before = -1
	}
	if n, err = takeNumber(ctx, conn, before); err != nil {
		return 0, false, err
	}
	if n != before { // a node of the release before has no row, and may have died under it
		if err := freeAllLeasesOf(ctx, conn, n, cybervault.LineGrace); err != nil {
			return 0, false, err
		}
	}
	host, _ := os.Hostname()
	var fresh bool
	err = conn.QueryRow(ctx, `INSERT INTO nodes (number, host, joined_at) VALUES ($1, $2, $3)
ON CONFLICT (number) DO UPDATE SET host = excluded.host, joined_at = excluded.joined_at RETURNING xmax = 0`,
		n, fmt.Sprintf("%s:%d", host, os.Getpid()), time.Now().UnixMicro()).Scan(&fresh)
	if err != nil {
		return 0, false, fmt.Errorf("enter the list of nodes: %w", err)
	}
	for _, channel := range []string{settingsChannel, freedChannel, endedChannel} {
		if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
			return 0, false, fmt.Errorf("listen to the other nodes: %w", err)
		}
	}
	return n, n == before && !fresh, nil
}

// takeNumber locks the number before, or else the lowest that is nobody's. One that
// is listed without a lock is a lost node's, or one's that is about to take it
// again: it is free once somebody has buried that node.
func takeNumber(ctx context.Context, conn *pgx.Conn, before int) (int, error) {
	rows, err := conn.Query(ctx, "SELECT number::bigint FROM nodes")
	if err != nil {
		return 0, fmt.Errorf("read the list of nodes: %w", err)
	}
	listed, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("read the list of nodes: %w", err)
	}
	return lockNumber(ctx, conn, max(before, 0), func(n int) bool { return n == before || !slices.Contains(listed, int64(n)) })
}

func lockNumber(ctx context.Context, conn *pgx.Conn, before int, may func(n int) bool) (int, error) {
	for i := range maxNodes {
		n := (before + i) % maxNodes
		if !may(n) {
			continue
		}
		var free bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, $2)", nodeLockClass, n).Scan(&free); err != nil {
			return 0, fmt.Errorf("take a node number: %w", err)
		}
		if free {
			return n, nil
		}
	}
	return 0, cybervault.Invalid("database-url", "%d nodes use this database already, the most that can", maxNodes)
}

// keep looks after the place until the node stops. A lost one, as after a restart
// of the database, is taken again, under another number if need be.
func (p *place) keep(ctx context.Context) {
	defer close(p.ended)
	said := false
	for ctx.Err() == nil {
		err := p.look(ctx)
		if err == nil {
			said = false
			continue
		}
		if ctx.Err() != nil {
			break
		}
		p.resign(ctx)
		again, cancel := context.WithTimeout(ctx, takePatience(p.cfg))
		err = p.take(again, int(p.number.Load()), false)
		cancel()
		if ctx.Err() == nil {
			p.lines.noteTake(err)
		}
		switch {
		case err == nil:
			said = false
			p.tell()
		case ctx.Err() == nil:
			if !said {
				said = true
				p.log.Warn("the database does not answer; trying again", slog.Any("error", err))
			}
			_ = pause(ctx, nodeLook)
		}
	}
	p.graves.Wait()
	p.depart(context.WithoutCancel(ctx))
}

// look waits for news, a little, and sees whether the place is still the node's.
func (p *place) look(ctx context.Context) error {
	if err := p.listen(ctx); err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	sent := time.Now()
	rows, err := p.conn.Query(asking, `SELECT objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = $1::bigint::oid AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, int64(nodeLockClass))
	if err != nil {
		return err
	}
	alive, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	p.spoke(sent)
	p.say(func(n news) func() { return n.settings }) // polling is the truth, a notification only quicker
	if err := p.takeDuties(asking); err != nil {
		return err
	}
	return p.clearLost(asking, alive)
}

// listen waits for a notification, and for nodeLook at the most.
func (p *place) listen(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, nodeLook)
	defer cancel()
	told, err := p.conn.WaitForNotification(waiting)
	switch {
	case err == nil && told.Channel == freedChannel:
		p.say(func(n news) func() { return n.freed })
	case err == nil && told.Channel == endedChannel:
		p.say(func(n news) func() {
			if n.ended == nil {
				return nil
			}
			return func() { n.ended(told.Payload) }
		})
	case err == nil:
		p.say(func(n news) func() { return n.settings })
	case p.conn.IsClosed() || ctx.Err() != nil:
		return err
	}
	return nil
}

// takeDuties takes every duty that nobody has.
func (p *place) takeDuties(ctx context.Context) error {
	for i := range p.duty {
		if p.duty[i].Load() {
			continue
		}
		var mine bool
		if err := p.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, hashtext(current_schema() || $2))", dutyLockClass, fmt.Sprint("/", i)).Scan(&mine); err != nil {
			return err
		}
		p.duty[i].Store(mine)
	}
	return nil
}

// resign gives up what went with the connection.
func (p *place) resign(ctx context.Context) {
	for i := range p.duty {
		p.duty[i].Store(false)
	}
	closing, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = p.conn.Close(closing)
}

// depart takes the node off the list: it has given its leases back.
func (p *place) depart(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if !p.conn.IsClosed() {
		_, _ = p.conn.Exec(ctx, "DELETE FROM nodes WHERE number = $1", p.number.Load()) // else another node finds the row
	}
	p.resign(ctx)
}

func (p *place) spoke(at time.Time) { p.heard.Store(int64(at.Sub(p.began))) }

// trusted reports whether no other node can have freed this one's leases.
func (p *place) trusted() bool { return p.silence() < nodeTrust }

func (p *place) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.follow != nil {
		p.follow(uint8(p.number.Load()))
	}
	// What was said while nobody listened is lost.
	for _, hear := range []func(){p.news.settings, p.news.freed} {
		if hear != nil {
			hear()
		}
	}
}

func (p *place) say(which func(news) func()) {
	p.mu.Lock()
	hear := which(p.news)
	p.mu.Unlock()
	if hear != nil {
		hear()
	}
}

func (p *place) leave() {
	p.stop()
	<-p.ended
}

// silence is how long ago the last word with the database was.
func (p *place) silence() time.Duration { return time.Since(p.began) - time.Duration(p.heard.Load()) }

// Node is this node's number, for cybervault.NewIDSource.
func (s *Store) Node() uint8 {
	if s.place == nil {
		return 0
	}
	return uint8(s.place.number.Load())
}

// Nodes tells how many nodes share the database, this one included, as of the
// last look: half a second ago while the database answers.
func (s *Store) Nodes() int {
	if s.place == nil {
		return 1
	}
	return int(s.place.peers.Load())
}

// Trusted reports whether this node may rely on its leases: the database has
// spoken with it lately, so that no other node can have taken it for lost. A node
// that is not trusted begins no attempt. On SQLite it always is.
func (s *Store) Trusted() bool { return s.place == nil || s.place.trusted() }

// Has reports whether a duty is this node's. On SQLite every duty is. Two nodes
// may think so for a moment when the one before has lost its connection: what is
// done must bear that.
func (s *Store) Has(d Duty) bool {
	return s.place == nil || s.place.duty[d].Load() && s.place.trusted()
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

// LeasesFrom is the time since when this node's leases are good: those from before
// may be another node's by now. Zero where all are.
func (s *Store) LeasesFrom() time.Time {
	if s.place == nil {
		return time.Time{}
	}
	voided := s.place.voided.Load()
	if voided == 0 {
		return time.Time{}
	}
	return s.now().Add(time.Duration(voided) - time.Since(s.place.began))
}

// FollowNodes names functions that are told, twice a second at least, that the
// settings may have been changed, that leases of a lost node were freed, and that
// another node has ended a delivery. They must not block. On SQLite there is no
// other node, and they are never called.
func (s *Store) FollowNodes(settings, freed func(), ended func(delivery string)) {
	if s.place == nil {
		return
	}
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	s.place.news = news{settings: settings, freed: freed, ended: ended}
}

// NodeList lists the nodes that share the database; on SQLite this one alone, without a
// host. A node that was lost a moment ago may still be in it.
func (s *Store) NodeList(ctx context.Context) ([]cybervault.Node, error) {
	if s.place == nil {
		return []cybervault.Node{{Me: true}}, nil
	}
	page, err := list(ctx, s, "SELECT number, host, joined_at FROM nodes ORDER BY number LIMIT ?", nil, maxNodes, func(scan func(...any) error) (n cybervault.Node, err error) {
		var joined int64
		err = scan(&n.Number, &n.Host, &joined)
		n.JoinedAt, n.Me = fromMicros(joined).UTC(), n.Number == int(s.place.number.Load())
		return n, err
	})
	return page.Rows, err
}
