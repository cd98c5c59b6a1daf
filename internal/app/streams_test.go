package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

// taker is a router whose answers a test decides.
type taker struct {
	mu       sync.Mutex
	refuse   error
	accepted []cybervault.PublishRequest
	tries    int
}

func (p *taker) PublishBatch(_ context.Context, _ cybervault.WorkspaceID, reqs []cybervault.PublishRequest) []cybervault.PublishOutcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries++
	out := make([]cybervault.PublishOutcome, len(reqs))
	for i, r := range reqs {
		if out[i].Err = p.refuse; p.refuse == nil {
			p.accepted = append(p.accepted, r)
		}
	}
	return out
}

func newFeed(t *testing.T, p *taker) *feed {
	t.Helper()
	pipe, err := newPipeline(detect.Config{}, observe.NewMetrics("test"))
	if err != nil {
		t.Fatal(err)
	}
	pipe.publisher, pipe.incidents = p, noIncidents{}
	a := &App{pipeline: pipe, log: slog.New(slog.DiscardHandler)}
	return a.feed()
}

// attack are pieces that lead to one threat, with broken ones among them.
func attack() []stream.Piece {
	const line = `203.0.113.7 - - [10/Mar/2026:09:12:33 +0100] "GET /?id=1%27%20UNION%20SELECT%20password%20FROM%20users--%20 HTTP/1.1" 200 5 "-" "x"`
	var pieces []stream.Piece
	for range 3 {
		pieces = append(pieces, stream.Piece{Source: "nginx", Format: "access", Data: []byte(line)})
	}
	return append(pieces,
		stream.Piece{Source: "nginx", Format: "access", Data: []byte("no line of an access log")},
		stream.Piece{Source: "api", Data: []byte(`{"method":"GET","url":`)},
		stream.Piece{Source: "nginx", Format: "access", Data: []byte(line + "\nno line")},
		stream.Piece{Source: "nginx"})
}

// Pieces are judged once; what was found waits for the store however long it is
// in trouble, and is published once.
func TestWhatWasFoundWaitsForTheStore(t *testing.T) {
	t.Parallel()
	p := &taker{refuse: cybervault.Errorf(cybervault.CodeUnavailable, "the disk is full")}
	f := newFeed(t, p)
	receipt, err := f.Judge(t.Context(), attack())
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Records != 4 || len(receipt.Unreadable) != 3 {
		t.Fatalf("receipt: %+v, want 4 records and 3 pieces with something unreadable", receipt)
	}
	for i, want := range []stream.Unreadable{{Piece: 3, Whole: true}, {Piece: 4, Whole: true}, {Piece: 5}} {
		if got := receipt.Unreadable[i]; got.Piece != want.Piece || got.Whole != want.Whole || got.Reason == "" {
			t.Errorf("unreadable: %+v, want piece %d, whole %v, with a reason", got, want.Piece, want.Whole)
		}
	}
	for range 2 * maxFailures {
		if err := f.Settle(t.Context()); cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
			t.Fatalf("Settle with the store in trouble: %v, want CodeUnavailable", err)
		}
	}
	p.refuse = nil
	for range 2 {
		if err := f.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.accepted) != 1 || p.accepted[0].IdempotencyKey == "" {
		t.Fatalf("%d events were published, want one with a key", len(p.accepted))
	}
	if !strings.Contains(string(p.accepted[0].Data), `"count":4`) {
		t.Errorf("the tries counted: %s", p.accepted[0].Data)
	}
}

// A finding that will never be taken does not stop what comes after it.
func TestAFindingThatIsRefusedIsLetGo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		tries int
	}{
		"for what it is":            {cybervault.Invalid("data", "is wrong"), 1},
		"for no reason that passes": {errors.New("a fault"), maxFailures},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &taker{refuse: c.err}
			f := newFeed(t, p)
			if _, err := f.Judge(t.Context(), attack()); err != nil {
				t.Fatal(err)
			}
			for f.Settle(t.Context()) != nil {
				if p.tries > c.tries {
					t.Fatalf("the finding is still tried after %d times", p.tries)
				}
			}
			if p.tries != c.tries {
				t.Errorf("the finding was let go after %d tries, want %d", p.tries, c.tries)
			}
			w := httptest.NewRecorder()
			f.pipeline.metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
			if !strings.Contains(w.Body.String(), "\ncybervault_findings_dropped_total 1\n") {
				t.Error("the finding that was let go is not counted")
			}
		})
	}
}

// figures is a source with figures and nothing else.
type figures stream.Stats

func (figures) Run(context.Context)   {}
func (f figures) Stats() stream.Stats { return stream.Stats(f) }

func TestTheMetricsShowTheStreams(t *testing.T) {
	t.Parallel()
	a := &App{streams: []source{figures{
		Stream: "kafka", Connected: true, Retries: 3, LastError: time.Unix(1700000000, 0),
		Topics: map[string]stream.TopicStats{"nginx": {Records: 10, Unreadable: 2, Unkeyed: 4, Repeated: 1, Lag: 7, LagKnown: true}, "auth": {}},
	}}}
	metrics := observe.NewMetrics("test")
	metrics.FollowStreams(a.streamStats)
	w := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	for _, want := range []string{
		`cybervault_stream_connected{stream="kafka"} 1`,
		`cybervault_stream_retries_total{stream="kafka"} 3`,
		`cybervault_stream_last_error_timestamp_seconds{stream="kafka"} 1.7e+09`,
		`cybervault_stream_records_total{stream="kafka",topic="nginx"} 10`,
		`cybervault_stream_unreadable_total{stream="kafka",topic="nginx"} 2`,
		`cybervault_stream_unkeyed_total{stream="kafka",topic="nginx"} 4`,
		`cybervault_stream_repeated_total{stream="kafka",topic="nginx"} 1`,
		`cybervault_stream_lag{stream="kafka",topic="nginx"} 7`,
		`cybervault_stream_records_total{stream="kafka",topic="auth"} 0`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(w.Body.String(), `cybervault_stream_lag{stream="kafka",topic="auth"}`) {
		t.Error("a lag is shown that is not known")
	}
}
