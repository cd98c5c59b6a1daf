package store

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/failpoint"
)

// Bounds of a group commit. A group is closed when it holds maxGroup operations
// or when gatherTime has passed since its first one, whichever comes first;
// what finds the writer idle and nobody else waiting is not delayed.
const (
	maxGroup      = 1000
	maxGroupBytes = 16 << 20
	gatherTime    = 400 * time.Microsecond
	queueLength   = 4096
	// retryPause is how long the writer waits before it offers results again to
	// a database that refused them.
	retryPause = 250 * time.Millisecond
	// maxQueueBytes bounds what waits, each operation counted with operationBytes
	// besides what it carries. Publications beyond it are refused at once; what
	// must be written, such as results, waits for its turn.
	maxQueueBytes  = 64 << 20
	operationBytes = 512
	// A connection is tended once in tendEvery while it is busy, and once when it
	// has been idle for as long.
	tendEvery = 2 * time.Second
)

// session is a connection that one writer loop alone uses.
type session interface {
	// transact runs fn in one transaction and commits it durably. It returns
	// fn's error, or the database's. fn may be run more than once, each time
	// after what it did before was rolled back.
	transact(fn func(transaction) error) error
	// trouble reports whether err says that the database as a whole is in
	// trouble (full, read-only, unreachable), rather than one statement.
	trouble(err error) bool
	close()
}

// tender is a session that has something to put in order between transactions.
// An error only means that it is tried again later.
type tender interface {
	tend(idle bool) error
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
	claims      *claims     // what run leases; nil where it leases nothing
	owed        bool        // offered again, as results are, until the database takes it
	doubtful    bool        // an earlier commit of it may have been made
	done        func(error) // called once, after the commit or its failure; must not block
}

// writer makes group commits: concurrent callers share a transaction, and each
// is answered when that is on disk, never before. A group that fails is taken
// apart, so that one bad operation fails alone.
type writer struct {
	store    *Store
	open     func() (session, error)
	queue    chan []*operation
	stopOnce sync.Once
	stopped  sync.WaitGroup
	setback  *setback // nil where several write; used by the loop alone

	troubled   atomic.Bool                      // the last transaction found the database in trouble
	damage     atomic.Pointer[cybervault.Error] // set once it is found damaged: see broken
	commits    atomic.Int64
	operations atomic.Int64
	refused    atomic.Int64 // publications that a database in trouble did not take
	full       atomic.Int64 // hand-ins that the queue had no room for
	waiting    atomic.Int64 // bytes in the queue
	refusedAt  atomic.Int64 // when a database in trouble last did not take a publication; 0 when it has taken one since
	snapshot   atomic.Pointer[copying]

	mu     sync.RWMutex // held for reading while an operation is handed in
	closed bool
}

// errInDoubt says that a commit was sent and its answer lost: it may have been made.
var errInDoubt = errors.New("the answer to the commit was lost")

var errBusy = &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "more waits to be stored than the database keeps up with; nothing was kept, try again"}

var errClosed = &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "the server is stopping; try again"}

func startWriter(s *Store, sessions int, open func() (session, error)) (*writer, error) {
	w := &writer{store: s, open: open, queue: make(chan []*operation, queueLength)}
	if sessions == 1 {
		w.setback = &setback{}
	}
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

// submit hands in operations that are to share a group. It blocks while the
// queue is full, until ctx ends; publications fail at once where so many bytes
// wait already that theirs would pass maxQueueBytes. Unless it fails, each done
// is called once, from another goroutine.
func (w *writer) submit(ctx context.Context, ops ...*operation) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errClosed
	}
	if d := w.damage.Load(); d != nil {
		if ops[0].publication != nil {
			w.refused.Add(int64(len(ops)))
		}
		return d // not even a lease is given out: what is sent could not be recorded
	}
	size := sizeOf(ops)
	if waiting := w.waiting.Add(size); waiting > maxQueueBytes && waiting > size && ops[0].publication != nil {
		w.waiting.Add(-size)
		w.full.Add(1)
		return errBusy
	}
	select {
	case w.queue <- ops:
		return nil
	case <-ctx.Done():
		w.waiting.Add(-size)
		w.full.Add(1)
		return &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "the store is busy; nothing was kept, try again", Err: ctx.Err()}
	}
}

