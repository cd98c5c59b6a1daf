package outbound

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
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
)

// patient is a limit that no healthy exchange reaches, brief one that a
// receiver which never answers does.
const (
	patient = time.Minute
	brief   = 100 * time.Millisecond
)

func newClient(t *testing.T, config Config) *Client {
	t.Helper()
	if config.Timeout == 0 {
		config.Timeout = patient
	}
	if config.BodyGrace == 0 {
		config.BodyGrace = patient
	}
	c := New(config)
	t.Cleanup(c.Close)
	return c
}

func do(t *testing.T, c *Client, r Request) cybervault.Exchange {
	t.Helper()
	if r.Body == nil {
		r.Body = []byte(`{"id":"wh_1"}`)
	}
	x, err := c.Do(t.Context(), r)
	if err != nil {
		t.Fatalf("Do: %v", err)
	}
	return x
}

func caOf(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// serve answers each connection with serve1, raw.
func serve(t *testing.T, serve1 func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			all.Go(func() {
				defer conn.Close()
				serve1(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return "http://" + l.Addr().String() + "/"
}

// request reads one request off a raw connection.
func request(c net.Conn) (*http.Request, []byte, error) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(r.Body)
	return r, body, err
}

// until waits for the other side to go away.
func until(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestDoSendsExactlyWhatItIsGiven(t *testing.T) {
	t.Parallel()
	body := []byte(`{"id":"wh_1","event":"threat.detected"}`)
	seen := make(chan string, 1)
	url := serve(t, func(c net.Conn) {
		buffer := make([]byte, 8192)
		n := 0
		for !bytes.HasSuffix(buffer[:n], body) {
			m, err := c.Read(buffer[n:])
			if err != nil {
				return
			}
			n += m
		}
		seen <- string(buffer[:n])
		fmt.Fprint(c, "HTTP/1.1 201 Created\r\nX-B: 2\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok")
		until(c)
	})
	header := []cybervault.Header{
		{Name: "Content-Type", Value: "application/json"},
		{Name: "user-agent", Value: "CyberVault-Webhooks/1"},
		{Name: "X-CyberVault-Signature", Value: "abc"},
		{Name: "webhook-id", Value: "wh_1"},
		{Name: "Authorization", Value: "Bearer secret"},
		{Name: "Host", Value: "elsewhere"},
		{Name: "content-length", Value: "1"},
		{Name: "transfer-encoding", Value: "chunked"},
	}
	x := do(t, newClient(t, Config{Dev: true}), Request{URL: url + "in?a=b", Header: header, MaskedHeaders: []string{"authorization"}, Body: body})
	if x.Failure != "" || x.Status != 201 || string(x.Body) != "ok" || x.BodyCut || x.Protocol != "HTTP/1.1" {
		t.Fatalf("exchange = %+v", x)
	}
	wire := <-seen
	for _, want := range []string{"POST /in?a=b HTTP/1.1\r\n", "\r\nX-CyberVault-Signature: abc\r\n", "\r\nwebhook-id: wh_1\r\n", "\r\nUser-Agent: CyberVault-Webhooks/1\r\n",
		"\r\nAuthorization: Bearer secret\r\n", fmt.Sprintf("\r\nContent-Length: %d\r\n", len(body)), "\r\nHost: 127.0.0.1:"} {
		if strings.Count(wire, want) != 1 {
			t.Errorf("sent %q, want %q once", wire, want)
		}
	}
	for _, never := range []string{"Accept-Encoding", "elsewhere", "chunked", "content-length", "user-agent", "Idempotency", "Cookie", "Expect"} {
		if strings.Contains(wire, never) {
			t.Errorf("sent %q, with %q in it", wire, never)
		}
	}
	if len(x.Request) != len(header) || x.Request[4].Value != Mask || x.Request[2].Value != "abc" || header[4].Value != "Bearer secret" {
		t.Errorf("recorded request headers = %v", x.Request)
	}
	if fmt.Sprint(x.Answer) != "[{Content-Length 2} {X-A 1} {X-B 2}]" {
		t.Errorf("recorded answer headers = %v", x.Answer)
	}
	if x.RemoteAddr == "" || !strings.Contains(url, x.RemoteAddr) {
		t.Errorf("remote address = %q, want that of %s", x.RemoteAddr, url)
	}
	if x.Timings.Connect <= 0 || x.Timings.FirstByte < x.Timings.Connect || x.Elapsed < x.Timings.FirstByte || x.Timings.TLS != 0 || x.Timings.DNS != 0 {
		t.Errorf("timings = %+v, elapsed %v", x.Timings, x.Elapsed)
	}
}

func TestDoDoesNotJudgeStatusOrFollowRedirects(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Location", "http://169.254.169.254/latest/meta-data/")
		w.Header().Set("Set-Cookie", "a=b")
		if r.Header.Get("Cookie") != "" {
			t.Error("a cookie was sent")
		}
		status := 0
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.WriteHeader(status)
	}))
	defer s.Close()
	c := newClient(t, Config{Dev: true})
	statuses := []int{200, 201, 204, 301, 302, 303, 307, 308, 304, 400, 401, 407, 410, 421, 500, 503, 999}
	for _, status := range statuses {
		x := do(t, c, Request{URL: fmt.Sprintf("%s/%d", s.URL, status)})
		if x.Status != status || x.Failure != "" || x.Error != "" {
			t.Errorf("status %d: exchange = %+v", status, x)
		}
	}
	if n := int(requests.Load()); n != len(statuses) {
		t.Errorf("%d requests for %d exchanges", n, len(statuses))
	}
}

func TestDoNeverUsesAProxy(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer s.Close()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	if x := do(t, newClient(t, Config{Dev: true}), Request{URL: s.URL}); x.Status != 200 {
		t.Errorf("exchange = %+v", x)
	}
	transport := newClient(t, Config{}).shared
	if transport.Proxy != nil {
		t.Error("the transport has a proxy")
	}
}

func TestDoHostileReceivers(t *testing.T) {
	t.Parallel()
	answer := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			if _, _, err := request(c); err == nil {
				_, _ = io.WriteString(c, text)
			}
		}
	}
	for _, test := range []struct {
		name    string
		serve   func(net.Conn)
		failure cybervault.Failure
		says    string
	}{
		{"closes at once", func(net.Conn) {}, cybervault.FailureProtocol, "before it answered"},
		{"closes after the request", answer(""), cybervault.FailureProtocol, "closed the connection before it answered"},
		{"closes in the headers", answer("HTTP/1.1 200 OK\r\nX-A:"), cybervault.FailureProtocol, "in the middle of its answer"},
		{"resets", func(c net.Conn) {
			_, _, _ = request(c)
			_ = c.(*net.TCPConn).SetLinger(0)
		}, cybervault.FailureProtocol, "reset the connection before it answered"},
		{"garbage", answer("SSH-2.0-OpenSSH_9.2\r\n\x1b[31mred\x00\r\n"), cybervault.FailureProtocol, "not HTTP"},
		{"bad status", answer("HTTP/1.1 abc OK\r\n\r\n"), cybervault.FailureProtocol, "not HTTP"},
		{"bad header", answer("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"), cybervault.FailureProtocol, "not HTTP"},
		{"huge header", answer("HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 2*MaxAnswerHeaderBytes) + "\r\n\r\n"), cybervault.FailureProtocol, "longer than 65536 bytes"},
		{"endless headers", func(c net.Conn) {
			_, _, _ = request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(c, "X-%d: y\r\n", i); err != nil {
					return
				}
			}
		}, cybervault.FailureProtocol, "longer than 65536 bytes"},
		{"1xx flood", func(c net.Conn) {
			_, _, _ = request(c)
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"); err != nil {
					return
				}
			}
		}, cybervault.FailureProtocol, "longer than 65536 bytes"},
		{"bad content length", answer("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), cybervault.FailureProtocol, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := do(t, newClient(t, Config{Dev: true}), Request{URL: serve(t, test.serve)})
			if x.Failure != test.failure || !strings.Contains(x.Error, test.says) || x.Status != 0 {
				t.Errorf("exchange = %+v, want failure %s that says %q", x, test.failure, test.says)
			}
			if strings.ContainsAny(x.Error, "\x00\x1b\r\n") || len(x.Error) > 400 {
				t.Errorf("error %q is not fit for a page", x.Error)
			}
		})
	}
}

