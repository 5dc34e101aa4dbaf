package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/event"
)

// write writes verdicts, and waits for what comes of them.
func (t *reviewTopics) write(all []*verdict, topic string, wait time.Duration) error {
	ctx, names := t.cmd.Context(), t.config.Pipeline.Names()
	before := map[string]map[int32]kafka.Span{}
	for _, written := range []string{names.Cases, names.DeadLetters} {
		spans, err := kafka.Spans(ctx, t.options, written, time.Time{})
		if err != nil {
			return err
		}
		before[written] = spans
	}
	cl, err := kgo.NewClient(append(t.options, kgo.RecordDeliveryTimeout(30*time.Second), kgo.UnknownTopicRetries(2))...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer cl.Close()
	records := make([]*kgo.Record, len(all))
	for i, v := range all {
		records[i] = v.record
		v.Result, v.Case, v.Message = resultWritten, nil, fmt.Sprintf("%s partition %d offset %d", topic, v.record.Partition, v.record.Offset)
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("writing %s to %s (some may be there: see refundguard review show before you write them again; a topic that is missing must be created, and the service started again): %w",
			count(len(all), "verdict"), topic, err)
	}
	for _, v := range all {
		v.Message = fmt.Sprintf("%s partition %d offset %d", topic, v.record.Partition, v.record.Offset)
	}
	if wait == 0 {
		return nil
	}
	return t.await(all, topic, before, wait)
}

// The progress is asked for soon at first, then less often: each time logs in.
const firstPause, longestPause = 50 * time.Millisecond, 500 * time.Millisecond

// await waits until all had their turn, and tells of each what it came to.
func (t *reviewTopics) await(all []*verdict, topic string, before map[string]map[int32]kafka.Span, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(t.cmd.Context(), wait)
	defer cancel()
	var passed []*verdict
	hint := "see refundguard status"
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		turns, err := pipeline.ReadTurns(ctx, t.config.Pipeline, t.options)
		if err != nil && ctx.Err() == nil {
			hint = err.Error()
		}
		if err == nil && turns != nil {
			t.turns, passed = turns, passed[:0]
			for _, v := range all {
				if turns.Passed(topic, v.record.Partition, v.record.Offset) {
					passed = append(passed, v)
				}
			}
		}
		if len(passed) == len(all) || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	for _, v := range all {
		v.Result = resultUnknown
		v.Message = fmt.Sprintf("it is written, and had no turn within %s; don't write it again: %s", wait, hint)
	}
	if err := t.cmd.Context().Err(); err != nil || len(passed) == 0 {
		return err
	}
	return t.outcomes(passed, topic, before)
}

// patience is how long what is committed may take until it can be read.
const patience = 10 * time.Second

// outcomes tells what became of verdicts that had their turn: a dead letter names
// the place of what was refused; what was carried out changed its case.
func (t *reviewTopics) outcomes(passed []*verdict, topic string, before map[string]map[int32]kafka.Span) error {
	names := t.config.Pipeline.Names()
	refused := map[string]*event.DeadLetter{}
	err := t.since(names.DeadLetters, before, func(r *kgo.Record) {
		if d, err := event.ParseDeadLetter(headersOf(r)); err == nil && d.Topic == topic {
			refused[place(d.Partition, d.Offset)] = d
		}
	})
	if err != nil {
		return err
	}
	last := map[string]*kgo.Record{}
	err = t.since(names.Cases, before, func(r *kgo.Record) {
		if pipeline.CaseState(r, t.turns.Life) != "" {
			last[string(r.Key)] = r
		}
	})
	if err != nil {
		return err
	}
	for _, v := range passed {
		if d := refused[place(v.record.Partition, v.record.Offset)]; d != nil {
			v.Result, v.Code, v.Message = resultRefused, d.Code, d.Message
		}
		r := last[v.RefundID]
		if r == nil {
			if v.Result != resultRefused {
				v.Message = "it had its turn, and nothing was written of it: see refundguard review show"
			}
			continue
		}
		c, err := pipeline.ParseCase(r)
		if err != nil {
			return err
		}
		j := jsonOf(c, time.Now())
		if v.Case = &j; v.Result != resultRefused {
			v.Result, v.Message = resultCarriedOut, became(kindOf[v.Verdict], c)
		}
	}
	return nil
}

var kindOf = map[string]cases.Kind{"approve": cases.Approve, "reject": cases.Reject, "escalate": cases.Escalate}

// since gives what was written to a topic after its end was asked for, all that
// is committed with a progress that was read.
func (t *reviewTopics) since(topic string, before map[string]map[int32]kafka.Span, each func(*kgo.Record)) error {
	ctx, cancel := context.WithTimeout(t.cmd.Context(), patience)
	defer cancel()
	ends, err := kafka.Settled(ctx, t.options, topic)
	if err != nil {
		return err
	}
	spans := map[int32]kafka.Span{}
	for id, end := range ends {
		spans[id] = kafka.Span{From: before[topic][id].To, To: end}
	}
	err = kafka.ReadRanges(ctx, t.options, topic, spans, func(r *kgo.Record) error {
		each(r)
		return nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("reading %s took longer than %s: see refundguard review show", topic, patience)
	}
	return err
}