func sizeOf(ops []*operation) (size int64) {
	for _, op := range ops {
		size += int64(op.bytes) + operationBytes
	}
	return size
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

// claims is what a claim leases.
type claims struct{ webhook, token int64 }

// claim is do for a fn that leases deliveries of a webhook.
func (w *writer) claim(ctx context.Context, webhook cybervault.WebhookID, lease cybervault.Lease, fn func(transaction) error) error {
	done := make(chan error, 1)
	op := &operation{run: fn, claims: &claims{webhook.Key(), lease.Token}, done: func(err error) { done <- err }}
	if err := w.submit(ctx, op); err != nil {
		return err
	}
	return <-done
}

// try is do for a fn whose outcome may stay unknown: it waits until ctx ends.
func (w *writer) try(ctx context.Context, fn func(transaction) error) error {
	done := make(chan error, 1)
	if err := w.submit(ctx, &operation{run: fn, done: func(err error) { done <- err }}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return unavailable("the database does not answer", ctx.Err())
	}
}

func (w *writer) loop(s session) {
	defer func() {
		w.endSnapshot(s, errClosed)
		s.close()
	}()
	var (
		kept     []*operation // results that a database in trouble did not take
		lastTry  time.Time
		troubles int // in a row
		care     carer
	)
	for {
		patience := care.patience(len(kept) > 0)
		copying := w.stepSnapshot(s)
		if copying {
			patience = snapshotPause
		}
		group, open := w.gather(patience)
		if len(group)+len(kept) == 0 {
			if !open {
				return
			}
			if !copying {
				care.tend(s, true)
			}
			continue
		}
		var err error
		if len(kept) > 0 {
			// Results go first, and alone: what they say has happened already,
			// and nobody's publishing shall be in their way.
			var rest []*operation
			kept, rest = takeResults(kept, group)
			if open && time.Since(lastTry) < retryPause {
				w.refuse(rest, nil)
				continue
			}
			lastTry = time.Now()
			if kept, err = w.commit(s, kept); err != nil {
				w.refuse(rest, err)
			} else {
				group = rest
			}
		}
		if err == nil && len(group) > 0 {
			lastTry = time.Now()
			kept, err = w.commit(s, group)
		}
		if err == nil {
			troubles = 0
			care.tend(s, false)
			continue
		}
		if !open {
			for _, op := range kept {
				op.done(errClosed) // the lease ends, and the delivery is tried again
			}
			return
		}
		if troubles++; troubles > 1 {
			if fresh, opened := w.open(); opened == nil {
				w.endSnapshot(s, err)
				s.close()
				s = fresh
			}
		}
	}
}

// carer sees to it that a session is tended now and then.
type carer struct {
	last time.Time
	owed bool // something was committed since
}

// patience is how long the loop may wait for work; 0 for as long as it takes.
func (c *carer) patience(kept bool) time.Duration {
	switch {
	case kept:
		return retryPause
	case c.owed:
		return tendEvery
	}
	return 0
}

func (c *carer) tend(s session, idle bool) {
	t, ok := s.(tender)
	if !ok {
		return
	}
	now := time.Now()
	if !idle && now.Sub(c.last) < tendEvery {
		c.owed = true
		return
	}
	err := t.tend(idle)
	c.owed = err != nil || !idle
	c.last = time.Now()
}

// takeResults moves the results of a group, and what else is owed, behind those
// kept from before.
func takeResults(kept, group []*operation) (results, rest []*operation) {
	for _, op := range group {
		if op.result != nil || op.owed {
			kept = append(kept, op)
		} else {
			rest = append(rest, op)
		}
	}
	return kept, rest
}

// gather waits for a first operation and returns it with what comes within the
// bounds of a group, or with nothing once its patience is over (0: never). While
// something is kept from before that is short, so that a database in trouble is
// neither hammered nor left waiting. open is false when the writer is closed and
// its queue empty.
func (w *writer) gather(patience time.Duration) (group []*operation, open bool) {
	var enough <-chan time.Time
	if patience > 0 {
		enough = time.After(patience)
	}
	var size int64
	add := func(ops []*operation) {
		n := sizeOf(ops)
		w.waiting.Add(-n)
		size += n
		group = append(group, ops...)
	}
	select {
	case ops, ok := <-w.queue:
		if !ok {
			return nil, false
		}
		add(ops)
	case <-enough:
		return nil, true
	}
	if len(w.queue) == 0 {
		return group, true
	}
	deadline := time.NewTimer(gatherTime)
	defer deadline.Stop()
	for len(group) < maxGroup && size < maxGroupBytes {
		select {
		case ops, ok := <-w.queue:
			if !ok {
				return group, false
			}
			add(ops)
		case <-deadline.C:
			return group, true
		}
	}
	return group, true
}

// commit makes one transaction of the group and answers its operations. When
// the database is in trouble it returns that error, with the results that were
// not taken: these are to be offered again.
func (w *writer) commit(s session, group []*operation) (kept []*operation, trouble error) {
	if d := w.damage.Load(); d != nil {
		w.end(group, d)
		return nil, nil
	}
	var answers []func()
	var changed bool
	var spans []typeSpan
	var wrote *written
	now, back := w.setback.look(w.store)
	err := s.transact(func(tx transaction) error {
		err := w.setback.follow(tx, now, back)
		if err != nil {
			return err
		}
		answers, err = w.store.apply(tx, group)
		changed, spans, wrote = !tx.noted().empty(), tx.noted().spans, &tx.noted().wrote
		failpoint.Hit(failpoint.CommitBegun)
		return err
	})
	switch {
	case err == nil:
		failpoint.Hit(failpoint.CommitDone)
		w.setback.followed(w.store, now, back)
		w.commits.Add(1)
		w.operations.Add(int64(len(group)))
		if slices.ContainsFunc(group, func(op *operation) bool { return op.publication != nil }) {
			w.refusedAt.Store(0)
		}
		if w.troubled.CompareAndSwap(true, false) {
			w.store.log.Info("the database takes writes again")
			changed = true // a commit in doubt may have
		}
		w.store.spans.committed(spans)
		w.store.recent.committed(wrote)
		for _, answer := range answers {
			answer()
		}
		if changed && w.store.changed != nil {
			w.store.changed()
		}
		return nil, nil
	case damaged(err):
		w.end(group, w.broken(err))
		return nil, nil
	case s.trouble(err):
		if w.troubled.CompareAndSwap(false, true) {
			w.store.log.Error("the database refuses to write", slog.Any("error", err))
		}
		if w.store.disk != nil {
			w.store.disk.look() // it may be full: then that is what to say
		}
		kept, rest := takeResults(nil, group)
		if errors.Is(err, errInDoubt) {
			kept = append(kept, w.doubt(group)...)
		}
		w.refuse(rest, err)
		return kept, err
	case len(group) > 1:
		// In halves: a thousand good operations do not pay for a bad one with a
		// commit each.
		half := len(group) / 2
		kept, trouble = w.commit(s, group[:half])
		more, err := w.commit(s, group[half:])
		return append(kept, more...), errors.Join(trouble, err)
	default:
		group[0].done(asError(err))
		return nil, nil
	}
}

// doubt marks a group whose commit may have been made. A publication and a claim are
// refused, and if they were made all the same nobody works on what they leased:
// those leases are given back as soon as the database answers.
func (w *writer) doubt(group []*operation) (owed []*operation) {
	for _, op := range group {
		op.doubtful = true
		if c := op.claims; c != nil {
			owed = append(owed, &operation{owed: true, done: func(error) {}, run: func(tx transaction) error {
				return exec(tx, releaseToken, micros(w.store.now()), c.webhook, c.token)
			}})
		}
		if op.publication == nil {
			continue
		}
		leased := slices.DeleteFunc(slices.Clone(op.publication.in.Deliveries), func(d cybervault.NewDelivery) bool { return d.Lease.Token == 0 })
		if len(leased) == 0 {
			continue
		}
		owed = append(owed, &operation{owed: true, done: func(error) {}, run: func(tx transaction) error {
			now := micros(w.store.now())
			return tx.each(releaseLease, len(leased), func(i int, a []any) []any { return append(a, now, leased[i].ID.Key(), leased[i].Lease.Token) }, nil)
		}})
	}
	return owed
}

func (w *writer) refuse(ops []*operation, err error) {
	if errors.Is(err, errInDoubt) {
		w.end(ops, &cybervault.Error{
			Code: cybervault.CodeUnavailable, Err: err,
			Message: "the database's answer was lost, so this may have been kept or not; try again, a publication under the same idempotency key",
		})
		return
	}
	w.end(ops, unavailable("the database refuses to write", err))
}

// end answers operations that were not committed.
func (w *writer) end(ops []*operation, err error) {
	for _, op := range ops {
		if op.publication != nil {
			w.refused.Add(1)
			w.refusedAt.Store(time.Now().UnixNano())
		}
		op.done(err)
	}
}

func asError(err error) error {
	if _, ok := errors.AsType[*cybervault.Error](err); ok {
		return err
	}
	return &cybervault.Error{Code: cybervault.CodeInternal, Message: "the database refused the change", Err: err}
}