func TestDoTimesOut(t *testing.T) {
	t.Parallel()
	silent := func(c net.Conn) { until(c) }
	for _, test := range []struct {
		name, url, says string
		resolver        Resolver
	}{
		{"never answers", serve(t, silent), "still waiting for the headers", nil},
		{"drips its headers", serve(t, func(c net.Conn) {
			_, _, _ = request(c)
			drip(c, "HTTP/1.1 200 OK\r\nX-Slow: ")
		}), "its headers did not come to an end", nil},
		{"floods 1xx slowly", serve(t, func(c net.Conn) {
			_, _, _ = request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 102 Processing\r\n\r\n")
			until(c)
		}), "its headers did not come to an end", nil},
		{"never makes TLS", strings.Replace(serve(t, silent), "http:", "https:", 1), "still making the TLS session", nil},
		{"name servers are silent", "https://hooks.example.com/", "still looking up the name", resolverFunc(func(ctx context.Context) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := do(t, newClient(t, Config{Dev: true, Timeout: brief, Resolver: test.resolver}), Request{URL: test.url})
			if x.Failure != cybervault.FailureTimeout || !strings.Contains(x.Error, test.says) || !strings.HasPrefix(x.Error, "no answer within 100ms: ") {
				t.Errorf("exchange = %+v, want a timeout that says %q", x, test.says)
			}
			if x.Elapsed < brief {
				t.Errorf("ended after %v, before its time", x.Elapsed)
			}
		})
	}
}

