package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/internal/app"
	"github.com/cybervault/cybervault/internal/backup"
	"github.com/cybervault/cybervault/internal/config"
)

// backupSilence is how long a server may be silent before and within a backup:
// it copies its database before it says anything.
const backupSilence = 15 * time.Minute

// stdio stands for a stream in place of a file.
const stdio = "-"

// backupFlags are those of backup.
type backupFlags struct {
	client     *clientFlags
	settings   *config.Flags
	includeKey bool
	force      bool
}

func newBackup(env *Env) *cobra.Command {
	var f backupFlags
	cmd := &cobra.Command{
		Use: "backup FILE", GroupID: groupServer, Args: cobra.ExactArgs(1),
		Short: "Make a backup of the embedded store, of a running server or of a directory",
		Long: `Makes a consistent copy of the embedded store in one file, and checks it: every
byte, the database's structure, the number of rows. Without --data it asks a
running server, with an admin API key; with --data it reads the directory itself,
whether a server has it open or not. FILE - is stdout.

The secrets in a backup are sealed with the server's key. The key is not in it
unless --include-key asks for it, which --data allows: keep the key file apart
(secret.key in the data directory). See docs/operations.md.`,
		Example: `  cybervault backup /var/backups/cybervault.backup --force
  cybervault backup --data /var/lib/cybervault cybervault.backup
  cybervault backup - | age -r age1… > cybervault.backup.age`,
	}
	f.client = addClientFlags(cmd)
	f.settings = config.Bind(cmd.Flags(), "data", "secret-key-file")
	cmd.Flags().BoolVar(&f.includeKey, "include-key", false, "put the key that opens the secrets into the backup: keep that like a password (with --data only)")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace FILE if it exists")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := f.source(cmd, env)
		if err != nil {
			return err
		}
		return f.run(cmd.Context(), env, args[0], write)
	}
	cmd.AddCommand(backupVerify(env, f.client))
	return cmd
}

// source is what writes the backup: a server, or this program from a directory.
func (f *backupFlags) source(cmd *cobra.Command, env *Env) (func(ctx context.Context, temp string, w io.Writer) error, error) {
	if cmd.Flags().Changed("data") {
		cfg, err := f.settings.Load(env.LookupEnv)
		if err != nil {
			return nil, usagef("%s", err)
		}
		return func(ctx context.Context, temp string, w io.Writer) error {
			return app.BackupDirectory(ctx, cfg, version(env.Version), temp, f.includeKey, w)
		}, nil
	}
	if f.includeKey {
		return nil, usagef("--include-key needs --data: a server does not hand its key out, only who can read its directory has it")
	}
	c, err := f.client.connect(env)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ string, w io.Writer) error {
		return c.download(ctx, "the backup", "/v1/backup", w)
	}, nil
}

func (f *backupFlags) run(ctx context.Context, env *Env, file string, write func(context.Context, string, io.Writer) error) error {
	if file == stdio {
		return f.toStdout(ctx, env, write)
	}
	var m *backup.Manifest
	err := backup.WriteFile(file, f.force, func(w *os.File) error {
		temp := filepath.Dir(file)
		if err := write(ctx, temp, w); err != nil {
			return err
		}
		if _, err := w.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read the backup: %w", err)
		}
		var err error
		m, err = app.VerifyBackup(ctx, w, temp)
		return err
	})
	if err != nil {
		return err
	}
	size := int64(0)
	if info, err := os.Stat(file); err == nil {
		size = info.Size()
	}
	if f.client.json {
		return printManifest(env.Stdout, m)
	}
	fmt.Fprintf(env.Stderr, "Wrote and checked %s (%s): %s.\n", clean(file), bytesText(size), holds(m))
	fmt.Fprintln(env.Stderr, keyText(m))
	return nil
}

