package pipeline

import (
	"context"
	"fmt"
	"math"
	"time"
)

// due says which refunds may be decided: those earlier than a bound, which is
// a later one for refunds that were read before the ends of the partitions
// were asked for. Between strict and lenient, a decision doesn't wait for
// partitions that are left out, and is degraded.
type due struct {
	gen                       int64 // the latest answered question
	strict, lenient           int64
	strictAsked, lenientAsked int64
}

// of reports whether a refund is due, and whether deciding it now leaves a
// partition out.
func (d *due) of(r *record) (ok, degraded bool) { return d.at(r, r.Event.Time) }

// at is of, for a record that waits for what is earlier than another time.
func (d *due) at(r *record, t int64) (ok, degraded bool) {
	strict, lenient := d.strict, d.lenient
	if r.gen < d.gen {
		strict, lenient = d.strictAsked, d.lenientAsked
	}
	return t < lenient, t >= strict
}

// earlier is what waits and isn't due: the earliest refund of each transaction.
type earlier struct {
	known bool
	of    map[string]*record
}

// waitsForEarlier reports whether a refund that is due, for all partitions were
// at their ends after it was read, waits for an earlier one of its transaction:
// one that was read after the ends were asked for, and is due with the next
// answer.
func (s *session) waitsForEarlier(d *due, r *record) bool {
	e := &s.earlier
	if !e.known {
		e.known = true
		clear(e.of)
		for _, p := range s.refunds.partitions {
			for _, x := range p.pending[p.pendingAt:] {
				if !x.decidable() {
					continue
				}
				if ok, _ := d.of(x); ok {
					continue
				}
				if id := s.transactionOf(x); id != "" && (e.of[id] == nil || x.before(e.of[id])) {
					e.of[id] = x
				}
			}
		}
	}
	if len(e.of) == 0 {
		return false
	}
	x := e.of[s.transactionOf(r)]
	return x != nil && x.before(r)
}

func (s *session) transactionOf(r *record) string { return r.Event.Str(s.slots.transaction) }

// before is the order in which refunds of one transaction are decided.
func (r *record) before(other *record) bool {
	if r.Event.Time != other.Event.Time {
		return r.Event.Time < other.Event.Time
	}
	return r.Event.ID() < other.Event.ID()
}

// align computes what is due. A partition holds refunds at t back until it was
// applied up to a record later than t, or to its end.
func (s *session) align() due {
	d := due{gen: s.ends.gen, strict: math.MaxInt64, lenient: math.MaxInt64, strictAsked: math.MaxInt64, lenientAsked: math.MaxInt64}
	head := s.earliestHead()
	for _, in := range s.inputs {
		if !in.required {
			continue
		}
		for _, p := range in.partitions {
			if r := p.peek(); r != nil && r.err == nil {
				p.watermark = max(p.watermark, r.Event.Time)
			}
			bound := p.watermark
			if in.gates && p.waiting() >= s.capacity && p.watermark <= head {
				// Full of records none of which is later than the earliest
				// head: nothing later can come before some are decided.
				bound = head + 1
			}
			asked := bound
			if p.atEnd() {
				asked = math.MaxInt64
			}
			d.strict, d.strictAsked = min(d.strict, bound), min(d.strictAsked, asked)
			if !p.leftOut {
				d.lenient, d.lenientAsked = min(d.lenient, bound), min(d.lenientAsked, asked)
			}
		}
	}
	return d
}

// atEnd reports whether everything up to the last stable offset, as of the
// latest answer, is applied.
func (p *partition) atEnd() bool {
	p.drained()
	return p.endKnown && p.applied >= p.end
}

// earliestHead is the event time of the earliest record that waits for its
// decision, MaxInt64 if none does.
func (s *session) earliestHead() int64 {
	t := int64(math.MaxInt64)
	for _, p := range s.gating {
		if h := p.head(); h != nil && h.decidable() {
			t = min(t, h.Event.Time)
		}
	}
	return t
}

// frontier is up to where records may be applied: those not later than time
// that were read before question gen was asked.
type frontier struct{ time, gen int64 }

// everything is the frontier while recovering, where offsets are the limit.
var everything = frontier{math.MaxInt64, math.MaxInt64}

