package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/pipeline/store"
)

// Where a saved state belongs to what is committed, a start reads only what came
// since. Of refunds (and of transactions that rules are on) it was saved while
// some had been applied and not decided. These are read again, and are not
// applied again: which of them are events the state knows, and the journal says
// which have been decided meanwhile.

// openState opens the state folder and restores what is saved there. Where
// that is of no use, it says why, is nil, and everything is read again.
func (s *session) openState(ctx context.Context, last *progress) (*savedState, error) {
	s.lost, s.lostRefunds = last.Lost, last.LostRefunds
	st, state, err := s.savedState(ctx, last)
	if err != nil {
		return nil, err
	}
	if st != nil && !st.ReadOnly() {
		s.folder = newSaver(st, s.log, s.metrics)
		s.saver = s.folder
		s.engine.Track()
		s.engine.KeepOnDisk(st)
	} else if st != nil {
		if err := st.Close(); err != nil {
			s.log.Warn("closing the state folder", "error", err)
		}
	}
	s.kept = s.saver != nil || state != nil
	if state == nil {
		s.newBook(st)
		s.missed(last)
		return nil, nil
	}
	// What this state lacks, the one who committed last may have had.
	s.lost, s.lostRefunds = max(s.lost, state.Progress.Lost), max(s.lostRefunds, state.Progress.LostRefunds)
	s.savedEpoch, s.savedAt = state.Progress.Epoch, state.Progress.At
	s.metrics.savedAt.Set(float64(s.savedAt) / 1000)
	s.skipSaved(state)
	return state, nil
}

// savedState opens the folder, which is nil if there is none that can be used,
// and restores what is saved there, which is nil if that can't.
func (s *session) savedState(ctx context.Context, last *progress) (*store.Store, *savedState, error) {
	if s.cfg.State.Dir == "" {
		return nil, nil, nil
	}
	began := time.Now()
	st, err := s.openStore(ctx)
	if st == nil {
		return nil, nil, err
	}
	var state *savedState
	if err == nil {
		state, err = s.restoreState(ctx, st, last)
	}
	switch {
	case err == nil && state != nil:
		s.log.Info("state restored", "keys", s.engine.Stats().Keys, "epoch", state.Progress.Epoch, "of", last.Epoch,
			"saved", time.UnixMilli(state.Progress.At).UTC().Format(time.RFC3339), "took", time.Since(began).Round(time.Millisecond))
		return st, state, nil
	case err == nil:
		return s.fetchState(ctx, st, last)
	case ctx.Err() != nil:
		return nil, nil, errors.Join(ctx.Err(), st.Close())
	case errors.Is(err, store.ErrUnusable):
		return nil, nil, errors.Join(unusable(err), st.Close())
	case errors.Is(err, errNotAsked):
		return nil, nil, errors.Join(err, st.Close())
	}
	s.engine.Close()
	s.engine = s.newEngine()
	s.log.Error("the saved state can't be used: it is set aside; a checkpoint is taken, or everything is read again from the topics", "dir", s.cfg.stateDir(), "error", err.Error())
	if err := st.SetAside(); err != nil {
		s.log.Error("the state can't be set aside: it stays as it is, and nothing is saved", "error", err.Error())
		if err := st.Close(); err != nil {
			s.log.Warn("closing the state folder", "error", err)
		}
		return nil, nil, nil
	}
	return s.fetchState(ctx, st, last)
}

func unusable(err error) error {
	return fatalf("state.dir: %w. Mend that, or name another folder: then everything is read again from the topics, and what they no longer hold is missed", err)
}

// stateDir is this deployment's folder: what only observes has one of its own in
// it.
func (c *Config) stateDir() string {
	if c.Observe && c.State.Dir != "" {
		return filepath.Join(c.State.Dir, "observe")
	}
	return c.State.Dir
}

