package app

import (
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// What is about the whole server is for its first workspace alone.
func TestUpkeepIsTheFirstWorkspaces(t *testing.T) {
	t.Parallel()
	ids := cybervault.NewIDSource(0, 0, time.Now)
	first, other := cybervault.NewID[cybervault.WorkspaceID](ids), cybervault.NewID[cybervault.WorkspaceID](ids)
	b := &backups{workspace: first, dir: t.TempDir(), now: time.Now}
	if _, err := b.Backup(t.Context(), other); cybervault.ErrorCode(err) != cybervault.CodeForbidden {
		t.Errorf("a backup for another workspace: %v", err)
	}
	if _, err := (examiner{workspace: first}).Examine(t.Context(), other); cybervault.ErrorCode(err) != cybervault.CodeForbidden {
		t.Errorf("a look at the server for another workspace: %v", err)
	}
}
