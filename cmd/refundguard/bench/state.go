package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/refundguard/refundguard/pipeline/checkpoint"
	"github.com/refundguard/refundguard/pipeline/store"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// StateResult is what keeping the state on disk costs.
type StateResult struct {
	Events       int     `json:"events"`
	Keys         int64   `json:"keys"`
	Saves        int     `json:"saves"`
	CPU          float64 `json:"cpu_us_per_event"`        // of decoding, applying and deciding
	CPUSaving    float64 `json:"cpu_us_per_event_saving"` // what saving adds to that, every 2 s
	PauseP99     float64 `json:"pause_p99_ms"`
	PauseMax     float64 `json:"pause_max_ms"`
	LastSave     float64 `json:"last_save_seconds"` // one of a save's interval of events
	Load         float64 `json:"load_seconds"`
	LoadCPU      float64 `json:"load_cpu_seconds"`
	MemoryPerKey float64 `json:"memory_bytes_per_key"`
	DiskPerKey   float64 `json:"disk_bytes_per_key"`

	Sizes StateSizes `json:"sizes"`

	Checkpoint      float64 `json:"checkpoint_seconds"` // to a folder, from a copy of the database
	CheckpointCopy  float64 `json:"checkpoint_copy_seconds"`
	CheckpointBytes int64   `json:"checkpoint_bytes"`
	CheckpointAgain int64   `json:"checkpoint_bytes_again"` // one more, with nothing saved since
	Fetch           float64 `json:"fetch_seconds"`          // into an empty folder, every byte verified
}

// State measures saving: as many events as the gate's go through an engine that
// is saved beside it, again and again, and restored in the end.
func State(ctx context.Context, o Options) (r StateResult, err error) {
	schema := event.Builtin()
	set, err := load(schema, gateRules)
	if err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp("", "refundguard-bench-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	st, err := store.Open(nil, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return r, err
	}
	defer st.Close()
	all := newGate(o.Events, o.Seed, o.Hot).rest()
	plain, _, err := runState(ctx, schema, set, all, nil)
	if err != nil {
		return r, err
	}
	plain.engine.Close()
	v := &stateSaver{st: st}
	run, took, err := runState(ctx, schema, set, all, v)
	if err != nil {
		return r, err
	}
	defer run.engine.Close()
	slices.Sort(v.pauses)
	stats := run.engine.Stats()
	r = StateResult{Events: len(all), Keys: stats.Keys, Saves: v.saves,
		CPU: perEvent(plain.cpu, len(all)), CPUSaving: perEvent(run.cpu-plain.cpu, len(all)),

		PauseP99: ms(v.pauses[len(v.pauses)*99/100]), PauseMax: ms(v.pauses[len(v.pauses)-1]), LastSave: took.Seconds(),
		MemoryPerKey: float64(stats.Bytes) / float64(stats.Keys), DiskPerKey: float64(st.Size()) / float64(stats.Keys)}
	back := engine.New(engine.Config{Schema: schema, Workers: runtime.GOMAXPROCS(0)}, set)
	defer back.Close()
	back.KeepOnDisk(st)
	watch := o.start() // a profile is of loading
	if err := back.Restore(st.Meta(), time.Now().UnixMilli(), st); err != nil {
		return r, err
	}
	loading := watch.stop()
	r.Load, r.LoadCPU = loading.wall.Seconds(), loading.cpu.Seconds()
	if got := back.Stats(); got.Keys != stats.Keys { // events behind the horizon are not restored
		return r, fmt.Errorf("restored %+v, saved %+v", got, stats)
	}
	if err := measureCheckpoint(ctx, st, &r); err != nil {
		return r, err
	}
	r.Sizes, err = sizes(ctx, schema, o)
	return r, err
}

