package crash

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// A server that callers leave without a file descriptor goes on answering those
// it is connected to, and delivers what it acknowledged once there are some again.
func TestDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	const limit = 48
	limited := filepath.Join(t.TempDir(), "cybervault")
	write(t, limited, fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec %s \"$@\"\n", limit, testenv.Binary(t)))
	if err := os.Chmod(limited, 0o700); err != nil {
		t.Fatal(err)
	}
	ledger := testenv.NewLedger(t, "no file descriptors")
	var sink *testenv.Sink
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { sink.Got(r.Header.Get("Webhook-Id"), true) }))
	defer receiver.Close()
	server := testenv.StartServer(t, testenv.ServerOptions{Binary: limited, Args: []string{"--dev", "--retry-schedule", quickRetries}})
	sink = ledger.Sink("the receiver", hook(t, server, receiver.URL)) // the connection this was asked over is kept
	var idle []net.Conn
	defer func() {
		for _, conn := range idle {
			conn.Close()
		}
	}()
	for range 2 * limit { // the system takes them for the server, which cannot
		conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	descriptors := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", server.PID()))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	testenv.Until(t, patience, func() error {
		if n := descriptors(); n < limit {
			return fmt.Errorf("%d of %d descriptors are taken", n, limit)
		}
		return nil
	})
	const events = 20
	ledger.Published(events)
	for i := range events {
		ledger.Acknowledged(publishOne(t, server, fmt.Sprint(i)))
	}
	if n := sink.Accepted(); n == events {
		t.Error("everything was delivered, so descriptors were not exhausted")
	}
	for _, conn := range idle {
		conn.Close()
	}
	ledger.Settle(server, patience)
	ledger.Check(t)
}
