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

// follow begins as soon as all of the topics are there, and goes on until
// close.
func follow(opts []kgo.Opt, audit *Audit) (*follower, error) {
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.MetadataMinAge(20*time.Millisecond))...)
	if err != nil {
		return nil, fmt.Errorf("making the client that watches the topics: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &follower{client: client, audit: audit, stop: stop}
	f.done.Go(func() {
		f.awaitTopics(ctx)
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			f.set(fetches.Err())
			fetches.EachRecord(audit.Add)
		}
	})
	return f, nil
}

// awaitTopics asks for the topics often: the client by itself would look for
// missing ones only every few seconds.
func (f *follower) awaitTopics(ctx context.Context) {
	adm := kadm.NewClient(f.client)
	for ctx.Err() == nil {
		found, err := adm.ListTopics(ctx, followed()...)
		f.set(err)
		missing := len(found) < len(followed())
		for _, t := range found {
			missing = missing || t.Err != nil
		}
		if err == nil && !missing {
			f.client.AddConsumeTopics(followed()...)
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
