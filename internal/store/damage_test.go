package store_test

import (
	"bytes"
	"database/sql"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

const pageBytes = 4096

// overwrite changes a page of a database's file behind SQLite's back; the first
// is page 1.
func overwrite(t *testing.T, path string, page int64, with []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(with, (page-1)*pageBytes); err != nil {
		t.Fatal(err)
	}
}

// rootOf is the page at which a table begins.
func rootOf(t *testing.T, path, table string) (page int64) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), "SELECT rootpage FROM sqlite_schema WHERE name = ?", table).Scan(&page); err != nil {
		t.Fatal(err)
	}
	return page
}

// A file that is not what SQLite wrote is named at the start, with what to do.
func TestADamagedFileIsNotOpened(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, path string){
		"another header": func(t *testing.T, path string) { t.Helper(); overwrite(t, path, 1, bytes.Repeat([]byte("x"), 100)) },
		"a first page of nothing": func(t *testing.T, path string) {
			t.Helper()
			overwrite(t, path, 1, append(make([]byte, 100), bytes.Repeat([]byte{0xff}, 100)...))
		},
		"cut off": func(t *testing.T, path string) {
			t.Helper()
			if err := os.Truncate(path, 2*pageBytes); err != nil {
				t.Fatal(err)
			}
		},
		"no versions": func(t *testing.T, path string) {
			t.Helper()
			overwrite(t, path, rootOf(t, path, "goose_db_version"), make([]byte, pageBytes))
		},
		"no deliveries": func(t *testing.T, path string) {
			t.Helper()
			overwrite(t, path, rootOf(t, path, "deliveries_queue"), make([]byte, pageBytes))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := sqliteConfig(t)
			s := open(t, cfg)
			newSource(t, s).mustPublish()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, cfg.Path)
			_, err := store.Open(t.Context(), cfg)
			wantCode(t, err, cybervault.CodeInvalid)
			if text := err.Error(); !strings.Contains(text, cfg.Path+" is damaged") || !strings.Contains(text, "restore it from a backup") {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// Once the file is found to be damaged nothing is written to it any more, nor
// tried again: whoever asks is told which file it is and what to do.
func TestNothingIsWrittenToADamagedFile(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	s := open(t, cfg)
	pub := newSource(t, s).mustPublish()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	page := rootOf(t, cfg.Path, "webhook_sequences")
	overwrite(t, cfg.Path, page, make([]byte, pageBytes))
	var log strings.Builder
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s = open(t, cfg)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatalf("before the page is needed: %v", err)
	}
	damaged := func(err error) {
		t.Helper()
		wantCode(t, err, cybervault.CodeUnavailable)
		if text := err.Error(); !strings.Contains(text, cfg.Path+" is damaged") || !strings.Contains(text, "restore the file from a backup") {
			t.Errorf("error = %v", err)
		}
	}
	x := newSource(t, s)
	publish := func() error {
		_, err := x.publish(200)
		return err
	}
	damaged(publish())
	// Were the page as it should be again, that would be no reason to go on.
	overwrite(t, cfg.Path, page, sound[(page-1)*pageBytes:page*pageBytes])
	damaged(publish())
	_, err = s.Claim(t.Context(), cybervault.Claim{Webhook: pub.Deliveries[0].Webhook, Limit: 1, Lease: cybervault.Lease{Token: 7, Until: time.Now().Add(time.Hour)}})
	damaged(err)
	damaged(s.Ping(t.Context()))
	if stats := s.Stats(); !stats.Refusing || stats.RefusedDatabase != 2 {
		t.Errorf("stats: %+v", stats)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "file="+cfg.Path) {
		t.Errorf("logged:\n%s", log.String())
	}
}
