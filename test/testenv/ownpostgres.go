package testenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A PostgresServer is a whole PostgreSQL that a test has to itself, to stop, to
// kill and to fill. It is durable as far as its processes go: it does without
// fsync, which only the end of the machine would show. It listens on a Unix
// socket, with or without a Proxy before it. Its methods are for one goroutine.
type PostgresServer struct {
	t    testing.TB
	bin  string
	dir  string // of the socket; the data are in "data" below it
	args []string
	// small are the bytes of a file system of its own for the database's tables; 0: none.
	small int

	process *process // nil while it does not run
	log     *tail
}

// PostgresOptions say how a PostgresServer is made.
type PostgresOptions struct {
	// Settings are parameters of postgresql.conf, "name=value".
	Settings []string
	// SmallDisk puts the tables of the database on a file system of so many bytes,
	// and leaves the log of the server elsewhere: what a full disk does to the
	// tables is an error, what it does to the log ends the server. 0: no.
	SmallDisk int
}

// ownDatabase is the database that a PostgresServer has.
const ownDatabase = "cybervault"

// NewPostgres makes and starts a PostgreSQL with one empty database. It ends,
// and its files are removed, with the test.
func NewPostgres(t testing.TB, options PostgresOptions) *PostgresServer {
	t.Helper()
	s := emptyPostgres(t)
	s.small = options.SmallDisk
	for _, setting := range options.Settings {
		s.args = append(s.args, "-c", setting)
	}
	s.run("initdb", "-D", s.data(), "-U", clusterUser, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	s.Start()
	create := "CREATE DATABASE " + ownDatabase
	if s.small > 0 {
		s.adminExec("CREATE TABLESPACE small LOCATION '" + s.disk() + "'")
		create += " TABLESPACE small"
	}
	s.adminExec(create)
	return s
}

func emptyPostgres(t testing.TB) *PostgresServer {
	t.Helper()
	bin, err := postgresBinaries()
	if err != nil {
		t.Fatalf("testenv: PostgreSQL: %v", err)
	}
	dir, err := os.MkdirTemp("/tmp", "cvpg-") //nolint:usetesting // a socket's path has room for about a hundred bytes
	if err != nil {
		t.Fatalf("testenv: PostgreSQL: %v", err)
	}
	s := &PostgresServer{t: t, bin: bin, dir: dir, log: new(tail)}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("PostgreSQL logged:\n%s", s.log)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("testenv: %v", err)
		}
	})
	return s
}

func (s *PostgresServer) data() string { return filepath.Join(s.dir, "data") }
func (s *PostgresServer) disk() string { return filepath.Join(s.dir, "disk") }

// Socket is the path of the socket it listens on, for a Proxy.
func (s *PostgresServer) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// URL is the address of its database, through the socket.
func (s *PostgresServer) URL() string { return (&postgresCluster{s.dir}).url(ownDatabase) }

// Proxy starts a proxy before it.
func (s *PostgresServer) Proxy() *Proxy {
	s.t.Helper()
	return NewProxy(s.t, "unix", s.Socket())
}

// PostgresURL is the address of a PostgresServer's database through proxies, of
// which more than one are hosts of one cluster. The query is added to the URL.
func PostgresURL(query url.Values, proxies ...*Proxy) string {
	hosts := make([]string, len(proxies))
	for i, p := range proxies {
		hosts[i] = p.Address
	}
	q := url.Values{"sslmode": {"disable"}}
	maps.Copy(q, query)
	return "postgres://" + clusterUser + "@" + strings.Join(hosts, ",") + "/" + ownDatabase + "?" + q.Encode()
}

// Start starts it and waits until it answers. One that was killed recovers first.
func (s *PostgresServer) Start() {
	s.t.Helper()
	// The processes of one that was killed take a moment to end, and until they
	// have the next one refuses to start.
	err := until(startTimeout, nil, func() error {
		if s.process == nil {
			s.begin()
		}
		select {
		case <-s.process.ended:
			s.process = nil
			return errors.New("it ended at once")
		default:
			return (&postgresCluster{s.dir}).admin("SELECT 1")
		}
	})
	if err != nil {
		s.t.Fatalf("start PostgreSQL: %v; it logged:\n%s", err, s.log)
	}
}

