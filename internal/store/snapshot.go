package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cybervault/cybervault"
)

// A snapshot is a consistent copy of the embedded database, made while it is in
// use. The writer makes it, with its own connection, a few pages between two
// transactions: what it changes meanwhile in pages that were copied already,
// SQLite carries over to the copy. So nobody waits for more than a step, and no
// long read keeps the write-ahead log from beginning anew. See
// docs/decisions/0028.

const (
	// snapshotPages is how many pages a step copies: a quarter of a mebibyte.
	snapshotPages = 64
	// snapshotPause is between two steps while nothing is to be written.
	snapshotPause = time.Millisecond
)

// copier is a session that can copy its database.
type copier interface {
	beginCopy(path string) error
	// stepCopy copies some pages, and says whether that was all of them.
	stepCopy(pages int) (done bool, err error)
	// endCopy closes the copy, whole or not.
	endCopy() error
}

// copying is a snapshot under way. Only the writer's loop touches it.
type copying struct {
	ctx   context.Context //nolint:containedctx // of the one call that it stands for
	path  string
	begun bool
	done  chan error
}

// errPostgresBackup says who makes backups there.
var errPostgresBackup = cybervault.Errorf(cybervault.CodeConflict,
	"this server keeps its data in PostgreSQL, which makes its own backups: run pg_dump --format=custom --file=cybervault.dump \"$CYBERVAULT_DATABASE_URL\", "+
		"or keep a base backup (pg_basebackup) and the log after it, and save the key file (secret-key-file) beside it")

// Snapshot writes a consistent copy of the embedded database to a new file at
// path. CodeConflict on PostgreSQL, or while another snapshot is under way.
func (s *Store) Snapshot(ctx context.Context, path string) error {
	if err := s.CheckSnapshot(ctx); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the copy of the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("make the copy of the database: %w", err)
	}
	job := &copying{ctx: ctx, path: path, done: make(chan error, 1)}
	if !s.w.snapshot.CompareAndSwap(nil, job) {
		_ = os.Remove(path)
		return cybervault.Errorf(cybervault.CodeConflict, "another backup is under way: wait until it has ended")
	}
	// Wakes the writer. An error says that it has ended, or is in trouble.
	if err = s.w.do(ctx, func(transaction) error { return nil }); err != nil && s.w.snapshot.CompareAndSwap(job, nil) {
		_ = os.Remove(path)
		return err
	}
	if err = <-job.done; err != nil {
		_ = os.Remove(path)
		if _, ok := errors.AsType[*cybervault.Error](err); !ok {
			err = &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "the database could not be copied", Err: err}
		}
	}
	return err
}

// CheckSnapshot says whether a snapshot can be made: CodeConflict on PostgreSQL,
// CodeUnavailable where the disk's reserve would not be kept with a copy beside
// the database.
func (s *Store) CheckSnapshot(ctx context.Context) error {
	if s.disk == nil {
		return errPostgresBackup
	}
	// Not the file's size: what is in the write-ahead log goes into the copy too.
	var pages, size int64
	if err := s.db.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
		return readError(err)
	}
	if err := s.db.QueryRowContext(ctx, "PRAGMA page_size").Scan(&size); err != nil {
		return readError(err)
	}
	d := s.CheckDisk()
	if d.Free > 0 && d.Free-pages*size < d.Reserve {
		return cybervault.Errorf(cybervault.CodeUnavailable, "a backup needs %s beside the database for as long as it is made, and the disk has %s free, with a reserve of %s: free some space",
			mebibytes(pages*size), mebibytes(d.Free), mebibytes(d.Reserve))
	}
	return nil
}

// stepSnapshot goes on with the snapshot that is under way, if there is one.
func (w *writer) stepSnapshot(s session) (more bool) {
	job := w.snapshot.Load()
	c, ok := s.(copier)
	switch {
	case !ok:
		return false
	case job == nil:
		_ = c.endCopy() // of one that was given up before it was answered
		return false
	}
	err := job.ctx.Err()
	if err == nil && !job.begun {
		err = c.beginCopy(job.path)
		job.begun = true
	}
	done := false
	if err == nil {
		done, err = c.stepCopy(snapshotPages)
	}
	if err != nil || done {
		w.endSnapshot(s, err)
		return false
	}
	return true
}

// endSnapshot answers the snapshot that is under way, if there is one.
func (w *writer) endSnapshot(s session, err error) {
	job := w.snapshot.Swap(nil)
	if job == nil {
		return
	}
	if c, ok := s.(copier); ok && job.begun {
		if ended := c.endCopy(); err == nil {
			err = ended
		}
	}
	job.done <- err
}
