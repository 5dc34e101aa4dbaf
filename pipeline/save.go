package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/pipeline/store"
	"github.com/refundguard/refundguard/rules/engine"
)

// The state is saved every few seconds, as it is where an epoch is closed. What
// changed is copied between the steps that follow, and written in the
// background; but it counts only with the progress that it belongs to, and that
// only once this is committed.

// savedState says what a saved state is. It is written with it.
type savedState struct {
	Version  int             `json:"version"`
	Progress *progress       `json:"progress"`
	Engine   json.RawMessage `json:"engine"`

	// Journal and Alerts are the offsets in these topics, by partition, before
	// which the state has all that they hold.
	Journal map[int32]int64 `json:"journal"`
	Alerts  map[int32]int64 `json:"alerts"`

	// Cases are the offsets in the topic of cases before which the state has all
	// that it holds.
	Cases map[int32]int64 `json:"cases"`

	// Topics are the ids of the topics written.
	Topics map[string]string `json:"topics"`

	// Moved is a state that comes from another cluster: it goes before all that
	// this one's topics hold.
	Moved bool `json:"moved,omitempty"`

	// Part is a state that was still to catch up with all that was committed.
	Part bool `json:"part,omitempty"`

	// Odd are the records, by stream, partition and offset, that were applied,
	// that wait for their turn, and that are not the event of their id.
	Odd map[string]map[int32]map[int64]engine.Fate `json:"odd,omitempty"`
}

const savedStateVersion = 2

// refused is the fate, in Odd, of a record that could not be read.
const refused engine.Fate = 255

// copyFor is how long decisions wait at once for changes to be copied.
const copyFor = time.Millisecond

// saver writes saves in the background.
type saver struct {
	store   *store.Store
	log     *slog.Logger
	metrics *metrics
	steps   chan saveStep
	results chan saveResult
	ended   chan struct{}
	stop    chan struct{}
	full    atomic.Bool // it waits for room on the disk
	upload  *upload     // of the last checkpoint; nil: there was none
}

// saveStep is a piece of a save. The last one has its meta, and says whether it
// is to be a checkpoint.
type saveStep struct {
	drops      [][2][]byte
	gone       [][]byte
	cases      *cases.Frozen
	copied     []engine.Copied
	meta       []byte
	checkpoint func(st *store.Store) *upload // nil: no
}

// saveResult is the end of one save.
type saveResult struct {
	rewrite [][]byte
	err     error
}

// saving is the save that is under way.
type saving struct {
	save      *engine.Save
	state     savedState
	began     time.Time
	copied    bool
	committed bool
	sent      bool
}

func newSaver(st *store.Store, log *slog.Logger, m *metrics) *saver {
	v := &saver{store: st, log: log, metrics: m, steps: make(chan saveStep, 16), results: make(chan saveResult, 1),
		ended: make(chan struct{}), stop: make(chan struct{})}
	go v.run()
	return v
}

// run writes what comes until stop is closed. After an error nothing more is
// written: what changed meanwhile would be missing.
func (v *saver) run() {
	defer close(v.ended)
	var w *store.Save
	failed := false
	for {
		var step saveStep
		select {
		case <-v.stop:
			return
		case step = <-v.steps:
		}
		if failed {
			continue
		}
		if w == nil {
			w = v.store.Begin()
		}
		err := v.write(w, step)
		switch failed = err != nil; {
		case failed:
			v.results <- saveResult{err: err}
		case step.meta != nil:
			v.results <- saveResult{rewrite: w.Rewrite()}
			w = nil
			if step.checkpoint != nil {
				v.upload = step.checkpoint(v.store)
			}
		}
	}
}

// write hands a step over. It waits for room on the disk, if it must.
func (v *saver) write(w *store.Save, step saveStep) error {
	for _, r := range step.drops {
		if err := w.Drop(r[0], r[1]); err != nil {
			return err
		}
	}
	for _, key := range step.gone {
		if err := w.Delete(key); err != nil {
			return err
		}
	}
	waiting := func(f func(key, value []byte) error) func(key, value []byte) error {
		return func(key, value []byte) error {
			err := f(key, value)
			if errors.Is(err, store.ErrFull) {
				err = v.retry(func() error { return f(key, value) })
			}
			return err
		}
	}
	if step.cases != nil {
		if err := step.cases.Each(waiting(w.Put)); err != nil {
			return err
		}
	}
	for _, c := range step.copied {
		if err := c.Each(waiting(w.Put), waiting(w.Add)); err != nil {
			return err
		}
	}
	if step.meta != nil {
		return v.retry(func() error { return w.Commit(step.meta) })
	}
	return nil
}

var errStopped = errors.New("stopped")

// retry waits for room on the disk.
func (v *saver) retry(f func() error) error {
	defer v.full.Store(false)
	for said := ""; ; {
		err := f()
		if !errors.Is(err, store.ErrFull) {
			return err
		}
		v.full.Store(true)
		if err.Error() != said {
			said = err.Error()
			v.log.Error("the state can't be saved, the last save stays; trying again", "error", err)
		}
		select {
		case <-v.stop:
			return errStopped
		case <-time.After(5 * time.Second):
		}
	}
}

// close waits for what is being written, for a while, and gives the folder up.
func (v *saver) close() {
	close(v.stop)
	select {
	case <-v.ended:
		if v.upload != nil {
			v.upload.cancel()
		}
	case <-time.After(10 * time.Second):
		v.log.Error("the state folder gives no answer")
	}
	if err := v.store.Close(); err != nil {
		v.log.Warn("closing the state folder", "error", err)
	}
}

// stateErr says that a part of the state could not be read back from disk, so
// that nothing may be written of what was made since.
func (s *session) stateErr() error {
	if err := s.engine.Err(); err != nil {
		return fmt.Errorf("the state on disk: %w", err)
	}
	return nil
}

