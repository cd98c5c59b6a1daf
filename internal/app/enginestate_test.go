package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
)

func newEngine(t *testing.T) *detect.Engine {
	t.Helper()
	e, err := detect.New(detect.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEngineStateIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	engine := newEngine(t)
	s := keepEngineState(engine, dir, log)
	s.save()
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Fatalf("with nothing to keep: %v, %v", files, err)
	}
	b := engine.Begin(cybervault.WorkspaceID{})
	for range 20 {
		if err := b.Add(t.Context(), &cybervault.Record{Service: "sshd", SourceIP: "203.0.113.9",
			Fields: map[string]string{cybervault.FieldSourceIP: "203.0.113.9", cybervault.FieldUser: "root", cybervault.FieldOutcome: cybervault.OutcomeFailure}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.save()
	again := newEngine(t)
	keepEngineState(again, dir, log)
	if was, is := engine.Stats(), again.Stats(); was != is || is.OpenAttacks != 1 {
		t.Errorf("%+v became %+v", was, is)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 1 {
		t.Errorf("left %v, %v", files, err)
	}
	if said.Len() > 0 {
		t.Errorf("logged %s", said.String())
	}

	if err := os.Truncate(s.file, 100); err != nil {
		t.Fatal(err)
	}
	empty := newEngine(t)
	keepEngineState(empty, dir, log)
	if empty.Stats().OpenAttacks != 0 || !strings.Contains(said.String(), "begins with empty windows") {
		t.Errorf("a damaged file: %+v, logged %s", empty.Stats(), said.String())
	}
	s.file = filepath.Join(dir, "gone", engineStateFile)
	s.saved = 0
	s.save()
	if !strings.Contains(said.String(), "could not be written down") {
		t.Errorf("logged %s", said.String())
	}
}
