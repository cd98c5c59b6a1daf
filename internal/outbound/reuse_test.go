package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/cybervault/cybervault"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// A receiver that closes idle connections costs nothing: the next request goes
// over a new one, and arrives once.
func TestDoStepsOverConnectionsClosedWhileIdle(t *testing.T) {
	t.Parallel()
	var connections, requests atomic.Int32
	closed := make(chan struct{})
	url := serve(t, func(c net.Conn) {
		connections.Add(1)
		if _, _, err := request(c); err != nil {
			return
		}
		requests.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_ = c.Close()
		closed <- struct{}{}
	})
	client := newClient(t, Config{Dev: true})
	const rounds = 200 // many, to meet net/http at every moment of its finding out
	for i := range rounds {
		x := do(t, client, Request{URL: url})
		if x.Status != 200 || string(x.Body) != "ok" {
			t.Fatalf("round %d: exchange = %+v", i, x)
		}
		<-closed
	}
	if connections.Load() != rounds || requests.Load() != rounds {
		t.Errorf("%d connections and %d requests, want %d each", connections.Load(), requests.Load(), rounds)
	}
}

// The same over TLS, where the peer's close_notify comes before its FIN.
func TestDoStepsOverTLSConnectionsClosedWhileIdle(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{issueForLoopback(t, ca)}}
	closed := make(chan struct{})
	var requests atomic.Int32
	url := serve(t, func(c net.Conn) {
		session := tls.Server(c, config)
		if _, _, err := request(session); err != nil {
			return
		}
		requests.Add(1)
		_, _ = io.WriteString(session, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_ = session.Close()
		closed <- struct{}{}
	})
	client := newClient(t, Config{Dev: true})
	const rounds = 50
	for i := range rounds {
		x := do(t, client, Request{URL: strings.Replace(url, "http:", "https:", 1), CACertificate: ca.pem})
		if x.Status != 200 {
			t.Fatalf("round %d: exchange = %+v", i, x)
		}
		<-closed
	}
	if requests.Load() != rounds {
		t.Errorf("%d requests, want %d", requests.Load(), rounds)
	}
}

// A request that was read and then got no answer may have been processed: it
// is a failed attempt, and is not sent again behind the caller's back.
func TestDoNeverRepeatsARequestThatWasRead(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	url := serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for i := 0; ; i++ {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, q.Body)
			requests.Add(1)
			if i == 1 {
				return // read, perhaps processed, never answered
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	client := newClient(t, Config{Dev: true})
	if x := do(t, client, Request{URL: url}); x.Status != 200 {
		t.Fatalf("exchange = %+v", x)
	}
	x := do(t, client, Request{URL: url})
	if x.Failure != cybervault.FailureProtocol || !strings.Contains(x.Error, "before it answered") {
		t.Errorf("exchange = %+v", x)
	}
	if requests.Load() != 2 {
		t.Errorf("%d requests arrived, want 2", requests.Load())
	}
}

// A connection is not used again past the time its peer said it keeps it.
func TestDoHeedsKeepAlive(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value string
		want  time.Duration
	}{
		{"timeout=5", 4 * time.Second},
		{"timeout=5, max=1000", 4 * time.Second},
		{"max=3, Timeout = 60", 0}, // no spaces in a parameter
		{"max=3, Timeout=60", 48 * time.Second},
		{`timeout="10"`, 8 * time.Second},
		{"timeout=0", time.Millisecond},
		{"timeout=x", 0},
		{"timeout=99999999999", 0},
		{"", 0},
	} {
		c := &conn{}
		noteKeepAlive(c, http.Header{"Keep-Alive": {test.value}})
		if got := time.Duration(c.keep.Load()); got != test.want {
			t.Errorf("%q: %v, want %v", test.value, got, test.want)
		}
	}
	c := &conn{alive: func() bool { return true }}
	c.keep.Store(int64(4 * time.Second))
	if c.reuse(3 * time.Second); c.stale.Load() {
		t.Error("refused within the time")
	}
	if c.reuse(4*time.Second + 1); !c.stale.Load() {
		t.Error("taken after the time")
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, errStale) {
		t.Errorf("error = %v, want errStale", err)
	}

	// And the exchange that meets such a connection succeeds on another.
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Keep-Alive", "timeout=0")
		w.Header().Set("Connection", "keep-alive")
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	client := newClient(t, Config{Dev: true})
	for range 3 {
		if x := do(t, client, Request{URL: s.URL}); x.Status != 200 {
			t.Fatalf("exchange = %+v", x)
		}
		idle := time.NewTimer(5 * time.Millisecond) // the time itself is what is tested
		<-idle.C
	}
	if connections.Load() != 3 {
		t.Errorf("%d connections, want 3", connections.Load())
	}
}

func TestDoReusesConnections(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		body int
		h2   bool
		most int32
	}{{"empty", 0, false, 4}, {"kept", 1000, false, 4}, {"more than is kept", MaxReadBodyBytes / 2, false, 4}, {"HTTP/2", 1000, true, 1}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var connections atomic.Int32
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = w.Write(make([]byte, test.body))
			}))
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					connections.Add(1)
				}
			}
			s.EnableHTTP2 = test.h2
			s.StartTLS()
			defer s.Close()
			client := newClient(t, Config{Dev: true})
			ca := caOf(s)
			for range 20 {
				do(t, client, Request{URL: s.URL, CACertificate: ca})
			}
			// One request after the other needs one connection, on any machine.
			if n := connections.Load(); n != 1 {
				t.Errorf("%d connections for requests one after the other, want 1", n)
			}
			var workers sync.WaitGroup
			for range test.most {
				workers.Go(func() {
					for range 50 {
						if x := do(t, client, Request{URL: s.URL, CACertificate: ca}); x.Status != 200 {
							t.Errorf("exchange = %+v", x)
						}
					}
				})
			}
			workers.Wait()
			// A worker that finds no connection dials, and may be given one that
			// comes back while its handshake is still under way; on a slow machine
			// that happens several times over. Without reuse there would be as many
			// connections as requests.
			if requests, n := 50*test.most+1, connections.Load(); n > requests/4 {
				t.Errorf("%d connections for %d requests of %d workers", n, requests, test.most)
			}
		})
	}
}

