package testenv_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cybervault/cybervault/test/testenv"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// Each call has a database to itself, also when calls come at once.
func TestPostgresDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	urls := make([]string, 4)
	var wg sync.WaitGroup
	for i := range urls {
		wg.Go(func() { urls[i] = testenv.Postgres(t) })
	}
	wg.Wait()
	for _, url := range urls {
		if _, err := connect(t, url).Exec(t.Context(), "CREATE TABLE only_here (n bigint)"); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestPostgresDatabaseIsDroppedWithItsTest(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("inner", func(t *testing.T) {
		url = testenv.Postgres(t)
		connect(t, url) // dropped even while someone is connected
	})
	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		conn.Close(t.Context())
		t.Fatalf("%s is still there", url)
	}
	if !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("error = %v, want one that says the database does not exist", err)
	}
}
