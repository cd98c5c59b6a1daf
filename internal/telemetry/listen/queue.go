package listen

import (
	"sync"
	"time"

	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

// queue holds messages between the sockets and the engine, up to a number and a
// sum of bytes. Safe for concurrent use; one goroutine takes.
type queue struct {
	mu       sync.Mutex
	room     *sync.Cond // some was taken, or the queue was closed
	news     chan struct{}
	pieces   []stream.Piece
	bytes    int
	most     int
	mostSize int
	closed   bool
}

func newQueue(most, mostBytes int) *queue {
	q := &queue{most: most, mostSize: mostBytes, news: make(chan struct{}, 1)}
	q.room = sync.NewCond(&q.mu)
	return q
}

// put appends a piece and reports whether it did: where there is no room, only
// after waiting, if it may.
func (q *queue) put(p stream.Piece, mayWait bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pieces) >= q.most || q.bytes+len(p.Data) > q.mostSize {
		if !mayWait {
			return false
		}
		q.room.Wait()
	}
	q.pieces = append(q.pieces, p)
	q.bytes += len(p.Data)
	q.signal()
	return true
}

func (q *queue) signal() {
	select {
	case q.news <- struct{}{}:
	default:
	}
}

// close says that nothing more will be put.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// take waits for a piece, then for more until there are so many or the time is
// up. It is nil once the queue is closed and empty.
func (q *queue) take(most, mostBytes int, gather time.Duration) []stream.Piece {
	var timer <-chan time.Time
	due := false
	for {
		q.mu.Lock()
		full := due || q.closed || len(q.pieces) >= most || q.bytes >= mostBytes
		if full {
			batch := q.cut(most, mostBytes)
			q.mu.Unlock()
			return batch
		}
		if timer == nil && len(q.pieces) > 0 {
			timer = time.After(gather)
		}
		q.mu.Unlock()
		select {
		case <-q.news:
		case <-timer:
			due = true
		}
	}
}

// cut takes the oldest pieces off; q.mu is held.
func (q *queue) cut(most, mostBytes int) []stream.Piece {
	n, size := 0, 0
	for n < len(q.pieces) && n < most && (n == 0 || size+len(q.pieces[n].Data) <= mostBytes) {
		size += len(q.pieces[n].Data)
		n++
	}
	if n == 0 {
		return nil
	}
	batch := q.pieces[:n:n]
	q.pieces = append([]stream.Piece(nil), q.pieces[n:]...)
	q.bytes -= size
	if len(q.pieces) > 0 {
		q.signal()
	}
	q.room.Broadcast()
	return batch
}
