package app_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/app"
)

// Two restores within one second set two databases aside.
func TestRestoreTwiceWithinASecond(t *testing.T) {
	t.Parallel()
	cfg, archive := backedUp(t, true)
	now := time.Now()
	set := map[string]bool{}
	for range 3 {
		before := readFile(t, filepath.Join(cfg.DataDir, app.DatabaseFile))
		done, err := app.Restore(t.Context(), cfg, bytes.NewReader(archive), app.RestoreOptions{Now: now, Force: true})
		if err != nil {
			t.Fatal(err)
		}
		if set[done.Aside] {
			t.Errorf("%s was set aside twice", done.Aside)
		}
		set[done.Aside] = true
		if !bytes.Equal(readFile(t, done.Aside), before) {
			t.Error("what was there was not moved aside")
		}
	}
}

// A restore that was killed between moving the old database aside and putting the
// new one in its place.
func TestServeRefusesAHalfDoneRestore(t *testing.T) {
	t.Parallel()
	cfg, archive := backedUp(t, true)
	database := filepath.Join(cfg.DataDir, app.DatabaseFile)
	aside := database + ".replaced-20260102T030405Z"
	note := database + ".restoring"
	killed := func() {
		t.Helper()
		if err := errors.Join(os.WriteFile(note, []byte(filepath.Base(aside)+"\n"), 0o600), os.Rename(database, aside),
			os.WriteFile(database+"-wal", []byte("a log"), 0o600)); err != nil {
			t.Fatal(err)
		}
		err := startAndStop(t, cfg)
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), aside) {
			t.Fatalf("the server began with a half-done restore: %v", err)
		}
		if _, err := os.Stat(database); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("a database was made: %v", err)
		}
	}
	gone := func() {
		t.Helper()
		if _, err := os.Stat(note); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the note is left: %v", err)
		}
	}

	killed() // and the restore is made again
	done, err := restore(t, cfg, archive, false)
	if err != nil || done.Aside != aside || string(readFile(t, aside+"-wal")) != "a log" {
		t.Fatalf("restored %+v, %v: want the rest beside %s", done, err, aside)
	}
	gone()
	if err := startAndStop(t, cfg); err != nil {
		t.Fatal(err)
	}

	if err := errors.Join(os.Remove(aside), os.Remove(aside+"-wal")); err != nil {
		t.Fatal(err)
	}
	killed() // and what was there is brought back
	if err := errors.Join(os.Rename(aside, database), os.Remove(database+"-wal")); err != nil {
		t.Fatal(err)
	}
	if err := startAndStop(t, cfg); err != nil {
		t.Fatal(err)
	}
	gone()
}
