package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/test/testenv"
)

// tunneller is an HTTP proxy that knows CONNECT and asks for user:hunter2. It
// sends every tunnel to one address, whatever name was asked for.
type tunneller struct {
	to    string
	asked atomic.Int32
	mu    sync.Mutex
	hosts []string
}

func (p *tunneller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	p.mu.Lock()
	p.hosts = append(p.hosts, r.Host)
	p.mu.Unlock()
	if r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpodW50ZXIy" || r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	receiver, err := net.Dial("tcp", p.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer receiver.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() { _, _ = io.Copy(receiver, buffered); _ = receiver.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(client, receiver)
}

func newTunneller(t *testing.T, to string) (p *tunneller, address string) {
	t.Helper()
	p = &tunneller{to: to}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	return p, strings.TrimPrefix(s.URL, "http://")
}

// The whole way: a name that only the proxy can look up, TLS end to end with the
// receiver's own CA and a client certificate, connections pooled for each proxy.
func TestDoThroughAProxy(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %t", http2), func(t *testing.T) {
			t.Parallel()
			ours, theirs := newAuthority(t), newAuthority(t)
			m := newMutual(t, ours, tls.VersionTLS13, http2)
			m.TLS.Certificates = []tls.Certificate{theirs.issue(t, "receiver.internal.example", time.Now().Add(time.Hour))}
			p, at := newTunneller(t, m.Listener.Addr().String())
			c := newClient(t, Config{Dev: true, Resolver: &names{}})
			request := Request{URL: "https://receiver.internal.example:8443/hook", CACertificate: theirs.pem, Proxy: "http://user:hunter2@" + at,
				ClientCertificate: ours.issueClient(t, "a.example", time.Now().Add(time.Hour)).pem()}
			for range 3 {
				x := do(t, c, request)
				if x.Status != 200 || !strings.HasSuffix(string(x.Body), " a.example") || x.RemoteAddr != at {
					t.Fatalf("exchange = %+v, body %q", x, x.Body)
				}
			}
			if n := p.asked.Load(); n != 1 || p.hosts[0] != "receiver.internal.example:8443" {
				t.Errorf("the proxy was asked %d times, for %v", n, p.hosts)
			}
			other, elsewhere := newTunneller(t, m.Listener.Addr().String())
			request.Proxy = "http://user:hunter2@" + elsewhere
			if x := do(t, c, request); x.Status != 200 || other.asked.Load() != 1 {
				t.Errorf("another proxy: %+v, asked %d times", x, other.asked.Load())
			}
		})
	}
}

func TestDoThroughAProxyOfTLS(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer receiver.Close()
	p := httptest.NewTLSServer(&tunneller{to: receiver.Listener.Addr().String()})
	defer p.Close()
	c := newClient(t, Config{Dev: true})
	at := "user:hunter2@" + strings.TrimPrefix(p.URL, "https://")
	if x := do(t, c, Request{URL: receiver.URL, CACertificate: caOf(receiver), Proxy: "https://" + at}); x.Status != 200 {
		t.Errorf("exchange = %+v", x)
	}
	x := do(t, c, Request{URL: receiver.URL, Proxy: "https://" + at})
	if x.Failure != cybervault.FailureTLS || !strings.Contains(x.Error, "with the proxy 127.0.0.1:") || !strings.Contains(x.Error, "not trusted") {
		t.Errorf("a proxy that is not trusted: %+v", x)
	}
}

// With --dev, http:// to a literal loopback address goes through a tunnel too.
func TestDoPlainHTTPThroughAProxy(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Proxy-Authorization"))
	}))
	defer receiver.Close()
	_, at := newTunneller(t, receiver.Listener.Addr().String())
	c := newClient(t, Config{Dev: true})
	if x := do(t, c, Request{URL: receiver.URL, Proxy: "http://user:hunter2@" + at}); x.Status != 200 || len(x.Body) != 0 {
		t.Errorf("exchange = %+v, body %q", x, x.Body)
	}
	x := do(t, c, Request{URL: "http://receiver.example/", Proxy: "http://user:hunter2@" + at})
	if x.Failure != cybervault.FailureBlockedAddress || !strings.Contains(x.Error, "the proxy would look up") {
		t.Errorf("a name: %+v", x)
	}
}