func (s *PostgresServer) begin() {
	s.t.Helper()
	args := append([]string{filepath.Join(s.bin, "postgres"), "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "shared_buffers=32MB",
		"-c", "fsync=off", "-c", "wal_keep_size=256MB", "-c", "max_wal_senders=4"}, s.args...)
	cmd := s.command(args[0], args[1:]...)
	if s.small > 0 {
		cmd = s.onSmallDisk(args)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start PostgreSQL: %v", err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() { p.err = cmd.Wait(); close(p.ended) }()
	s.process = p
}

// onSmallDisk runs PostgreSQL in a mount namespace of its own, which the file
// system ends with: nothing of it is seen outside, or left behind. A user other
// than root needs one of users besides.
func (s *PostgresServer) onSmallDisk(args []string) *exec.Cmd {
	s.t.Helper()
	attr, err := unprivileged(s.dir)
	if err != nil {
		s.t.Fatalf("testenv: PostgreSQL: %v", err)
	}
	const mount = `mkdir -p %[1]s && mount -t tmpfs -o size=%[2]d,mode=0700,uid=%[3]d,gid=%[4]d tmpfs %[1]s && exec `
	apart, user, as := []string{"--mount"}, attr.Credential, `setpriv --reuid=%[3]d --regid=%[4]d --clear-groups "$@"`
	if user == nil {
		apart, user, as = []string{"--user", "--map-root-user", "--mount"}, &syscall.Credential{}, fmt.Sprintf(`unshare --user --map-user=%d "$@"`, os.Getuid())
	}
	script := fmt.Sprintf(mount+as, s.disk(), s.small, user.Uid, user.Gid)
	cmd := exec.Command("unshare", append(append(apart, "/bin/sh", "-c", script, "sh"), args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = s.dir, s.log, s.log, dieWithTest()
	return cmd
}

// Stop stops it as `pg_ctl stop` does in the given mode: "fast" ends what is under
// way in order, "immediate" leaves the next start to recover.
func (s *PostgresServer) Stop(mode string) {
	s.t.Helper()
	signals := map[string]syscall.Signal{"smart": syscall.SIGTERM, "fast": syscall.SIGINT, "immediate": syscall.SIGQUIT}
	s.signal(signals[mode])
}

// Restart is Stop and Start.
func (s *PostgresServer) Restart(mode string) {
	s.t.Helper()
	s.Stop(mode)
	s.Start()
}

// Kill ends it by SIGKILL, if it runs. Its processes end by themselves when they
// see that the first one is gone.
func (s *PostgresServer) Kill() {
	s.t.Helper()
	if s.process != nil {
		s.signal(syscall.SIGKILL)
	}
}

func (s *PostgresServer) signal(signal syscall.Signal) {
	s.t.Helper()
	p := s.process
	if p == nil {
		s.t.Fatal("PostgreSQL does not run")
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatalf("end PostgreSQL: %v", err)
	}
	select {
	case <-p.ended:
	case <-time.After(startTimeout):
		s.t.Fatalf("PostgreSQL did not end within %s of %s", startTimeout, signal)
	}
	s.process = nil
}

// Pause stops all processes of the server, as a machine that hangs would: what is
// connected stays connected. The function that it returns lets them go on.
func (s *PostgresServer) Pause() (resume func()) {
	s.t.Helper()
	pid := s.process.cmd.Process.Pid
	pids := []int{pid}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		s.t.Fatalf("list the processes of PostgreSQL: %v", err)
	}
	for field := range strings.FieldsSeq(string(children)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	all := func(signal syscall.Signal) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, signal) // one may have ended
		}
	}
	all(syscall.SIGSTOP)
	return func() { all(syscall.SIGCONT) }
}

// Set changes a parameter of the running server, "" to its default.
func (s *PostgresServer) Set(name, value string) {
	s.t.Helper()
	if value == "" {
		s.adminExec("ALTER SYSTEM RESET " + name)
	} else {
		s.adminExec("ALTER SYSTEM SET " + name + " = '" + value + "'")
	}
	s.adminExec("SELECT pg_reload_conf()")
}

// Exec runs a statement in its database.
func (s *PostgresServer) Exec(statement string) {
	s.t.Helper()
	if err := execAt(s.URL(), statement); err != nil {
		s.t.Fatalf("testenv: %v", err)
	}
}

