package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/incident"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/store"
	"github.com/cybervault/cybervault/test/testenv"
)

// keeper is a router that keeps each key once, and fails now and then: before it
// has kept anything, or after.
type keeper struct {
	mu    sync.Mutex
	rng   *rand.Rand
	flaky bool
	kept  map[string]cybervault.PublishRequest
	order []cybervault.PublishRequest
}

func newKeeper() *keeper {
	return &keeper{rng: rand.New(rand.NewPCG(3, 5)), kept: map[string]cybervault.PublishRequest{}}
}

func (k *keeper) PublishBatch(_ context.Context, _ cybervault.WorkspaceID, reqs []cybervault.PublishRequest) []cybervault.PublishOutcome {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]cybervault.PublishOutcome, len(reqs))
	for i, r := range reqs {
		if k.flaky && k.rng.IntN(3) == 0 {
			for ; i < len(reqs); i++ {
				out[i].Err = cybervault.Errorf(cybervault.CodeUnavailable, "full")
			}
			break
		}
		before, again := k.kept[r.IdempotencyKey]
		switch {
		case !again:
			k.kept[r.IdempotencyKey] = r
			k.order = append(k.order, r)
		case !bytes.Equal(before.Data, r.Data):
			out[i].Err = cybervault.Errorf(cybervault.CodeConflict, "other data: %s and %s", before.Data, r.Data)
			continue
		default:
			out[i].Receipt.Replayed = true
		}
	}
	if k.flaky && k.rng.IntN(3) == 0 { // kept, and nobody is told
		for i := range out {
			out[i].Err = cybervault.Errorf(cybervault.CodeUnavailable, "the answer was lost")
		}
	}
	return out
}

// node is one server as far as incidents go.
func node(t *testing.T, s *store.Store, number uint8, k *keeper) *pipeline {
	t.Helper()
	metrics := observe.NewMetrics("test")
	p, err := newPipeline(detect.Config{}, metrics)
	if err != nil {
		t.Fatal(err)
	}
	ids := cybervault.NewIDSource(number, 0, time.Now)
	p.publisher = k
	p.incidents = &incidents{
		store: s, metrics: metrics, publish: p.publishOnce, log: slog.New(slog.DiscardHandler), now: time.Now,
		manager: incident.New(incident.Config{Store: s, Now: time.Now, NewID: func(*cybervault.Finding) cybervault.IncidentID {
			return cybervault.NewID[cybervault.IncidentID](ids)
		}}),
	}
	return p
}

