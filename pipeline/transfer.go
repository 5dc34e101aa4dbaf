package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/checkpoint"
	"github.com/refundguard/refundguard/pipeline/store"
)

// Finish reports whether this state is all that a deployment leaves on its
// cluster: it stopped in order, nothing in its topics is undecided, and nothing
// was committed after the state was saved. It changes nothing but what
// PutCheckpoint says of the state then.
func (s *State) Finish(ctx context.Context, transactionalID string, options []kgo.Opt) error {
	now, err := ReadStatus(ctx, s.cfg, transactionalID, options)
	if err != nil {
		return err
	}
	p := s.saved.Progress
	switch {
	case now.TransactionalID != p.TransactionalID || now.ClusterID != p.ClusterID:
		return fmt.Errorf("the state is of %s on cluster %s, the progress there of %s on %s", p.TransactionalID, p.ClusterID, now.TransactionalID, now.ClusterID)
	case now.State != Stopped:
		return fmt.Errorf("the deployment is %s, not stopped: end the service in order (SIGTERM), all instances of it", now.State)
	case now.Epoch != p.Epoch:
		return fmt.Errorf("the state is of epoch %d, and epoch %d was committed: another instance has a later one, or the last save failed; start the service here once more, and end it", p.Epoch, now.Epoch)
	}
	for _, st := range now.Streams {
		if st.Lag+st.Undecided > 0 {
			return fmt.Errorf("topic %s holds what was not decided yet (%d records not read, %d undecided): let nothing write there any more, run the service until refundguard status shows none, and end it",
				st.Topic, st.Lag, st.Undecided)
		}
	}
	for _, series := range s.info.Contents.Series {
		if series.Filling {
			return fmt.Errorf("%s was being filled from the topics: run the service until that is done, and end it", series.Name)
		}
	}
	s.final = true
	return nil
}

// PutCheckpoint writes all that is saved to a bucket, and tells what it wrote and
// how many bytes went out.
func (s *State) PutCheckpoint(ctx context.Context, bucket *checkpoint.Bucket) (*checkpoint.Manifest, int64, error) {
	m := manifestOf(s.saved)
	m.Final = s.final
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
func TakeCheckpoint(ctx context.Context, cfg Config, bucket *checkpoint.Bucket, name string, log *slog.Logger) (Restored, error) {
	return take(ctx, cfg, bucket, name, log, nil, nil)
}

// TakeMoved is TakeCheckpoint for a deployment that goes on on another cluster.
// It takes only what was exported as final, with nothing of that deployment after
// it. The first start on a cluster that knows nothing of the deployment begins
// with it; anywhere else it is set aside.
func TakeMoved(ctx context.Context, cfg Config, bucket *checkpoint.Bucket, name string, log *slog.Logger) (r Restored, err error) {
	written := false
	var chosen *checkpoint.Manifest
	r, err = take(ctx, cfg, bucket, name, log, func(all []checkpoint.Manifest, unread int, m *checkpoint.Manifest) error {
		chosen = m
		if unread > 0 && name == "" {
			return fmt.Errorf("%w: what can't be read in %s may be of later: name the checkpoint to take", checkpoint.ErrRefused, bucket)
		}
		if !m.Final {
			return fmt.Errorf("%w: %s was not exported as final: stop the service, and run refundguard state export --final", checkpoint.ErrRefused, m.Name())
		}
		for _, other := range all {
			if other.Life == m.Life && other.Epoch > m.Epoch || name == "" && other.SavedAt.After(m.SavedAt) {
				return fmt.Errorf("%w: after %s the deployment went on, up to epoch %d: export it again", checkpoint.ErrRefused, m.Name(), other.Epoch)
			}
		}
		return nil
	}, func(state *savedState) error {
		b, err := json.Marshal(state.leave("moved-" + chosen.Sum()[:16]))
		if err != nil {
			panic(err) // no such type in it
		}
		// Before the state: without it that would be taken for one of another life.
		written = true
		return os.WriteFile(cfg.movedPath(), b, 0o600)
	})
	if err != nil && written {
		err = errors.Join(err, os.Remove(cfg.movedPath()))
	}
	return r, err
}

func take(ctx context.Context, cfg Config, bucket *checkpoint.Bucket, name string, log *slog.Logger,
	may func(all []checkpoint.Manifest, unread int, m *checkpoint.Manifest) error, as func(*savedState) error) (r Restored, err error) {
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
	st, err := store.Open(nil, cfg.stateDir(), log)
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
		var err error
		if may != nil {
			err = may(all, len(refused), m)
		}
		if err == nil {
			err = receive(ctx, bucket, m, st, as)
		}
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
