package pipeline

import (
	"errors"
	"fmt"

	"github.com/refundguard/refundguard/pipeline/store"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// rejoined ends what rejoin needs.
func (s *session) rejoined() {
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			p.inState, p.odd = 0, nil
		}
	}
	s.rejoinedIDs = nil
}

// errDiverged is for a saved state that says other things than what was decided
// after it.
var errDiverged = errors.New("the saved state doesn't agree with what was decided after it: it is set aside")

// rejoin gives a record that is in the state its place in what is committed.
func (s *session) rejoin(r *record, past *journal) error {
	r.Fate = engine.Fresh
	if odd, ok := r.part.odd[r.Offset]; ok {
		r.Fate = odd
	}
	passed := r.Offset < r.part.passed
	switch {
	case r.Fate == refused && r.err == nil && r.part.in == s.refunds && (!passed || past.decidedAt(r)):
		// It can be read today, or by who decided it, and is new to the state.
		r.Seen = max(r.Seen, s.cfg.now().UnixMilli())
		s.engine.Apply([]*engine.Item{&r.Item})
		switch {
		case passed && r.Fate != engine.Fresh:
			return s.diverged()
		case passed:
			return s.settlePast(r, past)
		case r.history && r.Fate == engine.Fresh:
			s.engine.Settle(&r.Item, event.Approve)
		}
		return nil
	case r.Fate == refused:
		r.Fate = engine.Duplicate // it was dead-lettered
		return nil
	case r.err != nil && r.Fate == engine.Fresh && !passed:
		// It was accepted, and is in the state; whether it would be under today's
		// limits makes no difference.
		if s.reader.accept(r); r.err != nil {
			return s.diverged()
		}
	}
	if s.rejoinedIDs != nil && r.part.in == s.payments && r.Fate == engine.Fresh && r.err == nil {
		s.rejoinedIDs[r.Event.ID()] = true
	}
	if r.part.in != s.refunds || r.err != nil || r.history {
		return nil
	}
	id := r.Event.ID()
	at, decided := past.place[id]
	here := at == place{r.Partition, r.Offset}
	switch {
	case decided && here && r.Fate == engine.Fresh && passed:
		return s.settlePast(r, past)
	case decided && (here || r.Fate == engine.Fresh):
		return s.diverged()
	case r.Fate == engine.Fresh && passed && r.Received < past.since:
		past.unknown++
		s.engine.Settle(&r.Item, event.Approve)
	case r.Fate == engine.Fresh && passed:
		return s.diverged()
	}
	return nil
}

// settlePast enters what a record counts that the journal has.
func (s *session) settlePast(r *record, past *journal) error {
	id := r.Event.ID()
	o, err := s.settled(id, past.decided[id].Outcome)
	if err != nil {
		return err
	}
	s.engine.Settle(&r.Item, o)
	past.taken(id)
	return nil
}

// rejoining reports whether something that the state has will pass again, or
// still waits as it did when it was saved.
func (s *session) rejoining() bool {
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			if p.recovered() < p.inState {
				return true
			}
		}
	}
	return false
}

// diverged sets the state aside for the session that follows.
func (s *session) diverged() error {
	if s.folder == nil { // it was only read
		return &fatalError{errDiverged}
	}
	s.folder.close()
	s.folder, s.saver = nil, nil
	st, err := store.Open(s.cfg.files, s.cfg.stateDir(), s.log)
	if st != nil {
		err = errors.Join(st.SetAside(), st.Close())
	}
	if err != nil {
		return &fatalError{fmt.Errorf("%w, which fails: %w", errDiverged, err)}
	}
	return errDiverged
}