func openStore(t *testing.T, cfg store.Config) *store.Store {
	t.Helper()
	cfg.Key = bytes.Repeat([]byte{7}, store.KeySize)
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func testFinding(n int) cybervault.Finding {
	at := time.Date(2026, 5, 4, 8, n, 0, 0, time.UTC)
	subject := cybervault.MakeID[cybervault.ThreatID](int64(n+1)<<20, int64(n)).String()
	return cybervault.Finding{
		Type: cybervault.EventThreatDetected, Timestamp: at, Key: fmt.Sprint("detect_", n), Data: fmt.Appendf(nil, `{"threat_id":%q,"incident_id":null}`, subject),
		Gist: cybervault.Gist{Subject: subject, Severity: cybervault.SeverityHigh, Confidence: 0.9, Name: "xss", Count: 1, FirstSeen: at, LastSeen: at, SourceIP: "203.0.113.9"},
	}
}

// Several nodes, each of which is told of the same and of its own, over a router
// that fails half of the time: one incident, whose events come once and in order.
func testNodesShareIncidents(t *testing.T, stores []*store.Store) {
	ctx := t.Context()
	ws, err := stores[0].Workspace(ctx, cybervault.MakeID[cybervault.WorkspaceID](1<<20, 1), "first")
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper()
	k.flaky = true
	const own, nodes = 12, 4
	var all sync.WaitGroup
	pipes := make([]*pipeline, nodes)
	for n := range nodes {
		p := node(t, stores[n%len(stores)], uint8(n), k)
		pipes[n] = p
		all.Go(func() {
			for i := range own {
				// What it could not publish is kept, and goes out with the next.
				if _, err := p.publish(ctx, ws, []cybervault.Finding{testFinding(own*n + i), testFinding(1000 + i)}); err != nil && !unavailable(err) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	k.flaky = false
	for _, p := range pipes {
		if _, err := p.publish(ctx, ws, []cybervault.Finding{testFinding(2000)}); err != nil {
			t.Error(err)
		}
		if left := len(p.unpublished[ws]); left > 0 {
			t.Errorf("%d findings are left", left)
		}
	}
	page, err := stores[0].Incidents(ctx, cybervault.IncidentQuery{Workspace: ws, Limit: 100})
	if err != nil || len(page.Rows) != 1 {
		t.Fatalf("%d incidents, %v; want 1", len(page.Rows), err)
	}
	i := page.Rows[0]
	if want := nodes*own + own + 1; i.Evidence.Members != want {
		t.Errorf("it has %d members, want %d", i.Evidence.Members, want)
	}
	threats := 0
	var revisions []string
	for _, r := range k.order {
		var data struct {
			ID cybervault.IncidentID `json:"incident_id"`
		}
		if err := json.Unmarshal(r.Data, &data); err != nil || data.ID != i.ID {
			t.Errorf("%s %s: %v, want incident %s", r.IdempotencyKey, r.Data, err, i.ID)
		}
		if r.Type == cybervault.EventThreatDetected {
			threats++
		} else {
			revisions = append(revisions, r.Type)
		}
	}
	if threats != i.Evidence.Members {
		t.Errorf("%d threats were published, want %d", threats, i.Evidence.Members)
	}
	if len(revisions) != 4 || revisions[0] != cybervault.EventIncidentCreated || slices.Contains(revisions[1:], cybervault.EventIncidentCreated) {
		t.Errorf("told of the incident: %v", revisions)
	}
	if out, err := stores[0].OutgoingIncidentEvents(ctx, ws); err != nil || len(out.Events) != 0 {
		t.Errorf("%d events are yet to go out, %v", len(out.Events), err)
	}
}

func TestNodesShareIncidents(t *testing.T) {
	t.Parallel()
	testNodesShareIncidents(t, []*store.Store{openStore(t, store.Config{Path: filepath.Join(t.TempDir(), "cybervault.db")})})
}

func TestPostgresNodesShareIncidents(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	testNodesShareIncidents(t, []*store.Store{openStore(t, store.Config{DatabaseURL: url}), openStore(t, store.Config{DatabaseURL: url})})
}

// What people found on one node moves the confidence of the engine on another.
func TestWhatPeopleFoundReachesTheEngine(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openStore(t, store.Config{Path: filepath.Join(t.TempDir(), "cybervault.db")})
	ws, err := s.Workspace(ctx, cybervault.MakeID[cybervault.WorkspaceID](1<<20, 1), "first")
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper()
	p := node(t, s, 0, k)
	const line = `203.0.113.%d - - [10/Mar/2026:09:12:33 +0100] "GET /?id=1%%27%%20UNION%%20SELECT%%20password%%20FROM%%20users--%%20 HTTP/1.1" 200 5 "-" "x"` + "\n"
	confidence := func(host int) float64 {
		t.Helper()
		if _, err := p.Ingest(ctx, ws, "", "", strings.NewReader(fmt.Sprintf(line, host))); err != nil {
			t.Fatal(err)
		}
		for _, published := range slices.Backward(k.order) {
			var data struct {
				Confidence float64 `json:"confidence"`
				SourceIP   string  `json:"source_ip"`
			}
			if err := json.Unmarshal(published.Data, &data); err == nil && data.SourceIP == fmt.Sprint("203.0.113.", host) {
				return data.Confidence
			}
		}
		return 0 // too little to be told of
	}
	first := confidence(1)
	mine, _ := p.incidents.(*incidents)
	mine.workspace, mine.teach = ws, p.engine.SetDispositions
	page, err := s.Incidents(ctx, cybervault.IncidentQuery{Workspace: ws, Limit: 1})
	if err != nil || len(page.Rows) != 1 {
		t.Fatal(len(page.Rows), err)
	}
	no := cybervault.FalsePositive
	if _, err := mine.UpdateIncident(ctx, ws, page.Rows[0].ID, cybervault.IncidentChange{By: "ada", Disposition: &no}); err != nil {
		t.Fatal(err)
	}
	if second := confidence(2); second >= first {
		t.Errorf("after a false alarm the confidence is %v, and %v before", second, first)
	}
	// A node that starts later learns it too.
	engine, err := detect.New(detect.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var taught cybervault.DispositionCounts
	later := &incidents{store: s, workspace: ws, teach: func(ws cybervault.WorkspaceID, d cybervault.DispositionCounts) {
		taught = d
		engine.SetDispositions(ws, d)
	}}
	if err := later.learn(ctx); err != nil || taught["942100"].FalsePositives != 1 || taught["sql_injection"].FalsePositives != 1 {
		t.Errorf("learnt %v, %v", taught, err)
	}
}
