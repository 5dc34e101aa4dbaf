package kafka

import (
	"cmp"
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
	spans, err := Spans(ctx, options, topic, since)
	if err != nil {
		return err
	}
	var failed error // each's own, which is no fault of reading
	err = ReadRanges(ctx, options, topic, spans, func(r *kgo.Record) error {
		failed = each(r)
		return failed
	})
	if err != nil && failed == nil {
		return fmt.Errorf("reading %s: %w", topic, err)
	}
	return err
}

// Span is a range of offsets [From, To).
type Span struct{ From, To int64 }

// Spans is where the committed records of a topic are, by partition, from a
// Kafka timestamp on (zero: all) up to its end as of now.
func Spans(ctx context.Context, options []kgo.Opt, topic string, since time.Time) (map[int32]Span, error) {
	base, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	defer base.Close()
	adm := kadm.NewClient(base)
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking where %s ends: %w", topic, err)
	}
	starts, err := startsSince(ctx, adm, topic, since)
	if err != nil {
		return nil, fmt.Errorf("asking where %s begins: %w", topic, err)
	}
	spans := map[int32]Span{}
	for id, end := range ends[topic] {
		start := starts[topic][id]
		switch err := cmp.Or(end.Err, start.Err); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return nil, fmt.Errorf("reading %s: %w", topic, ErrNoTopic)
		case err != nil:
			return nil, fmt.Errorf("asking for the offsets of %s partition %d: %w", topic, id, err)
		case start.Offset >= 0: // -1: nothing is that late
			spans[id] = Span{start.Offset, end.Offset}
		}
	}
	return spans, nil
}

// ReadRanges gives the committed records of some ranges of a topic, by
// partition, until each is read to its end. Those of a partition come in order.
// An error of each ends it and is returned.
func ReadRanges(ctx context.Context, options []kgo.Opt, topic string, spans map[int32]Span, each func(*kgo.Record) error) error {
	offsets := map[int32]kgo.Offset{}
	left := map[int32]int64{}
	for id, s := range spans {
		if s.To > s.From {
			offsets[id] = kgo.NewOffset().At(s.From)
			left[id] = s.To
		}
	}
	if len(left) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, options...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := cmp.Or(ctx.Err(), fetches.Err()); err != nil {
			return err
		}
		var failed error
		fetches.EachRecord(func(r *kgo.Record) {
			to, open := left[r.Partition]
			if !open || failed != nil {
				return
			}
			if r.Offset < to && !r.Attrs.IsControl() {
				failed = each(r)
			}
			if r.Offset+1 >= to {
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
