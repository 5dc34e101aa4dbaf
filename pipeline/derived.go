package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// The streams hits and decisions show what was decided before the epoch. Their
// events are the decisions of the journal, and the alerts of rules on
// transactions, each joined with the record that it is about.

// derived is what the journal holds of them. Nil is for where no rule reads
// them.
type derived struct {
	payments bool                   // rules are on transactions, so that alerts are missed where they are gone
	refunds  map[string]told        // by refund id
	hits     map[string][]event.Hit // by transaction id
	since    int64                  // event time from which all of it is still there
	cut      map[int32]bool         // by partition of the topic being read: its beginning is gone
}

// told is a decision, and the place of the record that it is about.
type told struct {
	partition int32
	offset    int64
	decided   engine.Decided
}

// noTime is earlier than any event.
const noTime = math.MinInt64

// wanted is what is to be read of the journal beside outcomes.
func (s *session) wanted() *derived {
	if !s.engine.Derives() {
		return nil
	}
	return newDerived(s.engine.Evaluates())
}

func newDerived(payments bool) *derived {
	return &derived{payments: payments, refunds: map[string]told{}, hits: map[string][]event.Hit{}, since: noTime, cut: map[int32]bool{}}
}

// moreThan reports whether d needs something of the journal that other doesn't.
func (d *derived) moreThan(other *derived) bool {
	return d != nil && (other == nil || d.payments && !other.payments)
}

// begins notes whether something is gone of a partition that is about to be
// read.
func (d *derived) begins(partition int32, cut bool) {
	if d != nil {
		d.cut[partition] = cut
	}
}

// first notes the event time of a partition's first record.
func (d *derived) first(partition int32, t int64) {
	if d.cut[partition] {
		d.cut[partition] = false
		d.since = max(d.since, t)
	}
}

// read notes that a topic was read to its end. Of a partition that has nothing
// left, all until now is gone.
func (d *derived) read(now time.Time) {
	if d == nil {
		return
	}
	for partition := range d.cut {
		d.first(partition, now.UnixMilli())
	}
}

// keep takes what is needed of a decision.
func (d *derived) keep(r *kgo.Record, dec *event.Decision) {
	if d == nil || dec.DecidedBy != "engine" {
		return // what an analyst decides is no event of the stream
	}
	d.first(r.Partition, min(dec.OccurredAt, dec.ReceivedAt+maxEarly.Milliseconds()))
	d.refunds[dec.RefundID] = told{dec.Source.Partition, dec.Source.Offset,
		engine.Decided{DecisionID: dec.DecisionID, Outcome: dec.Outcome, Score: dec.Score, Hits: dec.Hits}}
}

// readAlerts adds the hits of rules on transactions: those alerts whose id says
// that they are; where nobody asks for them, it only notes where the topic ends.
func (s *session) readAlerts(ctx context.Context, j *journal) error {
	d, topic := j.derived, s.topics.Alerts
	spans, err := wholeTopic(ctx, s.adm, topic)
	if err != nil {
		return err
	}
	for id, sp := range spans {
		from, cut := goesOn(sp.From, j.alertEnds[id])
		j.alertEnds[id], spans[id] = sp.To, kafka.Span{From: from, To: sp.To}
		d.begins(id, cut)
	}
	if d == nil {
		return nil
	}
	err = kafka.ReadRanges(ctx, s.cfg.options, topic, spans, func(r *kgo.Record) error {
		a, err := event.ParseAlert(r.Value)
		if err != nil {
			return nil
		}
		if d.payments {
			d.first(r.Partition, a.At)
		}
		if a.TransactionID == "" || a.AlertID != paymentAlertID(a.TransactionID, a.Rule) {
			return nil
		}
		d.hits[a.TransactionID] = append(d.hits[a.TransactionID], event.Hit{Rule: a.Rule, Severity: a.Severity, Mode: rules.Live.String()})
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the alerts %s: %w", topic, err)
	}
	if d.payments {
		d.read(s.cfg.now())
	}
	return nil
}

// wholeTopic is all that a topic holds.
func wholeTopic(ctx context.Context, adm *kadm.Client, topic string) (map[int32]kafka.Span, error) {
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking where %s begins: %w", topic, err)
	}
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking where %s ends: %w", topic, err)
	}
	if err := errors.Join(starts.Error(), ends.Error()); err != nil {
		return nil, fmt.Errorf("asking for the offsets of %s: %w", topic, err)
	}
	spans := map[int32]kafka.Span{}
	ends.Each(func(o kadm.ListedOffset) {
		first, _ := starts.Lookup(topic, o.Partition)
		spans[o.Partition] = kafka.Span{From: first.Offset, To: o.Offset}
	})
	return spans, nil
}

// recall enters what the journal says of records that were decided before into
// the streams hits and decisions, by Engine.Recall or FillDecided.
func (s *session) recall(records []*record, items []*engine.Item, d *derived, enter func(*engine.Item, engine.Decided)) {
	if d == nil {
		return
	}
	for i, r := range records {
		if items[i] == nil || r.history {
			continue
		}
		switch r.part.in {
		case s.refunds:
			if t, ok := d.refunds[r.Event.ID()]; ok && t.partition == r.Partition && t.offset == r.Offset {
				enter(&r.Item, t.decided)
				delete(d.refunds, r.Event.ID())
			}
		case s.payments:
			if hits := d.hits[r.Event.ID()]; len(hits) > 0 && r.Fate == engine.Fresh {
				enter(&r.Item, engine.Decided{Hits: hits})
				delete(d.hits, r.Event.ID())
			}
		}
	}
}