func (s *PostgresServer) adminExec(statement string) {
	s.t.Helper()
	if err := (&postgresCluster{s.dir}).admin(statement); err != nil {
		s.t.Fatalf("testenv: %v", err)
	}
}

func execAt(at, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// Replica makes and starts a streaming replica, and waits until it has all that was
// committed so far. From then on a commit is answered once the replica has it on its
// disk too, so that a failover loses nothing.
func (s *PostgresServer) Replica() *PostgresServer {
	s.t.Helper()
	r := emptyPostgres(s.t)
	r.args = s.args
	r.run("pg_basebackup", "-D", r.data(), "-h", s.dir, "-U", clusterUser, "-X", "stream", "-c", "fast", "-R", "--no-sync")
	r.Start()
	s.Set("synchronous_standby_names", "ANY 1 (*)")
	// A replica answers before it streams: what was committed between its copy and the
	// setting is only on the primary until then.
	Until(s.t, startTimeout, func() error { return s.streams() })
	return r
}

// streams waits until a synchronous replica has the log up to where it is now on the
// primary. It is an error that none streams yet.
func (s *PostgresServer) streams() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, (&postgresCluster{s.dir}).url("postgres"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	var at string
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text WHERE EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming' AND sync_state IN ('quorum', 'sync'))").Scan(&at); err != nil {
		return fmt.Errorf("no replica streams synchronously: %w", err)
	}
	return until(startTimeout, nil, func() error {
		var there bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state IN ('quorum', 'sync') AND flush_lsn >= $1::text::pg_lsn)", at).Scan(&there)
		if err == nil && !there {
			err = fmt.Errorf("the replica does not have the log up to %s", at)
		}
		return err
	})
}

// Promote makes a replica the primary.
func (s *PostgresServer) Promote() {
	s.t.Helper()
	s.adminExec("SELECT pg_promote()")
}

// run runs one of PostgreSQL's programs, or of the system's, to its end.
func (s *PostgresServer) run(name string, args ...string) {
	s.t.Helper()
	if path := filepath.Join(s.bin, name); executable(path) {
		name = path
	}
	cmd := s.command(name, args...)
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("testenv: %s: %v:\n%s", filepath.Base(name), err, s.log)
	}
}

func (s *PostgresServer) command(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	attr, err := unprivileged(s.dir)
	if err != nil {
		s.t.Fatalf("testenv: PostgreSQL: %v", err)
	}
	dying := dieWithTest()
	dying.Credential = attr.Credential
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = s.dir, s.log, s.log, dying
	return cmd
}

// FillDisk fills the small disk with a table that is called filler, and keeps it.
func (s *PostgresServer) FillDisk() {
	s.t.Helper()
	s.Exec("CREATE TABLE filler (text text)")
	// Ever smaller pieces, since one that does not fit is taken back.
	for rows := 16 << 10; rows > 0; {
		if execAt(s.URL(), fmt.Sprintf("INSERT INTO filler SELECT repeat('x', 900) FROM generate_series(1, %d)", rows)) != nil {
			rows /= 2
		}
	}
}

// TakeConnections takes every connection that is left, until the function that it
// returns gives them back.
func (s *PostgresServer) TakeConnections() (give func()) {
	s.t.Helper()
	var taken []*pgx.Conn
	err := until(startTimeout, nil, func() error {
		for {
			ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
			conn, err := pgx.Connect(ctx, s.URL())
			cancel()
			if err == nil {
				taken = append(taken, conn)
				continue
			}
			// Connections that were just ended may become free yet.
			if len(taken) >= s.connections() {
				return nil
			}
			return fmt.Errorf("%d are taken: %w", len(taken), err)
		}
	})
	if err != nil {
		s.t.Fatalf("take all connections: %v", err)
	}
	return func() {
		for _, conn := range taken {
			_ = conn.Close(context.Background()) // it may have been cut
		}
	}
}

// connections is how many it allows, as its options say.
func (s *PostgresServer) connections() int {
	for _, arg := range s.args {
		if n, ok := strings.CutPrefix(arg, "max_connections="); ok {
			n, _ := strconv.Atoi(n)
			return n
		}
	}
	return 100
}
