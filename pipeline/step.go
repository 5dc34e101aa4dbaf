package pipeline

import (
	"context"
	"math"
	"time"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// step applies what may be applied and decides what is due. It reports whether
// there was anything.
func (s *session) step(ctx context.Context) bool {
	start := time.Now()
	moved := s.collect(s.applyLimit())
	if moved {
		s.applyChunk()
		start = s.tally.took(stepApply, start)
	}
	decided := s.pass()
	if decided {
		s.tally.took(stepDecide, start)
	}
	if s.held || s.refundsWait() || s.lives.late {
		s.askEnds(ctx)
	}
	return moved || decided
}

// refundsWait reports whether the ends of partitions are worth asking for.
func (s *session) refundsWait() bool {
	for _, p := range s.deciding {
		if p.waiting() > 0 || !p.atEnd() {
			return true
		}
	}
	return false
}

// collect takes records up to a limit from all partitions in turn.
func (s *session) collect(limit frontier) bool {
	s.chunk, s.items, s.held = s.chunk[:0], s.items[:0], false
	starving, decoding := false, false
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			for len(s.chunk) < chunkRecords {
				most := chunkRecords / 8
				if in.decides && p.stop < 0 {
					most = min(most, s.capacity-p.waiting())
				}
				if most <= 0 {
					break
				}
				got := p.take(limit, most)
				if len(got) == 0 {
					break
				}
				in.taken += len(got)
				s.gather(p, got)
				for i := range got {
					if in.decides && got[i].Offset >= p.passed {
						p.push(&got[i])
					}
				}
			}
			s.reader.resume(p)
			s.held = s.held || p.peek() != nil
			starving, decoding = starving || p.starves(), decoding || p.decoding()
		}
	}
	s.reader.pressure.tell(starving || len(s.chunk) == 0 && !decoding)
	return len(s.chunk) > 0
}

func (s *session) gather(p *partition, got []record) {
	seen := int64(math.MinInt64) // when it was, what is read again doesn't tell
	if p.stop < 0 {
		seen = s.cfg.now().UnixMilli()
	}
	for i := range got {
		r := &got[i]
		r.history = r.Offset < p.decideFrom
		r.Seen = max(r.Received, seen)
		s.chunk = append(s.chunk, r)
		if r.err != nil {
			s.items = append(s.items, nil)
			continue
		}
		p.watermark = max(p.watermark, r.Event.Time)
		if p.cut {
			p.cut = false
			s.engine.Incomplete(p.in.index, r.Event.Time)
		}
		s.items = append(s.items, &r.Item)
	}
}

// applyChunk enters the chunk into the state. What is refused of streams other
// than refunds goes out now; refunds are passed in the order of their
// partition.
func (s *session) applyChunk() {
	s.engine.Apply(s.items)
	now := s.cfg.now()
	for _, r := range s.chunk {
		switch {
		case r.part.in == s.refunds:
			if r.history && r.err == nil && r.Fate == engine.Fresh {
				s.engine.Settle(&r.Item, event.Approve)
			}
		case r.err != nil:
			s.refuse(r, r.err, rules.Medium, now)
		case r.Fate == engine.Conflict:
			s.refuse(r, conflict(r), rules.Medium, now)
		case r.Fate == engine.Duplicate:
			r.part.in.duplicates.Inc()
		case r.part.in == s.payments:
			s.labelPayment(r)
		}
	}
	for _, in := range s.inputs {
		in.applied.Add(float64(in.taken))
		in.taken = 0
	}
	clear(s.chunk)
	clear(s.items)
}

// decidable reports whether a refund waits for its decision; others only wait
// for their turn.
func (r *record) decidable() bool {
	return r.err == nil && r.Fate == engine.Fresh && !r.history
}

// pass goes through the refunds that wait, in the order of each partition, as
// far as they are due.
func (s *session) pass() bool {
	d := s.align()
	s.portion(&d)
	now := s.cfg.now()
	s.dueRecs, s.dueItem = s.dueRecs[:0], s.dueItem[:0]
	s.earlier.known = false
	passed := false
	for _, p := range s.refunds.partitions {
		for h := p.head(); h != nil; h = p.head() {
			if h.decidable() {
				ok, degraded := d.of(h)
				if !ok || h.Event.Time >= d.lenient && s.waitsForEarlier(&d, h) {
					break
				}
				h.Degraded = degraded
				s.dueRecs, s.dueItem = append(s.dueRecs, h), append(s.dueItem, &h.Item)
			} else {
				s.passBy(h, now)
			}
			s.balance.Read++
			passed = true
			p.pop()
		}
	}
	s.decideDue(now)
	passed = s.passPayments(&d, now) || passed
	return s.takeTurns(&d, now) || passed
}

// passBy counts a refund record that isn't decided.
func (s *session) passBy(r *record, now time.Time) {
	switch {
	case r.err != nil:
		s.balance.DeadLettered++
		s.refuse(r, r.err, rules.High, now)
	case r.Fate == engine.Conflict:
		s.balance.DeadLettered++
		s.refuse(r, conflict(r), rules.Critical, now)
	case r.Fate == engine.Duplicate:
		s.balance.Duplicates++
		s.refunds.duplicates.Inc()
	case r.history:
		s.balance.History++
	}
}

func (s *session) decideDue(now time.Time) {
	if len(s.dueRecs) == 0 {
		return
	}
	if cap(s.outs) < len(s.dueRecs) {
		s.outs = make([]decided, len(s.dueRecs))
	}
	outs := s.outs[:len(s.dueRecs)]
	for i := range s.writers {
		s.writers[i].alone = s.writers[i].alone[:0]
	}
	s.engine.Decide(s.dueItem, func(w, i int, d *event.Decision, res *rules.Result) {
		outs[i] = s.describe(w, s.dueRecs[i], d, res, now)
	})
	before := s.epoch.bytes
	for i, r := range s.dueRecs {
		s.enter(r, &outs[i])
	}
	s.weigh(s.epoch.bytes-before, len(outs))
	s.countHolds(outs, now)
	clear(outs)
	clear(s.dueRecs)
	clear(s.dueItem)
}