// HTTP/2 says which streams it has not processed: those are sent again.
func TestDoHTTP2GoAway(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{issueForLoopback(t, ca)}, NextProtos: []string{"h2"}}
	var connections, answered atomic.Int32
	url := serve(t, func(c net.Conn) {
		first := connections.Add(1) == 1
		session := tls.Server(c, config)
		framer := startHTTP2(session)
		for framer != nil {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			headers, ok := frame.(*http2.HeadersFrame)
			switch {
			case !ok:
			case first: // refused unread: the last processed stream is 0
				_ = framer.WriteGoAway(0, http2.ErrCodeNo, nil)
				until(session)
				return
			default:
				answered.Add(1)
				// Index 8 of HPACK's static table is ":status: 200".
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: headers.StreamID, BlockFragment: []byte{0x88}, EndStream: true, EndHeaders: true})
			}
		}
	})
	x := do(t, newClient(t, Config{Dev: true}), Request{URL: strings.Replace(url, "http:", "https:", 1), CACertificate: ca.pem})
	// net/http may dial one connection more than it then uses.
	if x.Status != 200 || x.Protocol != "HTTP/2.0" || connections.Load() < 2 || answered.Load() != 1 {
		t.Errorf("exchange = %+v over %d connections, answered %d times, want 200 on another, once", x, connections.Load(), answered.Load())
	}
}

func TestDoHTTP2BrokenOff(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{issueForLoopback(t, ca)}, NextProtos: []string{"h2"}}
	for name, answer := range map[string]func(*http2.Framer, uint32){
		"reset": func(f *http2.Framer, id uint32) { _ = f.WriteRSTStream(id, http2.ErrCodeInternal) },
		"goaway": func(f *http2.Framer, id uint32) {
			_ = f.WriteGoAway(id, http2.ErrCodeEnhanceYourCalm, []byte("calm\x1b"))
		},
		"data first": func(f *http2.Framer, id uint32) { _ = f.WriteData(id, true, []byte("x")) },
		"invalid header": func(f *http2.Framer, id uint32) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			url := serve(t, func(c net.Conn) {
				session := tls.Server(c, config)
				framer := startHTTP2(session)
				for framer != nil {
					frame, err := framer.ReadFrame()
					if err != nil {
						return
					}
					if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
						requests.Add(1)
						answer(framer, data.StreamID)
						if name == "goaway" {
							return
						}
					}
				}
			})
			x := do(t, newClient(t, Config{Dev: true}), Request{URL: strings.Replace(url, "http:", "https:", 1), CACertificate: ca.pem})
			if x.Failure != cybervault.FailureProtocol || x.Error == "" || strings.Contains(x.Error, "\x1b") {
				t.Errorf("exchange = %+v, want a protocol failure", x)
			}
			if requests.Load() != 1 {
				t.Errorf("%d requests arrived, want 1", requests.Load())
			}
		})
	}
}

// startHTTP2 makes the server's side of a connection, or returns nil.
func startHTTP2(session *tls.Conn) *http2.Framer {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(session, preface); err != nil {
		return nil
	}
	framer := http2.NewFramer(session, session)
	if framer.WriteSettings() != nil || framer.WriteSettingsAck() != nil {
		return nil
	}
	return framer
}

// net/http gives up on a POST whose pooled connection it finds closed just
// after taking it. Here the peer closes at exactly that moment. This also fails
// if the text of net/http's error, which it does not export, ever changes. It is
// asked directly: HTTP/1.1 comes to it only where a host gives HTTP/2 up.
func TestDoStepsOverAConnectionClosedAsItIsTaken(t *testing.T) {
	t.Parallel()
	hangUp := make(chan struct{})
	var connections, requests atomic.Int32
	url := serve(t, func(c net.Conn) {
		first := connections.Add(1) == 1
		if _, _, err := request(c); err != nil {
			return
		}
		requests.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		if first {
			<-hangUp
			return
		}
		until(c)
	})
	transport := newClient(t, Config{Dev: true}).shared.Transport
	send := func(ctx context.Context) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := roundTrip(transport, req)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("answer %v, error %v, %d connections, %d requests; want 200", answer, err, connections.Load(), requests.Load())
		}
		_ = answer.Body.Close()
	}
	send(t.Context())
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			return
		}
		close(hangUp)
		for deadline := time.Now().Add(patient); time.Now().Before(deadline); runtime.Gosched() {
			if errors.Is(info.Conn.SetDeadline(time.Time{}), net.ErrClosed) {
				return // net/http has read the end and closed its side
			}
		}
		t.Error("the connection stayed open")
	}})
	send(ctx)
	if connections.Load() != 2 || requests.Load() != 2 {
		t.Errorf("%d connections, %d requests; want 2 each", connections.Load(), requests.Load())
	}
}
