package pipeline

import (
	"time"

	"github.com/refundguard/refundguard/rules/engine"
)

// A state that is lost, while the topics no longer hold all that it was made of,
// is never taken for one that was always so: refunds that may need what is
// missing are held.

// missed holds refunds back where the state held more than the topics do, and is
// not there any more.
func (s *session) missed(last *progress) {
	for _, g := range s.gaps(last) {
		s.lose(g.p, g.from, g.to)
	}
	if s.movedFrom(last) != noTime {
		s.loseMoved()
	}
}

// gap is what the state had of a partition and its topic no longer has.
type gap struct {
	p        *partition
	from, to int64
}

func (s *session) gaps(last *progress) (all []gap) {
	if !last.Saved {
		return nil
	}
	for _, in := range s.inputs {
		sp := last.stream(in.stream.Name)
		if sp == nil {
			continue
		}
		for i, pp := range sp.Partitions {
			if p := in.partitions[i]; p.start > pp.From {
				all = append(all, gap{p, pp.From, p.start})
			}
		}
	}
	return all
}

func (s *session) lose(p *partition, from, to int64) {
	s.log.Error("state is lost, and the topic no longer holds all that it was made of: refunds that need what is missing are held as degraded",
		"topic", p.in.stream.Topic, "partition", p.id, "from", from, "to", to)
	s.lost = s.cfg.now().UnixMilli()
	s.missing = s.missing || p.in == s.refunds
}

// loseRefunds notes that refunds are lost which the journal doesn't tell of
// either.
func (s *session) loseRefunds(past *journal) {
	if s.missing && past.since != noTime {
		s.lostRefunds = max(s.lostRefunds, s.lost) // and not now: it may have followed others since
	}
}

// tellLoss tells the engine what is lost, until it would have been forgotten
// anyway.
func (s *session) tellLoss(now time.Time) {
	over := func(at int64, keep time.Duration) bool { return keep > 0 && now.UnixMilli()-at > keep.Milliseconds() }
	if over(s.lost, s.cfg.State.Originals) {
		s.lost = 0
	}
	if over(s.lostRefunds, s.cfg.State.Retention) {
		s.lostRefunds = 0
	}
	l := engine.Loss{Some: s.lost > 0 || s.lostRefunds > 0}
	if s.lostRefunds > 0 {
		l.Refunds = s.lostRefunds + maxEarly.Milliseconds()
	}
	s.engine.Lose(l)
}
