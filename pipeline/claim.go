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

// notReplaced refuses to take the transactional.id back from an instance that
// claimed the progress after one of this process's sessions. The name that was
// there before that session's claim says nothing: the cluster acknowledges a
// commit before readers see it.
func (s *session) notReplaced(ctx context.Context) error {
	if s.cfg.succeeded == nil {
		return nil
	}
	last, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress)
	if err == nil && last != nil && last.Writer.Instance != s.cfg.writer.Instance && last.Writer != *s.cfg.succeeded {
		return replacedBy(last.Writer, nil)
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil // see nothingGone
	}
	return err
}

// claim writes the last progress again, in the name of this session.
func (s *session) claim(ctx context.Context, last *progress) error {
	s.seen = last.Writer
	mine := *last
	mine.Writer, mine.Host, mine.Left = s.cfg.writer, s.cfg.host, false
	if err := s.transact(ctx, []*kgo.Record{mine.record(s.topics.Progress)}); err != nil {
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
func (s *session) shown(ctx context.Context, p *progress) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	for {
		last, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress)
		switch {
		case err != nil || last == nil:
		case last.Writer == p.Writer && last.Epoch == p.Epoch:
			return nil
		case last.Writer != p.Writer && last.Writer != s.seen:
			return replacedBy(last.Writer, fmt.Errorf("epoch %d is not to be seen", p.Epoch))
		}
		if sleep(ctx, 20*time.Millisecond) != nil {
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
		last, readErr := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress)
		if readErr == nil && last != nil && last.Writer.Instance != s.cfg.writer.Instance && last.Writer != s.seen {
			return replacedBy(last.Writer, err)
		}
		if sleep(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}
