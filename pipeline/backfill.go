package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// After a reload, series that are new are filled from the topics, while
// decisions go on: what was applied before the reload is read again, beside the
// live reader, and entered between two steps, a little at a time. What is
// applied since the reload goes into the new series as into the others, so that
// nothing needs to be caught up with. Until all is entered the new series'
// expressions are warming. See Engine.Fill for why the result is exact.

// fillPlan is what a reload leaves to be read again.
type fillPlan struct {
	inputs    []*input
	to        []map[int32]int64 // by input and partition: applied as of the reload
	decided   map[*partition]int64
	waiting   map[string]bool // transactions that were applied and not judged yet
	derived   *derived        // what is to be read of the journal; nil: nothing
	fromEpoch int64           // begin once this epoch is committed
}

// planFill notes what new series miss: what was applied by now, or what a
// restored state has of before, since all that was read again after that has gone
// into them. A filling that is under way is given up: what it was for is still
// missing, and planned again.
func (s *session) planFill(state *savedState) {
	if s.fill != nil {
		s.fill.stop()
		s.fill = nil
	}
	s.fillWanted = nil
	streams, derived := s.engine.Filling()
	if len(streams) == 0 {
		return
	}
	// What one transaction has committed is readable for sure once the next one
	// is committed.
	plan := &fillPlan{fromEpoch: s.epochs + 1, decided: map[*partition]int64{}, waiting: map[string]bool{}}
	if state != nil && s.rejoinedIDs != nil {
		plan.waiting = s.rejoinedIDs
	}
	if derived {
		plan.derived = s.wanted()
	}
	for _, index := range streams {
		for _, in := range s.inputs {
			if in.index != index {
				continue
			}
			to := map[int32]int64{}
			for _, p := range in.partitions {
				if state != nil {
					to[p.id], plan.decided[p] = p.inState, state.decided(in.stream.Name, p.id)
					continue
				}
				to[p.id], plan.decided[p] = p.applied, p.decided()
				for _, r := range p.pending[p.pendingAt:] {
					if in == s.payments && r.decidable() {
						plan.waiting[r.Event.ID()] = true
					}
				}
			}
			plan.inputs, plan.to = append(plan.inputs, in), append(plan.to, to)
		}
	}
	s.fillWanted = plan
}

// filler reads in the background.
type filler struct {
	stop   context.CancelFunc
	plan   *fillPlan
	pieces chan fillPiece
	began  time.Time
	read   int64
	past   *derived // the engine's goroutine only; set by the first piece
}

// fillPiece is some records, or the end.
type fillPiece struct {
	records []record
	past    *derived
	end     bool
	since   map[int]int64 // by stream, with end: where topics begin later
	err     error
}

// fillRecords bounds what is entered at once, so that decisions don't wait.
const fillRecords = 1024

// startFill begins to read what is missing, if it is time.
func (s *session) startFill(ctx context.Context, epoch int64) {
	if s.fillWanted == nil || epoch < s.fillWanted.fromEpoch {
		return
	}
	plan := s.fillWanted
	s.fillWanted = nil
	ctx, stop := context.WithCancel(ctx)
	f := &filler{stop: stop, plan: plan, pieces: make(chan fillPiece, 2), began: time.Now()}
	s.fill = f
	decode := &reader{limits: s.reader.limits, maxDelay: s.reader.maxDelay, largest: s.reader.largest,
		// What was read before is not counted again.
		unknown: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "unused"}, []string{"stream", "field"})}
	go func() {
		since, err := s.readAgain(ctx, plan, decode, f)
		f.send(ctx, s.reader, fillPiece{end: true, since: since, err: err})
	}()
}

