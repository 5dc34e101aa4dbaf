package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Settled is where a topic's partitions ended when it was called, once each
// transaction that was open there has ended. What a transaction wrote can be read
// a moment later in one partition than in another: whoever saw it in one finds it
// up to here in the others.
func Settled(ctx context.Context, options []kgo.Opt, topic string) (map[int32]int64, error) {
	cl, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	written, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking where %s ends: %w", topic, err)
	}
	ends := map[int32]int64{}
	for id, end := range written[topic] {
		if errors.Is(end.Err, kerr.UnknownTopicOrPartition) {
			return nil, fmt.Errorf("reading %s: %w", topic, ErrNoTopic)
		}
		if end.Err != nil {
			return nil, fmt.Errorf("asking where %s partition %d ends: %w", topic, id, end.Err)
		}
		ends[id] = end.Offset
	}
	for {
		committed, err := adm.ListCommittedOffsets(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("asking where %s ends: %w", topic, err)
		}
		open := false
		for id, end := range ends {
			c, ok := committed.Lookup(topic, id)
			open = open || !ok || c.Err != nil || c.Offset < end
		}
		if !open {
			return ends, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the transactions in %s: %w", topic, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
