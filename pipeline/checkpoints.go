package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/refundguard/refundguard/pipeline/checkpoint"
	"github.com/refundguard/refundguard/pipeline/store"
)

// Every so often the instance that works sends a copy of what it has saved to a
// bucket, so that a new machine needn't read everything again. The copy is made
// between two saves, of links, and sent in the background; what fails is tried
// again an interval later.

// checkpoints are those of a process, whatever session it is in.
type checkpoints struct {
	bucket  *checkpoint.Bucket
	every   time.Duration
	keep    int
	log     *slog.Logger
	metrics *metrics

	began time.Time    // of the process
	next  atomic.Int64 // when the next is due, in nanoseconds since
	busy  atomic.Bool
	asked atomic.Bool // of when the last one is that another process made
}

// OpenCheckpoints is where a deployment's checkpoints are: in state.checkpoint,
// unless from names another place. It makes no connection.
func OpenCheckpoints(cfg Config, transactionalID, from string) (*checkpoint.Bucket, error) {
	if cfg.Observe {
		transactionalID += "-observe"
	}
	if from == "" {
		from = cfg.State.Checkpoint
	}
	if from == "" {
		return nil, errors.New("state.checkpoint is not set: there is no bucket to look into")
	}
	return checkpoint.New(from, transactionalID)
}

func (c *checkpoints) close() {
	if err := c.bucket.Close(); err != nil {
		c.log.Warn("closing the bucket of checkpoints", "error", err)
	}
}

// due reports whether a checkpoint is to be made, and that the next one isn't
// due for an interval.
func (c *checkpoints) due() bool {
	now := int64(time.Since(c.began))
	if c.busy.Load() || now < c.next.Load() {
		return false
	}
	c.next.Store(now + int64(c.every))
	return true
}

// manifestOf says what a saved state is.
func manifestOf(state *savedState) checkpoint.Manifest {
	p := state.Progress
	m := checkpoint.Manifest{Life: p.life(), Epoch: p.Epoch, SavedAt: time.UnixMilli(p.At).UTC(), Topics: map[string]string{}}
	for _, sp := range p.Streams {
		m.Topics[sp.Topic] = sp.TopicID
	}
	return m
}

func (p *progress) life() checkpoint.Life {
	return checkpoint.Life{TransactionalID: p.TransactionalID, ClusterID: p.ClusterID, Began: p.Began}
}

// checkpointOf is what makes a checkpoint of a save, nil where none is due. Only
// the instance that works makes any.
func (s *session) checkpointOf(state *savedState) func(*store.Store) *upload {
	c := s.cfg.checkpoints
	if c == nil || s.follows || !c.due() {
		return nil
	}
	m := manifestOf(state)
	return func(st *store.Store) *upload { return c.begin(st, m) }
}

// upload is a checkpoint on its way.
type upload struct {
	stop func()
	done chan struct{}
}

// cancel ends it, and waits until its folder is no longer needed.
func (u *upload) cancel() {
	u.stop()
	select {
	case <-u.done:
	case <-time.After(10 * time.Second):
	}
}

// begin copies what is saved, and sends it on a goroutine of its own.
func (c *checkpoints) begin(st *store.Store, m checkpoint.Manifest) *upload {
	c.busy.Store(true)
	ctx, stop := context.WithCancel(context.Background())
	u := &upload{stop: stop, done: make(chan struct{})}
	dir, err := st.Copy()
	go func() {
		defer close(u.done)
		defer c.busy.Store(false)
		defer stop()
		if err == nil {
			err = errors.Join(c.send(ctx, dir, m), os.RemoveAll(dir))
		}
		if err != nil && ctx.Err() == nil {
			c.metrics.checkpointBad.Inc()
			c.log.Error("checkpoint: trying again later", "bucket", c.bucket.String(), "in", c.every, "error", err.Error())
		}
	}()
	return u
}

func (c *checkpoints) send(ctx context.Context, dir string, m checkpoint.Manifest) error {
	if recent, err := c.recent(ctx, m); err != nil || recent {
		return err
	}
	began := time.Now()
	sent, err := c.bucket.Put(ctx, dir, &m)
	c.metrics.checkpointSent.Add(float64(sent))
	if err != nil {
		return err
	}
	c.metrics.checkpointAt.Set(float64(m.SavedAt.UnixMilli()) / 1000)
	c.log.Info("checkpoint made", "bucket", c.bucket.String(), "name", m.Name(), "epoch", m.Epoch, "bytes", m.Bytes(), "sent", sent,
		"took", time.Since(began).Round(time.Millisecond))
	if err := c.bucket.Keep(ctx, c.keep, m.Life); err != nil {
		return fmt.Errorf("one was made, but those before could not be removed: %w", err)
	}
	return nil
}

// recent reports whether the process before this one has made a checkpoint
// within the interval: one that starts over and over must not push out those of
// before the trouble.
func (c *checkpoints) recent(ctx context.Context, m checkpoint.Manifest) (bool, error) {
	if c.asked.Load() {
		return false, nil
	}
	all, _, err := c.bucket.List(ctx)
	if err != nil {
		return false, err
	}
	c.asked.Store(true)
	for _, other := range all {
		if ago := m.SavedAt.Sub(other.SavedAt); other.Life == m.Life && ago >= 0 && ago < c.every {
			c.next.Store(int64(time.Since(c.began) + c.every - ago))
			return true, nil
		}
	}
	return false, nil
}
