package app_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault/internal/app"
	"github.com/cybervault/cybervault/internal/config"
)

// names is a resolver that tells each name something else from time to time.
type names struct {
	mu    sync.Mutex
	asked map[string]int
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[host]++
	switch host {
	case "rebinding.example":
		if n.asked[host] == 1 { // when the webhook is saved
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	case "metadata.example":
		if n.asked[host] == 1 {
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("::ffff:169.254.169.254")}, nil
	case "silent.example":
		return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// embedded is a server in this process, as a program would embed it.
type embedded struct {
	*testing.T

	url, key string
}

func embed(t *testing.T, resolver *names) *embedded {
	t.Helper()
	cfg := config.Default()
	cfg.Listen, cfg.DataDir, cfg.BootstrapAPIKey = "127.0.0.1:0", t.TempDir(), "a-key-of-the-test-only"
	cfg.RetrySchedule = []time.Duration{time.Hour}
	server, err := app.New(t.Context(), cfg, slog.New(slog.DiscardHandler), "test", app.WithResolver(resolver))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &embedded{T: t, url: "http://" + server.Address(), key: cfg.BootstrapAPIKey}
}

// ask makes a call and decodes its answer.
func (e *embedded) ask(method, path, body string, into any) {
	e.Helper()
	req, err := http.NewRequestWithContext(e.Context(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+e.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		e.Fatalf("%s %s: %d %s, %v", method, path, resp.StatusCode, answer, err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		e.Fatal(err)
	}
}

// A name that leads elsewhere once its webhook has been saved is refused when it
// is dialled, and nothing hears of it; a name that cannot be looked up is named
// as such.
func TestNamesThatLead(t *testing.T) {
	t.Parallel()
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var heard atomic.Int64
	go func() {
		for {
			conn, err := inside.Accept()
			if err != nil {
				return
			}
			heard.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = inside.Close() })
	_, port, _ := net.SplitHostPort(inside.Addr().String())

	e := embed(t, &names{asked: map[string]int{}})
	for host, want := range map[string]struct{ failure, says string }{
		"rebinding.example": {"blocked_address", "leads to a refused address"},
		"metadata.example":  {"blocked_address", "leads to a refused address"},
		"silent.example":    {"dns", "the name servers did not answer for silent.example"},
		"nowhere.example":   {"dns", "the name nowhere.example does not exist"},
	} {
		var hook struct{ ID string }
		e.ask(http.MethodPost, "/v1/webhooks", `{"url":"https://`+host+":"+port+`/","events":["patch.failed"]}`, &hook)
		var test struct{ ID string }
		e.ask(http.MethodPost, "/v1/webhooks/"+hook.ID+"/test", `{"event":"patch.failed"}`, &test)
		var d struct {
			Attempts []struct {
				Failure, Error string
				RemoteAddr     *string `json:"remote_addr"`
			}
		}
		for deadline := time.Now().Add(30 * time.Second); len(d.Attempts) == 0; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: no attempt was made", host)
			}
			e.ask(http.MethodGet, "/v1/deliveries/"+test.ID, "", &d)
		}
		a := d.Attempts[0]
		if a.Failure != want.failure || !strings.Contains(a.Error, want.says) || !strings.Contains(a.Error, host) || a.RemoteAddr != nil {
			t.Errorf("%s: %+v, want %+v", host, a, want)
		}
	}
	if n := heard.Load(); n != 0 {
		t.Errorf("the listener inside was called %d times", n)
	}
}
