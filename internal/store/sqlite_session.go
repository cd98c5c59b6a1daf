package store

import (
	"errors"
	"fmt"
	"math"
	"unsafe" //nolint:depguard // SQLite's memory is not Go's: arguments are copied to it, and columns from it

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteSession is the writer's connection. It calls SQLite itself, as the
// driver does, but for one goroutine only and a few statements run over and
// over: without the locks of a connection that goroutines share, and with one
// buffer for the arguments of a statement instead of an allocation for each.
type sqliteSession struct {
	tls   *libc.TLS
	db    uintptr
	stmts map[string]uintptr
	args  []any
	list  changeList
	path  string
	bound int64       // of the write-ahead log: maxLogBytes
	copy  *sqliteCopy // under way, or nil

	buffer uintptr // what texts and blobs are copied to, for as long as a statement runs
	size   int
}

// sqliteError is what SQLite answers.
type sqliteError struct {
	code int32 // extended result code
	text string
}

func (e *sqliteError) Error() string { return e.text }

func openSQLiteSession(path string, pragmas []string) (session, error) {
	s := &sqliteSession{tls: libc.NewTLS(), stmts: map[string]uintptr{}, path: path, bound: maxLogBytes}
	err := s.open(path)
	for _, pragma := range pragmas {
		if err == nil {
			err = s.query("PRAGMA "+pragma, nil, func([]any) {})
		}
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return s, nil
}

func (s *sqliteSession) open(path string) error {
	name, err := libc.CString(path)
	if err != nil {
		return err
	}
	defer libc.Xfree(s.tls, name)
	out := s.tls.Alloc(int(unsafe.Sizeof(uintptr(0))))
	defer s.tls.Free(int(unsafe.Sizeof(uintptr(0))))
	code := sqlite3.Xsqlite3_open_v2(s.tls, name, out, sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_CREATE|sqlite3.SQLITE_OPEN_NOMUTEX, 0)
	s.db = *(*uintptr)(cPointer(out))
	if code != sqlite3.SQLITE_OK {
		return s.failure(code)
	}
	sqlite3.Xsqlite3_extended_result_codes(s.tls, s.db, 1)
	sqlite3.Xsqlite3_busy_timeout(s.tls, s.db, busyTimeout)
	return nil
}

func (s *sqliteSession) close() {
	_ = s.endCopy()
	for _, stmt := range s.stmts {
		sqlite3.Xsqlite3_finalize(s.tls, stmt)
	}
	if s.db != 0 {
		sqlite3.Xsqlite3_close_v2(s.tls, s.db)
	}
	libc.Xfree(s.tls, s.buffer)
	s.tls.Close()
}

func (s *sqliteSession) failure(code int32) error {
	text := libc.GoString(sqlite3.Xsqlite3_errstr(s.tls, code))
	if s.db != 0 {
		if more := libc.GoString(sqlite3.Xsqlite3_errmsg(s.tls, s.db)); more != text {
			text += ": " + more
		}
	}
	return &sqliteError{code: code, text: fmt.Sprintf("%s (%d)", text, code)}
}

func (s *sqliteSession) transact(fn func(transaction) error) error {
	if err := exec(s, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn(s)
	if err == nil {
		err = exec(s, "COMMIT")
	}
	if err != nil {
		// A full disk may have rolled back already; then this says so, and
		// the first error is the one that matters.
		_ = exec(s, "ROLLBACK")
	}
	return err
}

func (s *sqliteSession) noted() *changeList { return &s.list }

// stmt prepares a statement once.
func (s *sqliteSession) stmt(query string) (uintptr, error) {
	if stmt, ok := s.stmts[query]; ok {
		return stmt, nil
	}
	text, err := libc.CString(query)
	if err != nil {
		return 0, err
	}
	defer libc.Xfree(s.tls, text)
	out := s.tls.Alloc(int(unsafe.Sizeof(uintptr(0))))
	defer s.tls.Free(int(unsafe.Sizeof(uintptr(0))))
	if code := sqlite3.Xsqlite3_prepare_v3(s.tls, s.db, text, -1, sqlite3.SQLITE_PREPARE_PERSISTENT, out, 0); code != sqlite3.SQLITE_OK {
		return 0, fmt.Errorf("prepare %q: %w", query, s.failure(code))
	}
	stmt := *(*uintptr)(cPointer(out))
	s.stmts[query] = stmt
	return stmt, nil
}

// bind gives a statement its arguments. Texts and blobs are copied side by side
// into the buffer, which stays as it is until the statement has run.
func (s *sqliteSession) bind(stmt uintptr, args []any) error {
	need := 0
	for _, arg := range args {
		switch v := arg.(type) {
		case []byte:
			need += len(v)
		case string:
			need += len(v)
		}
	}
	if err := s.reserve(need); err != nil {
		return err
	}
	at := s.buffer
	for i, arg := range args {
		n := int32(i + 1)
		code := int32(sqlite3.SQLITE_MISUSE)
		switch v := arg.(type) {
		case int64:
			code = sqlite3.Xsqlite3_bind_int64(s.tls, stmt, n, v)
		case []byte:
			if v == nil {
				code = sqlite3.Xsqlite3_bind_null(s.tls, stmt, n)
				break
			}
			copy(cBytes(at, len(v)), v)
			code = sqlite3.Xsqlite3_bind_blob(s.tls, stmt, n, at, int32(len(v)), sqliteStatic)
			at += uintptr(len(v))
		case string:
			copy(cBytes(at, len(v)), v)
			code = sqlite3.Xsqlite3_bind_text(s.tls, stmt, n, at, int32(len(v)), sqliteStatic)
			at += uintptr(len(v))
		case nil:
			code = sqlite3.Xsqlite3_bind_null(s.tls, stmt, n)
		}
		if code != sqlite3.SQLITE_OK {
			return fmt.Errorf("argument %d, of type %T: %w", n, arg, s.failure(code))
		}
	}
	return nil
}

// sqliteStatic says that SQLite needs no copy of what it is given.
const sqliteStatic = 0

// reserve makes the buffer large enough, and never none at all: SQLite takes an
// empty blob at address 0 for NULL.
func (s *sqliteSession) reserve(need int) error {
	if need < s.size {
		return nil
	}
	if need > math.MaxInt32/2 {
		return &sqliteError{code: sqlite3.SQLITE_TOOBIG, text: "the arguments of a statement are too large"}
	}
	size := max(2*need, 64<<10)
	buffer := libc.Xmalloc(s.tls, libc.Tsize_t(size))
	if buffer == 0 {
		return &sqliteError{code: sqlite3.SQLITE_NOMEM, text: "out of memory"}
	}
	libc.Xfree(s.tls, s.buffer)
	s.buffer, s.size = buffer, size
	return nil
}

func (s *sqliteSession) each(query string, n int, bind func(int, []any) []any, affected func(int, int64)) error {
	return s.run(query, n, bind, nil, affected)
}

func (s *sqliteSession) query(query string, args []any, row func([]any)) error {
	return s.run(query, 1, func(_ int, a []any) []any { return append(a, args...) }, func(_ int, r []any) { row(r) }, nil)
}

func (s *sqliteSession) eachRow(query string, n int, bind func(int, []any) []any, row func(int, []any)) error {
	return s.run(query, n, bind, row, nil)
}

// run runs a statement n times.
func (s *sqliteSession) run(query string, n int, bind func(int, []any) []any, row func(int, []any), affected func(int, int64)) error {
	if n == 0 {
		return nil
	}
	stmt, err := s.stmt(query)
	if err != nil {
		return err
	}
	for i := range n {
		s.args = bind(i, s.args[:0])
		if err := s.once(stmt, i, row); err != nil {
			return fmt.Errorf("run %.60q: %w", query, err)
		}
		if affected != nil {
			affected(i, sqlite3.Xsqlite3_changes64(s.tls, s.db))
		}
	}
	return nil
}

func (s *sqliteSession) once(stmt uintptr, i int, row func(int, []any)) error {
	if err := s.bind(stmt, s.args); err != nil {
		return err
	}
	var code int32
	var columns []any
	for {
		if code = sqlite3.Xsqlite3_step(s.tls, stmt); code != sqlite3.SQLITE_ROW {
			break
		}
		if row != nil {
			columns = s.columns(stmt, columns[:0])
			row(i, columns)
		}
	}
	var err error
	if code != sqlite3.SQLITE_DONE {
		err = s.failure(code)
	}
	sqlite3.Xsqlite3_reset(s.tls, stmt) // says again what step has said
	return err
}

// columns reads a row. Texts and blobs are copies.
func (s *sqliteSession) columns(stmt uintptr, row []any) []any {
	for i := range sqlite3.Xsqlite3_column_count(s.tls, stmt) {
		switch sqlite3.Xsqlite3_column_type(s.tls, stmt, i) {
		case sqlite3.SQLITE_INTEGER:
			row = append(row, sqlite3.Xsqlite3_column_int64(s.tls, stmt, i))
		case sqlite3.SQLITE_TEXT:
			text := sqlite3.Xsqlite3_column_text(s.tls, stmt, i)
			row = append(row, string(cBytes(text, int(sqlite3.Xsqlite3_column_bytes(s.tls, stmt, i)))))
		case sqlite3.SQLITE_BLOB:
			blob := sqlite3.Xsqlite3_column_blob(s.tls, stmt, i)
			row = append(row, append([]byte{}, cBytes(blob, int(sqlite3.Xsqlite3_column_bytes(s.tls, stmt, i)))...))
		case sqlite3.SQLITE_FLOAT:
			row = append(row, sqlite3.Xsqlite3_column_double(s.tls, stmt, i))
		default:
			row = append(row, nil)
		}
	}
	return row
}

// cBytes is n bytes of C memory, for as long as that stays as it is.
func cBytes(at uintptr, n int) []byte {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(cPointer(at)), n) //nolint:gosec // the caller knows n from SQLite, or has reserved it
}

// cPointer points to C memory. The collector does not know it, and never moves it.
func cPointer(at uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&at)) //nolint:gosec // an address that SQLite gave
}

// trouble covers what a later attempt may find mended: a full or read-only
// disk, a failing one, a lock held too long.
func (*sqliteSession) trouble(err error) bool {
	e, ok := errors.AsType[*sqliteError](err)
	if !ok {
		return false
	}
	switch e.code & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}
