package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/refundguard/refundguard/pipeline/store"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// Where a saved state belongs to what is committed, a start reads only what came
// since. Of refunds (and of transactions that rules are on) it was saved while
// some had been applied and not decided. These are read again, and are not
// applied again: which of them are events the state knows, and the journal says
// which have been decided meanwhile.

// openState opens the state folder and restores what is saved there. Where
// that is of no use, it says why, is nil, and everything is read again.
func (s *session) openState(ctx context.Context, last *progress) (*savedState, error) {
	if last != nil {
		s.lost = last.Lost
	}
	defer func() {
		if s.lost > 0 {
			s.engine.Lose(s.lost + s.cfg.State.Originals.Milliseconds())
		}
	}()
	if s.cfg.State.Dir == "" {
		s.missed(last)
		return nil, nil
	}
	st, err := s.openStore(ctx)
	if st == nil {
		s.missed(last)
		return nil, err
	}
	var state *savedState
	began := time.Now()
	if err == nil {
		state, err = s.restoreState(st, last)
	}
	if err != nil {
		s.log.Error("the saved state can't be used: it is set aside, and everything is read again from the topics", "dir", s.cfg.State.Dir, "error", err.Error())
		if err := st.SetAside(); err != nil {
			return nil, errors.Join(fatalf("setting the state in %s aside: %w", s.cfg.State.Dir, err), st.Close())
		}
		s.engine.Close()
		s.engine = s.newEngine()
		state = nil
	}
	s.saver = newSaver(st, s.log, s.metrics)
	s.engine.Track()
	if state == nil {
		s.missed(last)
		return nil, nil
	}
	s.metrics.savedAt.Set(float64(state.Progress.At) / 1000)
	s.log.Info("state restored", "keys", s.engine.Stats().Keys, "epoch", state.Progress.Epoch, "of", last.Epoch,
		"saved", time.UnixMilli(state.Progress.At).UTC().Format(time.RFC3339), "took", time.Since(began).Round(time.Millisecond))
	s.skipSaved(state)
	return state, nil
}

