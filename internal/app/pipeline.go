package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/telemetry"
	"github.com/cybervault/cybervault/internal/telemetry/roster"
)

// maxTelemetryBytes bounds one upload of telemetry, after decompression.
const maxTelemetryBytes = 256 << 20

// maxUnpublished bounds the findings that are kept for a store that does not take
// them. Beyond it telemetry is refused before it is read.
const maxUnpublished = 1000

// publisher is the router as the pipeline needs it.
type publisher interface {
	PublishBatch(ctx context.Context, ws cybervault.WorkspaceID, reqs []cybervault.PublishRequest) []cybervault.PublishOutcome
}

// grouper knows which incident a finding belongs to.
type grouper interface {
	// Assign writes the incident of each finding into its data.
	Assign(ctx context.Context, ws cybervault.WorkspaceID, findings []cybervault.Finding) ([]cybervault.Finding, error)
	// Send publishes what became of the incidents by that.
	Send(ctx context.Context, ws cybervault.WorkspaceID) error
}

// pipeline leads telemetry through the threat engine to the router. Safe for
// concurrent use.
type pipeline struct {
	engine    *detect.Engine
	metrics   *observe.Metrics
	publisher publisher
	incidents grouper
	sources   roster.Roster
	intake    *intake // nil: nobody asks

	mu sync.Mutex
	// unpublished are findings that the store could not take. The engine has
	// told of them and will not again, so they go out with the next telemetry.
	unpublished map[cybervault.WorkspaceID][]cybervault.Finding
}

func newPipeline(config detect.Config, metrics *observe.Metrics) (*pipeline, error) {
	engine, err := detect.New(config)
	if err != nil {
		return nil, err
	}
	metrics.FollowEngine(func() observe.EngineStats {
		s := engine.Stats()
		return observe.EngineStats{OpenAttacks: s.OpenAttacks, WatchedSources: s.WatchedSources,
			Evicted: s.EvictedAttacks + s.EvictedSources, LateRecords: s.LateRecords, Hidden: s.Hidden, Failed: s.Failed}
	})
	return &pipeline{engine: engine, metrics: metrics, unpublished: map[cybervault.WorkspaceID][]cybervault.Finding{}}, nil
}

// Ingest reads telemetry to its end and publishes what it led to. The receipt
// is given when those events are on disk. An upload that breaks off has still
// been judged as far as it came.
func (p *pipeline) Ingest(ctx context.Context, ws cybervault.WorkspaceID, source, format string, body io.Reader) (cybervault.TelemetryReceipt, error) {
	return p.ingest(ctx, ws, func(add func(*cybervault.Record) error) (telemetry.Summary, error) {
		return telemetry.Parse(ctx, body, telemetry.Options{Source: source, Format: format, MaxBytes: maxTelemetryBytes}, add)
	})
}

// IngestOTLP does the same with an export of OTLP logs.
func (p *pipeline) IngestOTLP(ctx context.Context, ws cybervault.WorkspaceID, message []byte, asJSON bool) (cybervault.TelemetryReceipt, error) {
	return p.ingest(ctx, ws, func(add func(*cybervault.Record) error) (telemetry.Summary, error) {
		return telemetry.ParseOTLP(ctx, message, asJSON, telemetry.Options{}, add)
	})
}

func (p *pipeline) ingest(ctx context.Context, ws cybervault.WorkspaceID, read func(add func(*cybervault.Record) error) (telemetry.Summary, error)) (cybervault.TelemetryReceipt, error) {
	if p.behind(ws) {
		// What is left over goes out first; the rest is judged once it has.
		if _, err := p.publish(context.WithoutCancel(ctx), ws, nil); err != nil {
			return cybervault.TelemetryReceipt{}, err
		}
	}
	batch := p.engine.Begin(ws)
	sent := senders{}
	summary, readErr := read(func(rec *cybervault.Record) error {
		sent.count(rec)
		return batch.Add(ctx, rec)
	})
	sent.told(&p.sources, ws)
	// What was found is published even when the caller went away: the engine
	// will not tell of it again.
	ctx = context.WithoutCancel(ctx)
	findings, judgeErr := batch.End(ctx)
	p.metrics.Ingested(summary.Records, summary.Unreadable)
	p.intake.saw(time.Now(), ws, summary.Records, summary.Unreadable, findings)

	receipt := cybervault.TelemetryReceipt{Records: summary.Records, Unreadable: summary.Unreadable, Samples: summary.Samples}
	var err error
	receipt.Events, err = p.publish(ctx, ws, findings)
	switch {
	case err != nil:
		return receipt, err
	case readErr != nil:
		return receipt, readErr
	}
	return receipt, judgeErr
}

