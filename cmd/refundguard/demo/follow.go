package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// followed are the topics that an audit reads.
func followed() []string {
	return []string{topicRefunds, topicApproved, topicDecisions, topicStatus, topicAlerts, topicDeadLetters, topicProgress}
}

// follower feeds an audit with everything committed, from the beginning.
type follower struct {
	client *kgo.Client
	audit  *Audit
	stop   context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	err    error // the last one, while it lasts
}

// follow begins at once, and goes on until close. Topics that are made later
// are found within a second.
func follow(opts []kgo.Opt, audit *Audit) (*follower, error) {
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...),
		kgo.ConsumeTopics(followed()...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(time.Second))...)
	if err != nil {
		return nil, fmt.Errorf("making the client that watches the topics: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &follower{client: client, audit: audit, stop: stop}
	f.done.Go(func() {
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			f.mu.Lock()
			f.err = nil
			if err := fetches.Err(); err != nil && ctx.Err() == nil {
				f.err = err
			}
			f.mu.Unlock()
			fetches.EachRecord(audit.Add)
		}
	})
	return f, nil
}

func (f *follower) close() {
	f.stop()
	f.done.Wait()
	f.client.Close()
}

// catchUp waits until the audit has read all that is committed by now.
func (f *follower) catchUp(ctx context.Context) error {
	ends, err := kadm.NewClient(f.client).ListCommittedOffsets(ctx, followed()...)
	if err != nil {
		return fmt.Errorf("asking where the topics end: %w", err)
	}
	for {
		behind := ""
		ends.Each(func(o kadm.ListedOffset) {
			if o.Err == nil && !f.audit.reached(o.Topic, o.Partition, o.Offset) {
				behind = fmt.Sprintf("%s/%d", o.Topic, o.Partition)
			}
		})
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
