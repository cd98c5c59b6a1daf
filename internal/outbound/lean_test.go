package outbound

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// A receiver may refuse a long request before it has read it: that is its
// answer, not a fault of the connection.
func TestDoTakesAnEarlyAnswer(t *testing.T) {
	t.Parallel()
	const refusal = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig"
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{issueForLoopback(t, ca)}}
	body := bytes.Repeat([]byte("x"), 32<<20) // more than any buffer on the way
	for name, after := range map[string]func(net.Conn){
		"and reads no more": func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<10)); <-t.Context().Done() },
		"and ends its side": func(c net.Conn) {
			if half, ok := c.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			until(c)
		},
		"and reads on": until,
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %t", name, secure), func(t *testing.T) {
				t.Parallel()
				var connections atomic.Int32
				url := serve(t, func(c net.Conn) {
					connections.Add(1)
					if secure {
						c = tls.Server(c, config)
					}
					_, _ = c.Read(make([]byte, 100))
					answer := refusal
					if name == "and reads no more" {
						answer = strings.Replace(answer, "Connection: close\r\n", "", 1) // we find out
					}
					_, _ = io.WriteString(c, answer)
					over := make(chan struct{})
					go func() { defer close(over); after(c) }()
					select {
					case <-over:
					case <-t.Context().Done():
					}
				})
				if secure {
					url = strings.Replace(url, "http:", "https:", 1)
				}
				client := newClient(t, Config{Dev: true, BodyGrace: brief})
				for range 2 {
					x := do(t, client, Request{URL: url, Body: body, CACertificate: map[bool]string{true: ca.pem}[secure]})
					if x.Status != 413 || x.Failure != "" || string(x.Body) != "big" {
						t.Fatalf("status %d, failure %q (%s), body %q; want 413", x.Status, x.Failure, x.Error, x.Body)
					}
				}
				if n := connections.Load(); n != 2 {
					t.Errorf("%d connections, want 2", n)
				}
			})
		}
	}
}

// The same where the receiver closes at once, which resets the connection: its
// answer is taken if it came first. On its way a reset may overtake it, and then
// says what happened.
func TestDoTakesAnAnswerBeforeAReset(t *testing.T) {
	t.Parallel()
	url := serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 100))
		_, _ = io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
	})
	client := newClient(t, Config{Dev: true})
	taken := 0
	for _, size := range []int{1, 8 << 10, 256 << 10} {
		for range 50 {
			switch x := do(t, client, Request{URL: url, Body: make([]byte, size)}); {
			case x.Status == 401 && x.Failure == "":
				taken++
			case x.Failure != cybervault.FailureProtocol || !strings.Contains(x.Error, "before it answered"):
				t.Errorf("%d bytes: status %d, failure %q (%s)", size, x.Status, x.Failure, x.Error)
			}
		}
	}
	if taken == 0 {
		t.Error("no answer was ever taken")
	}
}

// A long request that is read to its end leaves its connection for the next.
func TestDoSendsLongRequests(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		var connections atomic.Int32
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sum := sha256.New()
			_, _ = io.Copy(sum, r.Body)
			fmt.Fprintf(w, "%x", sum.Sum(nil))
		}))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		}
		ca := ""
		if secure {
			s.StartTLS()
			ca = caOf(s)
		} else {
			s.Start()
		}
		client := newClient(t, Config{Dev: true})
		for _, size := range []int{0, 1, maxInlineBytes - 200, maxInlineBytes, maxInlineBytes + 1, 256 << 10, 1 << 20} {
			body := bytes.Repeat([]byte("é1"), size/2)
			x := do(t, client, Request{URL: s.URL, CACertificate: ca, Body: body})
			if want := fmt.Sprintf("%x", sha256.Sum256(body)); x.Status != 200 || string(x.Body) != want {
				t.Errorf("%d bytes: exchange = %+v, want %s", size, x, want)
			}
		}
		if n := connections.Load(); n != 1 {
			t.Errorf("TLS %t: %d connections, want 1", secure, n)
		}
		s.Close()
	}
}

// A long request to a receiver that neither reads nor answers is a timeout that
// says how far it came.
func TestDoTimesOutWhileSending(t *testing.T) {
	t.Parallel()
	url := serve(t, func(net.Conn) { <-t.Context().Done() })
	x := do(t, newClient(t, Config{Dev: true, Timeout: brief}), Request{URL: url, Body: make([]byte, 32<<20)})
	if x.Failure != cybervault.FailureTimeout || !strings.Contains(x.Error, "still sending the request") {
		t.Errorf("failure %q, %q", x.Failure, x.Error)
	}
}

