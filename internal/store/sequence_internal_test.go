package store

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// The numbers that were given out before there were marks are found as well:
// what the migration does to the rows it meets.
func TestSequencesOfAnOlderDatabase(t *testing.T) {
	t.Parallel()
	cfg := Config{Path: filepath.Join(t.TempDir(), "cybervault.db"), Key: make([]byte, KeySize)}
	open := func() *Store {
		t.Helper()
		s, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	ids := cybervault.NewIDSource(1, 0, time.Now)
	ws := cybervault.NewID[cybervault.WorkspaceID](ids)
	w := &cybervault.Webhook{ID: cybervault.NewID[cybervault.WebhookID](ids), Workspace: ws}
	if err := s.SaveWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	const n = 150
	run := ids.NextRun(1 + n)
	pub := &cybervault.Publication{
		Event:      &cybervault.Event{ID: cybervault.EventID{UUID: run[0]}, Workspace: ws, Type: cybervault.EventSystemAlert, Body: []byte("{}")},
		Deliveries: make([]cybervault.NewDelivery, n),
	}
	for i := range pub.Deliveries {
		pub.Deliveries[i] = cybervault.NewDelivery{ID: cybervault.DeliveryID{UUID: run[1+i]}, Webhook: w.ID, Status: cybervault.DeliveryPending}
	}
	if _, errs := s.Publish(t.Context(), []*cybervault.Publication{pub}); errs[0] != nil {
		t.Fatal(errs[0])
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	statements := []string{"UPDATE deliveries SET previous = 0", "UPDATE webhook_sequences SET last_delivery = 0", "DELETE FROM webhook_sequence_marks"}
	text, err := migrations.ReadFile("migrations/sqlite/00002_sequences.sql")
	if err != nil {
		t.Fatal(err)
	}
	for statement := range strings.SplitSeq(string(text), "\n\n") {
		if strings.HasPrefix(statement, "UPDATE") || strings.HasPrefix(statement, "INSERT") {
			statements = append(statements, statement)
		}
	}
	if len(statements) != 6 {
		t.Fatalf("%d statements", len(statements))
	}
	db, err := sql.Open("sqlite", "file:"+cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	s = open()
	t.Cleanup(func() { _ = s.Close() })
	page, err := s.Sequence(t.Context(), ws, w.ID, 3, 0)
	if err != nil || len(page.Rows) != n-2 || page.Rows[0].Sequence != 3 || page.Last != n {
		t.Fatalf("%d numbers of %d, %v", len(page.Rows), page.Last, err)
	}
}
