package store

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// Bounds of a group commit. A group is closed when it holds maxGroup operations
// or when gather has passed since its first one, whichever comes first; an
// operation that finds the writer idle and nobody else waiting is not delayed.
const (
	maxGroup      = 1000
	maxGroupBytes = 16 << 20
	gather        = 1500 * time.Microsecond
	queueLength   = 4096
	// retryPause is how long the writer waits before it offers results again to
	// a database that refused them.
	retryPause = 250 * time.Millisecond
)

// session is a connection that the writer alone uses.
type session interface {
	// transact runs fn in one transaction and commits it durably. It returns
	// fn's error, or the database's.
	transact(fn func(transaction) error) error
	// trouble reports whether err says that the database as a whole is in
	// trouble (full, read-only, unreachable), rather than one statement.
	trouble(err error) bool
	close()
}

// operation is one thing to commit. Exactly one of publication, result and run
// is set. run may be called again after a rollback; it returns a
// *cybervault.Error only while it has written nothing, and then the operation
// is answered with that while the rest of its group goes on.
type operation struct {
	publication *publishing
	result      *cybervault.Result
	run         func(transaction) error
	bytes       int
	done        func(error) // called once, after the commit or its failure
}

// writer makes group commits: concurrent callers share a transaction, and each
// is answered when that is on disk, never before. A group that fails is taken
// apart, so that one bad operation fails alone.
type writer struct {
	store    *Store
	open     func() (session, error)
	queue    chan *operation
	stopOnce sync.Once
	stopped  sync.WaitGroup

	mu     sync.RWMutex // held for reading while an operation is handed in
	closed bool
}

var errClosed = &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "the server is stopping; try again"}

func startWriter(s *Store, sessions int, open func() (session, error)) (*writer, error) {
	w := &writer{store: s, open: open, queue: make(chan *operation, queueLength)}
	for range sessions {
		first, err := open()
		if err != nil {
			w.close()
			return nil, err
		}
		w.stopped.Go(func() { w.loop(first) })
	}
	return w, nil
}

// close commits what was handed in and stops.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stopOnce.Do(func() { close(w.queue) })
	w.stopped.Wait()
}

// submit hands in an operation. It blocks while the queue is full, until ctx
// ends. done is called from another goroutine, once, unless submit fails.
func (w *writer) submit(ctx context.Context, op *operation) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errClosed
	}
	select {
	case w.queue <- op:
		return nil
	case <-ctx.Done():
		return &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "the store is busy; nothing was kept, try again", Err: ctx.Err()}
	}
}

// do runs fn in a (shared) transaction and waits for the commit. An operation
// once handed in is waited for even when ctx ends, since its outcome is
// unknown until then.
func (w *writer) do(ctx context.Context, fn func(transaction) error) error {
	done := make(chan error, 1)
	if err := w.submit(ctx, &operation{run: fn, done: func(err error) { done <- err }}); err != nil {
		return err
	}
	return <-done
}

func (w *writer) loop(s session) {
	defer func() { s.close() }()
	var kept []*operation // results a database in trouble did not take
	for {
		group, open := w.gather(kept)
		if len(group) == 0 && !open {
			return
		}
		hadTrouble := len(kept) > 0
		kept = w.commit(s, group)
		if len(kept) == 0 {
			continue
		}
		if !open {
			for _, op := range kept {
				op.done(errClosed) // the lease ends, and the delivery is tried again
			}
			return
		}
		if hadTrouble {
			if fresh, err := w.open(); err == nil {
				s.close()
				s = fresh
			}
		}
	}
}

// gather returns the results kept from before and what comes within the bounds
// of a group. With nothing kept it waits for a first operation; with something
// kept, for retryPause at most, so that a database in trouble is neither
// hammered nor left waiting, and publishers hear of it at once. open is false
// when the writer is closed and its queue empty.
func (w *writer) gather(kept []*operation) (group []*operation, open bool) {
	group = kept
	var patience <-chan time.Time
	if len(kept) > 0 {
		timer := time.NewTimer(retryPause)
		defer timer.Stop()
		patience = timer.C
	}
	var size int
	select {
	case op, ok := <-w.queue:
		if !ok {
			return group, false
		}
		group = append(group, op)
		size = op.bytes
	case <-patience:
		return group, true
	}
	if len(w.queue) == 0 {
		return group, true
	}
	deadline := time.NewTimer(gather)
	defer deadline.Stop()
	for len(group) < maxGroup && size < maxGroupBytes {
		select {
		case op, ok := <-w.queue:
			if !ok {
				return group, false
			}
			group = append(group, op)
			size += op.bytes
		case <-deadline.C:
			return group, true
		}
	}
	return group, true
}

// commit makes one transaction of the group and answers its operations. It
// returns the results that a database in trouble did not take: these are kept
// and offered again, since what they say has already happened.
func (w *writer) commit(s session, group []*operation) (kept []*operation) {
	var answers []func()
	err := s.transact(func(tx transaction) error {
		var err error
		answers, err = w.store.apply(tx, group)
		return err
	})
	switch {
	case err == nil:
		for _, answer := range answers {
			answer()
		}
		return nil
	case s.trouble(err):
		w.store.log.Error("the database refuses to write", slog.Any("error", err), slog.Int("operations", len(group)))
		for _, op := range group {
			if op.result != nil {
				kept = append(kept, op)
			} else {
				op.done(unavailable("the database refuses to write", err))
			}
		}
		return kept
	case len(group) > 1:
		for _, op := range group {
			kept = append(kept, w.commit(s, []*operation{op})...)
		}
		return kept
	default:
		group[0].done(asError(err))
		return nil
	}
}

func asError(err error) error {
	if _, ok := errors.AsType[*cybervault.Error](err); ok {
		return err
	}
	return &cybervault.Error{Code: cybervault.CodeInternal, Message: "the database refused the change", Err: err}
}