// applyLimit is read_ahead beyond the earliest record that is undecided or next
// to be read: further ahead, windows would forget what that record asks for. A
// partition that decides and has neither must be at its end, and that only says
// something about records that were read before the end was asked for.
func (s *session) applyLimit() frontier {
	f := frontier{s.earliestHead(), math.MaxInt64}
	for _, p := range s.gating {
		if p.waiting() > 0 || p.leftOut {
			continue
		}
		if r := p.peek(); r != nil {
			if r.err != nil {
				// It has no time, and what is behind it isn't known yet.
				return frontier{math.MinInt64, math.MaxInt64}
			}
			f.time = min(f.time, r.Event.Time)
			continue
		}
		if !p.atEnd() {
			return frontier{math.MinInt64, 0}
		}
		f.gen = s.ends.gen
	}
	if f.time > math.MaxInt64-s.readAhead {
		f.time = math.MaxInt64
	} else {
		f.time += s.readAhead
	}
	return f
}

// ends is what is known of the ends of the partitions.
type ends struct {
	gen    int64 // of the question that was answered last
	asking bool
	asked  time.Time
	okAt   time.Time // when the cluster last answered
	of     int64     // when that question was asked, by the clock of deadlines
	answer chan endsAnswer
}

type endsAnswer struct {
	gen  int64
	of   int64 // when it was asked, as of ends
	ends map[*partition]int64
	err  error // partitions were added
}

// askEvery is how often the ends of partitions may be asked for. What is read
// at the end of all partitions waits that long at most, so it is well below
// the commit interval.
const askEvery = 5 * time.Millisecond

// askEnds asks for the last stable offsets of all inputs, in the background.
func (s *session) askEnds(ctx context.Context) {
	if s.ends.asking || time.Since(s.ends.asked) < askEvery {
		return
	}
	s.ends.asking, s.ends.asked = true, time.Now()
	gen, of := s.reader.gen.Add(1), s.cfg.now().UnixMilli()
	go func() {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.Engine.AlignTimeout)
		defer cancel()
		a := endsAnswer{gen: gen, of: of, ends: map[*partition]int64{}}
		var topics []string
		for _, in := range s.inputs {
			topics = append(topics, in.stream.Topic)
		}
		listed, _ := s.adm.ListCommittedOffsets(ctx, topics...) // no answer is known by its lack
		for _, in := range s.inputs {
			if n := len(listed[in.stream.Topic]); n > len(in.partitions) {
				a.err = fmt.Errorf("topic %s has %d partitions now, it had %d: starting over to read them all", in.stream.Topic, n, len(in.partitions))
			}
			for _, p := range in.partitions {
				if o, ok := listed.Lookup(in.stream.Topic, p.id); ok && o.Err == nil {
					a.ends[p] = o.Offset
				}
			}
		}
		s.ends.answer <- a
	}()
}

// learnEnds takes an answer.
func (s *session) learnEnds(a endsAnswer) {
	s.ends.asking = false
	if a.err != nil {
		s.failed = a.err
		return
	}
	if len(a.ends) == 0 {
		return
	}
	s.ends.gen, s.ends.okAt, s.ends.of = a.gen, time.Now(), a.of
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			p.end, p.endKnown = a.ends[p], false
			if _, ok := a.ends[p]; ok {
				p.endKnown = true
			}
		}
	}
}

// leaveOut finds partitions that refunds wait for, that have more to bring and
// brought nothing for align_timeout, and takes them in again when they move.
// While the cluster as a whole doesn't answer, nothing is left out: nothing
// could be committed either.
func (s *session) leaveOut(now time.Time) {
	timeout := s.cfg.Engine.AlignTimeout
	reachable := now.Sub(s.ends.okAt) < timeout
	head := s.earliestHead()
	for _, in := range s.inputs {
		if !in.required {
			continue
		}
		for _, p := range in.partitions {
			p.mu.Lock()
			moved := p.moved
			p.mu.Unlock()
			blocks := head != math.MaxInt64 && p.watermark <= head || in.gates && p.waiting() == 0
			silent := blocks && !p.atEnd() && p.peek() == nil
			if moved.After(p.waitSince) || !silent && !p.leftOut || p.atEnd() {
				p.waitSince = now
			}
			out := now.Sub(p.waitSince) > timeout && (p.leftOut || reachable)
			if out != p.leftOut {
				p.leftOut = out
				s.metrics.leftOut.WithLabelValues(in.stream.Name).Add(map[bool]float64{true: 1, false: -1}[out])
				if out {
					s.log.Warn("partition left out: it brings nothing; decisions are degraded until it moves", "topic", in.stream.Topic, "partition", p.id,
						"position", p.applied, "end", p.end)
				} else {
					s.log.Info("partition is back", "topic", in.stream.Topic, "partition", p.id)
				}
			}
		}
	}
}
