package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Whoever initialises the transactional.id last owns it. The errors by which
// the cluster tells the one before are not only for that: a transaction that
// took too long, or a commit that was asked for again, ends in the same ones
// (KIP-890 reads the epoch before the current one as a repeated request). So a
// session claims the progress before it works, by writing its name, and one
// that is told that it was replaced looks whose name is there.

// replaced tells that another instance has claimed the progress since this one
// did. The name that was there before the claim says nothing: the cluster
// acknowledges a commit before readers see it.
func (s *session) replaced(last *progress, cause error) error {
	if last == nil || last.Writer.Instance == s.cfg.writer.Instance || last.Writer == s.seen {
		return nil
	}
	return replacedBy(last.Writer, cause)
}

// stillOurs refuses to take the transactional.id back from a successor.
func (s *session) stillOurs(ctx context.Context, cause error) error {
	last, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress)
	if err != nil {
		return err
	}
	return s.replaced(last, cause)
}

// claim writes the last progress again, in the name of this session.
func (s *session) claim(ctx context.Context, last *progress) error {
	s.seen = last.Writer
	mine := *last
	mine.Writer, mine.Host, mine.Left = s.cfg.writer, s.cfg.host, false
	if err := s.transact(ctx, []*kgo.Record{mine.record(s.topics.Progress)}, &tally{}); err != nil {
		return fmt.Errorf("claiming the progress: %w", err)
	}
	if err := s.shown(ctx, &mine); err != nil {
		return fmt.Errorf("claiming the progress: %w", err)
	}
	s.cfg.claimed(s.seen)
	s.cfg.committed(&mine)
	return nil
}

// shown waits until readers see a progress that was answered as committed: what
// follows takes the name there for its own. That an answer was wrong has
// happened (connect.EndTransaction), and then the session starts over.
func (s *session) shown(whole context.Context, p *progress) error {
	ctx, cancel := context.WithTimeout(whole, claimTimeout)
	defer cancel()
	for {
		last, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress)
		if err == nil && last != nil && last.Writer == p.Writer && last.Epoch == p.Epoch {
			return nil
		}
		if err := s.replaced(last, fmt.Errorf("epoch %d is not to be seen", p.Epoch)); err != nil {
			return err
		}
		if sleep(ctx, 20*time.Millisecond) != nil {
			if err := whole.Err(); err != nil {
				return err // somebody stops it
			}
			return fmt.Errorf("epoch %d was answered as committed, and readers don't see it", p.Epoch)
		}
	}
}

// A successor claims what it took as soon as it has read the progress.
const claimTimeout = 3 * time.Second

// contested reports whether an error may mean that another instance has the
// transactional.id.
func contested(err error) bool {
	return slices.ContainsFunc([]error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.FencedInstanceID,
		kerr.InvalidTxnState, kerr.InvalidProducerIDMapping}, func(kind error) bool { return errors.Is(err, kind) })
}

// contest turns such an error into ErrFenced if another instance has claimed
// the progress since this session began.
func (s *session) contest(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	for {
		if lost := s.stillOurs(ctx, err); errors.Is(lost, ErrFenced) {
			return lost
		}
		if sleep(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}
