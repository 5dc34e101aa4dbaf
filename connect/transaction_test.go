package connect_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/connect"
)

// A transaction isn't ended while the client doesn't know of a partition that
// is in it: EndTransaction would abort it, and say that it is committed.
func TestACommitWaitsForWhatTheClientKnows(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "decisions"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	release := make(chan struct{})
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		for _, topic := range req.(*kmsg.MetadataRequest).Topics {
			if topic.Topic != nil && *topic.Topic == "decisions" {
				c.SleepControl(func() { <-release })
			}
		}
		return nil, nil, false
	})
	var commits, aborts atomic.Int32
	c.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if req.(*kmsg.EndTxnRequest).Commit {
			commits.Add(1)
		} else {
			aborts.Add(1)
		}
		return nil, nil, false
	})
	producer, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.TransactionalID("refundguard"))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := producer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	record := &kgo.Record{Topic: "decisions", Value: []byte("approve")}
	var promise kgo.FirstErrPromise
	producer.Produce(ctx, record, promise.Promise())

	early, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := connect.EndTransaction(early, producer, kgo.TryCommit, record); err == nil || !strings.Contains(err.Error(), "partition 0 of topic decisions") {
		t.Errorf("committed while the topic is unknown: %v", err)
	}
	if n, m := commits.Load(), aborts.Load(); n+m > 0 {
		t.Errorf("%d commits and %d aborts were sent while the topic is unknown", n, m)
	}

	close(release)
	if err := producer.Flush(ctx); err != nil || promise.Err() != nil {
		t.Fatal(err, promise.Err())
	}
	if err := connect.EndTransaction(ctx, producer, kgo.TryCommit, record); err != nil {
		t.Error(err)
	}
	if n, m := commits.Load(), aborts.Load(); n != 1 || m != 0 {
		t.Errorf("%d commits and %d aborts were sent, want one commit", n, m)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("decisions"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if got := reader.PollFetches(ctx).Records(); len(got) != 1 || string(got[0].Value) != "approve" {
		t.Errorf("readers see %v", got)
	}
}
