package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/refundguard/refundguard/pipeline/checkpoint"
	"github.com/refundguard/refundguard/pipeline/store"
)

// PutCheckpoint writes all that is saved to a bucket, and tells what it wrote and
// how many bytes went out.
func (s *State) PutCheckpoint(ctx context.Context, bucket *checkpoint.Bucket) (*checkpoint.Manifest, int64, error) {
	m := manifestOf(s.saved)
	sent, err := bucket.Put(ctx, s.store.Files(), &m)
	return &m, sent, err
}

// Restored is what TakeCheckpoint found.
type Restored struct {
	*checkpoint.Manifest
	Refused []error // newer ones, that can't be used
}

// TakeCheckpoint fills the empty state folder of a configuration: with the newest
// checkpoint of the bucket that can be used, or with the one that is named. The
// service checks at its start whether that is of its deployment and cluster.
func TakeCheckpoint(ctx context.Context, cfg Config, bucket *checkpoint.Bucket, name string, log *slog.Logger) (r Restored, err error) {
	if cfg.State.Dir == "" {
		return r, errors.New("state.dir is empty: name the folder that the state is to be in")
	}
	all, refused, err := bucket.List(ctx)
	if err != nil {
		return r, err
	}
	for _, one := range refused {
		if name == "" || one.Name == name {
			r.Refused = append(r.Refused, one.Err)
		}
	}
	st, err := store.Open(cfg.stateDir(), log)
	if st == nil || err != nil {
		if st != nil {
			err = errors.Join(err, st.Close())
		}
		return r, fmt.Errorf("state.dir: %w", err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if st.Meta() != nil {
		return r, fmt.Errorf("something is saved in %s: name an empty folder, or move what is there away", cfg.stateDir())
	}
	for i := range all {
		m := &all[i]
		if name != "" && m.Name() != name {
			continue
		}
		err := receive(ctx, bucket, m, st, nil)
		if err == nil {
			r.Manifest = m
			return r, nil
		}
		if !errors.Is(err, checkpoint.ErrRefused) && !errors.Is(err, store.ErrDamaged) {
			return r, err
		}
		r.Refused = append(r.Refused, err)
	}
	if len(r.Refused) > 0 {
		return r, fmt.Errorf("no checkpoint of %s can be used:\n%w", bucket, errors.Join(r.Refused...))
	}
	if name != "" {
		return r, fmt.Errorf("%s holds no checkpoint %q of this deployment", bucket, name)
	}
	return r, fmt.Errorf("%s holds no checkpoint of this deployment", bucket)
}
