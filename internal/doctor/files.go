package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/cybervault/cybervault"
)

// Files is the configuration and what it names on this machine.
type Files struct {
	Warnings []string // settings that are allowed and dangerous, in words
	DataDir  string
	Database string // path of the embedded database; "" with PostgreSQL
	KeyFile  string
	ReadKey  func(path string) error // says why the key cannot be used
}

// Examine looks at them.
func (f *Files) Examine() []cybervault.Check {
	checks := []cybervault.Check{}
	for _, warning := range f.Warnings {
		checks = append(checks, warn("configuration", "", warning, "Change the setting, or accept what it says."))
	}
	checks = orOK(checks, "configuration", "no setting is dangerous")
	checks = append(checks, f.key())
	if f.Database != "" {
		checks = append(checks, f.directory())
	}
	return checks
}

func (f *Files) directory() cybervault.Check {
	const name = "data directory"
	info, err := os.Stat(f.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(name, f.DataDir, "does not exist", "Name the directory that holds the store with --data; 'cybervault serve' makes it.")
	case err != nil:
		return fail(name, f.DataDir, "cannot be looked at: "+reason(err), "Run this as the user that the server runs as.")
	case !info.IsDir():
		return fail(name, f.DataDir, "is no directory", "Name a directory with --data.")
	case info.Mode().Perm()&0o022 != 0:
		return fail(name, f.DataDir, "can be written to by others, mode "+mode(info), "Run chmod 700 on it: whoever may write there can replace the database and the key.")
	}
	file, err := os.Stat(f.Database)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return warn(name, f.DataDir, "holds no database yet", "'cybervault serve' makes it. If there was one, name its directory with --data.")
	case err != nil:
		return fail(name, f.Database, "cannot be looked at: "+reason(err), "Run this as the user that the server runs as.")
	case file.Mode().Perm()&0o077 != 0:
		return fail(name, f.Database, "can be read by others, mode "+mode(file), "Run chmod 600 on it: the events in it are nobody else's business.")
	case info.Mode().Perm()&0o055 != 0:
		return warn(name, f.DataDir, "can be entered by others, mode "+mode(info), "Run chmod 700 on it.")
	}
	return ok(name, f.DataDir, "is its owner's alone")
}

func (f *Files) key() cybervault.Check {
	const name = "key file"
	info, err := os.Stat(f.KeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(f.Database); f.Database != "" && err == nil {
			return fail(name, f.KeyFile, "does not exist, and the webhooks' secrets in the database are sealed with it",
				"Put it back from where you keep it beside your backups. Without it the secrets are lost.")
		}
		return warn(name, f.KeyFile, "does not exist yet", "'cybervault serve' makes it at its first start. With PostgreSQL every node needs the same one.")
	case err != nil:
		return fail(name, f.KeyFile, "cannot be looked at: "+reason(err), "Run this as the user that the server runs as.")
	case info.Mode().Perm()&0o077 != 0:
		return fail(name, f.KeyFile, "can be read by others, mode "+mode(info), "Run chmod 600 on it; whoever read it can open the secrets in a copy of the database.")
	}
	if err := f.ReadKey(f.KeyFile); err != nil {
		return fail(name, f.KeyFile, reason(err), "Put the file back that the secrets were sealed with.")
	}
	return ok(name, f.KeyFile, "is its owner's alone; keep a copy beside your backups")
}

func mode(info fs.FileInfo) string { return fmt.Sprintf("%04o", info.Mode().Perm()) }

// reason is an error without the path, which stands beside it.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return said(err)
}

// said is what an error may say to an operator.
func said(err error) string {
	if e, ok := errors.AsType[*cybervault.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

func mebibytes(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB" }

// Room says whether an embedded store has room, and for how long.
func Room(d Disk, database Database, retention, age, runway int64) cybervault.Check {
	const name = "disk"
	free := mebibytes(d.Free) + " free, with a reserve of " + mebibytes(d.Reserve)
	switch {
	case d.Low:
		return fail(name, "", d.Problem, "Nothing is published until there is room: free some, shorten --retention, or lower --disk-reserve.")
	case d.Free == 0:
		return warn(name, "", "the file system does not say how much room it has", "Watch the disk by other means.")
	case d.Free-d.Reserve < d.Reserve:
		return warn(name, "", free, "Soon nothing can be published: free some space, or shorten --retention.")
	}
	// It grows until the oldest events are as old as they are kept.
	if growing := retention == 0 || age < retention*9/10; growing && age > 0 && database.Bytes > 0 {
		if days := (d.Free + d.Reusable - d.Reserve) / max(database.Bytes/age, 1); days < runway {
			return warn(name, "", fmt.Sprintf("%s: at the rate at which the database has grown, room for %d days", free, days), "Free some space, or shorten --retention.")
		}
	}
	return ok(name, "", free)
}
