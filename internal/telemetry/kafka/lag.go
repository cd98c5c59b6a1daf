package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

// lagEvery is the time between two looks at the ends of the partitions. They are
// asked for, since a source that waits for the store fetches nothing.
const (
	lagEvery   = 10 * time.Second
	lagTimeout = 5 * time.Second
)

func (s *Source) watchLag(ctx context.Context) {
	ticker := time.NewTicker(lagEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.lag(ctx)
		}
	}
}

// lag notes, for each topic, what was written to the partitions that this member
// has and is not committed.
func (s *Source) lag(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	committed := offsets(s.client.CommittedOffsets())
	ends := s.ends(ctx, committed)
	for topic := range s.cfg.Topics {
		var lag int64
		for n, at := range committed[topic] {
			if end, ok := ends[topic][n]; ok && end.Offset > at.Offset {
				lag += end.Offset - max(at.Offset, 0)
			}
		}
		s.meter.Count(topic, func(t *stream.TopicStats) { t.Lag, t.LagKnown = lag, len(ends) > 0 })
	}
}

// ends asks for the ends of partitions, as a reader of committed transactions
// sees them. What cannot be told is left out.
func (s *Source) ends(ctx context.Context, of offsets) offsets {
	out := offsets{}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, 1
	for topic, parts := range of {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for n := range parts {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.Timestamp = n, -1, -1
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	if len(req.Topics) == 0 {
		return out
	}
	for _, shard := range s.client.RequestSharded(ctx, req) {
		answer, ok := shard.Resp.(*kmsg.ListOffsetsResponse)
		if shard.Err != nil || !ok {
			continue
		}
		for _, t := range answer.Topics {
			for _, p := range t.Partitions {
				if kerr.ErrorForCode(p.ErrorCode) == nil {
					out.set(partition{t.Topic, p.Partition}, kgo.EpochOffset{Epoch: p.LeaderEpoch, Offset: p.Offset})
				}
			}
		}
	}
	return out
}

// anchor gives partitions that the group has no offset of their end as their
// offset, to be committed with the next round: if the end were looked for again
// after a crash, what was written meanwhile would be lost.
func (s *Source) anchor(ctx context.Context, assigned map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	<-s.ready
	unknown := offsets{}
	for topic, parts := range assigned {
		for n, at := range parts {
			if at.EpochOffset().Offset < 0 {
				unknown.set(partition{topic, n}, kgo.EpochOffset{})
			}
		}
	}
	for topic, parts := range s.ends(ctx, unknown) {
		for n, end := range parts {
			assigned[topic][n] = kgo.NewOffset().At(end.Offset)
			s.mu.Lock()
			s.done.set(partition{topic, n}, kgo.EpochOffset{Epoch: -1, Offset: end.Offset})
			s.mu.Unlock()
		}
	}
	return assigned, nil
}
