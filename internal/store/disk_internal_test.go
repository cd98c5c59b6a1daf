package store

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
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
