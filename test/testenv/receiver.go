package testenv

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Received is one request that a Receiver was sent.
type Received struct {
	Number int // 1, 2, 3 … in the order of arrival, over all requests
	At     time.Time
	Method string
	Path   string // with the query
	Proto  string // "HTTP/1.1", "HTTP/2.0"
	Header http.Header
	Body   []byte
}

// An Answer answers one request; the body has been read already. It is called
// from many goroutines at once. It may block, and is released when the sender
// goes away or the test ends: see the request's context.
type Answer func(w http.ResponseWriter, r *http.Request, got Received)

// Status answers every request with the given status code and nothing else.
func Status(code int) Answer {
	return func(w http.ResponseWriter, _ *http.Request, _ Received) { w.WriteHeader(code) }
}

// Receiver is an HTTP or HTTPS server on loopback that records what it is
// sent, and answers as it is told. Safe for concurrent use.
type Receiver struct {
	// URL is the address of its root, "https://127.0.0.1:PORT" or http.
	URL string
	// CAPEM is the certificate to trust for an HTTPS receiver, "" for HTTP.
	CAPEM string

	t      testing.TB
	server *httptest.Server
	errors *tail

	mu       sync.Mutex
	answer   Answer
	received []Received
	changed  chan struct{} // closed, and made anew, with each request
}

// NewReceiver starts a receiver over HTTPS, HTTP/2 included, that answers 200
// until AnswerWith says otherwise. It ends with the test.
func NewReceiver(t testing.TB) *Receiver {
	t.Helper()
	r := newReceiver(t)
	r.server.EnableHTTP2 = true
	r.server.StartTLS()
	r.URL = r.server.URL
	// The server's certificate is its own authority.
	r.CAPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw}))
	return r
}

// NewPlainReceiver is NewReceiver over HTTP.
func NewPlainReceiver(t testing.TB) *Receiver {
	t.Helper()
	r := newReceiver(t)
	r.server.Start()
	r.URL = r.server.URL
	return r
}

func newReceiver(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{t: t, errors: new(tail), answer: Status(http.StatusOK), changed: make(chan struct{})}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(r.errors, nil), slog.LevelError)
	t.Cleanup(func() {
		r.server.CloseClientConnections()
		r.server.Close()
		if t.Failed() && r.errors.String() != "" {
			t.Logf("the receiver logged:\n%s", r.errors)
		}
	})
	return r
}

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender broke off: it did not send this
	}
	got := Received{
		At: time.Now(), Method: req.Method, Path: req.URL.RequestURI(), Proto: req.Proto,
		Header: req.Header.Clone(), Body: body,
	}
	r.mu.Lock()
	got.Number = len(r.received) + 1
	r.received = append(r.received, got)
	close(r.changed)
	r.changed = make(chan struct{})
	answer := r.answer
	r.mu.Unlock()
	answer(w, req, got)
}

// AnswerWith sets what answers from now on.
func (r *Receiver) AnswerWith(answer Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// Received returns what has arrived, in the order of arrival. The caller may
// keep the slice; bodies and headers are shared and must not be changed.
func (r *Receiver) Received() []Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Received(nil), r.received...)
}

// Wait waits until done says that what has arrived is all of it, and returns
// it. done is asked at first and after each request. When the limit is over the
// test fails at once, with what was waited for and what had arrived.
func (r *Receiver) Wait(limit time.Duration, what string, done func([]Received) bool) []Received {
	r.t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		received, changed := append([]Received(nil), r.received...), r.changed
		r.mu.Unlock()
		if done(received) {
			return received
		}
		select {
		case <-changed:
		case <-deadline.C:
			r.t.Fatalf("waited %s for %s; the receiver got %s", limit, what, summary(received))
		}
	}
}

// WaitFor waits until n requests have arrived.
func (r *Receiver) WaitFor(limit time.Duration, n int) []Received {
	r.t.Helper()
	return r.Wait(limit, fmt.Sprintf("%d requests", n), func(got []Received) bool { return len(got) >= n })
}

// summary shows the last few requests.
func summary(received []Received) string {
	const shown = 10
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests", len(received))
	for _, got := range received[max(0, len(received)-shown):] {
		fmt.Fprintf(&b, "\n  %d %s %s %s %s", got.Number, got.At.Format("15:04:05.000"), got.Method, got.Path, bytes.TrimSpace(got.Body[:min(len(got.Body), 200)]))
	}
	return b.String()
}
