package connect

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// learnTimeout bounds what takes moments: the records are acknowledged.
const learnTimeout = 10 * time.Second

// EndTransaction ends a producer's transaction, of which all records must be
// acknowledged before a commit. The client's own method may abort it and answer
// a commit with nil: franz-go (1.22.2, storePartitionsUpdate) sends the first
// records of a topic before it notes the topic's partitions, and ends only what
// is noted. A transaction of a topic that isn't yet is an empty one to it; and
// what isn't noted doesn't begin its sequence anew in the next epoch, and is
// refused as OUT_OF_ORDER_SEQUENCE_NUMBER. So a commit waits here until they
// are. Where they don't come the transaction is left open, for the caller to
// abort.
func EndTransaction(ctx context.Context, producer *kgo.Client, end kgo.TransactionEndTry, records ...*kgo.Record) error {
	if end == kgo.TryCommit {
		if err := learn(ctx, producer, records); err != nil {
			return err
		}
	}
	return producer.EndTransaction(ctx, end)
}

// learn waits until the client has noted where it wrote. PartitionLeader looks
// where its EndTransaction does.
func learn(ctx context.Context, producer *kgo.Client, records []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	for _, r := range records {
		for {
			if leader, _, _ := producer.PartitionLeader(r.Topic, r.Partition); leader >= 0 {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the client doesn't know partition %d of topic %s, to which it wrote: send the records again by another one (%w)", r.Partition, r.Topic, ctx.Err())
			case <-time.After(time.Millisecond):
			}
		}
	}
	return nil
}