// startSave begins a save of the state as it is now, which is that of the
// progress, if it is time.
func (s *session) startSave(p *progress, now bool) {
	if now && s.canSave() || s.saveDue() {
		s.beginSave(p)
	}
}

func (s *session) canSave() bool { return s.saver != nil && s.saving == nil && s.stateErr() == nil }

func (s *session) saveDue() bool {
	return s.canSave() && !s.engine.Evicting() && time.Since(s.saved) >= s.cfg.State.SaveInterval
}

func (s *session) beginSave(p *progress) {
	began := time.Now()
	for _, key := range s.rewrite {
		s.engine.Rewrite(key)
	}
	s.rewrite = nil
	s.saving = &saving{save: s.engine.StartSave(s.cfg.now().UnixMilli()), began: began,
		state: savedState{Version: savedStateVersion, Progress: p, Topics: s.outputs, Odd: s.odd()}}
	s.saving.state.Engine = s.saving.save.Header
	frozen := s.lives.book.Freeze()
	s.saver.steps <- saveStep{drops: s.saving.save.Drops, gone: append(s.saving.save.Gone, frozen.Gone()...), cases: frozen}
	s.metrics.savePause.Observe(time.Since(began).Seconds())
}

// odd lists the records that wait and are no events.
func (s *session) odd() map[string]map[int32]map[int64]engine.Fate {
	all := map[string]map[int32]map[int64]engine.Fate{}
	for _, p := range s.deciding {
		of := map[int64]engine.Fate{}
		for _, r := range p.pending[p.pendingAt:] {
			if r.err != nil {
				of[r.Offset] = refused
			} else if r.Fate != engine.Fresh {
				of[r.Offset] = r.Fate
			}
		}
		if len(of) > 0 {
			name := p.in.stream.Name
			if all[name] == nil {
				all[name] = map[int32]map[int64]engine.Fate{}
			}
			all[name][p.id] = of
		}
	}
	return all
}

// saveShare: beside steps that take n times as long as a piece of a save, n /
// saveShare pieces are copied. With one a step, a service that always has a full
// one to do would hardly come to the end of a save, nor let anything go.
const saveShare = 4

// saveFor is saveSome for about so long, at least once.
func (s *session) saveFor(d time.Duration) (more bool) {
	for began := time.Now(); ; {
		if more = s.saveSome(); !more || time.Since(began) >= d {
			return more
		}
	}
}

// saveSome copies a part of what is to be saved, and hands all of it over once
// its progress is committed; once that is on disk, it lets go of what there is no
// room for. It reports whether there is more of either.
func (s *session) saveSome() bool {
	if s.saver == nil {
		return false
	}
	select {
	case r := <-s.saver.results:
		s.endSave(r)
	default:
	}
	v := s.saving
	if v == nil {
		return s.engine.EvictFor(copyFor)
	}
	if v.sent || len(s.saver.steps) == cap(s.saver.steps) {
		return false
	}
	if !v.copied {
		began := time.Now()
		copied, done := s.engine.CopyFor(v.save, copyFor)
		s.metrics.savePause.Observe(time.Since(began).Seconds())
		s.saver.steps <- saveStep{copied: copied}
		v.copied = done
		return true
	}
	if v.committed {
		meta, err := json.Marshal(&v.state)
		if err != nil {
			panic(err) // no such type in it
		}
		v.sent = true
		last := saveStep{meta: meta}
		if !v.state.Part {
			last.checkpoint = s.checkpointOf(&v.state)
		}
		s.saver.steps <- last
	}
	return false
}

func (s *session) endSave(r saveResult) {
	v := s.saving
	s.saving, s.saved, s.rewrite = nil, time.Now(), r.rewrite
	s.lives.book.Thaw(r.err == nil)
	if r.err != nil {
		s.log.Error("the state is not saved any longer: after a restart more is read again from the topics", "error", r.err.Error())
		s.engine.Untrack()
		s.saver = nil // what left memory is in the folder still
		return
	}
	s.engine.StartEvict(v.save)
	s.metrics.saves.Observe(time.Since(v.began).Seconds())
	s.savedEpoch, s.savedAt = v.state.Progress.Epoch, v.state.Progress.At
	s.metrics.savedAt.Set(float64(s.savedAt) / 1000)
	s.metrics.savedBytes.Set(float64(s.saver.store.Size()))
}

// noteCommitted notes where the journal goes on behind a committed epoch, and
// that a save of its progress counts.
func (s *session) noteCommitted(c committed) {
	if s.saver == nil {
		return
	}
	for _, r := range c.records {
		switch r.Topic {
		case s.topics.Decisions:
			s.journalAt[r.Partition] = max(s.journalAt[r.Partition], r.Offset+1)
		case s.topics.Alerts:
			s.alertsAt[r.Partition] = max(s.alertsAt[r.Partition], r.Offset+1)
		case s.topics.Cases:
			s.casesAt[r.Partition] = max(s.casesAt[r.Partition], r.Offset+1)
		}
	}
	if v := s.saving; v != nil && v.state.Progress == c.progress {
		v.committed = true
		v.state.Journal, v.state.Alerts, v.state.Cases = maps.Clone(s.journalAt), maps.Clone(s.alertsAt), maps.Clone(s.casesAt)
	}
}

// lastSave finishes the save of the last epoch of a session that ends well, so
// that the next one has little to read again.
func (s *session) lastSave(ctx context.Context) {
	for s.saver != nil && s.saving != nil && ctx.Err() == nil {
		if !s.saveSome() {
			_ = sleep(ctx, time.Millisecond)
		}
	}
}