func (f *filler) send(ctx context.Context, wake *reader, p fillPiece) error {
	select {
	case f.pieces <- p:
		wake.notify()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readAgain reads what the plan says and sends it on. It runs beside the
// session, of which it uses only what doesn't change.
func (s *session) readAgain(ctx context.Context, plan *fillPlan, decode *reader, f *filler) (map[int]int64, error) {
	if plan.derived != nil {
		if err := s.readJournal(ctx, newJournal(plan.derived, nil)); err != nil {
			return nil, err
		}
		if err := f.send(ctx, s.reader, fillPiece{past: plan.derived}); err != nil {
			return nil, err
		}
	}
	since := map[int]int64{}
	for i, in := range plan.inputs {
		if err := s.readInputAgain(ctx, in, plan.to[i], decode, f, since); err != nil {
			return nil, err
		}
	}
	return since, nil
}

func (s *session) readInputAgain(ctx context.Context, in *input, to map[int32]int64, decode *reader, f *filler, since map[int]int64) error {
	topic := in.stream.Topic
	starts, err := s.adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("asking where %s begins: %w", topic, err)
	}
	spans, cut := map[int32]kafka.Span{}, map[int32]bool{}
	for id, end := range to {
		o, ok := starts.Lookup(topic, id)
		if !ok || o.Err != nil {
			return fmt.Errorf("asking where %s partition %d begins: %w", topic, id, firstError(o.Err, errNoAnswer))
		}
		if o.Offset > 0 && o.Offset >= end {
			return fmt.Errorf("%s partition %d holds nothing from before the reload any more", topic, id)
		}
		spans[id], cut[id] = kafka.Span{From: o.Offset, To: end}, o.Offset > 0
	}
	decoder := event.NewDecoder(in.stream, decode.limits)
	b := &batch{}
	flush := func() error {
		decode.decode(decoder, in, b)
		for i := range b.records {
			if r := &b.records[i]; r.err == nil && cut[r.Partition] {
				cut[r.Partition] = false
				if t, ok := since[in.index]; !ok || r.Event.Time > t {
					since[in.index] = r.Event.Time
				}
			}
		}
		records := b.records
		b = &batch{}
		return f.send(ctx, s.reader, fillPiece{records: records})
	}
	err = kafka.ReadRanges(ctx, s.cfg.options, topic, spans, func(raw *kgo.Record) error {
		b.records = append(b.records, record{part: in.partitions[raw.Partition], raw: raw})
		if len(b.records) < fillRecords {
			return nil
		}
		return flush()
	})
	if err == nil && len(b.records) > 0 {
		err = flush()
	}
	if err != nil {
		return fmt.Errorf("reading %s again: %w", topic, err)
	}
	return nil
}

// fillSome enters what was read, if there is something.
func (s *session) fillSome() bool {
	if s.fill == nil {
		return false
	}
	f := s.fill
	select {
	case p := <-f.pieces:
		switch {
		case p.past != nil:
			f.past = p.past
		case p.end:
			s.endFill(p)
		default:
			s.enterAgain(p.records)
		}
		return true
	default:
		return false
	}
}

func (s *session) enterAgain(records []record) {
	items, recs := make([]*engine.Item, len(records)), make([]*record, len(records))
	for i := range records {
		r := &records[i]
		recs[i] = r
		if r.err == nil {
			items[i] = &r.Item
			r.history = r.Offset < r.part.decideFrom
		}
	}
	s.engine.Fill(items)
	plan := s.fill.plan
	for i, r := range recs {
		// What was decided after the reload is in the new series already.
		if r.part.in == s.refunds && r.Offset >= plan.decided[r.part] || r.err == nil && r.part.in == s.payments && plan.waiting[r.Event.ID()] {
			items[i] = nil
		}
	}
	s.recall(recs, items, s.fill.past, s.engine.FillDecided)
	s.fill.read += int64(len(records))
}

func (s *session) endFill(p fillPiece) {
	f := s.fill
	s.fill = nil
	f.stop()
	if p.err != nil {
		s.engine.GiveUp()
		s.log.Warn("new series could not be filled from the topics: they stay warming until a window has passed", "error", p.err)
		return
	}
	derived := int64(noTime)
	if f.past != nil {
		derived = f.past.since
	}
	if moved := s.movedFrom(nil); moved != noTime {
		for _, in := range f.plan.inputs {
			p.since[in.index] = max(p.since[in.index], moved)
		}
		derived = max(derived, moved)
	}
	s.engine.Filled(p.since, derived)
	s.log.Info("new series are filled from the topics", "records", f.read, "took", time.Since(f.began).Round(time.Millisecond))
}
