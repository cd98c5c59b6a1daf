package app

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/config"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/telemetry"
	"github.com/cybervault/cybervault/internal/telemetry/kafka"
	"github.com/cybervault/cybervault/internal/telemetry/nats"
	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

// maxPieceBytes bounds one record of a stream, after decompression.
const maxPieceBytes = 32 << 20

// maxReaders bounds the topics or subjects that are read side by side.
const maxReaders = 256

// maxFailures is how often a finding may fail for no reason that passes, before
// it is let go so that what comes after it is judged. With the pauses between,
// that is some five minutes.
const maxFailures = 25

// A source reads telemetry from a stream engine until ctx ends.
type source interface {
	Run(ctx context.Context)
	Stats() stream.Stats
}

// feed is the pipeline as one source of a stream engine wants it. It is for one
// goroutine.
type feed struct {
	pipeline  *pipeline
	workspace cybervault.WorkspaceID
	log       *slog.Logger
	readers   map[[2]string]*telemetry.Pieces // by source and format
	// unpublished are findings of pieces that were judged, which the engine will
	// not tell of again.
	unpublished []cybervault.Finding
	failures    int // of the store in a row, with all that is left, for no reason that passes
}

func (a *App) feed() *feed {
	return &feed{pipeline: a.pipeline, workspace: a.workspace, log: a.log, readers: map[[2]string]*telemetry.Pieces{}}
}

// Judge implements stream.Engine.
func (f *feed) Judge(ctx context.Context, pieces []stream.Piece) (stream.Receipt, error) {
	var receipt stream.Receipt
	var lines int
	batch := f.pipeline.engine.Begin(f.workspace)
	sent := senders{}
	err := func() error {
		for i, piece := range pieces {
			add := func(rec *cybervault.Record) error {
				rec.Host = cmp.Or(rec.Host, piece.Host)
				sent.count(rec)
				return batch.Add(ctx, rec)
			}
			reader, err := f.reader(piece.Source, piece.Format)
			if err != nil {
				return err
			}
			sum, err := reader.Read(ctx, piece.Data, add)
			receipt.Records += sum.Records
			lines += sum.Unreadable
			if sum.Unreadable > 0 {
				receipt.Unreadable = append(receipt.Unreadable, stream.Unreadable{Piece: i, Reason: sum.Samples[0].Reason, Whole: sum.Records == 0})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}()
	sent.told(&f.pipeline.sources, f.workspace)
	findings, judgeErr := batch.End(ctx)
	f.unpublished = append(f.unpublished, findings...)
	f.pipeline.metrics.Ingested(receipt.Records, lines)
	if err == nil {
		err = judgeErr
	}
	return receipt, err
}

func (f *feed) reader(source, format string) (*telemetry.Pieces, error) {
	key := [2]string{source, format}
	if r := f.readers[key]; r != nil {
		return r, nil
	}
	if len(f.readers) >= maxReaders { // what sshd said of connections is forgotten with them
		clear(f.readers)
	}
	r, err := telemetry.NewPieces(telemetry.Options{Source: source, Format: format, MaxBytes: maxPieceBytes})
	if err == nil {
		f.readers[key] = r
	}
	return r, err
}

// Settle implements stream.Engine. A finding that is refused for what it is would
// be refused for ever, so it is logged and let go; one that fails for a reason
// that nobody foresaw is tried for some minutes first.
func (f *feed) Settle(ctx context.Context) error {
	if len(f.unpublished) == 0 {
		return nil
	}
	waiting := false
	ids, left, err := f.pipeline.publishAll(ctx, f.workspace, f.unpublished, func(err error) bool {
		waiting = waiting || unavailable(err)
		return unavailable(err) || cybervault.ErrorCode(err) == cybervault.CodeInternal
	})
	f.pipeline.metrics.LetGo(len(f.unpublished) - len(ids) - len(left))
	f.unpublished = left
	if len(left) > 0 && !waiting {
		f.failures++
	}
	if len(left) > 0 && f.failures < maxFailures {
		return err
	}
	f.pipeline.metrics.LetGo(len(left))
	f.unpublished, f.failures = nil, 0
	if err != nil {
		f.log.Error("what was found in a stream's telemetry could not be published", slog.Any("error", err))
	}
	return nil
}

// openStreams makes the sources that the settings name. They connect when they are run.
func (a *App) openStreams(metrics *observe.Metrics) error {
	if k := a.cfg.Kafka; k.On() {
		s, err := kafka.New(kafka.Config{
			Brokers: k.Brokers, Topics: formats(k.Topics), Group: k.Group, Start: k.Start, TLS: stream.TLS(k.TLS),
			SASL: k.SASL, Username: k.Username, Password: k.Password, Engine: a.feed(), Logger: a.log,
		})
		if err != nil {
			return err
		}
		a.streams = append(a.streams, s)
	}
	if n := a.cfg.NATS; n.On() {
		s, err := nats.New(nats.Config{
			URLs: n.URLs, Stream: n.Stream, Subjects: formats(n.Subjects), Durable: n.Durable, Start: n.Start, TLS: stream.TLS(n.TLS),
			CredsFile: n.CredsFile, NKeyFile: n.NKeyFile, Username: n.Username, Password: n.Password, Token: n.Token, Engine: a.feed(), Logger: a.log,
		})
		if err != nil {
			return err
		}
		a.streams = append(a.streams, s)
	}
	if len(a.streams) > 0 {
		metrics.FollowStreams(a.streamStats)
	}
	return nil
}

// formats are the topics or subjects of the settings as a source wants them.
func formats(topics []config.Topic) map[string]string {
	out := make(map[string]string, len(topics))
	for _, t := range topics {
		out[t.Name] = t.Format
	}
	return out
}

// runStreams runs the sources until the function that it returns is called,
// which waits until they have put down what they had in hand, or ctx ends.
func (a *App) runStreams(ctx context.Context) (stop func(ctx context.Context)) {
	reading, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, s := range a.streams {
		wg.Go(func() { s.Run(reading) })
	}
	if a.syslog != nil {
		wg.Go(func() { a.syslog.Run(reading) })
	}
	go func() { defer close(done); wg.Wait() }()
	return func(ctx context.Context) {
		cancel()
		select {
		case <-done:
		case <-ctx.Done():
			a.log.Warn("telemetry was cut off: what a stream had in hand is read again, what syslog had is lost")
		}
	}
}

// streamStats are the sources' figures as the metrics want them.
func (a *App) streamStats() []observe.StreamStats {
	out := make([]observe.StreamStats, len(a.streams))
	for i, s := range a.streams {
		stats := s.Stats()
		out[i] = observe.StreamStats{Stream: stats.Stream, Connected: stats.Connected, Retries: stats.Retries, Topics: make(map[string]observe.TopicStats, len(stats.Topics))}
		if !stats.LastError.IsZero() {
			out[i].LastError = float64(stats.LastError.UnixNano()) / float64(time.Second)
		}
		for topic, t := range stats.Topics {
			out[i].Topics[topic] = observe.TopicStats(t)
		}
	}
	return out
}
