package app

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/config"
	"github.com/cybervault/cybervault/internal/doctor"
	"github.com/cybervault/cybervault/internal/outbound"
	"github.com/cybervault/cybervault/internal/store"
)

// examiner is doctor as the API wants it. What it finds is about the whole
// server, so it is the first workspace's to ask for.
type examiner struct {
	*doctor.Server

	workspace cybervault.WorkspaceID
}

func (e examiner) Examine(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.Check, error) {
	if ws != e.workspace {
		return nil, cybervault.Errorf(cybervault.CodeForbidden, "this is about the server as a whole: ask with an admin key of the first workspace")
	}
	return e.Server.Examine(ctx), nil
}

func (a *App) doctor() examiner {
	s := &doctor.Server{
		Files: filesOf(a.cfg), Store: doctorStore{a.store}, Ready: a.Ready, Retention: max(a.cfg.Retention, 0),
		Webhooks: a.store.Webhooks, Health: a.dispatcher.Health, Probe: probe(a.outbound), OpenFiles: openFiles, Connections: MaxConnections, Now: time.Now,
	}
	if a.cfg.DatabaseURL == "" {
		s.Disk = func() doctor.Disk { return doctor.Disk(a.store.CheckDisk()) }
	}
	return examiner{s, a.workspace}
}

func filesOf(cfg config.Config) doctor.Files {
	f := doctor.Files{
		Warnings: cfg.Warnings(), DataDir: cfg.DataDir, KeyFile: cfg.KeyFile(),
		ReadKey: func(path string) error { _, err := readKey(path); return err },
	}
	if cfg.DatabaseURL == "" {
		f.Database = filepath.Join(cfg.DataDir, DatabaseFile)
	}
	return f
}

func probe(client *outbound.Client) func(context.Context, *cybervault.Webhook) (cybervault.Exchange, error) {
	return func(ctx context.Context, w *cybervault.Webhook) (cybervault.Exchange, error) {
		return client.Probe(ctx, outbound.Request{URL: w.URL, CACertificate: w.CACertificate, ClientCertificate: w.ClientCertificate, Proxy: w.Proxy})
	}
}

// doctorStore is store as doctor wants it.
type doctorStore struct{ *store.Store }

func (s doctorStore) Diagnose(ctx context.Context) (doctor.Database, error) {
	d, err := s.Store.Diagnose(ctx)
	return doctor.Database(d), err
}

func (s doctorStore) Overdue(ctx context.Context, before time.Time) ([]doctor.Overdue, error) {
	found, err := s.Store.Overdue(ctx, before)
	all := make([]doctor.Overdue, len(found))
	for i, o := range found {
		all[i] = doctor.Overdue(o)
	}
	return all, err
}

// ExamineLocal looks at what can be seen of a server that does not answer: its
// configuration, files and disk, and the database where no server has it open.
func ExamineLocal(ctx context.Context, cfg config.Config) []cybervault.Check {
	files := filesOf(cfg)
	checks := files.Examine()
	if files.Database != "" && store.InUse(files.Database) {
		return append(checks, cybervault.Check{Name: "database", Status: cybervault.CheckWarn, Summary: "a server has it open",
			Remedy: "Give its address with --server, and an admin key in CYBERVAULT_API_KEY, to have it looked at."})
	}
	found, err := store.DiagnoseClosed(ctx, store.Config{Path: files.Database, DatabaseURL: cfg.DatabaseURL})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checks // the check of the directory says so
	case err != nil:
		message := err.Error()
		if e, ok := errors.AsType[*cybervault.Error](err); ok {
			message = e.Message
		}
		return append(checks, cybervault.Check{Name: "database", Status: cybervault.CheckFail, Summary: "cannot be read: " + message,
			Remedy: "Look at its disk and rights; if it is damaged, restore the newest backup."})
	}
	database := doctor.Database(found)
	checks = append(checks, doctor.Schema(database))
	if database.Clock {
		checks = append(checks, doctor.Clock("the database", database.ClockSkew))
	}
	if files.Database == "" {
		return checks
	}
	disk := doctor.Disk{Reserve: cfg.DiskReserve}
	if disk.Free, err = store.FreeSpace(cfg.DataDir); err == nil && disk.Free < disk.Reserve {
		disk.Low, disk.Problem = true, "less is free than the reserve"
	}
	return append(checks, doctor.Room(disk, database, 0, 0, 0))
}