// One that closes while we send has not answered; it is no timeout.
func TestDoNamesAReceiverThatClosesWhileWeSend(t *testing.T) {
	t.Parallel()
	url := serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 100))
		_ = c.(*net.TCPConn).CloseWrite()
		<-t.Context().Done()
	})
	x := do(t, newClient(t, Config{Dev: true}), Request{URL: url, Body: make([]byte, 32<<20)})
	if x.Failure != cybervault.FailureProtocol || x.Error != "the receiver closed the connection before it answered" {
		t.Errorf("failure %q, %q", x.Failure, x.Error)
	}
}

// What a receiver sends beyond its answer never becomes the answer to another
// request, whether it comes along or later.
func TestDoIsNotPoisoned(t *testing.T) {
	t.Parallel()
	const poison = "HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\npoison"
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{issueForLoopback(t, ca)}}
	for name, send := range map[string]func(c io.Writer, idle <-chan struct{}, sent chan<- struct{}){
		"in one piece": func(c io.Writer, _ <-chan struct{}, sent chan<- struct{}) {
			_, _ = io.WriteString(c, okAnswer+poison)
			sent <- struct{}{}
		},
		"while idle": func(c io.Writer, idle <-chan struct{}, sent chan<- struct{}) {
			_, _ = io.WriteString(c, okAnswer)
			<-idle
			_, _ = io.WriteString(c, poison)
			sent <- struct{}{}
		},
		"a timeout before it closes": func(c io.Writer, idle <-chan struct{}, sent chan<- struct{}) {
			_, _ = io.WriteString(c, okAnswer)
			<-idle
			_, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			_ = c.(io.Closer).Close()
			sent <- struct{}{}
		},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %t", name, secure), func(t *testing.T) {
				t.Parallel()
				idle, sent := make(chan struct{}, 1), make(chan struct{}, 1)
				var requests atomic.Int32
				url := serve(t, func(c net.Conn) {
					if secure {
						c = tls.Server(c, config)
					}
					if _, _, err := request(c); err != nil {
						return
					}
					requests.Add(1)
					send(c, idle, sent)
					until(c)
				})
				if secure {
					url = strings.Replace(url, "http:", "https:", 1)
				}
				client := newClient(t, Config{Dev: true})
				for range 5 {
					x := do(t, client, Request{URL: url, CACertificate: map[bool]string{true: ca.pem}[secure]})
					if x.Status != 200 || string(x.Body) != "ok" {
						t.Fatalf("exchange = %+v, body %q", x, x.Body)
					}
					idle <- struct{}{}
					<-sent
					select {
					case <-idle: // nobody waited for it
					default:
					}
				}
				if n := requests.Load(); n != 5 {
					t.Errorf("%d requests arrived, want 5", n)
				}
			})
		}
	}
}

