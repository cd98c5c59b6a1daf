package kafka

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

// commitTimeout bounds one commit. What it does not reach goes with the next.
const commitTimeout = 5 * time.Second

// round polls once and sees to what came.
func (s *Source) round(ctx context.Context) {
	polling, cancel := context.WithTimeout(ctx, pollWait)
	fetches := s.client.PollRecords(polling, stream.MaxPieces)
	cancel()
	// From here on no partition is taken away until AllowRebalance.
	defer s.client.AllowRebalance()
	s.mu.Lock()
	clear(s.gone)
	s.mu.Unlock()
	s.faults(ctx, fetches)
	batch := batch{s: s}
	fetches.EachTopic(func(t kgo.FetchTopic) {
		t.EachRecord(func(r *kgo.Record) {
			if batch.full(len(r.Value)) {
				batch.hand(ctx)
			}
			batch.add(r, t.TopicID)
		})
	})
	batch.hand(ctx)
	s.commit(ctx)
}

// faults sees to the errors among what was polled. The client goes on by itself
// after all but one: a batch of a producer's that is too large to unpack would
// stop its partition for good, so it is left out.
func (s *Source) faults(ctx context.Context, fetches kgo.Fetches) {
	fetches.EachError(func(topic string, number int32, err error) {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
			return
		}
		attrs := []any{slog.String("topic", topic), slog.Int("partition", int(number))}
		if large, ok := errors.AsType[*kgo.ErrDecompressTooLarge](err); ok {
			s.meter.Count(topic, func(t *stream.TopicStats) { t.Unreadable += large.NextOffset - large.Offset })
			s.client.SetOffsets(offsets{topic: {number: {Epoch: large.Epoch, Offset: large.NextOffset}}})
			s.log.Error("records were left out: their batch is too large to unpack", append(attrs, slog.Int64("from_offset", large.Offset), slog.Int64("to_offset", large.NextOffset-1))...)
			return
		}
		s.meter.Failed("fetch", err, attrs...)
		if errors.Is(err, kerr.UnknownTopicID) {
			// The topic was made anew. The client keeps to the old one until told.
			s.client.PurgeTopicsFromConsuming(topic)
			s.client.AddConsumeTopics(topic)
		}
		// A client that fails at once, such as for a wrong password, is not asked in a tight loop.
		s.cfg.Patience.Rest(ctx, 1)
	})
}

// batch is what is handed to the engine together.
type batch struct {
	s      *Source
	pieces []stream.Piece
	from   []*kgo.Record // of the pieces
	bytes  int
	upTo   map[position]judgement // the newest record of each partition, judged before or not
}

func (b *batch) full(next int) bool {
	return len(b.pieces) >= stream.MaxPieces || len(b.pieces) > 0 && b.bytes+next > stream.MaxBytes
}

// add adds a record, unless this process judged it already: a partition that was
// lost before its offset was committed may come back, and counting a failed
// login twice would make an attack of a person.
func (b *batch) add(r *kgo.Record, id [16]byte) {
	at := position{partition{r.Topic, r.Partition}, id}
	if b.s.isGone(at.partition) {
		return
	}
	last, known := b.s.judged[at]
	if b.upTo == nil {
		b.upTo = map[position]judgement{}
	}
	repeated := known && r.Offset <= last.offset && r.LeaderEpoch <= last.epoch
	b.upTo[at] = judgement{offset: r.Offset, epoch: r.LeaderEpoch}
	b.s.meter.Count(r.Topic, func(t *stream.TopicStats) {
		t.Records++
		if len(r.Key) == 0 {
			t.Unkeyed++
		}
		if repeated {
			t.Repeated++
		}
	})
	if len(r.Key) == 0 && b.s.meter.Say("unkeyed "+r.Topic) {
		b.s.unkeyed(r)
	}
	if repeated {
		return
	}
	b.pieces = append(b.pieces, stream.Piece{Source: r.Topic, Format: b.s.cfg.Topics[r.Topic], Data: r.Value})
	b.from = append(b.from, r)
	b.bytes += len(r.Value)
}

