package store

import (
	"errors"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cybervault/cybervault/internal/failpoint"
)

// The write-ahead log. Each commit that finds 8192 pages in it (32 MiB) carries
// them over to the database, and the next one begins the log anew, unless a
// reader still needs what is in it. A long one, or several in turn that never
// leave a gap, would so let it grow without an end.
const (
	// maxLogBytes is where the writer insists: it keeps new readers out of the
	// log until it can begin it anew, but holds up writers for logPatience at
	// most, and tries again later.
	maxLogBytes = 128 << 20
	logPatience = 200 // milliseconds
	// keptLogBytes is what is left of the file's length once it begins anew.
	keptLogBytes = 64 << 20
)

// tend keeps the write-ahead log short: by force where it has grown past its
// bound, and in passing while nothing is to be written, so that a start after
// a crash has little to recover.
func (s *sqliteSession) tend(idle bool) error {
	mode := "PASSIVE"
	switch size := logSize(s.path); {
	case size > s.bound, idle && size > keptLogBytes:
		mode = "TRUNCATE"
	case !idle || size == 0:
		return nil
	}
	// Not by PRAGMA busy_timeout: SQLite carries that out as it prepares it, and a
	// statement is prepared once.
	sqlite3.Xsqlite3_busy_timeout(s.tls, s.db, logPatience)
	defer sqlite3.Xsqlite3_busy_timeout(s.tls, s.db, busyTimeout)
	failpoint.Hit(failpoint.CheckpointBegin)
	var busy int64
	err := s.query("PRAGMA wal_checkpoint("+mode+")", nil, func(row []any) { busy = asInt(row[0]) })
	failpoint.Hit(failpoint.CheckpointEnd)
	if err == nil && busy != 0 && mode != "PASSIVE" {
		err = errLogBusy
	}
	return err
}

var errLogBusy = errors.New("a reader still needs the write-ahead log")