func (p *pipeline) behind(ws cybervault.WorkspaceID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.unpublished[ws]) >= maxUnpublished
}

// publish publishes findings, those left over from before first.
func (p *pipeline) publish(ctx context.Context, ws cybervault.WorkspaceID, findings []cybervault.Finding) ([]cybervault.EventID, error) {
	p.mu.Lock()
	findings = append(p.unpublished[ws], findings...)
	delete(p.unpublished, ws)
	p.mu.Unlock()

	ids, left, err := p.publishAll(ctx, ws, findings, unavailable)
	if len(left) > 0 {
		p.mu.Lock()
		p.unpublished[ws] = append(p.unpublished[ws], left...)
		p.mu.Unlock()
	}
	return ids, err
}

func unavailable(err error) bool { return cybervault.ErrorCode(err) == cybervault.CodeUnavailable }

// publishAll publishes findings, and returns those that failed with an error to
// be kept for, beside the first error.
func (p *pipeline) publishAll(ctx context.Context, ws cybervault.WorkspaceID, findings []cybervault.Finding, keep func(error) bool) (ids []cybervault.EventID, left []cybervault.Finding, first error) {
	ids = []cybervault.EventID{}
	if len(findings) == 0 {
		return ids, nil, nil
	}
	assigned, err := p.incidents.Assign(ctx, ws, findings)
	if err != nil {
		if keep(err) {
			left = findings
		}
		return ids, left, err
	}
	for findings = assigned; len(findings) > 0; {
		n := min(len(findings), cybervault.MaxBatchEvents)
		outcomes := p.publishOnce(ctx, ws, findings[:n])
		for i, o := range outcomes {
			switch {
			case o.Err == nil:
				ids = append(ids, o.Receipt.ID)
				p.metrics.Found(findings[i].Type)
				continue
			case keep(o.Err):
				left = append(left, findings[i])
			}
			if first == nil {
				first = o.Err
			}
		}
		findings = findings[n:]
	}
	// The incidents are on disk with what is to be told of them: what cannot go out
	// now goes out later.
	if err := p.incidents.Send(ctx, ws); err != nil && first == nil && !unavailable(err) {
		first = err
	}
	return ids, left, first
}

// publishOnce publishes findings under their own keys, so that telemetry handed
// in twice leads to one event. A key that is taken by other content belongs to
// an earlier view of the same attack, cut differently: then the content itself
// makes the key.
func (p *pipeline) publishOnce(ctx context.Context, ws cybervault.WorkspaceID, findings []cybervault.Finding) []cybervault.PublishOutcome {
	reqs := make([]cybervault.PublishRequest, len(findings))
	for i, f := range findings {
		reqs[i] = cybervault.PublishRequest{Type: f.Type, Data: f.Data, Timestamp: f.Timestamp, IdempotencyKey: f.Key}
	}
	outcomes := p.publisher.PublishBatch(ctx, ws, reqs)
	for i := range outcomes {
		if cybervault.ErrorCode(outcomes[i].Err) == cybervault.CodeConflict {
			sum := sha256.Sum256(reqs[i].Data)
			reqs[i].IdempotencyKey += "-" + hex.EncodeToString(sum[:8])
			outcomes[i] = p.publisher.PublishBatch(ctx, ws, reqs[i:i+1])[0]
		}
	}
	return outcomes
}