// toStdout checks every byte as it passes, but not the database's structure, for
// which all of it must be there.
func (f *backupFlags) toStdout(ctx context.Context, env *Env, write func(context.Context, string, io.Writer) error) error {
	var m *backup.Manifest
	passing, out := io.Pipe()
	read := beside(func() (err error) {
		m, _, err = backup.Read(ctx, passing, nil, io.Discard)
		_ = passing.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		return err
	})
	temp, err := os.MkdirTemp("", "cybervault-backup-*")
	if err != nil {
		return fmt.Errorf("make room for the copy of the database: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	err = write(ctx, temp, io.MultiWriter(env.Stdout, out))
	_ = out.CloseWithError(err) // nil: the end
	if checked := <-read; err == nil {
		err = checked
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "Wrote a backup: %s. Check it where it is kept with 'cybervault backup verify'.\n%s\n", holds(m), keyText(m))
	return nil
}

// beside runs a function beside the caller.
func beside(run func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- run() }()
	return done
}

func backupVerify(env *Env, client *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "verify FILE", Short: "Check every byte of a backup, the database in it and its rows", Args: cobra.ExactArgs(1),
		Example: "  cybervault backup verify /var/backups/cybervault.backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := openBackup(env, args[0])
			if err != nil {
				return err
			}
			defer r.Close()
			m, err := app.VerifyBackup(cmd.Context(), r, scratchFor(args[0]))
			if err != nil {
				return err
			}
			if client.json {
				return printManifest(env.Stdout, m)
			}
			fmt.Fprintf(env.Stderr, "%s is whole: %s.\n%s\n", clean(args[0]), holds(m), keyText(m))
			return nil
		},
	}
}

// openBackup opens a backup to read.
func openBackup(env *Env, file string) (io.ReadCloser, error) {
	if file == stdio {
		return io.NopCloser(env.Stdin), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open the backup: %w", err)
	}
	return f, nil
}

// scratchFor is where a backup is unpacked to be checked: beside it, where there
// is room for it, if that can be written to.
func scratchFor(file string) string {
	if file != stdio {
		probe, err := os.MkdirTemp(filepath.Dir(file), ".cybervault-probe-*")
		if err == nil {
			_ = os.Remove(probe)
			return filepath.Dir(file)
		}
	}
	return os.TempDir()
}

func printManifest(w io.Writer, m *backup.Manifest) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("show the manifest: %w", err)
	}
	return printLine(w, raw)
}

// holds says in words what a backup holds.
func holds(m *backup.Manifest) string {
	return fmt.Sprintf("%d events and %d deliveries (%d of them pending) of %s, schema %d",
		m.Counts.Events, m.Counts.Deliveries, m.Counts.Pending, moment(&m.CreatedAt), m.Schema)
}

func keyText(m *backup.Manifest) string {
	switch {
	case m.Key.Included:
		return "The key that opens its secrets is in it: keep it like a password."
	case m.Key.Fingerprint == "":
		return "Its key file could not be read: without the key that sealed them, its secrets are lost."
	}
	return "The key that opens its secrets is not in it: keep the key file with fingerprint " + clean(m.Key.Fingerprint) + " as well, apart from it."
}

func bytesText(n int64) string {
	if n < 10<<20 {
		return strconv.FormatInt((n+1023)>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n>>20, 10) + " MiB"
}

// download makes a call whose answer is as long as it is.
func (c *client) download(ctx context.Context, what, path string, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(backupSilence, func() { cancel(errors.New("the server was silent for " + backupSilence.String())) })
	defer silence.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(path).String(), http.NoBody)
	if err != nil {
		return err
	}
	c.identify(req)
	req.Header.Set("Accept", "application/x-tar, application/x-ndjson, application/problem+json")
	endless := *c.http
	endless.Timeout = 0
	resp, err := endless.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxItemBytes))
		if err != nil {
			return fmt.Errorf("the server's answer broke off: %w", err)
		}
		return c.problem(resp, answer)
	}
	if _, err := io.Copy(w, &resetting{resp.Body, silence}); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("%s broke off: %w", what, err)
	}
	return nil
}

// resetting sets a timer anew with each read.
type resetting struct {
	r     io.Reader
	timer *time.Timer
}

func (r *resetting) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.timer.Reset(backupSilence)
	return n, err
}
