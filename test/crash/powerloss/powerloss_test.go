package powerloss

import (
	"bytes"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
	"github.com/cybervault/cybervault/test/testenv"
)

const (
	publishers = 4
	maxBody    = 12 << 10 // several pages of the database
)

// acknowledged is something that the store has called durable.
type acknowledged struct {
	at     int // how many operations had been done
	events []*cybervault.Publication
	result *cybervault.Result
}

// A life is what a store was told and has answered, with all that it did to its
// files meanwhile.
type life struct {
	dir  string
	rec  *recorder
	ids  *cybervault.IDSource
	ws   cybervault.WorkspaceID
	hook [2]*cybervault.Webhook

	mu    sync.Mutex
	acks  []acknowledged
	known map[cybervault.EventID]*cybervault.Publication // all that were handed in
}

// Whatever instant the power goes, the store starts again, holds all that it had
// acknowledged, holds each event whole, with its deliveries, or not at all, and
// has numbered the deliveries without a gap.
func TestPowerLoss(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("CYBERVAULT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CYBERVAULT_SEED is no number: %v", err)
		}
	}
	t.Logf("the seed is %d: CYBERVAULT_SEED has the same one used again", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	l := newLife(t)
	for range 3 {
		l.live(t, random.Uint64(), 12)
	}
	cuts := l.instants(60*testenv.Torture(), random)
	d, done, checked := newDisk(), 0, 0
	for _, cut := range cuts {
		for ; done < cut; done++ {
			d.do(l.rec.ops[done])
		}
		f := fates[random.IntN(len(fates))]
		dir := filepath.Join(l.dir+"-after", strconv.Itoa(checked))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		d.lay(t, dir, f, random)
		if err := l.check(t, dir, cut); err != nil {
			t.Fatalf("power lost after operation %d of %d, on the disk is %s: %v", cut, len(l.rec.ops), f.name, err)
		}
		checked++
		_ = os.RemoveAll(dir)
	}
	var syncs, written int
	for _, op := range l.rec.ops {
		if op.kind == sync_ {
			syncs++
		}
		written += len(op.data)
	}
	t.Logf("power lost at %d instants of %d operations (%d syncs, %d KiB written): %d acknowledgements, none lost", checked, len(l.rec.ops), syncs, written>>10, len(l.acks))
}

func newLife(t *testing.T) *life {
	t.Helper()
	l := &life{dir: filepath.Join(t.TempDir(), "data"), known: map[cybervault.EventID]*cybervault.Publication{}}
	l.ids = cybervault.NewIDSource(1, 0, time.Now)
	var err error
	if l.rec, err = watch(l.dir); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *life) open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(dir, "cybervault.db"), Key: make([]byte, store.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// live opens the store, publishes and records from several goroutines while the
// write-ahead log is carried over now and then, and closes it.
func (l *life) live(t *testing.T, seed uint64, batches int) {
	t.Helper()
	s := l.open(t, l.dir)
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	l.settle(t, s)
	var wg sync.WaitGroup
	checkpoints := make(chan struct{}, publishers*batches)
	for i := range publishers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for range batches {
				l.publish(t, s, random)
				if random.IntN(6) == 0 {
					checkpoints <- struct{}{}
				}
			}
		})
	}
	carried := make(chan struct{})
	go func() {
		defer close(carried)
		l.carry(t, seed, checkpoints)
	}()
	wg.Wait()
	close(checkpoints)
	<-carried
}

// settle makes the workspace and the webhooks, once.
func (l *life) settle(t *testing.T, s *store.Store) {
	t.Helper()
	if !l.ws.IsZero() {
		return
	}
	var err error
	if l.ws, err = s.Workspace(t.Context(), cybervault.NewID[cybervault.WorkspaceID](l.ids), "power"); err != nil {
		t.Fatal(err)
	}
	for i := range l.hook {
		l.hook[i] = &cybervault.Webhook{ID: cybervault.NewID[cybervault.WebhookID](l.ids), Workspace: l.ws, URL: "https://receiver.test/in"}
		if err := s.SaveWebhook(t.Context(), l.hook[i]); err != nil {
			t.Fatal(err)
		}
	}
}

