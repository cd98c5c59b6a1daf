package store

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// diskCost is how many bytes of disk an admitted byte is taken to cost: it
	// stands in the write-ahead log first, and in the database after that.
	diskCost = 2
	// maxLogRoom is what of the reserve must be free outside the database's file
	// even when there is room inside it, since the log lies beside it.
	maxLogRoom = 64 << 20
)

// Disk is how much room there is for an embedded store.
type Disk struct {
	Free     int64 // bytes that the file system has left for this process's user
	Reusable int64 // bytes inside the database's file that retention has freed
	Reserve  int64 // below that, nothing is published; 0: no bound
	Low      bool  // nothing is published now
	Problem  string
}

// diskGuard refuses publishes before the disk is full, so that what has been
// accepted can still be delivered, recorded and removed. It looks when it is
// told to, and when what was admitted since then could have used the room up.
type diskGuard struct {
	path     string
	reserve  int64
	free     func(dir string) (int64, error)
	reusable func() int64
	log      *slog.Logger

	refused atomic.Int64
	low     atomic.Bool
	left    atomic.Int64 // what may be admitted before the next look

	mu   sync.Mutex
	last Disk
	dumb bool // the file system does not say; told once
}

// admit says whether bytes may be published.
func (g *diskGuard) admit(bytes int64) error {
	if g == nil || g.reserve == 0 {
		return nil
	}
	if g.left.Add(-diskCost*bytes) < 0 && !g.low.Load() {
		g.look()
		g.left.Add(-diskCost * bytes)
	}
	if !g.low.Load() {
		return nil
	}
	g.refused.Add(1)
	return &cybervault.Error{Code: cybervault.CodeUnavailable, Message: g.problem() + "; nothing was kept, try again later"}
}

// look asks the file system. Publishing that was refused goes on once there is
// an eighth more than the reserve, so that the answer does not change with every
// event.
func (g *diskGuard) look() Disk {
	g.mu.Lock()
	defer g.mu.Unlock()
	free, err := g.free(filepath.Dir(g.path))
	if err != nil {
		if !g.dumb {
			g.dumb = true
			g.log.Warn("the file system does not say how much room is left: the disk reserve is not kept", slog.Any("error", err))
		}
		g.left.Store(1 << 30)
		g.low.Store(false)
		g.last = Disk{Reserve: g.reserve}
		return g.last
	}
	d := Disk{Free: free, Reusable: g.reusable(), Reserve: g.reserve}
	need, beside := g.reserve, min(g.reserve, maxLogRoom)
	if g.last.Low {
		need, beside = need+need/8, beside+beside/8
	}
	room := min(d.Free+d.Reusable-need, d.Free-beside)
	d.Low = g.reserve > 0 && room < 0
	if d.Low {
		d.Problem = g.words(d)
	}
	if d.Low != g.last.Low {
		if d.Low {
			g.log.Error("nothing is published: "+d.Problem, slog.Int64("free", d.Free), slog.Int64("reserve", d.Reserve)) //nolint:sloglint // the sentence is the problem's own
		} else {
			g.log.Info("there is room on the disk again: publishing goes on", slog.Int64("free", d.Free), slog.Int64("reserve", d.Reserve))
		}
	}
	g.last = d
	g.left.Store(max(room, 0))
	g.low.Store(d.Low)
	return d
}

func (g *diskGuard) problem() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last.Problem
}

func (g *diskGuard) words(d Disk) string {
	inside := ""
	if d.Reusable >= 1<<20 {
		inside = " (and the database " + mebibytes(d.Reusable) + " inside its file)"
	}
	return fmt.Sprintf("the disk that holds %s has %s free%s, less than the reserve of %s: free some space, or lower --disk-reserve",
		filepath.Dir(g.path), mebibytes(d.Free), inside, mebibytes(d.Reserve))
}

// clampProduct multiplies, up to the largest int64: some file systems say that
// they have no end.
func clampProduct(count, size uint64) int64 {
	high, low := bits.Mul64(count, size)
	if high != 0 || low > math.MaxInt64/2 {
		return math.MaxInt64 / 2 // so that sums do not overflow
	}
	return int64(low)
}

func mebibytes(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB" }

// Admit says whether an event of so many bytes may be published now: with an
// embedded store, whether the disk's reserve is kept. The error is of
// CodeUnavailable and says what to do. What the server itself must tell, such as
// an alert, is published without asking.
func (s *Store) Admit(bytes int64) error { return s.disk.admit(bytes) }

// CheckDisk looks how much room there is. It is the zero Disk for PostgreSQL,
// whose disk is another machine's.
func (s *Store) CheckDisk() Disk {
	if s.disk == nil {
		return Disk{}
	}
	return s.disk.look()
}

// reusablePatience is how long the question may wait for a reader.
const reusablePatience = 100 * time.Millisecond

// reusable returns the bytes that the database's file has room for inside.
func (s *Store) reusable() int64 {
	var pages, size int64
	if s.db == nil {
		return 0
	}
	// The writer may be the one that asks: it does not wait for the readers that
	// long searches hold. Unknown is none.
	ctx, cancel := context.WithTimeout(context.Background(), reusablePatience)
	defer cancel()
	if s.db.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&pages) != nil || s.db.QueryRowContext(ctx, "PRAGMA page_size").Scan(&size) != nil {
		return 0
	}
	return pages * size
}

// logSize returns the size of the write-ahead log of a database, 0 if it has none.
func logSize(path string) int64 {
	info, err := os.Stat(path + "-wal")
	if err != nil {
		return 0
	}
	return info.Size()
}
