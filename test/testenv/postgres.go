package testenv

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startTimeout bounds how long a cluster, or a server, may take to be ready.
// It is generous: only a machine that hangs reaches it.
const startTimeout = 2 * time.Minute

// Postgres returns the URL of a new, empty PostgreSQL database that the test
// has to itself; it is dropped when the test ends. The cluster behind it is
// private to the test binary, started by the first call (about two seconds),
// reached through a Unix socket, and does without fsync: it is gone, data and
// all, when the test binary ends, however that ends. Safe for concurrent use.
func Postgres(t testing.TB) string {
	t.Helper()
	c, err := cluster()
	if err != nil {
		t.Fatalf("testenv: PostgreSQL: %v", err)
	}
	name := "cv_" + strconv.FormatInt(databases.Add(1), 10)
	// template0 is never connected to, so that parallel tests cannot be in
	// each other's way.
	if err := c.admin("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() {
		if err := c.admin("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("testenv: %v", err)
		}
	})
	return c.url(name)
}

// One cluster serves the whole test binary: starting one for each test would
// cost seconds, and a test binary has no other place to keep what its tests share.
var (
	cluster   = sync.OnceValues(startCluster)
	databases atomic.Int64
)

// A postgresCluster is a running PostgreSQL with its socket in dir.
type postgresCluster struct{ dir string }

func (c *postgresCluster) url(database string) string {
	q := url.Values{"host": {c.dir}, "sslmode": {"disable"}}
	return (&url.URL{Scheme: "postgres", User: url.User(clusterUser), Host: "", Path: "/" + database, RawQuery: q.Encode()}).String()
}

func (c *postgresCluster) admin(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

const clusterUser = "cybervault"

// clusterScript makes and runs a cluster in $1 with the binaries in $2, until
// its standard input ends, which happens when the test binary does; then it
// removes all of it. A shell does this rather than the test binary, which may
// be killed before it can.
const clusterScript = `
dir=$1 bin=$2 user=$3
trap 'cd /; rm -rf "$dir"' EXIT
exec 3<&0
"$bin/initdb" -D "$dir/data" -U "$user" -A trust -E UTF8 --locale=C --no-sync --no-instructions </dev/null >/dev/null || exit 1
"$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c max_connections=300 -c shared_buffers=64MB \
	-c fsync=off -c synchronous_commit=off -c full_page_writes=off </dev/null 3<&- &
pid=$!
{ cat <&3; kill -QUIT $pid; } >/dev/null 2>&1 &
wait $pid
`

func startCluster() (*postgresCluster, error) {
	bin, err := postgresBinaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cvpg-")
	if err != nil {
		return nil, err
	}
	// A socket's path has room for about a hundred bytes.
	if len(dir) > 80 {
		_ = os.Remove(dir)
		if dir, err = os.MkdirTemp("/tmp", "cvpg-"); err != nil {
			return nil, err
		}
	}
	attr, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	log := new(tail)
	cmd := exec.Command("/bin/sh", "-c", clusterScript, "sh", dir, bin, clusterUser)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, log, log, attr
	// Held open for the life of this process, and by nothing else.
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()

	c := &postgresCluster{dir: dir}
	err = until(startTimeout, ended, func() error { return c.admin("SELECT 1") })
	if err != nil {
		return nil, fmt.Errorf("%w; it logged:\n%s", err, log)
	}
	return c, nil
}

// postgresBinaries finds the directory of initdb and postgres: on the PATH, or
// where the distributions put them.
func postgresBinaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if resolved, err := filepath.EvalSymlinks(path); err == nil && executable(filepath.Join(filepath.Dir(resolved), "postgres")) {
			return filepath.Dir(resolved), nil
		}
	}
	newest, version := "", 0.0
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                   // PostgreSQL's own packages for Red Hat
		"/opt/homebrew/opt/postgresql@*/bin", // macOS
		"/usr/local/opt/postgresql@*/bin",
	} {
		dirs, _ := filepath.Glob(pattern) // fails only for a malformed pattern
		for _, dir := range dirs {
			v := versionIn(filepath.Base(filepath.Dir(dir)))
			if v > version && executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres")) {
				newest, version = dir, v
			}
		}
	}
	if newest == "" {
		return "", errors.New("its server programs (initdb, postgres) are not installed: run `make deps`, or `apt-get install postgresql`")
	}
	return newest, nil
}

// versionIn reads the number at the end of "15", "pgsql-16" or "postgresql@17".
func versionIn(name string) float64 {
	for i := range name {
		if v, err := strconv.ParseFloat(name[i:], 64); err == nil && v > 0 {
			return v
		}
	}
	return 0
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// unprivileged returns how to start a process that works in dir and is not
// root, which PostgreSQL refuses to run as; dir is handed to its user. The
// process gets a group of its own, so that Ctrl-C does not end it before it
// has cleaned up.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return attr, nil
	}
	return nil, errors.New("it refuses to run as root, and there is neither a user postgres nor a user nobody: add one, or run the tests as another user")
}
