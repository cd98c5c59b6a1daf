package cluster

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

// behindProxy starts a site of one node that reaches its own PostgreSQL through
// a proxy, with publishing under way.
func behindProxy(t *testing.T, settings ...string) (*site, *testenv.PostgresServer, *testenv.Proxy) {
	t.Helper()
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{Settings: settings})
	proxy := pg.Proxy()
	s := newSite(t, testenv.PostgresURL(nil, proxy), 1, "")
	s.publish()
	s.waitAcks(50)
	return s, pg, proxy
}

// PostgreSQL is restarted, in both ways, and killed, while a node publishes and
// delivers: the node goes on by itself and nothing is lost.
func TestPostgresIsRestarted(t *testing.T) {
	t.Parallel()
	s, pg, _ := behindProxy(t)
	node := s.nodes[0]
	for _, mode := range []string{"fast", "immediate"} {
		pg.Stop(mode)
		s.refuses(node, lists...)
		pg.Start()
		s.recovers(node)
	}
	pg.Kill()
	s.refuses(node, lists...)
	pg.Start()
	s.recovers(node)
	s.finish()
}

// The network resets every connection, takes none for a while, and comes back.
func TestNetworkIsCut(t *testing.T) {
	t.Parallel()
	s, _, proxy := behindProxy(t)
	node := s.nodes[0]
	for range 3 {
		proxy.Cut()
		s.recovers(node)
	}
	proxy.Set(testenv.Fault{Refuse: true})
	proxy.Cut()
	s.refuses(node, lists...)
	proxy.Set(testenv.Fault{})
	s.recovers(node)
	s.finish()
}

// The network swallows what is sent, and ends nothing: the node notices, refuses
// at once what comes after that, and goes on when the network does.
func TestNetworkSwallows(t *testing.T) {
	t.Parallel()
	s, _, proxy := behindProxy(t)
	node := s.nodes[0]
	pages := dashboard(t, node)
	proxy.Set(testenv.Fault{Swallow: true})
	s.refuses(node, lists...)
	for _, path := range []string{"/", "/events", "/deliveries"} {
		if status, again := page(t, pages, node, path); status != http.StatusServiceUnavailable || again == "" {
			t.Errorf("the dashboard answers %s with %d, Retry-After %q; want 503", path, status, again)
		}
	}
	proxy.Set(testenv.Fault{})
	s.recovers(node)
	s.finish()
}

// PostgreSQL hangs with all its connections open, as on a machine that swaps to death.
func TestPostgresHangs(t *testing.T) {
	t.Parallel()
	s, pg, _ := behindProxy(t)
	node := s.nodes[0]
	resume := pg.Pause()
	s.refuses(node, lists...)
	resume()
	s.recovers(node)
	s.finish()
}

// PostgreSQL takes no writes: the log can be read meanwhile.
func TestPostgresIsReadOnly(t *testing.T) {
	t.Parallel()
	s, pg, _ := behindProxy(t)
	node := s.nodes[0]
	pg.Set("default_transaction_read_only", "on")
	s.refuses(node)
	for _, path := range lists {
		if a := call(node, http.MethodGet, path, ""); a.status != http.StatusOK {
			t.Errorf("GET %s of a read-only database: %d %s %v", path, a.status, a.body, a.err)
		}
	}
	pg.Set("default_transaction_read_only", "")
	s.recovers(node)
	s.finish()
}

// Others have all of PostgreSQL's connections when a node has lost its own: it
// waits for them, and a node that starts says what is the matter.
func TestPostgresHasNoConnectionLeft(t *testing.T) {
	t.Parallel()
	s, pg, proxy := behindProxy(t, "max_connections=25", "superuser_reserved_connections=0")
	node := s.nodes[0]
	proxy.Set(testenv.Fault{Refuse: true})
	proxy.Cut()
	give := pg.TakeConnections()
	proxy.Set(testenv.Fault{})
	s.refuses(node, lists...)

	cmd := exec.Command(testenv.Binary(t), "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--database-url", testenv.PostgresURL(nil, proxy))
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("has no connection left, and a node uses 13: raise max_connections")) {
		t.Errorf("a start without a connection: %v\n%s", err, out)
	}
	give()
	s.recovers(node)
	s.finish()
}

// A slow network makes everything slow and nothing fail.
func TestNetworkIsSlow(t *testing.T) {
	t.Parallel()
	s, _, proxy := behindProxy(t)
	node := s.nodes[0]
	for _, fault := range []testenv.Fault{{Latency: 200 * time.Millisecond}, {Bandwidth: 256 << 10}} {
		proxy.Set(fault)
		refused := s.refusals.Load()
		s.waitAcks(2) // a dozen trips there and back each
		for _, path := range append([]string{"/readyz"}, lists...) {
			if a := call(node, http.MethodGet, path, ""); a.status != http.StatusOK {
				t.Errorf("GET %s under %+v: %d %s %v", path, fault, a.status, a.body, a.err)
			}
		}
		if more := s.refusals.Load() - refused; more > 0 {
			t.Errorf("%d publications were refused under %+v", more, fault)
		}
	}
	// A place that is lost is taken again over the slow network too.
	proxy.Set(testenv.Fault{Latency: 200 * time.Millisecond})
	proxy.Cut()
	s.wait("a node that is ready again", func() bool { return ready(node) })
	s.waitAcks(1)
	proxy.Set(testenv.Fault{})
	s.recovers(node)
	s.finish()
}

