package bench

import (
	"bytes"
	"context"
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
	if err := json.NewEncoder(w).Encode(received{Requests: r.requests, Distinct: len(r.seen), Latencies: r.lat}); err != nil {
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
// ctx ends, and prints the address to out.
func Receiver(ctx context.Context, out io.Writer) error {
	r := &receiver{seen: map[cybervault.UUID]struct{}{}}
	mux := http.NewServeMux()
	mux.Handle("POST /hook", r)
	mux.HandleFunc("POST /stall", stall)
	mux.HandleFunc("GET /stats", r.stats)
	mux.HandleFunc("GET /count", r.count)
	mux.HandleFunc("POST /reset", r.reset)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if _, err := fmt.Fprintln(out, ReceiverMarker+listener.Addr().String()); err != nil {
		return fmt.Errorf("print the address: %w", err)
	}
	if err := server.Serve(listener); ctx.Err() == nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
