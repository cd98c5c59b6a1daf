package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

var errFull, errStatement = errors.New("full"), errors.New("statement")

// scriptedSession is a database that does what a test tells it to.
type scriptedSession struct {
	mu       sync.Mutex
	full     bool
	commits  int
	attempts int
	opened   int
	block    chan struct{} // a commit waits for it, if it is set
}

func (s *scriptedSession) transact(fn func(transaction) error) error {
	s.mu.Lock()
	s.attempts++
	full, block := s.full, s.block
	s.mu.Unlock()
	if block != nil {
		<-block
	}
	if full {
		return fmt.Errorf("commit: %w", errFull)
	}
	if err := fn(scriptedTransaction{}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits++
	return nil
}

func (s *scriptedSession) trouble(err error) bool { return errors.Is(err, errFull) }
func (s *scriptedSession) close()                 {}

func (s *scriptedSession) set(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

func (s *scriptedSession) counts() (commits, attempts, opened int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits, s.attempts, s.opened
}

// scriptedTransaction affects one row with everything.
type scriptedTransaction struct{}

func (scriptedTransaction) noted() *changeList { return new(changeList) }

func (scriptedTransaction) each(_ string, n int, bind func(int, []any) []any, affected func(int, int64)) error {
	for i := range n {
		bind(i, nil)
		if affected != nil {
			affected(i, 1)
		}
	}
	return nil
}
func (scriptedTransaction) query(string, []any, func([]any)) error { return nil }
func (scriptedTransaction) eachRow(string, int, func(int, []any) []any, func(int, []any)) error {
	return nil
}

func startScripted(t *testing.T) (*writer, *scriptedSession) {
	t.Helper()
	scripted := &scriptedSession{}
	s := &Store{now: time.Now, log: slog.New(slog.DiscardHandler)}
	w, err := startWriter(s, 1, func() (session, error) {
		scripted.mu.Lock()
		defer scripted.mu.Unlock()
		scripted.opened++
		return scripted, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.w = w
	t.Cleanup(w.close)
	return w, scripted
}

func nothing(transaction) error { return nil }

func aResult() *cybervault.Result {
	return &cybervault.Result{Status: cybervault.DeliveryDelivered, Lease: cybervault.Lease{Token: 1}, Attempt: &cybervault.Attempt{Number: 1}}
}

// Callers that come while a commit is under way share the next one.
func TestConcurrentCallersShareACommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers = 500
		w, session := startScripted(t)
		session.block = make(chan struct{})
		var wg sync.WaitGroup
		call := func() {
			wg.Go(func() {
				if err := w.do(t.Context(), nothing); err != nil {
					t.Error(err)
				}
			})
		}
		call()
		synctest.Wait() // the first one is being committed
		for range callers {
			call()
		}
		synctest.Wait()
		close(session.block)
		wg.Wait()
		if commits, _, _ := session.counts(); commits != 2 {
			t.Errorf("%d callers took %d commits, want 2", 1+callers, commits)
		}
		if got := w.operations.Load(); got != 1+callers {
			t.Errorf("operations = %d, want %d", got, 1+callers)
		}
	})
}

// A lone caller is not kept waiting for company, and a group for no longer than
// the time to gather one.
func TestGatheringIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, session := startScripted(t)
		began := time.Now()
		if err := w.do(t.Context(), nothing); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("a lone caller waited %v", waited)
		}
		session.mu.Lock()
		session.block = make(chan struct{})
		session.mu.Unlock()
		var wg sync.WaitGroup
		call := func() { wg.Go(func() { _ = w.do(t.Context(), nothing) }) }
		call()
		synctest.Wait()
		call()
		call()
		synctest.Wait()
		began = time.Now()
		close(session.block)
		wg.Wait()
		if waited := time.Since(began); waited > gatherTime {
			t.Errorf("a group gathered for %v, want %v at most", waited, gatherTime)
		}
	})
}

func TestOneBadOperationFailsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers, bad = 200, 137
		w, session := startScripted(t)
		var ops []*operation
		errs := make([]error, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Add(1)
			run := nothing
			if i == bad {
				run = func(transaction) error { return errStatement }
			}
			ops = append(ops, &operation{run: run, done: func(err error) { errs[i] = err; wg.Done() }})
		}
		if err := w.submit(t.Context(), ops...); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		for i, err := range errs {
			if (i == bad) != (err != nil) {
				t.Errorf("operation %d: %v", i, err)
			}
		}
		if !errors.Is(errs[bad], errStatement) || cybervault.ErrorCode(errs[bad]) != cybervault.CodeInternal {
			t.Errorf("the bad one: %v", errs[bad])
		}
		if commits, _, _ := session.counts(); commits > 10 {
			t.Errorf("the good ones took %d commits", commits)
		}
	})
}

