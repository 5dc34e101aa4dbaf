package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/refundguard/refundguard/pipeline"
)

// makeTopics names a gate's topics, and makes those of the events unless they are
// there, filled by an earlier gate that was to keep them.
func (run *gateRun) makeTopics(ctx context.Context, keep bool, o Options) error {
	cfg := &run.cfg
	var made []string
	for _, name := range []string{"complaints", "confirmations", "reviews", "ledger_results"} {
		cfg.Streams[name] = streamTopic(run.prefix+name, "")
		made = append(made, run.prefix+name)
	}
	cfg.Topics = cfg.Topics.WithPrefix(run.prefix)
	made = slices.AppendSeq(made, maps.Values(cfg.Topics.ByKey()))
	run.closes = append(run.closes, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, _ = run.adm.DeleteTopics(ctx, made...)
	})

	kept := fmt.Sprintf("refundguard-bench-events-%d-%d-%g-", o.Events, o.Seed, o.Hot)
	run.readFrom(kept)
	if err := run.findEvents(ctx, o.Events); err != nil || run.filled > 0 {
		return err
	}
	if !keep {
		run.readFrom(run.prefix)
		made = append(made, run.events...)
	}
	if resp, err := run.adm.CreateTopics(ctx, gatePartitions, 1, nil, run.events...); err != nil || resp.Error() != nil {
		return fmt.Errorf("creating the topics: %w", errors.Join(err, resp.Error()))
	}
	return nil
}

func (run *gateRun) readFrom(prefix string) {
	run.events = []string{prefix + "transactions", prefix + "refunds"}
	run.cfg.Streams["transactions"] = streamTopic(run.events[0], "")
	run.cfg.Streams["refunds"] = streamTopic(run.events[1], "earliest")
}

// findEvents sets filled where the topics hold as many events as were generated.
func (run *gateRun) findEvents(ctx context.Context, events int) error {
	ends, err := run.adm.ListEndOffsets(ctx, run.events...)
	if err != nil {
		return fmt.Errorf("asking for topics that were filled before: %w", err)
	}
	held, refunds := 0, 0
	for _, end := range ends.Offsets().Sorted() {
		held += int(end.At)
		if end.Topic == run.events[1] {
			refunds += int(end.At)
		}
	}
	switch err := ends.Error(); {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return nil
	case err != nil:
		return fmt.Errorf("asking for topics that were filled before: %w", err)
	case held != events:
		return fmt.Errorf("topics %s and %s hold %d of %d events: whoever filled them was stopped, so delete them", run.events[0], run.events[1], held, events)
	}
	run.filled = refunds
	return nil
}

func streamTopic(topic, from string) pipeline.StreamConfig {
	s := pipeline.StreamConfig{DecideFrom: from}
	s.Topic = topic
	return s
}