// publish publishes a few events and records what became of some deliveries.
func (l *life) publish(t *testing.T, s *store.Store, random *rand.Rand) {
	pubs := make([]*cybervault.Publication, 1+random.IntN(6))
	lease := cybervault.Lease{Token: l.ids.Next().Key(), Until: time.Now().Add(time.Hour)}
	for i := range pubs {
		body := make([]byte, 200)
		if random.IntN(8) == 0 {
			body = make([]byte, maxBody)
		}
		for i := range body {
			body[i] = byte(random.Uint32())
		}
		run := l.ids.NextRun(3)
		pubs[i] = &cybervault.Publication{
			Event: &cybervault.Event{ID: cybervault.EventID{UUID: run[0]}, Workspace: l.ws, Type: "system.alert", Timestamp: time.Now(), Body: body},
			Deliveries: []cybervault.NewDelivery{
				{ID: cybervault.DeliveryID{UUID: run[1]}, Webhook: l.hook[0].ID, Status: cybervault.DeliveryPending, Lease: lease},
				{ID: cybervault.DeliveryID{UUID: run[2]}, Webhook: l.hook[1].ID, Status: cybervault.DeliveryPending, Lease: lease},
			},
		}
	}
	l.mu.Lock()
	for _, pub := range pubs {
		l.known[pub.Event.ID] = pub
	}
	l.mu.Unlock()
	_, errs := s.Publish(t.Context(), pubs)
	for _, err := range errs {
		if err != nil {
			t.Errorf("publish: %v", err)
			return
		}
	}
	l.acknowledge(acknowledged{events: pubs})
	for _, pub := range pubs {
		l.record(t, s, &pub.Deliveries[0])
	}
}

func (l *life) record(t *testing.T, s *store.Store, d *cybervault.NewDelivery) {
	r := &cybervault.Result{
		Webhook: d.Webhook, Lease: d.Lease, Status: cybervault.DeliveryDelivered,
		Attempt: &cybervault.Attempt{
			ID: cybervault.NewID[cybervault.AttemptID](l.ids), Delivery: d.ID, Number: 1, StartedAt: time.Now(),
			Exchange: cybervault.Exchange{URL: "https://receiver.test/in", Status: 200, Body: []byte("ok")},
		},
	}
	done := make(chan error, 1)
	err := s.Record(r, func(err error) {
		if err == nil {
			l.acknowledge(acknowledged{result: r})
		}
		done <- err
	})
	if err == nil {
		err = <-done
	}
	if err != nil {
		t.Errorf("record: %v", err)
	}
}

func (l *life) acknowledge(a acknowledged) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.at = l.rec.now()
	l.acks = append(l.acks, a)
}

