package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// audited are the topics that an audit reads.
func audited() []string {
	return []string{topicRefunds, topicApproved, topicDecisions, topicStatus, topicAlerts, topicDeadLetters, topicLabels, topicCases, topicProgress}
}

// reader takes records and remembers how far it is. Control records tell that, too.
type reader interface {
	Add(*kgo.Record)
	reached(topic string, partition int32, end int64) bool
}

// follower feeds a reader with everything committed, from the beginning.
type follower struct {
	client *kgo.Client
	topics []string
	to     reader
	stop   context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	err    error // the last one, while it lasts
}

// follow begins as soon as all of the topics are there, and goes on until
// close.
func follow(opts []kgo.Opt, topics []string, to reader) (*follower, error) {
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.MetadataMinAge(20*time.Millisecond))...)
	if err != nil {
		return nil, fmt.Errorf("making the client that watches the topics: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &follower{client: client, topics: topics, to: to, stop: stop}
	f.done.Go(func() {
		f.awaitTopics(ctx)
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			f.set(fetches.Err())
			fetches.EachRecord(to.Add)
		}
	})
	return f, nil
}

// awaitTopics asks for the topics often: the client by itself would look for
// missing ones only every few seconds.
func (f *follower) awaitTopics(ctx context.Context) {
	adm := kadm.NewClient(f.client)
	for ctx.Err() == nil {
		found, err := adm.ListTopics(ctx, f.topics...)
		f.set(err)
		missing := len(found) < len(f.topics)
		for _, t := range found {
			missing = missing || t.Err != nil
		}
		if err == nil && !missing {
			f.client.AddConsumeTopics(f.topics...)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (f *follower) set(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
}

func (f *follower) close() {
	f.stop()
	f.done.Wait()
	f.client.Close()
}

// behind is a topic of which something committed by now isn't read yet; "" is none.
func (f *follower) behind(ctx context.Context) (topic string, err error) {
	ends, err := kadm.NewClient(f.client).ListCommittedOffsets(ctx, f.topics...)
	if err != nil {
		return "", fmt.Errorf("asking where the topics end: %w", err)
	}
	return f.short(ends), nil
}

func (f *follower) short(ends kadm.ListedOffsets) (topic string) {
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && !f.to.reached(o.Topic, o.Partition, o.Offset) {
			topic = o.Topic
		}
	})
	return topic
}

// catchUp waits until all that is committed by now is read.
func (f *follower) catchUp(ctx context.Context) error {
	ends, err := kadm.NewClient(f.client).ListCommittedOffsets(ctx, f.topics...)
	if err != nil {
		return fmt.Errorf("asking where the topics end: %w", err)
	}
	for {
		behind := f.short(ends)
		if behind == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			f.mu.Lock()
			defer f.mu.Unlock()
			return fmt.Errorf("reading the topics to their ends: %s is behind (last error: %v): %w", behind, f.err, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
