package audit

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// ledger is a store with a log, and the way into its file that a dishonest
// operator has.
type ledger struct {
	*testing.T

	s      *store.Store
	log    *Log
	signer *Signer
	now    time.Time
	file   *sql.DB
	ids    *cybervault.IDSource
	ws     cybervault.WorkspaceID
	hook   cybervault.WebhookID
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	l := &ledger{T: t, signer: testSigner(t, 1), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	path := filepath.Join(t.TempDir(), "cybervault.db")
	var err error
	clock := func() time.Time { return l.now }
	if l.s, err = store.Open(t.Context(), store.Config{Path: path, Key: make([]byte, store.KeySize), Now: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.s.Close() })
	if l.file, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.file.Close() })
	l.ids = cybervault.NewIDSource(1, 0, clock)
	if l.ws, err = l.s.Workspace(t.Context(), cybervault.NewID[cybervault.WorkspaceID](l.ids), "first"); err != nil {
		t.Fatal(err)
	}
	hook := &cybervault.Webhook{ID: cybervault.NewID[cybervault.WebhookID](l.ids), Workspace: l.ws, URL: "https://receiver.test/in", Events: []string{"*"},
		Status: cybervault.WebhookEnabled, Accept: cybervault.AcceptDefault, Secrets: []cybervault.Secret{cybervault.NewSecret(l.now)}, CreatedAt: l.now, UpdatedAt: l.now}
	if err := l.s.SaveWebhook(t.Context(), hook); err != nil {
		t.Fatal(err)
	}
	l.hook = hook.ID
	l.restart()
	return l
}

// restart is a new process, which has seen nothing.
func (l *ledger) restart() {
	l.log = New(l.s, l.signer, func() time.Time { return l.now }, slog.New(slog.DiscardHandler))
}

func (l *ledger) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// deliver publishes an event and records that it was delivered.
func (l *ledger) deliver() cybervault.DeliveryID {
	l.Helper()
	run := l.ids.NextRun(2)
	d := cybervault.NewDelivery{ID: cybervault.DeliveryID{UUID: run[1]}, Webhook: l.hook, Status: cybervault.DeliveryPending,
		Lease: cybervault.Lease{Token: run[1].Key(), Until: l.now.Add(time.Hour)}}
	pub := &cybervault.Publication{Deliveries: []cybervault.NewDelivery{d}, Event: &cybervault.Event{
		ID: cybervault.EventID{UUID: run[0]}, Workspace: l.ws, Type: cybervault.EventThreatDetected, Timestamp: l.now, Body: fmt.Appendf(nil, `{"n":%d}`, run[0].Key()),
	}}
	_, errs := l.s.Publish(l.Context(), []*cybervault.Publication{pub})
	l.must(errs[0])
	done := make(chan error, 1)
	l.must(l.s.Record(&cybervault.Result{
		Webhook: l.hook, Lease: d.Lease, Status: cybervault.DeliveryDelivered,
		Attempt: &cybervault.Attempt{ID: cybervault.NewID[cybervault.AttemptID](l.ids), Delivery: d.ID, Number: 1, StartedAt: l.now, Exchange: cybervault.Exchange{Status: 200}},
	}, func(err error) { done <- err }))
	l.must(<-done)
	return d.ID
}

// grow lets the log read all, and returns its checkpoint.
func (l *ledger) grow() *Checkpoint {
	l.Helper()
	for more := true; more; {
		var err error
		more, err = l.log.Step(l.Context())
		l.must(err)
	}
	return l.kept()
}

func (l *ledger) kept() *Checkpoint {
	l.Helper()
	text, err := l.log.Checkpoint(l.Context())
	l.must(err)
	c, err := OpenCheckpoint(text, l.signer.PublicKey())
	l.must(err)
	return c
}

