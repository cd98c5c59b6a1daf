package outbound

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// link is a connection that carries HTTP/1.1, one exchange after the other. One
// goroutine uses it at a time; mu is there for the end of a context.
type link struct {
	*conn
	origin string
	stream io.ReadWriteCloser // conn, or its TLS session
	grace  time.Duration      // if not 0, the next read may take this long

	idleSince    time.Time // of the pool
	older, newer *link

	mu     sync.Mutex
	done   <-chan struct{} // of the context that is watched
	stop   func() bool     // ends the watching
	busy   bool            // an exchange is under way
	broken bool            // and its context has ended
}

func newLink(c *conn, origin string) *link {
	l := &link{conn: c, origin: origin, stream: c}
	if c.session != nil {
		l.stream = c.session
	}
	return l
}

// begin readies l for an exchange that ends with ctx, and at deadline at the
// latest. The watching of a context goes on when the exchange is over: as a
// rule the next one comes with the same context, and then costs nothing.
func (l *link) begin(ctx context.Context, deadline time.Time) error {
	done := ctx.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	if done != l.done {
		if l.stop != nil {
			l.stop()
		}
		l.done, l.stop = done, nil
		if done != nil {
			l.stop = context.AfterFunc(ctx, func() { l.breakOff(done) })
		}
	}
	l.busy, l.grace = true, 0
	return l.SetDeadline(deadline)
}

// breakOff ends the exchange under way, if it is one of the context that ended.
func (l *link) breakOff(done <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done != done {
		return
	}
	l.done, l.stop = nil, nil
	if l.busy {
		l.broken = true
		_ = l.SetDeadline(time.Unix(1, 0))
	}
}

// Read reads what the peer sends.
func (l *link) Read(b []byte) (int, error) {
	if l.grace > 0 {
		l.mu.Lock()
		if !l.broken {
			_ = l.SetReadDeadline(time.Now().Add(l.grace))
		}
		l.mu.Unlock()
		l.grace = 0
	}
	return l.stream.Read(b)
}

// Write counts in conn.Write what went out.
func (l *link) Write(b []byte) (int, error) { return l.stream.Write(b) }

// end ends an exchange and reports whether another may follow.
func (l *link) end() bool {
	l.mu.Lock()
	l.busy = false
	whole := !l.broken
	l.mu.Unlock()
	return whole && (l.session == nil || l.empty(0))
}

// empty reports whether the TLS session holds nothing that was not asked for,
// after so many reads off the connection: an answer nobody asked for must not
// become the answer to the next request.
func (l *link) empty(reads int) bool {
	var one [1]byte
	l.held, l.once = true, reads
	n, err := l.session.Read(one[:])
	l.held = false
	return n == 0 && errors.Is(err, heldError{})
}

// usable reports whether a link that has been idle may carry a request. What
// lies there unread of a TLS session may be no more than a ticket for the next.
func (l *link) usable(idle time.Duration) bool {
	if keep := time.Duration(l.keep.Load()); keep > 0 && idle > keep {
		return false
	}
	if l.alive() {
		return true
	}
	return l.session != nil && l.SetReadDeadline(time.Now().Add(time.Millisecond)) == nil && l.empty(1) && l.alive()
}

// close ends the connection, with a word of goodbye where there is TLS.
func (l *link) close() {
	l.unwatch()
	_ = l.stream.Close()
}

// drop ends the connection at once. A goodbye could wait for a receiver that
// reads no more.
func (l *link) drop() {
	l.unwatch()
	_ = l.conn.Close()
}

func (l *link) unwatch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil {
		l.stop()
	}
	l.done, l.stop = nil, nil
}