// hand gives the batch to the engine, and notes what may be committed once what
// came of it is on disk.
func (b *batch) hand(ctx context.Context) {
	if len(b.upTo) == 0 {
		return
	}
	s := b.s
	receipt, err := s.hands.Hand(ctx, b.pieces, s.client.AllowRebalance)
	// The engine has taken the records in, whatever the store says.
	for at, j := range b.upTo {
		if last, ok := s.judged[at]; !ok || j.epoch > last.epoch || j.offset > last.offset {
			s.judged[at] = j
		}
	}
	b.tell(receipt)
	s.mu.Lock()
	for at, j := range b.upTo {
		if err == nil && !s.gone[at.partition] {
			s.done.set(at.partition, kgo.EpochOffset{Epoch: j.epoch, Offset: j.offset + 1})
		}
	}
	s.mu.Unlock()
	b.pieces, b.from, b.bytes, b.upTo = nil, nil, 0, nil
}

// tell counts what could not be read, and says now and then where it lies.
func (b *batch) tell(receipt stream.Receipt) {
	for _, u := range receipt.Unreadable {
		r := b.from[u.Piece]
		if u.Whole {
			b.s.meter.Count(r.Topic, func(t *stream.TopicStats) { t.Unreadable++ })
		}
		if b.s.meter.Say("unreadable " + r.Topic) {
			b.s.log.Warn("a record could not be read and is skipped", slog.String("topic", r.Topic), slog.Int("partition", int(r.Partition)),
				slog.Int64("offset", r.Offset), slog.String("reason", u.Reason))
		}
	}
}

// commit tells the group how far it is. What fails is tried again in the next
// round, or by whoever the partition goes to.
func (s *Source) commit(ctx context.Context) {
	s.mu.Lock()
	todo := s.done.clone()
	s.mu.Unlock()
	s.commitThese(ctx, todo)
}

func (s *Source) commitThese(ctx context.Context, todo offsets) {
	if len(todo) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	s.client.CommitOffsetsSync(ctx, todo, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			s.meter.Failed("commit", err)
			return
		}
		for _, t := range answer.Topics {
			for _, p := range t.Partitions {
				s.committed(partition{t.Topic, p.Partition}, todo[t.Topic][p.Partition], kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
}

func (s *Source) committed(p partition, at kgo.EpochOffset, err error) {
	if err != nil {
		s.meter.Failed("commit", err, slog.String("topic", p.topic), slog.Int("partition", int(p.number)))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done[p.topic][p.number] == at {
		s.done.remove(p)
	}
}

// revoked is called when partitions go to another member, never while a batch is
// on its way, unless the store is in trouble.
func (s *Source) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	<-s.ready
	s.commitThese(ctx, s.let(gone))
	s.forget(gone)
}

// lost is called when they have gone already: a commit would be refused.
func (s *Source) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	s.let(gone)
	s.forget(gone)
}

// let returns what is not committed of partitions, and strikes them off the
// batch in hand.
func (s *Source) let(gone map[string][]int32) offsets {
	s.mu.Lock()
	defer s.mu.Unlock()
	todo := offsets{}
	for topic, numbers := range gone {
		for _, n := range numbers {
			p := partition{topic, n}
			if at, ok := s.done[topic][n]; ok {
				todo.set(p, at)
			}
			s.gone[p] = true
		}
	}
	return todo
}

func (s *Source) isGone(p partition) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone[p]
}

func (s *Source) forget(gone map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, numbers := range gone {
		for _, n := range numbers {
			s.done.remove(partition{topic, n})
		}
	}
}

// unkeyed says, now and then, what a topic without keys loses.
func (s *Source) unkeyed(r *kgo.Record) {
	s.log.Warn("a record has no key: what one address or user does is then spread over partitions, and nodes; have the producer key records by it",
		slog.String("topic", r.Topic), slog.Int("partition", int(r.Partition)), slog.Int64("offset", r.Offset))
}

func (o offsets) set(p partition, at kgo.EpochOffset) {
	if o[p.topic] == nil {
		o[p.topic] = map[int32]kgo.EpochOffset{}
	}
	o[p.topic][p.number] = at
}

func (o offsets) remove(p partition) {
	delete(o[p.topic], p.number)
	if len(o[p.topic]) == 0 {
		delete(o, p.topic)
	}
}

func (o offsets) clone() offsets {
	out := make(offsets, len(o))
	for topic, parts := range o {
		out[topic] = maps.Clone(parts)
	}
	return out
}
