package storetest

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

func auditCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"audit/what is logged, in order":          auditOrder,
		"audit/entries are those of the rows":     auditEntries,
		"audit/an entry once, whoever is quicker": auditRace,
		"audit/after a restart":                   auditRestart,
		"audit/remembered as the rows have it":    auditRemembered,
		"audit/tiles and lists are replaced":      auditTiles,
		"audit/found again":                       auditFind,
		"audit/the change log waits":              auditHoldsChanges,
		"audit/the retention waits":               auditHoldsEvents,
		"audit/what lies far apart":               auditFar,
		"audit/a row that is gone":                auditMissing,
	}
}

// audited is what a fake of the audit log has appended: leaves, not a tree.
type audited struct{ leaves []cybervault.AuditLeaf }

// audit appends what has been committed, as internal/audit does but without
// hashes, until nothing is left. PostgreSQL shows nothing while an older
// transaction is under way, be it another test's.
func (f *fixture) audit() *audited {
	f.Helper()
	log := &audited{}
	deadline := time.Now().Add(time.Minute)
	for {
		state, err := f.s.AuditState(f.Context())
		f.must(err)
		batch, err := f.s.AuditPending(f.Context(), state, 1000)
		f.must(err)
		if batch.Transaction != state.Transaction {
			f.must(f.s.AppendAudit(f.Context(), stepOf(state, batch)))
			log.leaves = append(log.leaves, batch.Leaves...)
			continue
		}
		behind, err := f.s.AuditBehind(f.Context())
		f.must(err)
		if behind == 0 {
			return log
		}
		if time.Now().After(deadline) {
			f.Fatalf("the audit log is %d transactions behind", behind)
		}
	}
}

// stepOf is the step that appends a batch.
func stepOf(from cybervault.AuditState, batch cybervault.AuditBatch) cybervault.AuditStep {
	to := from
	to.Transaction, to.Mark = batch.Transaction, batch.Mark
	to.Size += int64(len(batch.Leaves))
	to.Checkpoint = fmt.Sprintf("%d entries", to.Size)
	return cybervault.AuditStep{From: from, To: to}
}

func (l *audited) words(pubs ...*cybervault.Publication) string {
	var out []string
	for _, leaf := range l.leaves {
		word := fmt.Sprintf("%s of nothing", leaf.Ref.Kind)
		for i, p := range pubs {
			if !leaf.Ref.Delivery && leaf.Ref.Key == p.Event.ID.Key() {
				word = fmt.Sprintf("%s %d", leaf.Ref.Kind, i)
			}
			for k := range p.Deliveries {
				if leaf.Ref.Delivery && leaf.Ref.Key == p.Deliveries[k].ID.Key() {
					word = fmt.Sprintf("%s %d.%d", leaf.Ref.Kind, i, k)
				}
			}
		}
		out = append(out, word)
	}
	return strings.Join(out, ", ")
}

func (f *fixture) wantLogged(log *audited, want string, pubs ...*cybervault.Publication) {
	f.Helper()
	if diff := cmp.Diff(want, log.words(pubs...)); diff != "" {
		f.Errorf("entries (-want +got):\n%s", diff)
	}
}

func auditOrder(f *fixture) {
	f.audit()
	w := f.webhook()
	first := f.publication(event{}, f.leased(w), born(w, cybervault.DeliverySkipped, cybervault.ReasonFilter))
	f.publish(first)
	second := f.publication(event{}, f.leased(w), born(w, cybervault.DeliveryHeld, ""))
	f.publish(second)
	// A failed attempt ends nothing.
	f.must(f.record(f.result(&first.Deliveries[0], 1, cybervault.DeliveryPending)))
	f.must(f.record(f.result(&second.Deliveries[0], 1, cybervault.DeliveryDeadLetter)))
	f.must(f.s.CancelDelivery(f.Context(), f.ws, second.Deliveries[1].ID, "cancelled"))
	f.clock.Move(time.Hour)
	f.must(f.record(f.result(asBirth(f.claim(w, 1)[0]), 2, cybervault.DeliveryDelivered)))
	f.wantLogged(f.audit(), "event 0, outcome 0.1, event 1, outcome 1.0, outcome 1.1, outcome 0.0", first, second)
	f.wantLogged(f.audit(), "")
}