// Proofs of what was delivered, in a log that grew in pieces and over a restart,
// hold against every checkpoint that was given away.
func TestProofsOfALogThatGrows(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	var ids []cybervault.DeliveryID
	kept := []*Checkpoint{l.grow()}
	for _, n := range []int{1, 2, 5, 120, 1, 128, 40} {
		for range n {
			ids = append(ids, l.deliver())
		}
		if n == 120 {
			l.restart()
		}
		kept = append(kept, l.grow())
	}
	if newest := kept[len(kept)-1]; newest.Tree.N != int64(2*len(ids)) {
		t.Fatalf("the log has %d entries of %d deliveries", newest.Tree.N, len(ids))
	}
	for i, id := range ids {
		if i%7 > 0 && i < len(ids)-20 {
			continue // each takes as long as a tile's entries
		}
		older := kept[i%len(kept)]
		proof, err := l.log.Prove(t.Context(), l.ws, id, older.Tree.N)
		l.must(err)
		b, err := json.Marshal(proof)
		l.must(err)
		if proof, err = ParseProof(b); err != nil {
			t.Fatal(err)
		}
		v, err := Verify(proof, l.signer.PublicKey(), older)
		if err != nil {
			t.Fatalf("delivery %d against %d entries: %v", i, older.Tree.N, err)
		}
		if v.Outcome.Delivery != id || v.Event == nil || v.Event.Event != v.Outcome.Event || v.Outcome.Status != cybervault.DeliveryDelivered {
			t.Errorf("the proof of %s is of %+v and %+v", id, v.Outcome, v.Event)
		}
	}
	if more, err := l.log.Step(t.Context()); err != nil || more || l.kept().Note != kept[len(kept)-1].Note {
		t.Errorf("a step with nothing to do: %t, %v", more, err)
	}
}

func TestWhatCannotBeProven(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	id := l.deliver()
	_, err := l.log.Prove(t.Context(), l.ws, id, 0)
	wantError(t, "not logged yet", err, cybervault.CodeUnavailable, "not in the log yet")
	l.grow()
	_, err = l.log.Prove(t.Context(), l.ws, id, 3)
	wantError(t, "a larger log", err, cybervault.CodeConflict, "cut off or replaced")
	_, err = l.log.Prove(t.Context(), cybervault.NewID[cybervault.WorkspaceID](l.ids), id, 0)
	wantError(t, "another workspace's", err, cybervault.CodeNotFound, "there is no delivery")
	_, err = l.log.Prove(t.Context(), l.ws, cybervault.NewID[cybervault.DeliveryID](l.ids), 0)
	wantError(t, "an unknown one", err, cybervault.CodeNotFound, "there is no delivery")
	// Two nodes: who has seen less than the store has goes on from there.
	other := New(l.s, l.signer, func() time.Time { return l.now }, slog.New(slog.DiscardHandler))
	l.deliver()
	if _, err := other.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.deliver()
	if c := l.grow(); c.Tree.N != 6 {
		t.Errorf("the log has %d entries, want 6", c.Tree.N)
	}
}

func wantError(t *testing.T, what string, err error, code cybervault.Code, text string) {
	t.Helper()
	if err == nil || code != "" && cybervault.ErrorCode(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v; want one of code %q with %q", what, err, code, text)
	}
}

// What a dishonest operator does to the database is found and named: by a proof,
// by the next step, or by a checkpoint that somebody kept.
func TestTampering(t *testing.T) {
	t.Parallel()
	const swap = `UPDATE audit_tiles SET hashes = CAST(substr(hashes, 33, 32) || substr(hashes, 1, 32) || substr(hashes, 65) AS BLOB) WHERE id = 0`
	for name, c := range map[string]struct{ statement, prove, step string }{
		"the body":                  {`UPDATE events SET body = CAST('{"n":0}' AS BLOB)`, "is not what is said of the event wh_", ""},
		"the type":                  {`UPDATE events SET type = 'system.alert'`, "is not what is said of the event wh_", ""},
		"the answer":                {`UPDATE deliveries SET last_status = 201`, "is not what is said of the delivery dlv_", ""},
		"the end":                   {`UPDATE deliveries SET status = 3`, "is not what is said of the delivery dlv_", ""},
		"the moment":                {`UPDATE deliveries SET finished_at = finished_at + 1`, "is not what is said of the delivery dlv_", ""},
		"the attempts":              {`UPDATE deliveries SET attempts = 2`, "is not what is said of the delivery dlv_", ""},
		"the webhook":               {`UPDATE webhooks SET id_rest = id_rest + 1`, "is not what is said of the delivery dlv_", ""},
		"the delivery, removed":     {`DELETE FROM deliveries`, "its row or its event's is not in the store any more", ""},
		"the event, removed":        {`DELETE FROM events`, "its row or its event's is not in the store any more", ""},
		"an entry, removed":         {`UPDATE audit_tiles SET hashes = substr(hashes, 33) WHERE id = 0`, "have been removed", "have been removed"},
		"all hashes, removed":       {`DELETE FROM audit_tiles`, "have been removed", "have been removed"},
		"two entries, swapped":      {swap, "have been changed", "have been changed"},
		"which row it is, removed":  {`DELETE FROM audit_refs`, "does not know how", "no list of the entries"},
		"the list, cut off":         {`UPDATE audit_refs SET refs = substr(refs, 1, 1)`, "does not know how", "too short"},
		"the root":                  {`UPDATE audit_state SET root = CAST(zeroblob(32) AS BLOB)`, "it has been changed", "it has been changed"},
		"the size":                  {`UPDATE audit_state SET size = size - 1`, "it has been changed", "it has been changed"},
		"the checkpoint":            {`UPDATE audit_state SET checkpoint = replace(checkpoint, char(10) || '6' || char(10), char(10) || '5' || char(10))`, "forged, damaged", "forged, damaged"},
		"the checkpoint, removed":   {`UPDATE audit_state SET checkpoint = ''`, "no checkpoint", "no checkpoint"},
		"the change log, past it":   {`DELETE FROM changes WHERE id <= (SELECT transaction_id FROM audit_state)`, "", ""},
		"nothing, for a comparison": {`UPDATE deliveries SET due_at = 5, lease_token = 6`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			l.deliver()
			victim := l.deliver()
			l.deliver()
			kept := l.grow()
			l.now = l.now.Add(time.Hour)
			if _, err := l.file.ExecContext(t.Context(), c.statement); err != nil {
				t.Fatal(err)
			}
			l.restart()
			l.s = reopened(l)
			proof, err := l.log.Prove(t.Context(), l.ws, victim, kept.Tree.N/2)
			if c.prove != "" {
				wantError(t, "prove", err, "", c.prove)
			} else if err != nil {
				t.Errorf("prove: %v", err)
			} else if _, err := Verify(proof, l.signer.PublicKey(), nil); err != nil {
				t.Errorf("verify: %v", err)
			}
			l.deliver()
			_, err = l.log.Step(t.Context())
			if damage := l.log.Damage(); (c.step != "") != strings.Contains(damage, cmp.Or(c.step, "-")) {
				t.Errorf("the damage is %q", damage)
			}
			if c.step != "" {
				wantError(t, "the next step", err, "", c.step)
			} else if err != nil {
				t.Errorf("the next step: %v", err)
			}
		})
	}
}