// The end of a context ends its exchange at once, and touches no other that
// comes over the same connection.
func TestDoContextsShareAConnection(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	arrived := make(chan struct{})
	url := serve(t, func(c net.Conn) {
		connections.Add(1)
		r := bufio.NewReader(c)
		for {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, q.Body)
			if q.URL.Path == "/hang" {
				close(arrived)
				until(c)
				return
			}
			_, _ = io.WriteString(c, okAnswer)
		}
	})
	client := newClient(t, Config{Dev: true})
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		x, err := client.Do(ctx, Request{URL: url, Body: []byte("{}")})
		cancel() // of a connection that is idle now
		if err != nil || x.Status != 200 {
			t.Fatalf("exchange %+v, error %v", x, err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if x, err := client.Do(ctx, Request{URL: url + "hang", Body: []byte("{}")}); err == nil || x.Failure != "" {
		t.Errorf("exchange %+v, error %v; want the context's and no failure", x, err)
	}
	if x, err := client.Do(ctx, Request{URL: url}); err == nil || x.Failure != "" {
		t.Errorf("a context that is over: exchange %+v, error %v", x, err)
	}
}

// The time that a body has does not outlive the end of the context.
func TestLinkStaysBrokenOff(t *testing.T) {
	t.Parallel()
	links := &idleLinks{t: t}
	l := links.link("x")
	ctx, cancel := context.WithCancel(t.Context())
	if err := l.begin(ctx, time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	context.AfterFunc(ctx, func() { close(ended) })
	cancel()
	<-ended
	l.grace = patient
	if _, err := l.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error = %v", err)
	}
	l.grace = patient
	if _, err := l.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || l.end() {
		t.Errorf("error = %v, or the link may be used again", err)
	}
}

// Many exchanges at once over connections that close at every turn: each gets
// its own answer, and none is sent twice.
func TestDoUnderStress(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[string(body)]++
		n := len(seen)
		mu.Unlock()
		if n%7 == 0 {
			w.Header().Set("Connection", "close")
		}
		w.Header().Set("X-Echo", string(body))
		if n%3 == 0 {
			_, _ = w.Write(body[:1])
			_ = http.NewResponseController(w).Flush() // chunked
			body = body[1:]
		}
		_, _ = w.Write(body)
	}))
	defer s.Close()
	client := newClient(t, Config{Dev: true})
	const workers, each = 16, 100
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for i := range each {
				body := fmt.Sprintf("%d/%d", worker, i)
				x, err := client.Do(t.Context(), Request{URL: s.URL, Body: []byte(body)})
				at := slices.IndexFunc(x.Answer, func(h cybervault.Header) bool { return h.Name == "X-Echo" })
				if err != nil || x.Status != 200 || string(x.Body) != body || at < 0 || x.Answer[at].Value != body {
					t.Errorf("%s: exchange %+v, body %q, error %v", body, x, x.Body, err)
				}
			}
		})
	}
	all.Wait()
	for body, n := range seen {
		if n != 1 {
			t.Errorf("%s arrived %d times", body, n)
		}
	}
	if len(seen) != workers*each {
		t.Errorf("%d requests arrived, want %d", len(seen), workers*each)
	}
}

// A host that gives HTTP/2 up is spoken to over links again, and one that takes
// it up goes over the transport.
func TestDoFollowsTheProtocolOfAHost(t *testing.T) {
	t.Parallel()
	var plain atomic.Bool
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = quiet()
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if !plain.Load() {
			return nil, nil
		}
		return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"http/1.1"}}, nil
	}
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	client := newClient(t, Config{Dev: true, RootCAs: roots})
	id := client.shared
	expect := func(protocol string, known bool, idle int) {
		t.Helper()
		x := do(t, client, Request{URL: s.URL})
		if x.Status != 200 || x.Protocol != protocol || x.TLS == nil || x.TLS.Version != "TLS 1.3" {
			t.Fatalf("exchange = %+v, want %s", x, protocol)
		}
		if _, ok := id.http2.get("https://" + s.Listener.Addr().String()); ok != known || id.idle.count != idle {
			t.Fatalf("known to speak HTTP/2: %t, %d idle links; want %t, %d", ok, id.idle.count, known, idle)
		}
	}
	renew := func() {
		id.CloseIdleConnections()
		for _, l := range id.idle.byOrigin["https://"+s.Listener.Addr().String()] {
			_ = l.conn.Close()
		}
	}
	expect("HTTP/2.0", true, 0)
	expect("HTTP/2.0", true, 0)
	plain.Store(true)
	renew()
	expect("HTTP/1.1", false, 0) // over the transport, this once
	expect("HTTP/1.1", false, 1)
	expect("HTTP/1.1", false, 1)
	plain.Store(false)
	renew()
	expect("HTTP/2.0", true, 0)
}

func TestDoAllocatesLittle(t *testing.T) {
	url := serve(t, func(c net.Conn) {
		buffer := make([]byte, 4096)
		answer := []byte(okAnswer)
		for {
			n, err := c.Read(buffer)
			if err != nil {
				return
			}
			if bytes.HasSuffix(buffer[:n], []byte("{}")) {
				_, _ = c.Write(answer)
			}
		}
	})
	client := newClient(t, Config{Dev: true})
	r := Request{URL: url, Header: benchHeaders(), Body: []byte("{}")}
	ctx := t.Context()
	n := testing.AllocsPerRun(200, func() {
		if x, err := client.Do(ctx, r); err != nil || x.Status != 200 {
			t.Errorf("exchange %+v, error %v", x, err)
		}
	})
	if n > 10 {
		t.Errorf("%v allocations an exchange, want 10 at most", n)
	}
}
