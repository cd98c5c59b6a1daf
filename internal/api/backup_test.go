package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
)

// backupFake is the backup of the tests.
type backupFake struct {
	broken bool
	closed *bool
}

func (backupFake) CreatedAt() time.Time { return epoch }

func (b backupFake) Write(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, "the backup")
	if b.broken {
		return errors.New("the disk fails")
	}
	return err
}

func (b backupFake) Close() error { *b.closed = true; return nil }

func (f *fakes) Backup(_ context.Context, w cybervault.WorkspaceID) (api.Backup, error) {
	f.backups++
	if err := f.check(w); err != nil {
		return nil, err
	}
	return backupFake{broken: f.broken, closed: &f.closed}, nil
}

func TestBackup(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	w := f.do(request{call: "GET /v1/backup"})
	if w.Code != http.StatusOK || w.Body.String() != "the backup" || w.Header().Get("Content-Type") != "application/x-tar" {
		t.Errorf("answered %d %s %q", w.Code, w.Header(), w.Body)
	}
	if got := w.Header().Get("Content-Disposition"); !strings.Contains(got, `filename="cybervault-20261101T120000Z.backup"`) {
		t.Errorf("Content-Disposition %q", got)
	}
	if !f.closed {
		t.Error("the copy was not removed")
	}
}

func TestNoBackupIsMadeForItsHeaders(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	if w := f.do(request{call: "HEAD /v1/backup"}); w.Code != http.StatusOK || f.backups != 0 {
		t.Errorf("answered %d, and %d backups were made", w.Code, f.backups)
	}
}

func TestBackupRefused(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.fail = cybervault.Errorf(cybervault.CodeConflict, "run pg_dump")
	if w := f.do(request{call: "GET /v1/backup"}); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "pg_dump") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

// A backup that breaks off breaks the connection: it is not taken for a whole one.
func TestBrokenBackupIsNoWholeOne(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.broken = true
	server := httptest.NewServer(f.handler)
	defer server.Close()
	req := newRequest(t, http.MethodGet, server.URL+"/v1/backup", "")
	req.RequestURI = ""
	req.Header.Set("Authorization", "Bearer "+adminKey)
	resp, err := server.Client().Do(req)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("the answer ends as a whole one does")
	}
	server.Close() // the handler has ended
	if !f.closed {
		t.Error("the copy was not removed")
	}
}

func (f *fakes) Examine(_ context.Context, w cybervault.WorkspaceID) ([]cybervault.Check, error) {
	return []cybervault.Check{
		{Name: "disk", Status: cybervault.CheckOK, Summary: "900 MiB free"},
		{Name: "destination", Status: cybervault.CheckWarn, Subject: webhook1.String(), Summary: "its certificate ends", Remedy: "renew it"},
	}, f.check(w)
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	w := setUp(t).do(request{call: "GET /v1/doctor"})
	want := `{"status":"warn","version":"1.2.3","checked_at":"2026-11-01T12:00:00Z","checks":[{"name":"disk","status":"ok","summary":"900 MiB free"},` +
		`{"name":"destination","status":"warn","subject":"` + webhook1.String() + `","summary":"its certificate ends","remedy":"renew it"}]}` + "\n"
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("answered %d %s want %s", w.Code, w.Body, want)
	}
}
