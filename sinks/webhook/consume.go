package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/sinks"
)

const (
	maxPoll       = 100
	commitTimeout = 5 * time.Second
	leaveTimeout  = 2 * time.Second
)

// consumer is one endpoint's membership of its group. It calls on the
// endpoint's loop by channels, so that only the loop touches state.
type consumer struct {
	client      *kgo.Client
	topic       string
	deadLetters string

	credit   chan int   // from the loop: poll, so many records at most
	fetched  chan batch // each credit's answer
	assigned chan *assignment
	revoked  chan *revocation
	commits  chan commitResult
	over     chan struct{} // closed when the loop has ended
}

type batch struct {
	records []*kgo.Record
	err     error // what kept others from being read
}

// position is a committed offset and what was committed with it.
type position struct {
	offset   int64 // -1: nothing has been committed
	metadata string
}

type assignment struct {
	offsets map[int32]position
	done    chan struct{}
}

type revocation struct {
	partitions []int32
	lost       bool
	done       chan struct{}
}

type commitResult struct {
	at  map[int32]position
	err error
}

// newConsumer makes no connection; polling does.
func newConsumer(base []kgo.Opt, group, topic, deadLetters string) (*consumer, error) {
	c := &consumer{
		topic: topic, deadLetters: deadLetters,
		credit: make(chan int), fetched: make(chan batch),
		assigned: make(chan *assignment), revoked: make(chan *revocation),
		commits: make(chan commitResult, 1), over: make(chan struct{}),
	}
	opts := append(append([]kgo.Opt{kgo.SessionTimeout(sinks.SessionTimeout)}, base...),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// A new endpoint, and one whose place Kafka has forgotten, begins with the
		// oldest alert: rather known ones again than one never sent.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.KeepControlRecords(), // the end of a partition is mostly one of them
		kgo.FetchMaxBytes(4<<20),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.OnOffsetsFetched(c.onOffsets),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			c.onRevoked(&revocation{partitions: parts[topic], done: make(chan struct{})})
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			c.onRevoked(&revocation{partitions: parts[topic], lost: true, done: make(chan struct{})})
		}),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("making the Kafka client of group %s: %w", group, err)
	}
	c.client = client
	return c, nil
}

// poll reads when the loop has room, until ctx ends.
func (c *consumer) poll(ctx context.Context) {
	var pause sinks.Backoff
	for {
		var room int
		select {
		case room = <-c.credit:
		case <-ctx.Done():
			return
		}
		fetches := c.client.PollRecords(ctx, min(room, maxPoll))
		b := batch{records: fetches.Records()}
		fetches.EachError(func(_ string, _ int32, err error) {
			b.err = fmt.Errorf("reading topic %s: %w", c.topic, err)
		})
		select {
		case c.fetched <- b:
			// Handed over before a rebalance may begin: a partition is never
			// revoked with records of it half way.
			c.client.AllowRebalance()
		case <-ctx.Done():
			c.client.AllowRebalance()
			return
		}
		if b.err == nil {
			pause.Reset()
		} else if pause.Wait(ctx, 0) != nil {
			return
		}
	}
}

// onOffsets tells the loop where it begins, before any record comes.
func (c *consumer) onOffsets(ctx context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	a := &assignment{offsets: map[int32]position{}, done: make(chan struct{})}
	add := func(topic string, partition int32, offset int64, metadata *string) {
		if topic != c.topic {
			return
		}
		at := position{offset: offset}
		if metadata != nil {
			at.metadata = *metadata
		}
		a.offsets[partition] = at
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			add(t.Topic, p.Partition, p.Offset, p.Metadata)
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				add(t.Topic, p.Partition, p.Offset, p.Metadata)
			}
		}
	}
	select {
	case c.assigned <- a:
		<-a.done
	case <-c.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (c *consumer) onRevoked(r *revocation) {
	if len(r.partitions) == 0 {
		return
	}
	select {
	case c.revoked <- r:
		<-r.done
	case <-c.over:
	}
}

// commit tells Kafka how far the endpoint is. Kafka's answer decides, also
// when we are stopping: hence a time-out of its own.
func (c *consumer) commit(at map[int32]position) commitResult {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[j]
				p.Metadata = kmsg.StringPtr(at[p.Partition].metadata)
			}
		}
		return nil
	})
	offsets := map[int32]kgo.EpochOffset{}
	for p, pos := range at {
		offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: pos.offset}
	}
	res := commitResult{at: at}
	c.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{c.topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			res.err = err
			if err != nil || resp == nil {
				return
			}
			for _, t := range resp.Topics {
				for _, p := range t.Partitions {
					if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
						res.err = errors.Join(res.err, fmt.Errorf("partition %d: %w", p.Partition, err))
					}
				}
			}
		})
	return res
}

// bury writes the dead letter and waits until all replicas have it.
func (c *consumer) bury(ctx context.Context, r *kgo.Record, v *verdict, endpoint string) error {
	if err := c.client.ProduceSync(ctx, deadLetter(c.deadLetters, r, v, endpoint)).FirstErr(); err != nil {
		return fmt.Errorf("writing to topic %s: %w", c.deadLetters, err)
	}
	return nil
}

// close leaves the group, so that another member can go on at once.
func (c *consumer) close() {
	close(c.over)
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	c.client.AllowRebalance()
	_ = c.client.LeaveGroupContext(ctx) // who isn't told finds out by the session's time-out
	c.client.Close()
}