// Where the change log was cut off before the log had read it, the log says so and
// goes on.
func TestAGapInTheChangeLog(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.deliver()
	kept := l.grow()
	id := l.deliver() // two transactions, and the first of them is lost
	l.exec(`DELETE FROM changes WHERE id <= 1 + (SELECT transaction_id FROM audit_state)`)
	l.grow()
	rows, err := l.s.AuditRows(t.Context(), 0)
	l.must(err)
	var kinds []cybervault.AuditKind
	for _, row := range rows {
		kinds = append(kinds, row.Ref.Kind)
	}
	if fmt.Sprint(kinds) != "[event outcome gap outcome]" {
		t.Fatalf("the entries are %v", kinds)
	}
	if parsed, err := cybervault.ParseAuditEntry(rows[2].Bytes); err != nil || parsed.Ref != rows[2].Ref {
		t.Errorf("%s is read as %+v: %v", rows[2].Bytes, parsed, err)
	}
	proof, err := l.log.Prove(t.Context(), l.ws, id, kept.Tree.N)
	l.must(err)
	v, err := Verify(proof, l.signer.PublicKey(), kept)
	if err != nil || v.Event != nil || !strings.Contains(v.Words(), "nothing is proven of its body") {
		t.Errorf("the event, whose entry is missing, is proven by %+v, %v", v, err)
	}
}

