package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/sinks"
)

// session is one membership of the consumer group. It ends with the sink, or
// when a topic turns out to be another one of the same name.
type session struct {
	sink   *Sink
	ctx    context.Context
	client *kgo.Client

	marks map[place]mark // of partitions that are being assigned; only group callbacks use it

	mu    sync.Mutex
	parts map[place]*partition
}

type place struct {
	topic     string
	partition int32
}

// maxPoll is how many records one poll hands out; rebalances wait for it.
const maxPoll = 10_000

var (
	errRecreated = errors.New("a topic was deleted and made again")
	errRevoked   = errors.New("the partition goes to another member")
	errNotOurs   = errors.New("records of a partition that isn't ours")
)

// consume runs one session.
func (s *Sink) consume(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ses := &session{sink: s, ctx: ctx, marks: map[place]mark{}, parts: map[place]*partition{}}
	ses.mu.Lock() // the callbacks need the client, too
	client, err := kgo.NewClient(append(append([]kgo.Opt{kgo.SessionTimeout(sinks.SessionTimeout)}, s.options...),
		kgo.ConsumerGroup(s.cfg.Group),
		kgo.ConsumeTopics(append(s.topics.names(), topicsOf(s.inputs)...)...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Without control records a partition that ends with one would never
		// be seen to be at its end.
		kgo.KeepControlRecords(),
		kgo.DisableAutoCommit(),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		// What was polled must reach its partition before that is taken away.
		kgo.BlockRebalanceOnPoll(),
		kgo.MetadataMaxAge(10*time.Second), // new topics and partitions are found this fast
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxBytes(32<<20),
		kgo.FetchMaxPartitionBytes(4<<20),
		kgo.OnOffsetsFetched(ses.fetched),
		kgo.AdjustFetchOffsetsFn(ses.assign),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { ses.drop(ps, errRevoked) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { ses.drop(ps, errLost) }),
	)...)
	ses.client = client
	ses.mu.Unlock()
	if err != nil {
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	s.session.Store(ses)
	defer client.CloseAllowingRebalance()
	defer ses.stop(cancel)
	for {
		if err := ses.poll(ctx); err != nil {
			return err
		}
	}
}

// stop ends all partitions, each after at most commitTimeout.
func (ses *session) stop(cancel context.CancelFunc) {
	cancel()
	ses.mu.Lock()
	defer ses.mu.Unlock()
	for _, p := range ses.parts {
		<-p.done
	}
	clear(ses.parts)
}

// poll waits for records for a moment only, so that troubles that are over are
// seen to be over on quiet topics too.
func (ses *session) poll(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	fetches := ses.client.PollRecords(short, maxPoll)
	defer ses.client.AllowRebalance()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ses.deliver(fetches)
}

// deliver hands what was polled to the partitions.
func (ses *session) deliver(fetches kgo.Fetches) (err error) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	bad := 0
	fetches.EachError(func(topic string, partition int32, failure error) {
		if errors.Is(failure, context.DeadlineExceeded) {
			return // ours: nothing came
		}
		bad++
		if errors.Is(failure, kerr.UnknownTopicID) {
			err = errRecreated
		}
		name := "kafka"
		if topic != "" {
			name = fmt.Sprintf("kafka %s/%d", topic, partition)
		}
		ses.sink.trouble.report(ses.sink.log, name, kafkaFault("read", failure))
	})
	if bad == 0 {
		ses.sink.trouble.overPrefix(ses.sink.log, "kafka")
	}
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		p := ses.parts[place{f.Topic, f.Partition}]
		if p == nil {
			if len(f.Records) > 0 && err == nil {
				err = fmt.Errorf("%w: %s/%d", errNotOurs, f.Topic, f.Partition)
			}
			return
		}
		if f.LastStableOffset >= 0 {
			p.end.Store(f.LastStableOffset)
		}
		if len(f.Records) > 0 {
			p.push(f.Records)
		}
	})
	return err
}

// fetched keeps the marks of the partitions that assign is about to get.
func (ses *session) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	for _, group := range resp.Groups {
		for _, t := range group.Topics {
			for _, p := range t.Partitions {
				if m, ok := parseMark(p.Metadata); ok {
					ses.marks[place{t.Topic, p.Partition}] = m
				}
			}
		}
	}
	return nil
}

// assign starts the partitions that are ours now, each where its mark says. An
// error makes the client join the group anew.
func (ses *session) assign(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	topics := make([]string, 0, len(offsets))
	for topic := range offsets {
		topics = append(topics, topic)
	}
	ses.mu.Lock()
	client := ses.client
	ses.mu.Unlock()
	details, err := kadm.NewClient(client).ListTopics(ctx, topics...)
	if err != nil {
		err = kafkaFault("ask for the ids of our topics", err)
		ses.sink.trouble.report(ses.sink.log, "kafka", err)
		return nil, err
	}
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.ctx.Err() != nil {
		return nil, ses.ctx.Err()
	}
	for topic, partitions := range offsets {
		id := details[topic].ID.String()
		for partition, offset := range partitions {
			at := place{topic, partition}
			m, marked := ses.marks[at]
			delete(ses.marks, at)
			next, announced := offset.EpochOffset(), int64(-1)
			switch {
			case next.Offset < 0: // nothing was committed
				next = kgo.EpochOffset{Epoch: -1, Offset: -1}
			case marked && m.TopicID != id:
				ses.sink.log.Warn("the topic is not the one that was read before: reading it from its beginning",
					"topic", topic, "partition", partition, "was", m.TopicID, "is", id)
				next = kgo.EpochOffset{Epoch: -1, Offset: -1}
				partitions[partition] = kgo.NewOffset().AtStart()
			case marked && m.To != nil && *m.To >= next.Offset:
				announced = *m.To
			}
			if old := ses.parts[at]; old != nil {
				old.cancel(errLost)
				<-old.done
			}
			if m.TopicID != id {
				m = mark{TopicID: id}
			}
			ses.parts[at] = ses.start(at, m, next, announced)
		}
	}
	return offsets, nil
}

func (ses *session) start(at place, m mark, next kgo.EpochOffset, announced int64) *partition {
	ctx, cancel := context.WithCancelCause(ses.ctx)
	p := &partition{
		sink: ses.sink, client: ses.client, topic: at.topic, id: at.partition,
		reader: ses.sink.reader(at.topic), topicID: m.TopicID,
		next: next, announced: announced, taken: m.Taken, refused: max(0, m.Refused),
		wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
	}
	p.stored.Store(next.Offset)
	go p.run(ctx)
	return p
}

// lag is how many offsets of a topic's partitions are not stored.
func (ses *session) lag(topic string) (n int64) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	for at, p := range ses.parts {
		if at.topic == topic {
			n += max(0, p.end.Load()-max(0, p.stored.Load()))
		}
	}
	return n
}

// drop ends partitions that are no longer ours.
func (ses *session) drop(partitions map[string][]int32, why error) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	for topic, ids := range partitions {
		for _, id := range ids {
			at := place{topic, id}
			if p := ses.parts[at]; p != nil {
				p.cancel(why)
			}
		}
	}
	for topic, ids := range partitions {
		for _, id := range ids {
			at := place{topic, id}
			if p := ses.parts[at]; p != nil {
				<-p.done
				// Pauses would outlive the assignment.
				ses.client.ResumeFetchPartitions(p.self())
				delete(ses.parts, at)
			}
		}
	}
}
