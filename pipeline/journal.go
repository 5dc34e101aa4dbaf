package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// journal is what was decided, by refund id. Entries are taken out as their
// records are met in the input.
type journal struct {
	decided map[string]engine.Past
	place   map[string]place // where the decided record is
	since   int64            // of refunds received before, decisions may be gone; noTime: of none
	derived *derived         // nil: no rule reads hits or decisions
	unknown int64            // refunds taken as approved because of since

	state                     *savedState     // what it goes on behind; nil: nothing
	ends, alertEnds, caseEnds map[int32]int64 // by partition: before this, it was read
}

// newJournal is one of which nothing is read yet, but for what a saved state
// has.
func newJournal(d *derived, state *savedState) *journal {
	j := &journal{derived: d, state: state, decided: map[string]engine.Past{}, place: map[string]place{}, since: noTime,
		ends: map[int32]int64{}, alertEnds: map[int32]int64{}, caseEnds: map[int32]int64{}}
	if state != nil {
		maps.Copy(j.ends, state.Journal)
		maps.Copy(j.alertEnds, state.Alerts)
		maps.Copy(j.caseEnds, state.Cases)
	}
	return j
}

// place is where a record is in its topic.
type place struct {
	partition int32
	offset    int64
}

// readJournal reads what the journal holds that wasn't read before, and what the
// streams hits and decisions are made of. It may run on any goroutine.
func (s *session) readJournal(ctx context.Context, j *journal) error {
	d, topic := j.derived, s.topics.Decisions
	starts, err := s.adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("asking where %s begins: %w", topic, err)
	}
	ends, err := s.adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("asking where %s ends: %w", topic, err)
	}
	if err := errors.Join(starts.Error(), ends.Error()); err != nil {
		return fmt.Errorf("asking for the offsets of %s: %w", topic, err)
	}
	spans, cut := map[int32]kafka.Span{}, map[int32]bool{}
	ends.Each(func(o kadm.ListedOffset) {
		first, _ := starts.Lookup(topic, o.Partition)
		from, missing := goesOn(first.Offset, j.ends[o.Partition])
		spans[o.Partition] = kafka.Span{From: from, To: o.Offset}
		j.ends[o.Partition] = o.Offset
		cut[o.Partition] = missing
		d.begins(o.Partition, missing)
	})
	err = kafka.ReadRanges(ctx, s.cfg.options, topic, spans, func(r *kgo.Record) error {
		dec, err := event.ParseDecision(r.Value)
		if err != nil {
			return fatalf("the journal %s holds a record at partition %d offset %d that is not a decision (%w): nothing else may write there", topic, r.Partition, r.Offset, err)
		}
		if cut[r.Partition] {
			// What is gone was decided before the first that is left, and received
			// before that. Partitions lose their beginnings one by one.
			cut[r.Partition] = false
			j.since = max(j.since, dec.DecidedAt)
		}
		if dec.Source.Topic != s.refunds.stream.Topic || dec.Source.Offset < j.state.decided("refunds", dec.Source.Partition) {
			return nil
		}
		j.decided[dec.RefundID] = engine.Past{TransactionID: dec.TransactionID, Amount: dec.Amount, Currency: dec.Currency, Outcome: dec.Outcome, Seen: max(dec.ReceivedAt, dec.DecidedAt)}
		j.place[dec.RefundID] = place{dec.Source.Partition, dec.Source.Offset}
		d.keep(r, dec)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the journal %s: %w", topic, err)
	}
	for _, nothingLeft := range cut {
		if nothingLeft {
			j.since = math.MaxInt64
		}
	}
	d.read(s.cfg.now())
	return s.readAlerts(ctx, j)
}

// restore applies the chunk as it was applied before. Of the refunds, all of
// which have passed, those at their place in the journal are the events,
// whichever partition happens to be read first now; repeats and what was
// refused then are not, whatever today's schema and limits say of them.
func (s *session) restore(past *journal) error {
	outcomes := make([]event.Outcome, len(s.chunk))
	recalled := s.items
	for i, r := range s.chunk {
		if r.Offset < r.part.inState {
			if &recalled[0] == &s.items[0] {
				recalled = slices.Clone(s.items)
			}
			s.items[i] = nil
			if err := s.rejoin(r, past); err != nil {
				return err
			}
			if r.err != nil || r.Fate != engine.Fresh {
				recalled[i] = nil
			}
			continue
		}
		if r.part.in != s.refunds || r.err != nil {
			continue
		}
		id := r.Event.ID()
		at, decided := past.place[id]
		switch {
		case decided && at == place{r.Partition, r.Offset}:
			outcomes[i] = past.decided[id].Outcome
			r.Seen = max(r.Seen, past.decided[id].Seen)
		case decided:
			s.items[i] = nil
		case r.history:
			outcomes[i] = event.Approve
		case r.Received < past.since:
			past.unknown++
			outcomes[i] = event.Approve
		default:
			s.items[i] = nil
		}
	}
	s.engine.Apply(s.items)
	for i, r := range s.chunk {
		if s.items[i] == nil || r.part.in != s.refunds || r.Fate != engine.Fresh {
			continue
		}
		o, err := s.settled(r.Event.ID(), outcomes[i])
		if err != nil {
			return err
		}
		s.engine.Settle(&r.Item, o)
		past.taken(r.Event.ID())
	}
	for i, r := range s.chunk {
		if s.items[i] == nil && r.Offset >= r.part.inState {
			recalled[i] = nil
		}
	}
	s.recall(s.chunk, recalled, past.derived, s.engine.Recall)
	clear(s.chunk)
	clear(s.items)
	return nil
}

// decidedAt reports whether a record that can be read is that of a decision.
func (j *journal) decidedAt(r *record) bool {
	at, decided := j.place[r.Event.ID()]
	return decided && at == place{r.Partition, r.Offset}
}

// taken forgets a decision that is in the state now: that tells by itself what
// repeats it.
func (j *journal) taken(id string) {
	delete(j.decided, id)
	delete(j.place, id)
}

// restoreRest enters the decisions whose records the refunds topic no longer
// holds, or that today's schema can't read: their ids stay known, and their
// amounts stay in the sums of their transactions. Before the end of what is
// recovered, or followed, only those before what is applied.
func (s *session) restoreRest(past *journal, end bool) error {
	n := 0
	for id, d := range past.decided {
		at := past.place[id]
		p := s.refunds.partitions[at.partition]
		switch {
		case !end && at.offset >= p.recovered():
			continue
		}
		var err error
		if d.Outcome, err = s.settled(id, d.Outcome); err != nil {
			return err
		}
		switch {
		case at.offset < p.inState && p.odd[at.offset] != refused:
			s.engine.Reserve(d) // the id is known
		default:
			s.engine.Remember(id, d)
		}
		past.taken(id)
		n++
	}
	if n > 0 {
		s.log.Warn("the refunds topic no longer holds refunds that the journal has: their ids and sums are known, but windows over refunds miss them; keep the topic as long as the longest window",
			"refunds", n, "topic", s.refunds.stream.Topic)
	}
	if past.unknown > 0 {
		defer func() { past.unknown = 0 }()
		s.log.Warn("the journal no longer holds the decisions of old refunds: they count as approved in sums of refunds; keep the journal longer",
			"refunds", past.unknown, "topic", s.topics.Decisions)
	}
	return nil
}
