// Package stream is what the sources of telemetry that read a stream engine
// have in common: the words in which they hand its records on, the patience
// with a store in trouble, and the figures that they show.
//
// It stands before the threat engine, beside the API (stream engine -> stream ->
// telemetry, detect -> router). It never acknowledges a record itself, opens no
// connection, and drops nothing because a store does not take it.
package stream

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Bounds of one batch, which is held in memory until what it led to is on disk.
const (
	MaxPieces = 2000
	MaxBytes  = 8 << 20
)

// A Piece is what one record or message of a stream engine held: a log line or a
// JSON document, or several.
type Piece struct {
	Source string // the topic or the subject
	Host   string // who sent it, for records that name no machine; "" where nobody knows
	Format string // as telemetry.Options has it; empty: each line is recognised
	Data   []byte
}

// Receipt says what became of a batch of pieces.
type Receipt struct {
	Records    int // read and given to the threat engine
	Unreadable []Unreadable
}

// Unreadable is a piece of which something could not be read.
type Unreadable struct {
	Piece  int    // index in the batch
	Reason string // what was expected, of its first unreadable line
	Whole  bool   // nothing of it could be read
}

// Engine is the threat engine and what comes after it.
type Engine interface {
	// Judge takes pieces in, in their order. What cannot be read is told in the
	// receipt; the error says that the engine itself failed. Pieces judged once
	// must not be handed in again, or they count twice.
	Judge(ctx context.Context, pieces []Piece) (Receipt, error)
	// Settle publishes the events that judged pieces led to, and answers nil when
	// all of them are on disk. CodeUnavailable: the store is in trouble, and a
	// later call will do.
	Settle(ctx context.Context) error
}

// Patience is how long a source waits before it tries again.
type Patience struct{ First, Most time.Duration }

// DefaultPatience spares a store that is in trouble, and is soon back.
var DefaultPatience = Patience{First: 250 * time.Millisecond, Most: 15 * time.Second}

// Rest waits before try 1, 2, 3 …, with jitter, and reports whether ctx is
// still open.
func (p Patience) Rest(ctx context.Context, try int) bool {
	d := p.Most
	if try < 20 {
		d = min(p.First<<(try-1), p.Most)
	}
	d += time.Duration(rand.Int64N(int64(d)/5 + 1))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Hands give batches to the engine.
type Hands struct {
	Engine   Engine
	Patience Patience
	Meter    *Meter
}

// errGaveUp says that a batch is judged and not settled.
var errGaveUp = errors.New("the stream was stopped before the store took what came of it")

// Hand gives a batch to the engine and returns when what it led to is on disk.
// A store in trouble is waited for, with waiting called between the tries, until
// ctx ends; then the error says that the batch must not be acknowledged. What is
// under way when ctx ends is still finished.
func (h Hands) Hand(ctx context.Context, pieces []Piece, waiting func()) (Receipt, error) {
	working := context.WithoutCancel(ctx)
	var receipt Receipt
	for try := 1; ; try++ {
		var err error
		if receipt, err = h.Engine.Judge(working, pieces); err == nil {
			break
		}
		// It is the engine, never a piece, that fails: the next try is as good.
		if !h.again(ctx, try, err, waiting) {
			return receipt, err
		}
	}
	for try := 1; ; try++ {
		err := h.Engine.Settle(working)
		if err == nil {
			h.Meter.Well()
			return receipt, nil
		}
		if !h.again(ctx, try, err, waiting) {
			return receipt, errors.Join(errGaveUp, err)
		}
	}
}

func (h Hands) again(ctx context.Context, try int, err error, waiting func()) bool {
	h.Meter.Retried(err)
	if ctx.Err() != nil {
		return false
	}
	if waiting != nil {
		waiting()
	}
	return h.Patience.Rest(ctx, try)
}

// Discard is a logger for a source that was given none.
func Discard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