// A refusal is an answer, not a failure: the rest of the group shares its commit.
func TestARefusalDoesNotTakeTheGroupApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, session := startScripted(t)
		var wg sync.WaitGroup
		wg.Add(2)
		var refused, done error
		err := w.submit(t.Context(),
			&operation{run: func(transaction) error { return cybervault.Errorf(cybervault.CodeConflict, "no") }, done: func(err error) { refused = err; wg.Done() }},
			&operation{run: nothing, done: func(err error) { done = err; wg.Done() }})
		if err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if cybervault.ErrorCode(refused) != cybervault.CodeConflict || done != nil {
			t.Errorf("answers: %v, %v", refused, done)
		}
		if commits, attempts, _ := session.counts(); commits != 1 || attempts != 1 {
			t.Errorf("%d commits in %d attempts, want 1", commits, attempts)
		}
	})
}

func TestTroubleKeepsResultsAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, session := startScripted(t)
		session.set(true)
		results := make(chan error, 100)
		record := func() {
			if err := w.store.Record(aResult(), func(err error) { results <- err }); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			record()
		}
		publish := func() error { return w.do(t.Context(), nothing) }
		for range 100 { // publishers hear of it at once, and the database is not hammered
			if code := cybervault.ErrorCode(publish()); code != cybervault.CodeUnavailable {
				t.Fatalf("code %q", code)
			}
			<-time.After(10 * time.Millisecond) // of the bubble's time
		}
		if _, attempts, opened := session.counts(); attempts > 8 || opened < 2 {
			t.Errorf("%d attempts and %d connections in a second, want 8 attempts at most, and a new connection", attempts, opened)
		}
		record()
		if len(results) != 0 {
			t.Fatal("a result was answered before it was committed")
		}
		session.set(false)
		for range 4 {
			if err := <-results; err != nil {
				t.Errorf("result: %v", err)
			}
		}
		if err := publish(); err != nil {
			t.Errorf("publish after the trouble: %v", err)
		}
		if w.troubled.Load() {
			t.Error("the writer still says that there is trouble")
		}
	})
}

func TestCloseInTroubleAnswersEverybody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, session := startScripted(t)
		session.set(true)
		answers := make(chan error, 2)
		for range 2 {
			if err := w.store.Record(aResult(), func(err error) { answers <- err }); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		w.close()
		for range 2 {
			if code := cybervault.ErrorCode(<-answers); code != cybervault.CodeUnavailable {
				t.Errorf("code %q", code)
			}
		}
		if err := w.do(t.Context(), nothing); !errors.Is(err, errClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}

// A full queue holds callers back for as long as they like to wait.
func TestAFullQueueHoldsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, session := startScripted(t)
		session.block = make(chan struct{})
		op := func() *operation { return &operation{run: nothing, done: func(error) {}} }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		taken := 0
		for ; taken < 3*queueLength; taken++ {
			if err := w.submit(ctx, op()); err != nil {
				if cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
					t.Errorf("error = %v", err)
				}
				break
			}
		}
		if taken < queueLength || taken > queueLength+maxGroup+1 {
			t.Errorf("%d operations were taken, want about %d", taken, queueLength)
		}
		close(session.block)
	})
}

func TestSQLiteQueriesUseTheirIndexes(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "cybervault.db"), Key: make([]byte, KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	queue := "deliveries_queue"
	for _, c := range []struct {
		query string
		args  int
		want  []string // indexes that must be used
	}{
		{selectDue, 4, []string{queue + " (webhook_id=? AND status=? AND severity=? AND due_at<?)"}},
		{sqliteDialect().heads, 5, []string{queue + " (webhook_id=? AND status=? AND severity=?)"}},
		{selectBacklogs, 0, []string{queue, queue + " (webhook_id>?)", queue + " (webhook_id=? AND status=? AND severity=?)"}},
		{"UPDATE deliveries SET status = 0 WHERE id IN (" + selectHeld + ")", 2, []string{queue + " (webhook_id=? AND status=?)"}},
		{"UPDATE deliveries SET status = 4 WHERE id IN (" + selectLiving + ")", 2, []string{queue + " (webhook_id=? AND status<?)"}},
		{selectInOrder, 2, []string{"deliveries_ordered (webhook_id=?)"}},
		{selectOrdered, 2, []string{"deliveries_ordered (webhook_id=?)"}},
		{selectUnmarked, 5, []string{queue + " (webhook_id=? AND status=? AND severity=? AND due_at>?)"}},
		{freeLeases, 1, []string{queue}},
		{selectByIdempotencyKey + sqliteDialect().byIdempotencyKey, 2, []string{"events_idempotency (workspace_id=? AND idempotency_key=?)"}},
		{"SELECT " + deliveryColumns + " FROM " + deliveryTables + "d.workspace_id = ? AND d.status > 2 AND d.status = ? ORDER BY d.id DESC LIMIT ?", 3, []string{"deliveries_exceptions (status=?"}},
		{"SELECT " + deliveryColumns + " FROM " + deliveryTables + nothingOfAWebhook(), 4, []string{"SEARCH d USING INTEGER PRIMARY KEY (rowid=?)", "deliveries_webhook_exceptions (webhook_id=? AND status=?"}},
		{"SELECT " + eventColumns + " FROM type_spans s CROSS JOIN events e WHERE s.type = ? AND e.id >= (s.span << 27) AND e.id < ((s.span + 1) << 27) ORDER BY s.span DESC, e.id DESC LIMIT ?", 2,
			[]string{"SEARCH s USING PRIMARY KEY (type=?)", "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"}},
		{selectDueIncidents + incidentsQuiet, 2, []string{"incidents_quiet (active_at<?)"}},
		{selectDueIncidents + incidentsBehind, 2, []string{"incidents_behind (behind_since>? AND behind_since<?)"}},
		{incidentsOld, 2, []string{"incidents_resolved (active_at<?)"}},
		{selectMembers + membersBySubject + "IN (?, ?) ORDER BY m.subject", 3, []string{"PRIMARY KEY (workspace_id=? AND subject=?)"}},
		{selectMembers + membersByIncident + "= ?", 2, []string{"incident_members_incident (incident_id=?)"}},
		{moveMembers, 3, []string{"incident_members_incident (incident_id=?)"}},
		{selectLinked + "IN (?, ?)", 3, []string{"PRIMARY KEY (workspace_id=? AND link=?)"}},
		{"SELECT i.doc FROM incidents i WHERE i.workspace_id = ? AND i.status IN (0, 1) AND i.status < 2 ORDER BY i.id DESC LIMIT ?", 2, []string{"incidents_live (workspace_id=?)"}},
	} {
		plan := queryPlan(t, s, c.query, c.args)
		if slices.ContainsFunc(plan, func(step string) bool { return strings.Contains(step, "TEMP B-TREE") }) {
			t.Errorf("%.60q sorts what an index could give in order:\n%q", c.query, plan)
		}
		for _, index := range c.want {
			if !slices.ContainsFunc(plan, func(step string) bool { return strings.Contains(step, index) }) {
				t.Errorf("%.60q does not use %s:\n%q", c.query, index, plan)
			}
		}
	}
}

