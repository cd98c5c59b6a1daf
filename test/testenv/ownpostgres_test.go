package testenv_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cybervault/cybervault/test/testenv"
)

// count reads how many rows the table has.
func count(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// What was committed is there after every way to end, and at the replica.
func TestOwnPostgresIsEndedAndFailsOver(t *testing.T) {
	t.Parallel()
	s := testenv.NewPostgres(t, testenv.PostgresOptions{Settings: []string{"max_connections=20"}})
	s.Exec("CREATE TABLE kept (n bigint)")
	for _, again := range []func(){
		func() { s.Restart("fast") },
		func() { s.Restart("immediate") },
		func() { s.Kill(); s.Start() },
	} {
		s.Exec("INSERT INTO kept VALUES (1)")
		again()
	}
	replica := s.Replica()
	s.Exec("INSERT INTO kept VALUES (2)")
	s.Kill()
	replica.Promote()
	conn := connect(t, replica.URL())
	if got := count(t, conn); got != 4 {
		t.Errorf("%d rows at the replica, want 4", got)
	}
	back := replica.Replica()
	if err := connectError(t, testenv.PostgresURL(url.Values{"target_session_attrs": {"read-write"}}, back.Proxy())); err == nil {
		t.Error("a replica takes writes")
	}
}

func connectError(t *testing.T, at string) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), at)
	if err == nil {
		_ = conn.Close(t.Context())
	}
	return err
}

// A small disk is full at some time, and says so as PostgreSQL does: 53100.
func TestOwnPostgresHasASmallDisk(t *testing.T) {
	t.Parallel()
	s := testenv.NewPostgres(t, testenv.PostgresOptions{SmallDisk: 24 << 20})
	conn := connect(t, s.URL())
	_, err := conn.Exec(t.Context(), "CREATE TABLE filler AS SELECT repeat(n::text, 100) FROM generate_series(1, 1000000) n")
	if err == nil || !strings.Contains(err.Error(), "53100") {
		t.Errorf("error = %v, want SQLSTATE 53100", err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE filler AS SELECT 1 n"); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestProxyFaults(t *testing.T) {
	t.Parallel()
	s := testenv.NewPostgres(t, testenv.PostgresOptions{})
	p := s.Proxy()
	at := testenv.PostgresURL(nil, p)
	conn := connect(t, at)
	ping := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return conn.Ping(ctx)
	}
	if err := ping(); err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	p.Set(testenv.Fault{Latency: 100 * time.Millisecond})
	start := time.Now()
	if err := conn.Ping(t.Context()); err != nil || time.Since(start) < 200*time.Millisecond {
		t.Errorf("with latency: %v after %s, want no error after 200 ms or more", err, time.Since(start))
	}
	p.Set(testenv.Fault{Bandwidth: 100})
	start = time.Now()
	if _, err := conn.Exec(t.Context(), "SELECT '"+strings.Repeat("x", 50)+"'"); err != nil || time.Since(start) < 500*time.Millisecond {
		t.Errorf("with little bandwidth: %v after %s, want no error after half a second or more", err, time.Since(start))
	}
	p.Set(testenv.Fault{Swallow: true})
	if err := ping(); err == nil {
		t.Error("an answer although all is swallowed")
	}
	p.Set(testenv.Fault{})
	conn = connect(t, at)
	p.Cut()
	if err := ping(); err == nil {
		t.Error("an answer over a connection that was cut")
	}
	p.Set(testenv.Fault{Refuse: true})
	if err := connectError(t, at); err == nil {
		t.Error("connected although the proxy refuses")
	}
}
