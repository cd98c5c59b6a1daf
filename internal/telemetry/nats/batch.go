package nats

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

const (
	fetchWait   = 500 * time.Millisecond // how long a batch that is not full waits for more
	nakDelay    = time.Second            // what was put down is left alone for so long
	lagEvery    = 10 * time.Second
	rememberAll = 4 * stream.MaxPieces // messages that are known when they come again
)

// round fetches a batch and sees to it. The error says that the consumer is of
// no use any more.
func (s *Source) round(ctx context.Context, conn *nats.Conn, consumer jetstream.Consumer) error {
	// A message larger than the bound would never come.
	limit := max(stream.MaxBytes, int(conn.MaxPayload())+64<<10)
	is := consumer.CachedInfo().Config
	every := patienceOf(is)
	fetched, err := consumer.Fetch(batchSize(is), jetstream.FetchMaxBytes(limit), jetstream.FetchMaxWait(min(fetchWait, every)))
	if err != nil {
		return err
	}
	batch := batch{known: map[message]bool{}}
	for msg := range fetched.Messages() {
		s.add(&batch, msg)
	}
	s.hand(ctx, conn, &batch, every)
	if err := fetched.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, jetstream.ErrNoMessages) {
		return err
	}
	return nil
}

// batchSize is how many messages to ask for: more than the consumer hands out
// would be waited for in vain.
func batchSize(is jetstream.ConsumerConfig) int {
	n := stream.MaxPieces
	for _, bound := range []int{is.MaxAckPending, is.MaxRequestBatch} {
		if bound > 0 {
			n = min(n, bound)
		}
	}
	return n
}

// patienceOf is how often the server is to be told that a message is worked on.
func patienceOf(is jetstream.ConsumerConfig) time.Duration {
	wait := is.AckWait
	if len(is.BackOff) > 0 {
		wait = is.BackOff[0]
	}
	if wait <= 0 {
		wait = ackWait
	}
	return wait / 3
}

// batch is what is handed to the engine together.
type batch struct {
	pieces []stream.Piece
	from   []jetstream.Msg // of the pieces
	keys   []message
	known  map[message]bool
	again  []jetstream.Msg // judged before, or in this batch already
}

// message tells a message from one of a stream that was made anew.
type message struct {
	sequence uint64
	stored   int64 // Unix nanoseconds
}

func (s *Source) add(b *batch, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil { // nothing that a stream hands out
		s.meter.Failed("message", err)
		return
	}
	key := message{meta.Sequence.Stream, meta.Timestamp.UnixNano()}
	repeated := meta.NumDelivered > 1 && (s.judged.known[key] || b.known[key])
	s.meter.Count(s.cfg.Stream, func(t *stream.TopicStats) {
		t.Records++
		if repeated {
			t.Repeated++
		}
	})
	if repeated {
		b.again = append(b.again, msg)
		return
	}
	b.pieces = append(b.pieces, stream.Piece{Source: msg.Subject(), Format: s.format(msg.Subject()), Data: msg.Data()})
	b.from = append(b.from, msg)
	b.keys = append(b.keys, key)
	b.known[key] = true
}

// format is that of the filter that a subject passes; no two overlap.
func (s *Source) format(subject string) string {
	for _, filter := range s.filters {
		if matches(filter, subject) {
			return s.cfg.Subjects[filter]
		}
	}
	return ""
}

// hand gives the batch to the engine and acknowledges it once what came of it is
// on disk. Until then the server hears that it is worked on, however long the
// store is in trouble; at a stop it is put down for another node, or the next start.
func (s *Source) hand(ctx context.Context, conn *nats.Conn, b *batch, every time.Duration) {
	if len(b.from)+len(b.again) == 0 {
		return
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { inProgress(working, b, every) })
	receipt, err := s.hands.Hand(ctx, b.pieces, nil)
	stop()
	wg.Wait()
	for _, key := range b.keys {
		s.judged.remember(key)
	}
	poison := s.tell(b, receipt)
	for i, msg := range b.from {
		switch {
		case err != nil:
			s.answered(msg.NakWithDelay(nakDelay))
		case poison[i]:
			s.answered(msg.Term())
		default:
			s.answered(msg.Ack())
		}
	}
	for _, msg := range b.again {
		if err == nil {
			s.answered(msg.Ack())
		}
	}
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	if err := conn.FlushWithContext(flushing); err != nil && conn.IsConnected() {
		s.meter.Failed("acknowledge", err)
	}
}

// answered notes an answer that could not be given: the message comes again.
func (s *Source) answered(err error) {
	if err != nil {
		s.meter.Failed("acknowledge", err)
	}
}

func inProgress(ctx context.Context, b *batch, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, msg := range b.from {
				_ = msg.InProgress() // if it does not arrive, the message comes again
			}
		}
	}
}

// tell counts what could not be read, says now and then where it lies, and
// returns which messages are of no use to anybody.
func (s *Source) tell(b *batch, receipt stream.Receipt) map[int]bool {
	poison := map[int]bool{}
	for _, u := range receipt.Unreadable {
		if u.Whole {
			poison[u.Piece] = true
			s.meter.Count(s.cfg.Stream, func(t *stream.TopicStats) { t.Unreadable++ })
		}
		if s.meter.Say("unreadable") && s.cfg.Logger != nil {
			s.cfg.Logger.Warn("a message could not be read and is skipped", slog.String("nats_stream", s.cfg.Stream),
				slog.String("subject", b.from[u.Piece].Subject()), slog.Uint64("sequence", b.keys[u.Piece].sequence), slog.String("reason", u.Reason))
		}
	}
	return poison
}

// watchLag notes, at once and from time to time, what the consumer has still to
// hand out and what is not acknowledged.
func (s *Source) watchLag(ctx context.Context, consumer jetstream.Consumer) {
	ticker := time.NewTicker(lagEvery)
	defer ticker.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		info, err := consumer.Info(asking)
		cancel()
		if err == nil {
			lag := int64(info.NumPending) + int64(info.NumAckPending)
			s.meter.Count(s.cfg.Stream, func(t *stream.TopicStats) { t.Lag, t.LagKnown = lag, true })
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// remembered are the messages judged last.
type remembered struct {
	known map[message]bool
	ring  []message
	next  int
}

func (r *remembered) remember(key message) {
	if r.known[key] {
		return
	}
	if len(r.ring) < rememberAll {
		r.ring = append(r.ring, key)
	} else {
		delete(r.known, r.ring[r.next])
		r.ring[r.next] = key
		r.next = (r.next + 1) % rememberAll
	}
	r.known[key] = true
}

// matches reports whether a subject passes a filter, in which * stands for one
// token and > for all that follow.
func matches(filter, subject string) bool {
	for {
		want, restWant, moreWant := strings.Cut(filter, ".")
		have, restHave, moreHave := strings.Cut(subject, ".")
		switch {
		case want == ">":
			return true
		case want != "*" && want != have, moreWant != moreHave:
			return false
		case !moreWant:
			return true
		}
		filter, subject = restWant, restHave
	}
}