// openStore waits a little for a predecessor that is ending. Nil without an
// error: go on without a folder. One that nothing can be written to is opened to
// be read.
func (s *session) openStore(ctx context.Context) (*store.Store, error) {
	for deadline := time.Now().Add(inUseTimeout); ; {
		st, err := store.Open(s.cfg.files, s.cfg.stateDir(), s.log)
		switch {
		case st != nil:
			return st, err
		case errors.Is(err, store.ErrUnusable):
			if st, readErr := store.OpenToRead(s.cfg.files, s.cfg.stateDir(), s.log); readErr == nil && st.Meta() != nil {
				s.log.Error("the state is read, and can't be saved until the next start", "error", err.Error())
				return st, nil
			} else if st != nil {
				err = errors.Join(err, st.Close())
			}
			return nil, unusable(err)
		case !errors.Is(err, store.ErrInUse):
			return nil, unusable(err)
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

// errNotAsked says nothing of the state: the next session asks again.
var errNotAsked = errors.New("whether the saved state is of what topics hold could not be asked")

// restoreState restores the engine, if the saved state is one that the
// committed progress came after. It is nil where nothing is saved.
func (s *session) restoreState(ctx context.Context, st *store.Store, last *progress) (*savedState, error) {
	if st.Meta() == nil {
		return nil, nil
	}
	state, err := parseSaved(st.Meta())
	if err != nil {
		return nil, err
	}
	if state.Moved {
		if err := state.arrive(last, s.outputs); err != nil {
			return nil, err
		}
	}
	if err := state.Progress.precedes(last); err != nil {
		return nil, err
	}
	var cut error
	err = s.eachCut(ctx, state.Progress, func(p *partition, pp *partitionProgress, end int64) {
		cut = fmt.Errorf("it has %s partition %d up to offset %d, and the cluster lost what was there from %d on", p.in.stream.Topic, p.id, pp.Applied, end)
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotAsked, err)
	}
	if cut != nil {
		return nil, cut
	}
	if !state.Moved {
		s.arrived()
	}
	if was, is := state.Topics[s.topics.Decisions], s.outputs[s.topics.Decisions]; was != is {
		return nil, fmt.Errorf("its topic of decisions, %s, has the id %s, that of today %s: it was made anew", s.topics.Decisions, was, is)
	}
	if state.Topics[s.topics.Alerts] != s.outputs[s.topics.Alerts] {
		state.Alerts = nil // offsets of another topic
	}
	if state.Topics[s.topics.Cases] != s.outputs[s.topics.Cases] {
		state.Cases = nil
	}
	if !st.ReadOnly() {
		s.engine.KeepOnDisk(st)
	}
	s.engine.KeepExpired(state.Part)
	if err := s.engine.Restore(state.Engine, s.cfg.now().UnixMilli(), stoppable{st, ctx}); err != nil {
		return state, err
	}
	return state, s.loadCases(st, stoppable{st, ctx})
}

// loadCases takes what is saved of cases. A store that is only read is closed
// then: what it has of them is in memory.
func (s *session) loadCases(st *store.Store, from stoppable) error {
	s.newBook(st)
	lo, hi := cases.Keys()
	return from.Scan(lo, hi, func(key, value []byte) error {
		c, err := s.lives.book.Load(key, value)
		if err != nil {
			return err
		}
		if st.ReadOnly() {
			s.lives.book.Put(c)
		}
		if !c.Settled {
			s.lives.unsettled[c.RefundID] = true
		}
		return nil
	})
}

// newBook begins without cases; what is to come is kept where it will be saved.
func (s *session) newBook(st *store.Store) {
	clear(s.lives.unsettled)
	if st == nil || st.ReadOnly() {
		s.lives.book = cases.New(nil)
	} else {
		s.lives.book = cases.New(st)
	}
}

// stoppable is a store whose Scan ends with a context.
type stoppable struct {
	*store.Store
	ctx context.Context
}

func (s stoppable) Scan(lo, hi []byte, each func(key, part []byte) error) error {
	n := 0
	return s.Store.Scan(lo, hi, func(key, part []byte) error {
		if n++; n%4096 == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		return each(key, part)
	})
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

// skipSaved has only that read again which the state hasn't. Where a topic no
// longer holds all of that, it is lost.
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
			p.cut = exists > p.inState || pp.Cut
			if had := max(p.inState, p.from); exists > had { // what is between it never had
				s.lose(p, had, exists)
			}
		}
	}
	if _, derived := s.engine.Filling(); derived && s.payments != nil {
		s.rejoinedIDs = map[string]bool{}
	}
}

// goesOn is from where a topic is to be read that holds records from first on,
// and whether what comes before is missing. The state has those before at.
func goesOn(first, at int64) (from int64, cut bool) {
	return max(first, at), first > at
}

// decided is the first record of a partition whose decision the state hasn't.
func (st *savedState) decided(stream string, partition int32) int64 {
	if st == nil {
		return 0
	}
	if sp := st.Progress.stream(stream); sp != nil && int(partition) < len(sp.Partitions) {
		return sp.Partitions[partition].Decided
	}
	return 0
}
