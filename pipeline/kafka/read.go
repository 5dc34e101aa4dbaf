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

// ErrNoTopic says that a topic does not exist.
var ErrNoTopic = errors.New("there is no such topic")

// Read gives each committed record of a topic from a Kafka timestamp on (zero:
// all) up to its end as of now. Those of a partition come in order. An error of
// each ends it and is returned.
func Read(ctx context.Context, options []kgo.Opt, topic string, since time.Time, each func(*kgo.Record) error) error {
	base, err := kgo.NewClient(options...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer base.Close()
	adm := kadm.NewClient(base)
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("asking where %s ends: %w", topic, err)
	}
	starts, err := startsSince(ctx, adm, topic, since)
	if err != nil {
		return fmt.Errorf("asking where %s begins: %w", topic, err)
	}
	from, left := map[int32]kgo.Offset{}, map[int32]int64{}
	for id, end := range ends[topic] {
		start := starts[topic][id]
		switch err := firstError(end.Err, start.Err); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return fmt.Errorf("reading %s: %w", topic, ErrNoTopic)
		case err != nil:
			return fmt.Errorf("asking for the offsets of %s partition %d: %w", topic, id, err)
		case start.Offset >= 0 && start.Offset < end.Offset: // -1: nothing is that late
			from[id], left[id] = kgo.NewOffset().At(start.Offset), end.Offset
		}
	}
	if len(left) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, options...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := firstError(ctx.Err(), fetches.Err()); err != nil {
			return fmt.Errorf("reading %s: %w", topic, err)
		}
		var failed error
		fetches.EachRecord(func(r *kgo.Record) {
			end, open := left[r.Partition]
			if !open || failed != nil {
				return
			}
			if r.Offset < end && !r.Attrs.IsControl() {
				failed = each(r)
			}
			if r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

func startsSince(ctx context.Context, adm *kadm.Client, topic string, since time.Time) (kadm.ListedOffsets, error) {
	if since.IsZero() {
		return adm.ListStartOffsets(ctx, topic)
	}
	return adm.ListOffsetsAfterMilli(ctx, since.UnixMilli(), topic)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