// measureCheckpoint sends what is saved to a folder, twice, and takes it from
// there into an empty one.
func measureCheckpoint(ctx context.Context, st *store.Store, r *StateResult) error {
	dir, err := os.MkdirTemp("", "refundguard-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bucket, err := checkpoint.New(filepath.Join(dir, "bucket"), "bench")
	if err != nil {
		return err
	}
	defer bucket.Close()
	var m checkpoint.Manifest
	for again := range 2 {
		start := time.Now()
		files, err := st.Copy()
		if err != nil {
			return err
		}
		copied := time.Now()
		m = checkpoint.Manifest{Epoch: int64(again), SavedAt: start}
		sent, err := bucket.Put(ctx, files, &m)
		if err != nil {
			return err
		}
		if again == 1 {
			r.CheckpointAgain = sent
			break
		}
		r.CheckpointCopy, r.Checkpoint, r.CheckpointBytes = copied.Sub(start).Seconds(), time.Since(copied).Seconds(), sent
	}
	empty, err := store.Open(nil, filepath.Join(dir, "state"), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	start := time.Now()
	err = empty.Receive(func(dir string) error { return bucket.Get(ctx, &m, dir) }, func(meta []byte) ([]byte, error) { return meta, nil })
	r.Fetch = time.Since(start).Seconds()
	if err == nil && !bytes.Equal(empty.Meta(), st.Meta()) {
		err = errors.New("what was fetched isn't what was sent")
	}
	return errors.Join(err, empty.Close())
}

type stateRun struct {
	engine *engine.Engine
	cpu    time.Duration
}

// runState applies and decides everything, and saves if v isn't nil. lastSave is
// how long the save of the last part took by itself.
func runState(ctx context.Context, schema *event.Schema, set *rules.Set, all []gateEvent, v *stateSaver) (run stateRun, lastSave time.Duration, err error) {
	e := engine.New(engine.Config{Schema: schema, Workers: runtime.GOMAXPROCS(0)}, set)
	if v != nil {
		e.Track()
	}
	runtime.GC()
	cpu := cpuTime()
	for items := range decodeAhead(ctx, schema, all, runtime.GOMAXPROCS(0), true) {
		e.Apply(items)
		var due []*engine.Item
		for _, it := range items {
			if it.Event.Stream.Name == "refunds" {
				due = append(due, it)
			}
		}
		e.Decide(due, func(int, int, *event.Decision, *rules.Result) {})
		if v != nil {
			if err := v.step(e, false); err != nil {
				return run, 0, err
			}
		}
	}
	if v == nil {
		return stateRun{e, cpuTime() - cpu}, 0, ctx.Err()
	}
	if err := v.finish(e); err != nil {
		return run, 0, err
	}
	run = stateRun{e, cpuTime() - cpu}
	start := time.Now()
	if err := v.step(e, true); err != nil {
		return run, 0, err
	}
	return run, time.Since(start), v.finish(e)
}

// stateSaver does what the pipeline does: a save begins, is copied between
// steps, and written beside them.
type stateSaver struct {
	st      *store.Store
	began   time.Time
	save    *engine.Save
	copied  []engine.Copied
	done    chan error
	writing bool
	saves   int
	pauses  []time.Duration
}

func (v *stateSaver) step(e *engine.Engine, now bool) error {
	if v.writing {
		select {
		case err := <-v.done:
			v.writing = false
			if err != nil {
				return err
			}
		default:
			return nil
		}
	}
	start := time.Now()
	if v.save == nil {
		if !now && time.Since(v.began) < 2*time.Second {
			return nil
		}
		v.began, v.save = start, e.StartSave(time.Now().UnixMilli())
	} else {
		copied, done := e.CopyFor(v.save, time.Millisecond)
		v.copied = append(v.copied, copied...)
		if done {
			v.write()
		}
	}
	v.pauses = append(v.pauses, time.Since(start))
	return nil
}

func (v *stateSaver) write() {
	save, copied := v.save, v.copied
	v.save, v.copied, v.writing, v.done = nil, nil, true, make(chan error, 1)
	v.saves++
	go func() {
		w := v.st.Begin()
		var failed error
		for _, c := range copied {
			failed = errors.Join(failed, c.Each(w.Put, w.Add))
		}
		if failed == nil {
			failed = w.Commit(save.Header)
		}
		v.done <- failed
	}()
}

// finish ends the save that is under way.
func (v *stateSaver) finish(e *engine.Engine) error {
	for v.save != nil {
		if err := v.step(e, false); err != nil {
			return err
		}
	}
	if !v.writing {
		return nil
	}
	v.writing = false
	return <-v.done
}