// drip writes text, then a byte whenever the peer can be thought to wait,
// until it goes away.
func drip(c net.Conn, text string) {
	_, _ = io.WriteString(c, text)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(c, "a"); err != nil {
			return
		}
	}
}

type resolverFunc func(context.Context) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	return f(ctx)
}

func TestDoBodies(t *testing.T) {
	t.Parallel()
	const kept = cybervault.MaxKeptResponseBodyBytes
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 20<<20))
	_ = z.Close()
	write := func(head, body string, after func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			_, _, _ = request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head+"\r\n"+body)
			after(c)
		}
	}
	leave := func(net.Conn) {}
	for _, test := range []struct {
		name  string
		serve func(net.Conn)
		want  string
		cut   bool
	}{
		{"empty", write("Content-Length: 0\r\n", "", until), "", false},
		{"until close", write("", "hello", leave), "hello", false},
		{"exactly what is kept", write(fmt.Sprintf("Content-Length: %d\r\n", kept), strings.Repeat("a", kept), until), strings.Repeat("a", kept), false},
		{"a byte more", write(fmt.Sprintf("Content-Length: %d\r\n", kept+1), strings.Repeat("a", kept+1), until), strings.Repeat("a", kept), true},
		{"endless", func(c net.Conn) {
			_, _, _ = request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for {
				if _, err := c.Write(bytes.Repeat([]byte("a"), 4096)); err != nil {
					return
				}
			}
		}, strings.Repeat("a", kept), true},
		{"slow", write("Content-Length: 10\r\n", "abc", until), "abc", true},
		{"never begins", write("Content-Length: 10\r\n", "", until), "", true},
		{"reset", write("Content-Length: 10\r\n", "abc", func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite(); until(c) }), "abc", true},
		{"broken chunk", write("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\nzz\r\n", until), "abc", true},
		{"gzip bomb", write("Content-Encoding: gzip\r\nContent-Length: "+fmt.Sprint(bomb.Len())+"\r\n", bomb.String(), until), bomb.String()[:kept], true},
		{"switches protocols", func(c net.Conn) {
			_, _, _ = request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			until(c)
		}, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := do(t, newClient(t, Config{Dev: true, BodyGrace: brief}), Request{URL: serve(t, test.serve)})
			if x.Failure != "" || x.Status == 0 {
				t.Fatalf("failure %q (%s), status %d: a body must not fail an exchange", x.Failure, x.Error, x.Status)
			}
			if string(x.Body) != test.want || x.BodyCut != test.cut {
				t.Errorf("kept %d bytes, cut %v; want %d, %v", len(x.Body), x.BodyCut, len(test.want), test.cut)
			}
		})
	}
}