// reopened is the store with nothing remembered, as after a restart.
func reopened(l *ledger) *store.Store {
	l.Helper()
	l.must(l.s.Close())
	var path string
	l.must(l.file.QueryRowContext(l.Context(), "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path))
	s, err := store.Open(l.Context(), store.Config{Path: path, Key: make([]byte, store.KeySize), Now: func() time.Time { return l.now }})
	l.must(err)
	l.Cleanup(func() { _ = s.Close() })
	l.log = New(s, l.signer, func() time.Time { return l.now }, slog.New(slog.DiscardHandler))
	return s
}

// A log that is put back to an earlier state and grows otherwise is found by this
// process while it lives, and by whoever kept a checkpoint afterwards.
func TestALogThatIsPutBack(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.deliver()
	early := l.grow()
	before, err := l.s.AuditState(t.Context())
	l.must(err)
	l.deliver()
	kept := l.grow()
	l.exec(`UPDATE audit_state SET size = ?, root = ?, checkpoint = ?`, before.Size, before.Root[:], before.Checkpoint)
	l.deliver()
	_, err = l.log.Step(t.Context())
	wantError(t, "the process that signed more", err, "", "cut off or replaced")

	// The operator restarts, and the log grows past what was kept.
	l.s = reopened(l)
	id := l.deliver()
	if c := l.grow(); c.Tree.N <= kept.Tree.N {
		t.Fatalf("the log has %d entries, want more than %d", c.Tree.N, kept.Tree.N)
	}
	proof, err := l.log.Prove(t.Context(), l.ws, id, kept.Tree.N)
	l.must(err)
	_, err = Verify(proof, l.signer.PublicKey(), kept)
	wantError(t, "the checkpoint that was kept", err, cybervault.CodeConflict, "does not extend the older checkpoint of 4 entries")
	_, err = Verify(proof, l.signer.PublicKey(), early)
	wantError(t, "a checkpoint that the proof is not for", err, cybervault.CodeInvalid, "make it with")
	proof, err = l.log.Prove(t.Context(), l.ws, id, early.Tree.N)
	l.must(err)
	if _, err = Verify(proof, l.signer.PublicKey(), early); err != nil {
		t.Errorf("a checkpoint from before: %v", err)
	}
}

func (l *ledger) exec(statement string, args ...any) {
	l.Helper()
	if _, err := l.file.ExecContext(context.WithoutCancel(l.Context()), statement, args...); err != nil {
		l.Fatal(err)
	}
}

// Proofs that were changed after they were made.
func TestForgedProofs(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	first, second := l.deliver(), l.deliver()
	l.grow()
	proof := func(id cybervault.DeliveryID) *cybervault.AuditProof {
		p, err := l.log.Prove(t.Context(), l.ws, id, 0)
		l.must(err)
		return p
	}
	foreign, err := testSigner(t, 2).sign(l.kept().Tree)
	l.must(err)
	for name, c := range map[string]struct {
		forge func(*cybervault.AuditProof)
		want  string
	}{
		"another entry":          {func(p *cybervault.AuditProof) { p.Entries[0].Entry = proof(second).Entries[0].Entry }, "is not what is said of the delivery " + second.String()},
		"another place":          {func(p *cybervault.AuditProof) { p.Entries[0].Index++ }, "is not what is said of"},
		"no such place":          {func(p *cybervault.AuditProof) { p.Entries[0].Index = 4 }, "is not in a log of 4 entries"},
		"a place before all":     {func(p *cybervault.AuditProof) { p.Entries[0].Index = -1 }, "is not in a log"},
		"another event":          {func(p *cybervault.AuditProof) { p.Entries[1] = proof(second).Entries[1] }, "but of the contents of"},
		"two outcomes":           {func(p *cybervault.AuditProof) { p.Entries[1] = proof(second).Entries[0] }, "does not say how a delivery ended"},
		"an event alone":         {func(p *cybervault.AuditProof) { p.Entries = p.Entries[1:] }, "does not say how a delivery ended"},
		"nothing":                {func(p *cybervault.AuditProof) { p.Entries = nil }, "holds 0 entries"},
		"no path":                {func(p *cybervault.AuditProof) { p.Entries[0].Path = nil }, "is not what is said of"},
		"a path too long":        {func(p *cybervault.AuditProof) { p.Entries[0].Path = make([][]byte, maxHashes+1) }, "is not what is said of"},
		"half a hash":            {func(p *cybervault.AuditProof) { p.Entries[0].Path[0] = p.Entries[0].Path[0][:16] }, "is not what is said of"},
		"white space":            {func(p *cybervault.AuditProof) { p.Entries[0].Entry += " " }, "not in its canonical form"},
		"another's checkpoint":   {func(p *cybervault.AuditProof) { p.Checkpoint = foreign }, "not signed by"},
		"a key to match, inside": {func(p *cybervault.AuditProof) { p.Checkpoint, p.PublicKey = foreign, testSigner(t, 2).PublicKey() }, "not signed by"},
	} {
		p := proof(first)
		c.forge(p)
		_, err := Verify(p, l.signer.PublicKey(), nil)
		wantError(t, name, err, "", c.want)
	}
}

func FuzzProof(f *testing.F) {
	signer := testSigner(f, 1)
	f.Add([]byte(`{"format":"cybervault-audit-proof/1","public_key":"k","checkpoint":"c","entries":[{"index":1,"entry":"{}","path":["AAAA"]}]}`))
	f.Add([]byte(`{"format":"cybervault-audit-proof/1","consistency":{"from":-1,"path":[null]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil {
			return
		}
		if v, err := Verify(p, signer.PublicKey(), nil); err == nil {
			t.Errorf("%s was not signed, and proves %+v", b, v)
		}
	})
}
