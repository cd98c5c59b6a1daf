package dashboardtest

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/store"
)

// What the people of a test log in with.
const (
	OwnersEmail    = "ann@example.com"
	OwnersPassword = "correct horse battery"
)

// NewAccess lets people into the workspace of f, as the server does: people have a
// real store, for there is no half of it that would be worth a fake. Token logs in
// whoever sets the installation up.
func NewAccess(t testing.TB, f *Fake) *access.Access {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "people.db"), Key: bytes.Repeat([]byte{7}, store.KeySize), Now: f.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ids := cybervault.NewIDSource(2, 0, f.now)
	if _, err := s.Workspace(t.Context(), f.Workspace, "default"); err != nil {
		t.Fatal(err)
	}
	a := access.New(s, s, f.Workspace, f.now, ids)
	a.SetDashboardToken(Token)
	return a
}
