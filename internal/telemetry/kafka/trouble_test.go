package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A store in trouble holds up no rebalance: the partition goes to another node,
// which sees to its records, and the first does not turn the group's offset back
// when its own trouble is over.
func TestAPartitionIsLostWhileTheStoreIsInTrouble(t *testing.T) {
	t.Parallel()
	c, first, second := cluster(t, 2), newEngine(), newEngine()
	first.setTrouble(errors.New("the disk is full"))
	want := lines(0, 40)
	for i, line := range want {
		produce(t, c, fmt.Sprint(i), line)
	}
	s, _ := start(t, config(c, first))
	waitFor(t, "all records in the first engine", func() bool { return len(first.seen()) == 40 })
	waitFor(t, "the trouble", func() bool { return s.Stats().Retries > 0 })
	start(t, config(c, second))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.WaitGroupStable(ctx, group, 2); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the records of a partition in the second engine", func() bool { return len(second.seen()) > 0 && committed(c) == int64(len(second.seen())) })
	moved := second.seen()
	for i := range 20 {
		line := fmt.Sprintf("more %d", i)
		want = append(want, line)
		produce(t, c, fmt.Sprint(i), line)
	}
	first.setTrouble(nil)
	waitFor(t, "the commit of all records", func() bool { return committed(c) == 60 })
	all := second.seen()
	for line, n := range first.seen() {
		all[line] += n
		if n != 1 {
			t.Errorf("the first engine judged %q %d times", line, n)
		}
	}
	for _, line := range want {
		if all[line] == 0 || all[line] > 1 && moved[line] == 0 {
			t.Errorf("%q was judged %d times; moved: %v", line, all[line], moved[line] > 0)
		}
	}
}

// What was judged and could not be committed comes again after the member fell
// out of the group, is known, and is not judged twice.
func TestWhatComesAgainIsNotJudgedTwice(t *testing.T) {
	t.Parallel()
	c, e := cluster(t, 1), newEngine()
	var taken atomic.Bool
	c.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if taken.Load() {
			return nil, nil, false
		}
		return nil, errors.New("no commit is taken"), true
	})
	produce(t, c, "k", lines(0, 10)...)
	s, _ := start(t, config(c, e))
	waitFor(t, "all records in the engine", func() bool { return len(e.seen()) == 10 })
	leave(t, c)
	waitFor(t, "the same records again", func() bool { return s.Stats().Topics[topic].Repeated >= 10 })
	taken.Store(true)
	produce(t, c, "k", lines(10, 12)...)
	waitFor(t, "the commit of all records", func() bool { return committed(c) == 12 })
	once(t, e.seen(), lines(0, 12))
}

// leave takes the members out of the group, as the broker does when it has not
// heard of them for a while.
func leave(t *testing.T, c *kfake.Cluster) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	for _, m := range c.GroupInfo(group).Members {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = m.MemberID
		req.Members = append(req.Members, member)
	}
	if _, err := req.RequestWith(t.Context(), client); err != nil {
		t.Fatal(err)
	}
}

// A topic that is made anew under its old name begins at offset 0 again: its
// records are new ones.
func TestATopicMadeAnewIsNotTakenForTheOld(t *testing.T) {
	t.Parallel()
	c, e := cluster(t, 1), newEngine()
	produce(t, c, "k", lines(0, 5)...)
	start(t, config(c, e))
	waitFor(t, "the commit", func() bool { return committed(c) == 5 })
	if err := c.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, c, "k", lines(5, 15)...)
	waitFor(t, "the records of the new topic", func() bool { return len(e.seen()) == 15 })
}

// A producer's batch that is too large to unpack is left out; its partition goes on.
func TestABatchTooLargeToUnpackIsLeftOut(t *testing.T) {
	t.Parallel()
	c, e := cluster(t, 1), newEngine()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerBatchCompression(kgo.GzipCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, value := range [][]byte{[]byte("line 0"), bytes.Repeat([]byte{'x'}, 4<<20), []byte("line 1")} {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Key: []byte("k"), Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config(c, e)
	cfg.Unpacked = 1 << 20
	s, _ := start(t, cfg)
	waitFor(t, "the commit of what follows the batch", func() bool { return committed(c) == 3 })
	once(t, e.seen(), lines(0, 2))
	if got := s.Stats().Topics[topic].Unreadable; got != 1 {
		t.Errorf("%d records are counted as unreadable, want the one", got)
	}
}

// What is written and not committed is the lag, also while the store is in
// trouble and nothing is fetched.
func TestLagIsWhatIsNotCommitted(t *testing.T) {
	t.Parallel()
	c, e := cluster(t, 2), newEngine()
	for i, line := range lines(0, 10) {
		produce(t, c, fmt.Sprint(i), line)
	}
	s, _ := start(t, config(c, e))
	waitFor(t, "the commit", func() bool { return committed(c) == 10 })
	e.setTrouble(errors.New("the disk is full"))
	for i, line := range lines(10, 25) {
		produce(t, c, fmt.Sprint(i), line)
	}
	waitFor(t, "a lag of what came since", func() bool {
		s.LookAtLag(t.Context())
		got := s.Stats().Topics[topic]
		return got.LagKnown && got.Lag == 15
	})
	e.setTrouble(nil)
	waitFor(t, "no lag", func() bool {
		s.LookAtLag(t.Context())
		return s.Stats().Topics[topic].Lag == 0
	})
}