// The disk of the tables is full: what reads goes on.
func TestPostgresDiskIsFull(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{SmallDisk: 48 << 20})
	s := newSite(t, pg.URL(), 1, "")
	s.publish()
	s.waitAcks(20)
	node := s.nodes[0]
	pg.FillDisk()
	// A small event, or one that PostgreSQL can make small, may still find a page with room.
	var noise strings.Builder
	for noise.Len() < 200<<10 {
		noise.WriteString(rand.Text())
	}
	large := strings.Replace(event("large"), `"summary":"large"`, `"summary":"`+noise.String()+`"`, 1)
	call(node, http.MethodPost, "/v1/events", large).checkRefusal(t)
	for _, path := range append([]string{"/healthz"}, lists...) {
		if a := call(node, http.MethodGet, path, ""); a.status != http.StatusOK {
			t.Errorf("GET %s with a full disk: %d %s %v", path, a.status, a.body, a.err)
		}
	}
	s.wait("a node that is not ready", func() bool {
		call(node, http.MethodPost, "/v1/events", large)
		return !ready(node)
	})
	pg.Exec("DROP TABLE filler")
	s.recovers(node)
	s.finish()
}

// failsOver starts a site of two nodes on a primary with a replica; hosts says
// how the nodes reach them.
func failsOver(t *testing.T, at func(primary, replica *testenv.PostgresServer) string) (s *site, primary, replica *testenv.PostgresServer) {
	t.Helper()
	primary = testenv.NewPostgres(t, testenv.PostgresOptions{})
	replica = primary.Replica()
	s = newSite(t, at(primary, replica), 2, "")
	s.publish()
	s.waitAcks(50)
	return s, primary, replica
}

// The primary dies, what stands before both leads to its replica, which takes no
// writes yet, and then that is promoted.
func TestFailoverBehindOneAddress(t *testing.T) {
	t.Parallel()
	var proxy *testenv.Proxy
	s, primary, replica := failsOver(t, func(primary, _ *testenv.PostgresServer) string {
		proxy = primary.Proxy()
		return testenv.PostgresURL(nil, proxy)
	})
	primary.Kill()
	s.refuses(s.nodes[0], lists...)
	proxy.Lead("unix", replica.Socket())
	s.wait("a read from the replica", func() bool { return call(s.nodes[0], http.MethodGet, lists[0], "").status == http.StatusOK })
	s.refuses(s.nodes[0])
	replica.Promote()
	s.recovers(s.nodes...)
	s.finish()
}

// The same where the URL names both, and the primary does not die but hangs: its
// connections stay open, and nothing comes over them.
func TestFailoverOfSeveralHosts(t *testing.T) {
	t.Parallel()
	var first *testenv.Proxy
	s, primary, replica := failsOver(t, func(primary, replica *testenv.PostgresServer) string {
		first = primary.Proxy()
		return testenv.PostgresURL(url.Values{"target_session_attrs": {"read-write"}}, first, replica.Proxy())
	})
	first.Set(testenv.Fault{Swallow: true})
	primary.Kill() // whoever promotes sees to that first
	replica.Promote()
	s.recovers(s.nodes...)

	// And again, to a new replica in the place of the first.
	back := replica.Replica()
	first.Lead("unix", back.Socket())
	first.Cut()
	first.Set(testenv.Fault{})
	replica.Kill()
	s.refuses(s.nodes[0], lists...)
	back.Promote()
	s.recovers(s.nodes...)
	s.finish()
}

// dashboard opens the dashboard of a node, as its person does by the link that
// the node logs.
func dashboard(t *testing.T, node *testenv.Server) *http.Client {
	t.Helper()
	link := regexp.MustCompile(`Dashboard: http://\S+(/login\?token=\S+)`).FindStringSubmatch(node.Log())
	jar, err := cookiejar.New(nil)
	if link == nil || err != nil {
		t.Fatalf("the node logs no link to its dashboard, %v:\n%s", err, node.Log())
	}
	client := &http.Client{Jar: jar, Timeout: patience}
	if code, _ := page(t, client, node, link[1]); code != http.StatusOK {
		t.Fatalf("the dashboard answers the login with %d", code)
	}
	return client
}

// page asks for a page, and tells its status and when to come again.
func page(t *testing.T, client *http.Client, node *testenv.Server, path string) (status int, again string) {
	t.Helper()
	resp, err := client.Get(node.URL() + path)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Retry-After")
}