// nothingOfAWebhook is the end of the query for a page of a webhook that has got
// nothing but what it skipped.
func nothingOfAWebhook() string {
	var c condition
	c.addIDs(nil, &cybervault.DeliveryQuery{Webhook: cybervault.WebhookID{UUID: cybervault.UUID{1}}}, true)
	return c.String() + " ORDER BY d.id DESC LIMIT ?"
}

func queryPlan(t *testing.T, s *Store, query string, args int) (plan []string) {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, slices.Repeat([]any{int64(7)}, args)...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

// Publications beyond the bytes that may wait are refused at once; what must be
// written is not, and there is room again once the queue is.
func TestTheQueueIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, session := startScripted(t)
		session.block = make(chan struct{})
		var wg sync.WaitGroup
		done := func(error) { wg.Done() }
		hand := func(ops ...*operation) error {
			wg.Add(len(ops))
			err := w.submit(t.Context(), ops...)
			if err != nil {
				wg.Add(-len(ops))
			}
			return err
		}
		published := func(bytes int) *operation {
			return &operation{publication: &publishing{in: &cybervault.Publication{Event: &cybervault.Event{}}}, bytes: bytes, done: done}
		}
		if err := hand(&operation{run: nothing, done: done}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the writer has it, and is held up
		taken := 0
		for hand(published(1<<20)) == nil {
			taken++
		}
		if taken != maxQueueBytes/(1<<20)-1 {
			t.Errorf("%d hand-ins of 1 MiB were taken", taken)
		}
		if s := w.store.Stats(); s.RefusedQueue != 1 || s.QueueBytes > maxQueueBytes || s.QueueBytes < maxQueueBytes*9/10 {
			t.Errorf("stats: %+v", s)
		}
		if err := hand(&operation{result: aResult(), bytes: 1 << 20, done: done}); err != nil {
			t.Errorf("a result is refused: %v", err)
		}
		close(session.block)
		wg.Wait()
		if waiting := w.store.Stats().QueueBytes; waiting != 0 {
			t.Errorf("%d bytes wait in an empty queue", waiting)
		}
		if err := hand(published(2 * maxQueueBytes)); err != nil {
			t.Errorf("one that is alone is refused for its size: %v", err)
		}
		wg.Wait()
	})
}

// Whoever asks for what it can do without waits no longer than it says, and what the
// database answers later is nobody's.
func TestPaceAndProbeWaitNoLongerThanTheirContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, session := startScripted(t)
		block := make(chan struct{})
		session.mu.Lock()
		session.block = block
		session.mu.Unlock()
		for name, call := range map[string]func(context.Context) error{
			"TakePace": func(ctx context.Context) error {
				_, err := w.store.TakePace(ctx, cybervault.WebhookID{}, time.Second, 1, 1)
				return err
			},
			"ClaimProbe": func(ctx context.Context) error {
				ours, err := w.store.ClaimProbe(ctx, &cybervault.WebhookHealth{}, time.Now(), time.Now())
				if ours {
					t.Error("the probe is ours, and nobody has said so")
				}
				return err
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			answered := make(chan error, 1)
			go func() { answered <- call(ctx) }()
			select {
			case err := <-answered:
				if code := cybervault.ErrorCode(err); code != cybervault.CodeUnavailable {
					t.Errorf("%s: %v", name, err)
				}
			case <-time.After(time.Minute):
				t.Errorf("%s waits on", name)
			}
			cancel()
		}
		close(block)
	})
}
