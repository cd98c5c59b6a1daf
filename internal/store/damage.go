package store

import (
	"errors"
	"log/slog"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cybervault/cybervault"
)

// damaged reports whether an error says that the file of an embedded database is
// not what SQLite wrote: a page was overwritten, or the file is none of its own.
func damaged(err error) bool {
	code := int32(sqlite3.SQLITE_OK)
	if e, ok := errors.AsType[*sqliteError](err); ok {
		code = e.code
	} else if e, ok := errors.AsType[*sqlite.Error](err); ok {
		code = int32(e.Code())
	}
	switch code & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// damage is what a caller is told of a damaged file.
func damage(path string, err error) *cybervault.Error {
	name := "the database"
	if path != "" {
		name += " " + path
	}
	return &cybervault.Error{Code: cybervault.CodeUnavailable, Message: name + " is damaged: stop the server and restore the file from a backup; nothing was kept", Err: err}
}

// broken notes that the file is damaged. From then on nothing is written to it:
// that could make it worse, and would hide it. What was accepted before is sent
// again from the backup, or was delivered.
func (w *writer) broken(err error) *cybervault.Error {
	d := damage(w.store.path, err)
	if w.damage.CompareAndSwap(nil, d) {
		w.troubled.Store(true)
		w.store.log.Error("the database is damaged, and nothing is written to it any more: stop the server and restore the file from a backup",
			slog.String("file", w.store.path), slog.Any("error", err))
	}
	return w.damage.Load()
}