func TestDoNamesWhatAProxyDoes(t *testing.T) {
	t.Parallel()
	answers := func(text string) string {
		return strings.TrimPrefix(serve(t, func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.WriteString(c, text)
			}
			if text == "" {
				until(c)
			}
		}), "http://")
	}
	_, asking := newTunneller(t, "127.0.0.1:1")
	closed := testenv.Nobody(t)
	resolver := &names{answers: map[string][][]netip.Addr{"proxy.example": {addrs("10.0.0.5")}}}
	for name, test := range map[string]struct {
		proxy   string
		failure cybervault.Failure
		says    string
	}{
		"no credentials":    {"http://" + asking, cybervault.FailureConnect, "answered 407: it asks for credentials"},
		"wrong credentials": {"http://user:hunter2x@" + asking, cybervault.FailureConnect, "answered 407: it does not accept"},
		"no receiver":       {"http://user:hunter2@" + asking, cybervault.FailureConnect, "answered 502: it could not connect to receiver.example:443"},
		"forbidden":         {"http://user:hunter2@" + answers("HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n"), cybervault.FailureConnect, "answered 403: it does not allow"},
		"an error":          {"http://user:hunter2@" + answers("HTTP/1.1 500 Oh\r\n\r\n"), cybervault.FailureConnect, "answered 500 to CONNECT receiver.example:443"},
		"unreachable":       {"http://user:hunter2@" + closed, cybervault.FailureConnect, "cannot be reached: connection refused"},
		"garbage":           {"http://user:hunter2@" + answers("SSH-2.0-hunter2\r\n"), cybervault.FailureConnect, "did not answer CONNECT with HTTP"},
		"endless":           {"http://user:hunter2@" + answers("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", MaxAnswerHeaderBytes)), cybervault.FailureConnect, "the proxy"},
		"speaks first":      {"http://user:hunter2@" + answers("HTTP/1.1 200 OK\r\n\r\nhello"), cybervault.FailureConnect, "more than its answer"},
		"private":           {"http://user:hunter2@proxy.example:3128", cybervault.FailureBlockedAddress, "the proxy proxy.example:3128 cannot be reached: the name proxy.example leads to a refused address: 10.0.0.5"},
		"unknown":           {"http://user:hunter2@nowhere.example:3128", cybervault.FailureDNS, "the proxy nowhere.example:3128 cannot be reached"},
		"no proxy":          {"http://user:hunter2@", cybervault.FailureConnect, "proxy: names no host"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := do(t, newClient(t, Config{Dev: true, Resolver: resolver}), Request{URL: "https://receiver.example/", Proxy: test.proxy})
			if x.Failure != test.failure || !strings.Contains(x.Error, test.says) || strings.Contains(x.Error, "hunter2") {
				t.Errorf("failure %q, %q; want %q, %q", x.Failure, x.Error, test.failure, test.says)
			}
		})
	}
	t.Run("hanging", func(t *testing.T) {
		t.Parallel()
		x := do(t, newClient(t, Config{Dev: true, Timeout: brief}), Request{URL: "https://receiver.example/", Proxy: "http://user:hunter2@" + answers("")})
		if x.Failure != cybervault.FailureTimeout || !strings.Contains(x.Error, "connected to the proxy 127.0.0.1:") {
			t.Errorf("failure %q, %q", x.Failure, x.Error)
		}
	})
}

func TestDoWithTimeSpent(t *testing.T) {
	t.Parallel()
	url := serve(t, until)
	x := do(t, newClient(t, Config{Dev: true}), Request{URL: url, Spent: patient - brief})
	if x.Failure != cybervault.FailureTimeout || !strings.Contains(x.Error, "within 1m0s") {
		t.Errorf("failure %q, %q", x.Failure, x.Error)
	}
}

func TestCheckProxy(t *testing.T) {
	t.Parallel()
	resolver := &names{answers: map[string][][]netip.Addr{"inside.example": {addrs("10.0.0.5")}, "proxy.example": {addrs("93.184.216.34")}}}
	allowed := Config{Resolver: resolver, AllowDestinations: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, test := range []struct {
		proxy  string
		config Config
		says   string
	}{
		{"http://proxy.example:3128", Config{Resolver: resolver}, ""},
		{"https://user:p%40ss@proxy.example:3129", Config{Resolver: resolver}, ""},
		{"http://inside.example:3128", Config{Resolver: resolver}, `"inside.example" leads to a refused address: 10.0.0.5 is in the private range`},
		{"http://10.0.0.5:3128", Config{Resolver: resolver}, "--allow-destination 10.0.0.5/32"},
		{"http://10.0.0.5:3128", allowed, ""},
		{"http://inside.example:3128", allowed, ""},
		{"http://0x7f.1:3128", allowed, "short or numeric form"},
		{"http://proxy.example", allowed, "has no port"},
		{"http://user:hunter2@pro xy:1", allowed, "cannot be read"},
		{"socks5://proxy.example:1080", allowed, "neither http:// nor https://"},
		{"http://proxy.example:3128/path", allowed, "goes on after the port"},
	} {
		err := newClient(t, test.config).CheckProxy(t.Context(), test.proxy)
		if test.says == "" {
			if err != nil {
				t.Errorf("%s: %v", test.proxy, err)
			}
			continue
		}
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.HasPrefix(err.Error(), "proxy: ") || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", test.proxy, err, test.says)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newClient(t, Config{}).CheckProxy(ctx, "http://proxy.example:1"); err != ctx.Err() { //nolint:errorlint // exactly that
		t.Errorf("%v", err)
	}
}

// Behind a proxy only a literal address can be judged; it is, when it is saved
// and at every attempt.
func TestCheckProxiedURL(t *testing.T) {
	t.Parallel()
	_, at := newTunneller(t, "127.0.0.1:1")
	c := newClient(t, Config{AllowDestinations: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Resolver: &names{}})
	for url, says := range map[string]string{
		"https://anything.internal/":     "",
		"https://10.0.0.5/":              "10.0.0.5 is in the private range",
		"https://[::ffff:169.254.1.1]/x": "link-local",
		"http://anything.internal/":      "only https://",
	} {
		err := c.CheckProxiedURL(url)
		if says == "" {
			if err != nil {
				t.Errorf("%s: %v", url, err)
			}
			continue
		}
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", url, err, says)
		}
		if x := do(t, c, Request{URL: url, Proxy: "http://user:hunter2@" + at}); x.Failure != cybervault.FailureBlockedAddress || !strings.Contains(x.Error, says) {
			t.Errorf("%s: %+v, want %q", url, x, says)
		}
	}
}
