package store_test

import (
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// Two scratch schemas of one database are two empty stores, and leave nothing.
func TestPostgresScratch(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	ids := cybervault.NewIDSource(1, 0, time.Now)
	var made []cybervault.WorkspaceID
	for range 2 {
		url, remove, err := store.Scratch(t.Context(), cfg.DatabaseURL)
		if err != nil {
			t.Fatal(err)
		}
		own := cfg
		own.DatabaseURL = url
		s, err := store.Open(t.Context(), own)
		if err != nil {
			t.Fatal(err)
		}
		id, err := s.Workspace(t.Context(), cybervault.NewID[cybervault.WorkspaceID](ids), "bench")
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, id)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		defer func() { //nolint:revive // both are removed at the end, so that both exist at once
			if err := remove(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := store.Open(t.Context(), own); err == nil {
				t.Error("the schema is still there")
			}
		}()
	}
	if made[0] == made[1] {
		t.Error("the second store has what the first one made")
	}
	if _, _, err := store.Scratch(t.Context(), "mysql://x"); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Error(err)
	}
}