func TestDoKeepsABoundedPartOfTheHeaders(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/many" {
			for i := range 300 {
				w.Header().Add(fmt.Sprintf("X-%03d", i), "v")
			}
			return
		}
		for i := range 30 {
			w.Header().Add(fmt.Sprintf("X-%02d", i), strings.Repeat("v", 1000))
		}
	}))
	defer s.Close()
	c := newClient(t, Config{Dev: true})
	if x := do(t, c, Request{URL: s.URL + "/many"}); len(x.Answer) != MaxKeptAnswerHeaders {
		t.Errorf("kept %d headers, want %d", len(x.Answer), MaxKeptAnswerHeaders)
	}
	x := do(t, c, Request{URL: s.URL + "/long"})
	size := 0
	for _, h := range x.Answer {
		size += len(h.Name) + len(h.Value)
	}
	if size > MaxKeptAnswerHeaderBytes || size < MaxKeptAnswerHeaderBytes/2 {
		t.Errorf("kept %d bytes of headers, want close to %d", size, MaxKeptAnswerHeaderBytes)
	}
}

func TestDoEndsWithItsContext(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	url := serve(t, func(c net.Conn) {
		_, _, _ = request(c)
		close(arrived)
		until(c)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	x, err := newClient(t, Config{Dev: true}).Do(ctx, Request{URL: url, Body: []byte("{}")})
	if !errors.Is(err, context.Canceled) || x.Failure != "" || x.Status != 0 {
		t.Errorf("exchange %+v, error %v; want context.Canceled and no failure", x, err)
	}
}

func TestDoRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	later := now.Add(90 * time.Second).Format(http.TimeFormat)
	for _, test := range []struct {
		status      int
		value, date string
		want        time.Duration
	}{
		{429, "120", "", 2 * time.Minute},
		{503, " 5 ", "", 5 * time.Second},
		{503, "0", "", 0},
		{503, "86400", "", cybervault.MaxRetryAfter},
		{503, "86401", "", cybervault.MaxRetryAfter},
		{503, "99999999999999999999999999", "", cybervault.MaxRetryAfter},
		{503, "9223372037", "", cybervault.MaxRetryAfter},
		{503, "-5", "", 0},
		{503, "1.5", "", 0},
		{503, "soon", "", 0},
		{503, "", "", 0},
		{503, later, "", 90 * time.Second},
		{503, later, now.Add(30 * time.Second).Format(http.TimeFormat), time.Minute}, // its clock is ahead
		{503, now.Add(-time.Hour).Format(http.TimeFormat), "", 0},
		{503, "Fri, 31 Dec 9999 23:59:59 GMT", "", cybervault.MaxRetryAfter},
		{200, "120", "", 0},
		{301, "120", "", 0},
		{500, "120", "", 0},
	} {
		answer := &http.Response{StatusCode: test.status, Header: http.Header{"Retry-After": {test.value}, "Date": {test.date}}}
		if got := retryAfter(answer, now); got != test.want {
			t.Errorf("%d %q (date %q): %v, want %v", test.status, test.value, test.date, got, test.want)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer s.Close()
	if x := do(t, newClient(t, Config{Dev: true}), Request{URL: s.URL}); x.RetryAfter != 7*time.Second {
		t.Errorf("retry after %v, want 7s", x.RetryAfter)
	}
}

func TestDoRecordsTLSAndReuse(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	c := newClient(t, Config{Dev: true, Resolver: &names{answers: map[string][][]netip.Addr{"example.com": {addrs("127.0.0.1")}}}})
	url := strings.Replace(s.URL, "127.0.0.1", "example.com", 1)
	x := do(t, c, Request{URL: url, CACertificate: caOf(s)})
	if x.Status != 200 || x.Protocol != "HTTP/2.0" || string(x.Body) != "HTTP/2.0" {
		t.Fatalf("exchange = %+v", x)
	}
	if x.Timings.DNS <= 0 || x.Timings.Connect <= 0 || x.Timings.TLS <= 0 || x.Timings.FirstByte <= x.Timings.TLS {
		t.Errorf("timings of a new connection = %+v", x.Timings)
	}
	x = do(t, c, Request{URL: url, CACertificate: caOf(s)})
	if x.Timings.DNS != 0 || x.Timings.Connect != 0 || x.Timings.TLS != 0 || x.Timings.FirstByte <= 0 || x.RemoteAddr == "" {
		t.Errorf("timings of a pooled connection = %+v, remote %q", x.Timings, x.RemoteAddr)
	}
}