// The hash of a leaf is that of the bytes which the rows give, now and later.
func auditEntries(f *fixture) {
	f.audit()
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	f.must(f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	log := f.audit()
	e, d := pub.Event, f.delivery(pub.Deliveries[0].ID)
	for i, want := range []string{
		fmt.Sprintf(`{"v":1,"kind":"event","event_id":"%s","workspace_id":"%s","event":"%s","timestamp":"%s","body_sha256":"%x","test":false}`,
			e.ID, f.ws, e.Type, e.Timestamp.Format("2006-01-02T15:04:05.000000Z"), sha256.Sum256(e.Body)),
		fmt.Sprintf(`{"v":1,"kind":"outcome","delivery_id":"%s","event_id":"%s","workspace_id":"%s","webhook_id":"%s","sequence":%d,"status":"delivered","reason":"","attempts":1,"last_status":%d,"last_failure":"","finished_at":"%s","test":false}`,
			d.ID, e.ID, f.ws, w.ID, d.Sequence, d.LastStatus, d.FinishedAt.Format("2006-01-02T15:04:05.000000Z")),
	} {
		if log.leaves[i].Hash != cybervault.AuditLeafHash([]byte(want)) {
			f.Errorf("leaf %d is not the hash of %s", i, want)
		}
		parsed, err := cybervault.ParseAuditEntry([]byte(want))
		f.must(err)
		if got := string(parsed.Append(nil)); got != want || parsed.Ref != log.leaves[i].Ref {
			f.Errorf("read and written again: %s of %+v, want %+v", got, parsed.Ref, log.leaves[i].Ref)
		}
	}
}

// Deliveries that end together, with many between them that do not.
func auditFar(f *fixture) {
	f.audit()
	w := f.webhook()
	pubs := make([]*cybervault.Publication, 100)
	for i := range pubs {
		pubs[i] = f.publication(event{}, f.leased(w))
	}
	f.publish(pubs...)
	f.audit()
	first, last := pubs[0], pubs[len(pubs)-1]
	f.must(f.record(f.result(&last.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	f.must(f.record(f.result(&first.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	f.wantLogged(f.audit(), "outcome 1.0, outcome 0.0", first, last)
}

func auditRace(f *fixture) {
	f.audit()
	const events, writers = 40, 4
	for range events {
		f.publish(f.publication(event{}))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[int64]int{}
	deadline := time.Now().Add(time.Minute)
	for range writers {
		wg.Go(func() {
			for time.Now().Before(deadline) {
				state, err := f.s.AuditState(f.Context())
				if err != nil || state.Size >= events {
					break
				}
				batch, err := f.s.AuditPending(f.Context(), state, 3)
				if err != nil || len(batch.Leaves) == 0 {
					continue
				}
				switch err := f.s.AppendAudit(f.Context(), stepOf(state, batch)); cybervault.ErrorCode(err) {
				case "":
					mu.Lock()
					for _, leaf := range batch.Leaves {
						seen[leaf.Ref.Key]++
					}
					mu.Unlock()
				case cybervault.CodeConflict: // another was quicker
				default:
					f.Errorf("append: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for key, n := range seen {
		if n != 1 {
			f.Errorf("%d is logged %d times", key, n)
		}
	}
	state, err := f.s.AuditState(f.Context())
	f.must(err)
	if len(seen) != events || state.Size != events {
		f.Errorf("%d events of %d are logged, and the size is %d", len(seen), events, state.Size)
	}
}

// What was read and not appended, as before a crash, is read again.
func auditRestart(f *fixture) {
	f.audit()
	pubs := []*cybervault.Publication{f.publication(event{}), f.publication(event{})}
	f.publish(pubs[0])
	f.audit()
	f.publish(pubs[1])
	state, err := f.s.AuditState(f.Context())
	f.must(err)
	_, err = f.s.AuditPending(f.Context(), state, 10)
	f.must(err)
	f.must(f.s.Close())
	f.s = f.open()
	f.wantLogged(f.audit(), "event 1", pubs...)
	again, err := f.s.AuditState(f.Context())
	f.must(err)
	if again.Size != state.Size+1 || again.Checkpoint != fmt.Sprintf("%d entries", again.Size) {
		f.Errorf("the state is %+v", again)
	}
}

// What the store remembers of its commits gives the same entries as the rows do,
// which are all that it has after a restart.
func auditRemembered(f *fixture) {
	f.audit()
	w := f.webhook()
	var pubs []*cybervault.Publication
	for i, status := range []cybervault.DeliveryStatus{cybervault.DeliveryDelivered, cybervault.DeliveryDeadLetter, cybervault.DeliveryPending, cybervault.DeliveryDelivered} {
		pub := f.publication(event{}, f.leased(w), born(w, cybervault.DeliverySkipped, cybervault.ReasonFilter), born(w, cybervault.DeliveryHeld, ""))
		f.publish(pub)
		r := f.result(&pub.Deliveries[0], i+1, status)
		if status == cybervault.DeliveryDeadLetter {
			r.Attempt.Status, r.Attempt.Failure = 0, cybervault.FailureTimeout
		}
		f.must(f.record(r))
		pubs = append(pubs, pub)
	}
	f.must(f.s.CancelDelivery(f.Context(), f.ws, pubs[0].Deliveries[2].ID, "cancelled"))
	_, err := f.s.CancelDeliveries(f.Context(), w.ID, "gone")
	f.must(err)
	replay := f.leased(w)
	replay.ID, replay.ReplayOf = cybervault.NewID[cybervault.DeliveryID](f.ids), pubs[0].Deliveries[0].ID
	f.must(f.s.AddDelivery(f.Context(), pubs[0].Event, &replay))
	f.must(f.record(f.result(&replay, 1, cybervault.DeliveryDelivered)))
	read := func() cybervault.AuditBatch {
		state, err := f.s.AuditState(f.Context())
		f.must(err)
		var batch cybervault.AuditBatch
		for deadline := time.Now().Add(time.Minute); len(batch.Leaves) < 17; { // until all is settled
			batch, err = f.s.AuditPending(f.Context(), state, 1000)
			f.must(err)
			if time.Now().After(deadline) {
				f.Fatalf("%d entries of 17", len(batch.Leaves))
			}
		}
		return batch
	}
	remembered := read()
	f.must(f.s.Close())
	f.s = f.open()
	if diff := cmp.Diff(read(), remembered); diff != "" {
		f.Errorf("what is remembered is not what the rows say (-rows +remembered):\n%s", diff)
	}
}

func auditTiles(f *fixture) {
	f.audit()
	state, err := f.s.AuditState(f.Context())
	f.must(err)
	_, err = f.s.AuditTile(f.Context(), 0, 0)
	f.wantCode(err, cybervault.CodeNotFound)
	_, err = f.s.AuditRefs(f.Context(), 0)
	f.wantCode(err, cybervault.CodeNotFound)
	refs := []cybervault.AuditRef{
		{Kind: cybervault.AuditEvent, Key: 1 << 60}, {Kind: cybervault.AuditOutcome, Key: 5, Delivery: true},
		{Kind: cybervault.AuditMissing, Key: 1<<60 + 7}, {Kind: cybervault.AuditMissing, Key: 9, Delivery: true},
		{Kind: cybervault.AuditGap, Key: 3},
	}
	for n := 1; n <= len(refs); n++ {
		next := state
		next.Size++
		list := cybervault.AuditRefs{Index: 0, At: start.Add(time.Duration(n) * time.Second), Refs: refs[:n]}
		tiles := []cybervault.AuditTile{{Level: 0, Index: 0, Hashes: []byte(strings.Repeat("a", n))}, {Level: 1, Index: 3, Hashes: []byte("b")}}
		f.must(f.s.AppendAudit(f.Context(), cybervault.AuditStep{From: state, To: next, Tiles: tiles, Refs: []cybervault.AuditRefs{list}}))
		state = next
		got, err := f.s.AuditRefs(f.Context(), 0)
		f.must(err)
		if diff := cmp.Diff(list, got); diff != "" {
			f.Errorf("the list (-want +got):\n%s", diff)
		}
		for _, tile := range tiles {
			b, err := f.s.AuditTile(f.Context(), tile.Level, tile.Index)
			f.must(err)
			if string(b) != string(tile.Hashes) {
				f.Errorf("tile %d at %d is %q, want %q", tile.Index, tile.Level, b, tile.Hashes)
			}
		}
	}
	// A step that does not go on from where the log is changes nothing.
	stale := state
	stale.Size--
	err = f.s.AppendAudit(f.Context(), cybervault.AuditStep{From: stale, To: state, Tiles: []cybervault.AuditTile{{Level: 1, Index: 3, Hashes: []byte("c")}}})
	f.wantCode(err, cybervault.CodeConflict)
	b, err := f.s.AuditTile(f.Context(), 1, 3)
	f.must(err)
	if string(b) != "b" {
		f.Errorf("the tile is %q", b)
	}
}

func auditFind(f *fixture) {
	f.audit()
	state, err := f.s.AuditState(f.Context())
	f.must(err)
	step := cybervault.AuditStep{From: state, To: state}
	step.To.Size = 3 * cybervault.AuditTileSize
	// Row keys that lie between each other's, in tiles an hour apart.
	ref := func(tile, i int) cybervault.AuditRef {
		r := cybervault.AuditRef{Kind: cybervault.AuditEvent, Key: int64(1000 + 3*i + tile)}
		if i%2 == 1 {
			r.Kind, r.Delivery = cybervault.AuditOutcome, true
		}
		return r
	}
	at := func(tile int) time.Time { return start.Add(time.Duration(tile) * time.Hour) }
	for tile := range 3 {
		list := cybervault.AuditRefs{Index: int64(tile), At: at(tile)}
		for i := range cybervault.AuditTileSize {
			list.Refs = append(list.Refs, ref(tile, i))
		}
		step.Refs = append(step.Refs, list)
	}
	f.must(f.s.AppendAudit(f.Context(), step))
	for tile := range 3 {
		for _, i := range []int{0, 1, 100, 255} {
			want := int64(tile*cybervault.AuditTileSize + i)
			for _, about := range []time.Time{at(tile), at(0).Add(-day), at(2).Add(day)} { // clocks differ
				got, err := f.s.FindAudit(f.Context(), ref(tile, i), about)
				f.must(err)
				if got != want {
					f.Errorf("%+v is at %d, want %d", ref(tile, i), got, want)
				}
			}
		}
	}
	for _, nowhere := range []cybervault.AuditRef{{Kind: cybervault.AuditEvent, Key: 1003}, {Kind: cybervault.AuditOutcome, Key: 1000, Delivery: true}, {Kind: cybervault.AuditEvent, Key: 7}} {
		_, err := f.s.FindAudit(f.Context(), nowhere, start)
		f.wantCode(err, cybervault.CodeNotFound)
	}
}

// The change log is not cut before the audit log has read it.
func auditHoldsChanges(f *fixture) {
	f.audit()
	pubs := make([]*cybervault.Publication, 5)
	for i := range pubs {
		pubs[i] = f.publication(event{})
		f.publish(pubs[i])
	}
	f.lastChangeAfter(1)
	f.clock.Move(10 * day)
	f.publish(f.publication(event{}))
	f.pruneOnly(f.clock.Now())
	log := f.audit()
	if len(log.leaves) != len(pubs)+1 {
		f.Errorf("%d entries of %d are logged: %s", len(log.leaves), len(pubs)+1, log.words(pubs...))
	}
}

// An event is not removed before the audit log has read how it ended.
func auditHoldsEvents(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	f.audit()
	f.must(f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	f.clock.Move(40 * day)
	if swept, _ := f.sweepOnly(); swept.Events != 0 {
		f.Fatalf("%d events were removed that the audit log has not read", swept.Events)
	}
	f.wantLogged(f.audit(), "outcome 0.0", pub)
	if swept, _ := f.sweepOnly(); swept.Events != 1 {
		f.Errorf("%d events were removed, want 1", swept.Events)
	}
}

// A row that somebody removed by hand leaves an entry that says so.
func auditMissing(f *fixture) {
	f.audit()
	pub := f.publication(event{})
	f.publish(pub)
	gone := cybervault.AuditRef{Kind: cybervault.AuditMissing, Key: pub.Event.ID.Key()}
	f.without(f.s, pub)
	f.must(f.s.Close())
	f.s = f.open() // nothing remembers it now
	log := f.audit()
	if len(log.leaves) != 1 || log.leaves[0].Ref != gone {
		f.Fatalf("logged: %+v", log.leaves)
	}
	entry := fmt.Sprintf(`{"v":1,"kind":"missing","of":"event","row":%d}`, gone.Key)
	if log.leaves[0].Hash != cybervault.AuditLeafHash([]byte(entry)) {
		f.Errorf("the leaf is not the hash of %s", entry)
	}
}

// without removes an event past the audit log: its state is moved on, the event
// swept, and the state moved back.
func (f *fixture) without(s *store.Store, pub *cybervault.Publication) {
	f.Helper()
	before, err := s.AuditState(f.Context())
	f.must(err)
	last := f.lastChangeAfter(1)
	ahead := before
	ahead.Transaction, ahead.Mark = last.Transaction, last.Mark
	f.must(s.AppendAudit(f.Context(), cybervault.AuditStep{From: before, To: ahead}))
	f.clock.Move(40 * day)
	f.sweepOnly()
	if _, err := s.Event(f.Context(), f.ws, pub.Event.ID); cybervault.ErrorCode(err) != cybervault.CodeNotFound {
		f.Fatalf("the event is still there: %v", err)
	}
	f.must(s.AppendAudit(f.Context(), cybervault.AuditStep{From: ahead, To: before}))
}
