package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/refundguard/refundguard/pipeline/checkpoint"
	"github.com/refundguard/refundguard/pipeline/store"
)

// A start that finds nothing saved takes the newest checkpoint that is of this
// deployment and whole. It then goes the way of any saved state.

// fetchState fills an empty folder from the bucket, and restores that. The state
// is nil where there is nothing to be had.
func (s *session) fetchState(ctx context.Context, st *store.Store, last *progress) (*store.Store, *savedState, error) {
	if s.cfg.checkpoints == nil || st.ReadOnly() {
		return st, nil, nil
	}
	state, err := s.fetchNewest(ctx, st, last)
	switch {
	case err == nil:
		return st, state, nil
	case ctx.Err() != nil:
		return nil, nil, errors.Join(ctx.Err(), st.Close())
	case errors.Is(err, store.ErrUnusable) || errors.Is(err, store.ErrInUse):
		return nil, nil, errors.Join(unusable(err), st.Close())
	case errors.Is(err, errNotAsked): // the folder has it now
		return nil, nil, errors.Join(err, st.Close())
	case len(s.gaps(last)) > 0 || s.movedFrom(last) != noTime:
		// What is in the bucket may be the only copy.
		err = fmt.Errorf("state.checkpoint: %w. The topics no longer hold all that the state was made of, so this is tried until it succeeds; without state.checkpoint the service starts, and holds the refunds that need what is missing", err)
		return nil, nil, errors.Join(err, st.Close())
	}
	s.log.Error("no checkpoint can be had: everything is read again from the topics", "error", err.Error())
	return st, nil, nil
}

// fetchNewest restores the newest checkpoint that can be. An error is of reaching
// the bucket or the disk.
func (s *session) fetchNewest(ctx context.Context, st *store.Store, last *progress) (*savedState, error) {
	c := s.cfg.checkpoints
	all, refused, err := c.bucket.List(ctx)
	if err != nil {
		return nil, err
	}
	refuse := func(name string, err error) {
		c.metrics.checkpointBad.Inc()
		s.log.Error("a checkpoint is refused", "bucket", c.bucket.String(), "name", name, "error", err.Error())
	}
	for _, r := range refused {
		refuse(r.Name, r.Err)
	}
	for i := range all {
		m, began := &all[i], time.Now()
		err := foreign(m, last)
		if err == nil {
			err = receive(ctx, c.bucket, m, st, nil)
		}
		var state *savedState
		if err == nil {
			state, err = s.restoreState(ctx, st, last)
			if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnusable) && !errors.Is(err, errNotAsked) {
				s.engine.Close()
				s.engine = s.newEngine()
				err = fmt.Errorf("%w: %w", checkpoint.ErrRefused, err)
			}
		}
		switch {
		case err == nil:
			c.metrics.checkpointAt.Set(float64(m.SavedAt.UnixMilli()) / 1000)
			s.log.Info("state restored from a checkpoint", "bucket", c.bucket.String(), "name", m.Name(), "keys", s.engine.Stats().Keys, "bytes", m.Bytes(),
				"epoch", m.Epoch, "of", last.Epoch, "saved", m.SavedAt.Format(time.RFC3339), "took", time.Since(began).Round(time.Millisecond))
			return state, nil
		case errors.Is(err, checkpoint.ErrRefused) || errors.Is(err, store.ErrDamaged):
			refuse(m.Name(), err)
			if err := st.Clear(); err != nil {
				return nil, err
			}
		default:
			return nil, err
		}
	}
	return nil, nil
}

// foreign says why a checkpoint can't become the state of what is committed,
// before it is downloaded.
func foreign(m *checkpoint.Manifest, last *progress) error {
	if m.Life != last.life() {
		return fmt.Errorf("%w: it is of transactional_id %q on cluster %q, begun as %s; this is %q on %q, begun as %s: another deployment, cluster, or an earlier life of this one",
			checkpoint.ErrRefused, m.TransactionalID, m.ClusterID, m.Began, last.TransactionalID, last.ClusterID, last.Began)
	}
	if m.Epoch > last.Epoch {
		return fmt.Errorf("%w: it is of epoch %d, later than what is committed (%d): the progress topic was lost or set back", checkpoint.ErrRefused, m.Epoch, last.Epoch)
	}
	return nil
}

// receive takes a checkpoint into a folder. As is nil, or changes what the state
// says of itself.
func receive(ctx context.Context, bucket *checkpoint.Bucket, m *checkpoint.Manifest, st *store.Store, as func(*savedState) error) error {
	return st.Receive(func(dir string) error { return bucket.Get(ctx, m, dir) }, func(meta []byte) ([]byte, error) {
		state, err := parseSaved(meta)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", checkpoint.ErrRefused, err)
		}
		if state.Progress.life() != m.Life || state.Progress.Epoch != m.Epoch {
			return nil, fmt.Errorf("%w: its manifest is of another state", checkpoint.ErrRefused)
		}
		// Whoever has this folder isn't who wrote it, and that one may still work.
		state.Progress.Writer = writerID{}
		if as != nil {
			if err := as(state); err != nil {
				return nil, err
			}
		}
		return json.Marshal(state)
	})
}

// parseSaved reads what a saved state says of itself.
func parseSaved(meta []byte) (*savedState, error) {
	state := new(savedState)
	if err := json.Unmarshal(meta, state); err != nil {
		return nil, fmt.Errorf("what says what it is can't be read: %w", err)
	}
	if state.Version != savedStateVersion || state.Progress == nil {
		return nil, fmt.Errorf("its format is version %d, this program's is %d", state.Version, savedStateVersion)
	}
	return state, nil
}
