package store

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// While a reader stays, the write-ahead log can only grow; once it has gone the
// next look cuts the log down, however many readers have come since.
func TestALongLogIsCutDown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log.db")
	opened, err := openSQLiteSession(path, []string{"journal_mode(wal)"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.close)
	s := opened.(*sqliteSession) //nolint:forcetypeassert // it is what openSQLiteSession makes
	s.bound = 100 << 10
	write := func() {
		t.Helper()
		if err := exec(s, "INSERT INTO t VALUES (zeroblob(200000))"); err != nil {
			t.Fatal(err)
		}
	}
	if err := exec(s, "CREATE TABLE t (b BLOB)"); err != nil {
		t.Fatal(err)
	}
	write()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	reader, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var rows int
	if err := reader.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM t").Scan(&rows); err != nil || rows != 1 {
		t.Fatal(rows, err)
	}
	write()
	if err := s.tend(false); !errors.Is(err, errLogBusy) || logSize(path) <= s.bound {
		t.Errorf("beside a reader: %v, the log has %d bytes", err, logSize(path))
	}
	_ = reader.Rollback()
	if err := s.tend(false); err != nil || logSize(path) != 0 {
		t.Errorf("without one: %v, the log has %d bytes", err, logSize(path))
	}
	if err := s.tend(true); err != nil {
		t.Errorf("an empty log: %v", err)
	}
	write()
	if err := s.tend(true); err != nil {
		t.Errorf("in passing: %v", err)
	}
}

// A search that takes too long ends, and says how to ask for less.
func TestASearchEndsInTime(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "cybervault.db"), Key: make([]byte, KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.patience = time.Nanosecond
	_, err = s.Deliveries(t.Context(), cybervault.DeliveryQuery{})
	if cybervault.ErrorCode(err) != cybervault.CodeUnavailable || !strings.Contains(err.Error(), "narrow it") {
		t.Errorf("it ends with %v", err)
	}
}

// What retention frees inside the file counts as room.
func TestFreedPagesAreRoom(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "cybervault.db"), Key: make([]byte, KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	write := func(query string) {
		t.Helper()
		if err := s.w.do(t.Context(), func(tx transaction) error { return exec(tx, query) }); err != nil {
			t.Fatal(err)
		}
	}
	before := s.CheckDisk().Reusable
	write("CREATE TABLE scratch (b BLOB)")
	write("INSERT INTO scratch VALUES (zeroblob(3000000))")
	write("DELETE FROM scratch")
	if freed := s.CheckDisk().Reusable - before; freed < 2_900_000 || freed > 3_200_000 {
		t.Errorf("%d bytes were freed by deleting 3,000,000", freed)
	}
}

func TestRoomThatHasNoEndIsCounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		count, size uint64
		atLeast     int64
	}{{10, 4096, 40960}, {1 << 60, 4096, 1 << 61}, {1 << 63, 1, 1 << 61}} {
		if got := clampProduct(c.count, c.size); got < c.atLeast || got*2 < got && got > 0 && c.count < 100 {
			t.Errorf("%d × %d is %d", c.count, c.size, got)
		}
	}
	if free, err := diskFree(t.TempDir()); err != nil || free <= 0 {
		t.Errorf("the disk of this test has %d bytes free: %v", free, err)
	}
}