// carry carries the write-ahead log over to the database in each of the ways
// there are, beside the store's own.
func (l *life) carry(t *testing.T, seed uint64, when <-chan struct{}) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(l.dir, "cybervault.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Error(err)
		return
	}
	defer db.Close()
	random := rand.New(rand.NewPCG(seed, 99))
	for range when {
		mode := []string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"}[random.IntN(4)]
		if _, err := db.ExecContext(t.Context(), "PRAGMA wal_checkpoint("+mode+")"); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// instants chooses when the power goes: anywhere, just after something was
// acknowledged, and around a sync.
func (l *life) instants(n int, random *rand.Rand) []int {
	var syncs []int
	for i, op := range l.rec.ops {
		if op.kind == sync_ || op.kind == syncDir {
			syncs = append(syncs, i)
		}
	}
	cuts := make([]int, 0, n)
	for len(cuts) < n {
		switch random.IntN(3) {
		case 0:
			cuts = append(cuts, random.IntN(len(l.rec.ops)+1))
		case 1:
			cuts = append(cuts, l.acks[random.IntN(len(l.acks))].at)
		default:
			cuts = append(cuts, syncs[random.IntN(len(syncs))]+random.IntN(2))
		}
	}
	slices.Sort(cuts)
	return cuts
}

// row is what is stored of a delivery.
type row struct{ event, webhook, sequence, status, attempts int64 }

// check opens what a power cut has left and looks for what was acknowledged
// before it.
func (l *life) check(t *testing.T, dir string, cut int) error {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(dir, "cybervault.db"), Key: make([]byte, store.KeySize)})
	if err != nil {
		return fmt.Errorf("the store does not start: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "cybervault.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	var word string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&word); err != nil || word != "ok" {
		return fmt.Errorf("integrity_check: %s (%w)", word, err)
	}
	events, deliveries, err := read(t, db)
	if err != nil {
		return err
	}
	if err := l.whole(events, deliveries); err != nil {
		return err
	}
	for _, a := range l.acks {
		if a.at > cut {
			continue
		}
		for _, pub := range a.events {
			if _, ok := events[pub.Event.ID.Key()]; !ok {
				return fmt.Errorf("%s is gone, acknowledged after operation %d", pub.Event.ID, a.at)
			}
		}
		if r := a.result; r != nil {
			if d := deliveries[r.Attempt.Delivery.Key()]; d.status != 2 || d.attempts != 1 {
				return fmt.Errorf("the result of %s is gone, acknowledged after operation %d: %+v", r.Attempt.Delivery, a.at, d)
			}
		}
	}
	return nil
}

func read(t *testing.T, db *sql.DB) (events map[int64][]byte, deliveries map[int64]row, err error) {
	t.Helper()
	events, deliveries = map[int64][]byte{}, map[int64]row{}
	rows, err := db.QueryContext(t.Context(), "SELECT id, body FROM events")
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var body []byte
		if err := rows.Scan(&id, &body); err != nil {
			return nil, nil, err
		}
		events[id] = body
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	list, err := db.QueryContext(t.Context(), `SELECT id, event_id, webhook_id, sequence, status, (SELECT COUNT(*) FROM attempts a WHERE a.delivery_id = d.id) FROM deliveries d`)
	if err != nil {
		return nil, nil, err
	}
	defer list.Close()
	for list.Next() {
		var id int64
		var d row
		if err := list.Scan(&id, &d.event, &d.webhook, &d.sequence, &d.status, &d.attempts); err != nil {
			return nil, nil, err
		}
		deliveries[id] = d
	}
	return events, deliveries, list.Err()
}

// whole checks that nothing is there in part: an event has its bytes and its
// deliveries, a delivery that has ended its attempt, and a webhook no gap.
func (l *life) whole(events map[int64][]byte, deliveries map[int64]row) error {
	sequences := map[int64][]int64{}
	for id, d := range deliveries {
		sequences[d.webhook] = append(sequences[d.webhook], d.sequence)
		if d.status == 2 != (d.attempts == 1) {
			return fmt.Errorf("delivery %d has the status %d and %d attempts", id, d.status, d.attempts)
		}
	}
	for webhook, numbers := range sequences {
		slices.Sort(numbers)
		for i, n := range numbers {
			if n != int64(i+1) {
				return fmt.Errorf("the deliveries of webhook %d are numbered %v", webhook, numbers)
			}
		}
	}
	found := 0
	for id, pub := range l.known {
		body, ok := events[id.Key()]
		if !ok {
			continue
		}
		found++
		if !bytes.Equal(body, pub.Event.Body) {
			return fmt.Errorf("%s has other bytes", id)
		}
		for i := range pub.Deliveries {
			if d, ok := deliveries[pub.Deliveries[i].ID.Key()]; !ok || d.event != id.Key() {
				return fmt.Errorf("%s lacks %s", id, pub.Deliveries[i].ID)
			}
		}
	}
	if found != len(events) || 2*found != len(deliveries) {
		return fmt.Errorf("there are %d events and %d deliveries, of which %d events were handed in", len(events), len(deliveries), found)
	}
	return nil
}
