package api

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

// Backups makes copies of the embedded store.
type Backups interface {
	// Backup makes one as of now. CodeForbidden for a workspace that it is not
	// for; CodeConflict on PostgreSQL, or while another one is made.
	Backup(ctx context.Context, ws cybervault.WorkspaceID) (Backup, error)
}

// Backup is one that was made. Close removes what it stands on.
type Backup interface {
	CreatedAt() time.Time
	Write(ctx context.Context, w io.Writer) error
	Close() error
}

// backupPatience is how long a caller may take for a part of a backup.
const backupPatience = time.Minute

func (s *server) backup(c *call) error {
	h := c.w.Header()
	if c.r.Method == http.MethodHead { // nobody makes a backup to leave it out
		h.Set("Content-Type", "application/x-tar")
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	b, err := s.Backups.Backup(c.ctx(), c.workspace())
	if err != nil {
		return err
	}
	defer func() {
		if err := b.Close(); err != nil {
			s.Logger.WarnContext(c.ctx(), "a copy of the database could not be removed", "error", err)
		}
	}()
	h.Set("Content-Type", "application/x-tar")
	h.Set("Content-Disposition", `attachment; filename="cybervault-`+b.CreatedAt().UTC().Format("20060102T150405Z")+`.backup"`)
	c.w.WriteHeader(http.StatusOK)
	if err := b.Write(c.ctx(), &patient{c.w, http.NewResponseController(c.w)}); err != nil {
		s.Logger.WarnContext(c.ctx(), "a backup broke off", "error", err)
		panic(http.ErrAbortHandler) // so that it is not taken for a whole one
	}
	return nil
}

// patient writes to a caller that goes on taking.
type patient struct {
	w       io.Writer
	control *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(backupPatience)) // not every writer has one
	return p.w.Write(b)
}

func aboutBackup(rt *route) {
	rt.id, rt.tag, rt.summary = "backup", tagUpkeep, "Make a backup"
	rt.doc = "A consistent copy of the embedded store as of now, made while the server goes on with its work; `cybervault restore` puts it back. " +
		"It needs as much room beside the database as that has, for as long as it is read. The secrets in it are sealed, and the key is not in it: keep the key file as well. " +
		"One backup is made at a time. A backup that is whole has its end: check it with `cybervault backup verify`. " +
		"On PostgreSQL it is a conflict: back the database up with its own tools."
	rt.answers = []answer{{status: 200, doc: "A tar archive.", media: "application/x-tar", schema: schema{"type": "string", "format": "binary"}}}
	rt.errors = []int{409, 503}
}
