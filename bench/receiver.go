package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// ReceiverMarker precedes the address in the line that Receiver prints.
const ReceiverMarker = "receiver listening on "

// received is what the receiver has counted since the last reset.
type received struct {
	Requests  int             `json:"requests"`
	Distinct  int             `json:"distinct"` // by delivery
	Latencies []time.Duration `json:"latencies"`
	Protocol  string          `json:"protocol"` // of the last request
}

// The protocols that a receiver over TLS can speak.
const (
	ProtocolHTTP1 = "http/1.1"
	ProtocolHTTP2 = "h2"
)

// ReceiverTLS makes a receiver take deliveries over TLS too.
type ReceiverTLS struct {
	Protocol    string // ProtocolHTTP1 or ProtocolHTTP2
	Certificate tls.Certificate
	CA          []byte // PEM of who signed it
}

// secureAddress is where a receiver takes deliveries over TLS.
type secureAddress struct {
	Address string `json:"address"`
	CA      string `json:"ca"`
}

// sentAt precedes the moment of publishing, in Unix nanoseconds, in a body.
var sentAt = []byte(`"sent_at":`)

// receiver answers 200 and counts. It does as little as a receiver can, since
// it shares the machine with what is measured.
type receiver struct {
	mu       sync.Mutex
	seen     map[cybervault.UUID]struct{}
	requests int
	lat      []time.Duration
	protocol string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var buf [2048]byte
	n := 0
	for n < len(buf) {
		m, err := req.Body.Read(buf[n:])
		n += m
		if err != nil {
			break
		}
	}
	_, _ = io.Copy(io.Discard, req.Body)
	now := time.Now().UnixNano()
	latency := time.Duration(-1)
	if _, after, ok := bytes.Cut(buf[:n], sentAt); ok {
		end := bytes.IndexFunc(after, func(c rune) bool { return c < '0' || c > '9' })
		if at, err := strconv.ParseInt(string(after[:max(end, 0)]), 10, 64); err == nil && at > 0 {
			latency = time.Duration(now - at)
		}
	}
	id := deliveryID(req.Header["X-Cybervault-Delivery"])
	r.mu.Lock()
	r.requests++
	r.seen[id] = struct{}{}
	r.protocol = req.Proto
	if latency >= 0 {
		r.lat = append(r.lat, latency)
	}
	r.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}

// deliveryID reads the id in its header; zero for what is none. It costs less
// than the text does as the key of a map.
func deliveryID(header []string) (id cybervault.UUID) {
	const prefix = "dlv_"
	if len(header) != 1 || len(header[0]) != len(prefix)+36 {
		return id
	}
	var digits [32]byte
	n := 0
	for i := len(prefix); i < len(header[0]) && n < len(digits); i++ {
		if c := header[0][i]; c != '-' {
			digits[n] = c
			n++
		}
	}
	if _, err := hex.Decode(id[:], digits[:]); err != nil {
		return cybervault.UUID{}
	}
	return id
}

func (r *receiver) stats(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := json.NewEncoder(w).Encode(received{Requests: r.requests, Distinct: len(r.seen), Latencies: r.lat, Protocol: r.protocol}); err != nil {
		panic(http.ErrAbortHandler) // the load is told by a broken answer
	}
}

func (r *receiver) count(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprint(w, len(r.seen))
}

// reset forgets everything, and makes room for what is expected, so that the
// map does not grow while somebody measures.
func (r *receiver) reset(_ http.ResponseWriter, req *http.Request) {
	expect, _ := strconv.Atoi(req.URL.Query().Get("expect"))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.requests, r.lat = make(map[cybervault.UUID]struct{}, max(expect, 0)), 0, nil
}

// stall never answers: it holds the request until the client gives up.
func stall(_ http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	<-req.Context().Done()
}

// Receiver runs the receiver of the benchmarks on a free loopback port until
// ctx ends, and prints the address to out. With secure it takes deliveries on
// another port over TLS, of which GET /tls tells.
func Receiver(ctx context.Context, out io.Writer, secure *ReceiverTLS) error {
	r := &receiver{seen: map[cybervault.UUID]struct{}{}}
	mux := http.NewServeMux()
	mux.Handle("POST /hook", r)
	mux.HandleFunc("POST /stall", stall)
	mux.HandleFunc("GET /stats", r.stats)
	mux.HandleFunc("GET /count", r.count)
	mux.HandleFunc("POST /reset", r.reset)
	failed := make(chan error, 2)
	serve := func(listener net.Listener) {
		server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
		if listener, ok := listener.(tlsListener); ok {
			server.TLSConfig = listener.config
			failed <- server.ServeTLS(listener.Listener, "", "")
			return
		}
		failed <- server.Serve(listener)
	}
	plain, err := listen(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	if secure != nil {
		inner, err := listen(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = inner.Close() }()
		mux.HandleFunc("GET /tls", func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(secureAddress{inner.Addr().String(), string(secure.CA)})
		})
		go serve(tlsListener{inner, &tls.Config{Certificates: []tls.Certificate{secure.Certificate}, NextProtos: []string{secure.Protocol}, MinVersion: tls.VersionTLS12}})
	}
	go serve(plain)
	if _, err := fmt.Fprintln(out, ReceiverMarker+plain.Addr().String()); err != nil {
		return fmt.Errorf("print the address: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	}
}

// tlsListener is a listener whose connections are to speak TLS.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

func listen(ctx context.Context) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return listener, nil
}