// openStore waits a little for a predecessor that is ending. Nil without an
// error: go on without a folder.
func (s *session) openStore(ctx context.Context) (*store.Store, error) {
	for deadline := time.Now().Add(inUseTimeout); ; {
		st, err := store.Open(s.cfg.State.Dir, s.log)
		switch {
		case st != nil:
			return st, err
		case !errors.Is(err, store.ErrInUse):
			return nil, fatalf("state.dir can't be used: %w", err)
		case time.Now().After(deadline):
			s.log.Error("the state is read from the topics, and not saved: give each instance a folder of its own as state.dir, or end the other process and restart this one", "error", err.Error())
			return nil, nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// inUseTimeout is well above how long an instance that was told to stop takes
// to let go of its folder.
const inUseTimeout = 10 * time.Second

// restoreState restores the engine, if the saved state is one that the
// committed progress came after. It is nil where nothing is saved.
func (s *session) restoreState(st *store.Store, last *progress) (*savedState, error) {
	if st.Meta() == nil {
		return nil, nil
	}
	state := new(savedState)
	if err := json.Unmarshal(st.Meta(), state); err != nil {
		return nil, fmt.Errorf("what says what it is can't be read: %w", err)
	}
	if state.Version != savedStateVersion || state.Progress == nil {
		return nil, fmt.Errorf("its format is version %d, this program's is %d", state.Version, savedStateVersion)
	}
	if err := state.Progress.precedes(last); err != nil {
		return nil, err
	}
	return state, s.engine.Restore(state.Engine, st.Scan)
}

// precedes says why a state of this progress can't become that of the last
// committed one by what was read since.
func (p *progress) precedes(last *progress) error {
	switch {
	case last == nil:
		return errors.New("it is of a deployment that had begun, and there is no progress: another cluster, or topics made anew")
	case p.TransactionalID != last.TransactionalID:
		return fmt.Errorf("it is of another deployment: transactional_id %q, this one's is %q", p.TransactionalID, last.TransactionalID)
	case p.ClusterID != last.ClusterID:
		return fmt.Errorf("it is of cluster %q, this one is %q", p.ClusterID, last.ClusterID)
	case p.Began != last.Began:
		return errors.New("it is of an earlier life of this deployment, which began anew since")
	case p.Epoch > last.Epoch:
		return fmt.Errorf("it is of epoch %d, later than what is committed (%d): the progress topic was lost or set back", p.Epoch, last.Epoch)
	}
	for _, sp := range p.Streams {
		lp := last.stream(sp.Stream)
		if lp == nil || lp.Topic != sp.Topic || lp.TopicID != sp.TopicID || len(lp.Partitions) < len(sp.Partitions) {
			return fmt.Errorf("its topic of %s is %s (id %s), and that was renamed or made anew", sp.Stream, sp.Topic, sp.TopicID)
		}
		for i, pp := range sp.Partitions {
			lpp := lp.Partitions[i]
			// Of refunds, what is applied and not decided is applied again by an
			// instance that has no such state.
			if pp.Decided > lpp.Decided && lp.Decides == sp.Decides || sp.Stream != "refunds" && pp.Applied > lpp.Applied {
				return fmt.Errorf("it is later than what is committed of %s partition %d: the progress topic was lost or set back", sp.Topic, i)
			}
		}
	}
	return nil
}

// skipSaved has only that read again which the state hasn't.
func (s *session) skipSaved(state *savedState) {
	for _, in := range s.inputs {
		sp := state.Progress.stream(in.stream.Name)
		if sp == nil {
			continue
		}
		for i, pp := range sp.Partitions {
			p := in.partitions[i]
			exists := p.start
			from := pp.Applied
			if in == s.refunds || sp.Decides {
				from = min(from, pp.Decided)
			}
			p.inState, p.odd, p.from = pp.Applied, state.Odd[in.stream.Name][p.id], pp.From
			p.start = max(exists, from)
			p.applied, p.position = p.start, p.start
			p.stop = max(p.stop, p.start)
			if in == s.refunds {
				p.stop = max(p.stop, p.inState)
			}
			p.cut = exists > p.inState
		}
	}
}

// missed holds refunds back where the state was kept in a folder, is not there
// any more, and the topics no longer hold all that it was made of.
func (s *session) missed(last *progress) {
	if last == nil || !last.Saved {
		return
	}
	for _, in := range s.inputs {
		sp := last.stream(in.stream.Name)
		if sp == nil {
			continue
		}
		for i, pp := range sp.Partitions {
			if p := in.partitions[i]; p.start > pp.From {
				s.log.Error("the state is lost, and a topic no longer holds all that it was made of: refunds that need what is missing are held as degraded",
					"topic", in.stream.Topic, "partition", p.id, "from", pp.From, "to", p.start)
				s.lost = time.Now().UnixMilli()
			}
		}
	}
}

// rejoined ends what rejoin needs.
func (s *session) rejoined() {
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			p.inState, p.odd = 0, nil
		}
	}
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
	case r.Fate == refused && r.err == nil && r.part.in == s.refunds && !passed:
		// It can be read today, and is new to the state.
		s.engine.Apply([]*engine.Item{&r.Item})
		return nil
	case r.Fate == refused:
		r.Fate = engine.Duplicate // it was dead-lettered
		return nil
	case r.part.in != s.refunds || r.err != nil || r.history:
		return nil
	}
	id := r.Event.ID()
	at, decided := past.place[id]
	here := at == place{r.Partition, r.Offset}
	switch {
	case decided && here && r.Fate == engine.Fresh && passed:
		s.engine.Settle(&r.Item, past.decided[id].Outcome)
		delete(past.decided, id)
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

// diverged sets the state aside for the session that follows.
func (s *session) diverged() error {
	s.saver.close()
	if st, err := store.Open(s.cfg.State.Dir, s.log); st != nil {
		err = errors.Join(st.SetAside(), st.Close())
		if err != nil {
			s.log.Error("setting the state aside", "error", err.Error())
		}
	} else {
		s.log.Error("setting the state aside", "error", err.Error())
	}
	s.saver = nil
	return errDiverged
}

// goesOn is from where a topic is to be read that holds records from first on,
// and whether what comes before is missing. The state has those before at.
func (st *savedState) goesOn(first, at int64) (from int64, cut bool) {
	return max(first, at), first > at
}

func (st *savedState) journal(partition int32) int64 {
	if st == nil {
		return 0
	}
	return st.Journal[partition]
}

func (st *savedState) alerts(partition int32) int64 {
	if st == nil {
		return 0
	}
	return st.Alerts[partition]
}

// decided is the first refund of a partition whose decision the state hasn't.
func (st *savedState) decided(partition int32) int64 {
	if st == nil {
		return 0
	}
	if sp := st.Progress.stream("refunds"); sp != nil && int(partition) < len(sp.Partitions) {
		return sp.Partitions[partition].Decided
	}
	return 0
}
