package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"
)

// An instance that finds another at work stands by: it recovers, like any other,
// up to what that one has committed, and goes on doing so. It takes the
// transactional.id when the other leaves, or when no progress came for
// engine.takeover_after: a leader commits at least each second, idle too.
//
// What it follows is an epoch behind: only when the next one is committed is all
// of an epoch readable for sure, since its records and its progress are in
// different partitions.

// followEvery is how often a standby looks for progress, at most.
const followEvery = 100 * time.Millisecond

// following is what a standby knows of the leader.
type following struct {
	last  *progress // seen last
	moved time.Time // when it was seen first, and later by what nobody could see
	after time.Duration

	caughtUp bool
	// What of the journal is in the state once an epoch is applied; see marks.
	read, applied mark
}

// mark says that the state of an epoch, and of any later one, has all that the
// journal and the alerts hold before some offsets.
type mark struct {
	epoch                  int64 // 0: not known yet
	journal, alerts, cases map[int32]int64
}

// mark is what was read of the journal by now.
func (j *journal) mark(epoch int64) mark {
	return mark{epoch, maps.Clone(j.ends), maps.Clone(j.alertEnds), maps.Clone(j.caseEnds)}
}

// standBy comes back when there is nobody who works: at once, or after following
// one who did.
func (s *session) standBy(ctx, work context.Context, r *recovery) error {
	after := s.cfg.Engine.TakeoverAfter
	if after == 0 {
		return nil
	}
	last, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress)
	if err != nil || last == nil || last.Left || last.Writer.Instance == s.cfg.writer.Instance {
		return err
	}
	s.follows, s.cfg.succeeded = true, nil
	defer func() { s.follows = false }()
	if err := s.resumeFrom(last); err != nil {
		return err
	}
	f := &following{last: last, moved: time.Now(), after: after + rand.N(after/8+1)}
	s.tellStandby(f)
	if err := s.restart(ctx, work, last, r); err != nil {
		return err
	}
	if r.state != nil && r.state.Progress.Writer.Instance == last.Writer.Instance {
		return nil // it had this folder, and has no more: it is gone
	}
	s.log.Info("standing by", "leader", last.Host, "instance", last.Writer.Instance, "epoch", last.Epoch)
	return s.follow(ctx, f, r)
}

// follow applies what the leader commits until there is none.
func (s *session) follow(ctx context.Context, f *following, r *recovery) error {
	look := time.NewTicker(min(followEvery, f.after/4+1))
	defer look.Stop()
	for {
		s.saveFor(followEvery)
		if err := s.stateErr(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.reader.fail:
			return err
		case next := <-s.cfg.reloads:
			before := s.wanted()
			s.reload(next)
			switch {
			case s.wanted().moreThan(before):
				// Of what was read of the journal by now, that wasn't kept.
				return errors.New("the changed rules read more of the journal: starting over")
			case s.fillWanted != nil && s.rejoining():
				// A new series would miss what is passed again and not applied.
				return errors.New("the changed rules have new series, and what waited in the state is not read again: starting over")
			}
			continue
		case <-look.C:
		}
		asked := time.Now()
		next, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress)
		switch {
		case err != nil:
			return err
		case next == nil:
			return errors.New("the progress that was followed is gone: starting over")
		case next.Left:
			s.log.Info("taking over: the leader has left", "leader", next.Host, "epoch", next.Epoch)
			return nil
		case next.Epoch == f.last.Epoch && next.Writer == f.last.Writer:
			// An answer tells of the time before it was asked for: this instance may
			// have been suspended since. And while no broker answers, the leader has
			// no answer either, and needs a moment after it.
			if silent := asked.Sub(f.moved); silent > f.after {
				s.log.Warn("taking over: the leader is silent", "leader", next.Host, "epoch", next.Epoch, "for", silent.Round(time.Millisecond))
				return nil
			}
			f.moved = f.moved.Add(max(0, time.Since(asked)-f.after/4))
			continue
		}
		seen := f.last
		f.last, f.moved = next, time.Now()
		if next.Epoch == seen.Epoch {
			continue // claimed by another
		}
		if err := s.followTo(ctx, seen, f, r); err != nil {
			return err
		}
	}
}

// followTo applies what was committed up to a progress that another one came
// after.
func (s *session) followTo(ctx context.Context, p *progress, f *following, r *recovery) error {
	if f.read.journal != nil && f.read.epoch == 0 {
		// What could be read then, before f.last was looked for, is of epochs up to
		// the one after that.
		f.read.epoch = f.last.Epoch + 1
	}
	if err := s.resumeFrom(p); err != nil {
		return err
	}
	if err := s.readJournal(ctx, r.past); err != nil {
		return err
	}
	if err := s.readCases(ctx, r.past); err != nil {
		return err
	}
	s.loseRefunds(r.past)
	if r.past.derived != nil { // what is saved goes on behind where this was read
		s.engine.IncompleteDerived(r.past.derived.since)
	}
	saved := p
	if f.caughtUp {
		saved = nil // it is, below
	}
	if err := s.catchUp(ctx, r, saved); err != nil {
		return err
	}
	s.engine.KeepExpired(false)
	if err := s.restoreRest(r.past, false); err != nil {
		return err
	}
	s.tellLoss(s.cfg.now())
	f.caughtUp = true
	s.tellStandby(f)
	if f.read.journal == nil || f.read.epoch > 0 && p.Epoch >= f.read.epoch {
		f.applied = f.read
		f.read = r.past.mark(0)
	}
	s.metrics.observe(s)
	s.saveFollowed(p, f)
	return nil
}

// saveFollowed begins to save the state as it is now, if it is time. What the
// leader has applied and not decided, this state hasn't.
func (s *session) saveFollowed(p *progress, f *following) {
	if f.applied.journal != nil && s.saveDue() && !s.rejoining() {
		s.saveBehind(p, f.applied)
	}
}

// tellStandby is why this instance isn't ready.
func (s *session) tellStandby(f *following) {
	err := fmt.Errorf("%s works, at epoch %d", f.last.Host, f.last.Epoch)
	if f.caughtUp {
		s.cfg.state(fmt.Errorf("%w: %w", ErrStandby, err))
	} else {
		s.cfg.state(fmt.Errorf("catching up, to stand by: %w", err))
	}
}
