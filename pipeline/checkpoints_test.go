package pipeline_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/checkpoint"
)

// bucketed is a world with a state folder and a bucket, both of which are looked
// at from the outside.
func bucketed(t *testing.T, r *held) *checkpoint.Bucket {
	t.Helper()
	r.cfg.State.Dir, r.cfg.State.SaveInterval = filepath.Join(t.TempDir(), "state"), 10*time.Millisecond
	r.cfg.State.Checkpoint, r.cfg.State.CheckpointInterval = filepath.Join(t.TempDir(), "bucket"), time.Millisecond
	b, err := pipeline.OpenCheckpoints(r.cfg, "refundguard", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func (r *held) list(b *checkpoint.Bucket) []checkpoint.Manifest {
	r.t.Helper()
	all, _, err := b.List(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// sent waits until a checkpoint has all that is committed by now.
func (r *held) sent(b *checkpoint.Bucket) {
	r.t.Helper()
	st, err := pipeline.ReadStatus(context.Background(), r.cfg, "refundguard", []kgo.Opt{kgo.SeedBrokers(r.c.ListenAddrs()...)})
	if err != nil {
		r.t.Fatal(err)
	}
	r.until(fmt.Sprint("a checkpoint of epoch ", st.Epoch), func() bool {
		all := r.list(b)
		return len(all) > 0 && all[0].Epoch >= st.Epoch
	})
}

// cutTo deletes from the topics what the state of a checkpoint has.
func (r *held) cutTo(b *checkpoint.Bucket, m checkpoint.Manifest) {
	r.t.Helper()
	cfg, log := r.cfg, slog.New(slog.DiscardHandler)
	cfg.State.Dir = r.t.TempDir()
	if _, err := pipeline.TakeCheckpoint(context.Background(), cfg, b, m.Name(), log); err != nil {
		r.t.Fatal(err)
	}
	s, err := pipeline.OpenState(cfg, log)
	if err != nil {
		r.t.Fatal(err)
	}
	defer s.Close()
	var o kadm.Offsets
	for _, st := range s.Info().Streams {
		for p, at := range st.Applied {
			if st.Decided != nil {
				at = min(at, st.Decided[p])
			}
			o.AddOffset(st.Topic, int32(p), at, -1)
		}
	}
	if _, err := r.adm.DeleteRecords(context.Background(), o); err != nil {
		r.t.Fatal(err)
	}
}

func (r *held) loseFolder() {
	r.t.Helper()
	if err := os.RemoveAll(r.cfg.State.Dir); err != nil {
		r.t.Fatal(err)
	}
}

// A machine that is lost again and again, with all that the topics held before
// its last checkpoint: each refund has the decision that it would have had, once.
func TestACheckpointStandsInForFolderAndTopics(t *testing.T) {
	slow(t)
	seeds := 4
	if testing.Short() {
		seeds = 1
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			sc := &script{r: rand.New(rand.NewPCG(seed, 5))}
			var batches [][]*kgo.Record
			for range 4 {
				batches = append(batches, sc.batch())
			}
			want := decidedOnce(t, batches...)

			w := newStateWorld(t)
			bucket := bucketed(t, w)
			for i, b := range batches {
				in := w.run()
				w.produce(b[:len(b)/2])
				w.settle(in)
				w.sent(bucket)
				w.produce(b[len(b)/2:])
				w.settle(in)
				if i == len(batches)-1 {
					w.hold.Store(false)
					w.drained()
				}
				if err := in.end(); err != nil {
					t.Fatal(err)
				}
				w.loseFolder()
				w.cutTo(bucket, w.list(bucket)[0])
			}
			w.compare(want)
		})
	}
}

// breakFile does something to a file of the bucket.
func breakFile(t *testing.T, path, how string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch how {
	case "lost":
		err = os.Remove(path)
	case "torn":
		err = os.WriteFile(path, b[:len(b)/2], 0o600)
	case "flipped":
		b[len(b)/2] ^= 4
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// own are the files of a checkpoint that another one hasn't.
func own(bucket string, m, other checkpoint.Manifest) (paths []string) {
	shared := map[string]bool{}
	for _, f := range other.Files {
		shared[f.SHA256] = true
	}
	for _, f := range m.Files {
		if !shared[f.SHA256] {
			paths = append(paths, filepath.Join(bucket, "refundguard", "files", f.SHA256))
		}
	}
	return append(paths, filepath.Join(bucket, "refundguard", "checkpoints", m.Name()))
}

// Where the newest checkpoint can't be used, the one before is: the topics hold
// nothing else of what came before that.
func TestADamagedCheckpoint(t *testing.T) {
	for _, how := range []string{"lost", "torn", "flipped"} {
		for _, manifest := range []bool{false, true} {
			t.Run(fmt.Sprint(how, ", manifest ", manifest), func(t *testing.T) {
				t.Parallel()
				r := newHeld(t, 1, 1)
				bucket := bucketed(t, r)
				var kept []checkpoint.Manifest
				for i := range 2 {
					r.send("transactions", 0, tx(fmt.Sprint("t", i), "ann", "100", 0))
					r.send("refunds", 0, refund(fmt.Sprint("X", i), fmt.Sprint("t", i), "ann", "60", time.Hour))
					in := r.run()
					r.until("decided", func() bool { return in.Balance().Read == int64(i+1) })
					r.sent(bucket)
					if err := in.end(); err != nil {
						t.Fatal(err)
					}
					kept = r.list(bucket)
				}
				// The first may be of before the refund was decided.
				r.cutTo(bucket, kept[1])
				paths := own(r.cfg.State.Checkpoint, kept[0], kept[1])
				if manifest {
					paths = paths[len(paths)-1:]
				}
				breakFile(t, paths[0], how)
				r.loseFolder()
				in := r.run()
				r.send("refunds", 0, refund("X0", "t0", "ann", "60", time.Hour))
				r.send("refunds", 0, refund("Y", "t0", "ann", "60", 2*time.Hour))
				r.send("refunds", 0, refund("Z", "t1", "ann", "30", 2*time.Hour))
				r.until("all passed", func() bool { return in.Balance().Read == 5 })
				d := r.decided()
				if len(d["X0"]) != 1 || len(d["Y"]) != 1 || !strings.HasPrefix(d["Y"][0], "reject") || strings.Contains(d["Z"][0], "DEGRADED") {
					t.Errorf("%v", d)
				}
			})
		}
	}
}

// A checkpoint of another deployment's state is not taken, whatever it is called.
func TestAForeignCheckpoint(t *testing.T) {
	other := newHeld(t, 1, 1)
	bucket := bucketed(t, other)
	other.send("transactions", 0, tx("t1", "ann", "100", 0))
	other.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	in := other.run()
	other.until("decided", func() bool { return in.Balance().Read == 1 })
	other.sent(bucket)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	theirs := other.list(bucket)

	r := newHeld(t, 1, 1)
	bucketed(t, r)
	r.cfg.State.Checkpoint = other.cfg.State.Checkpoint
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	in = r.run()
	r.until("decided", func() bool { return in.Balance().Read == 1 })
	if d := r.decided(); len(d["X"]) != 1 || !strings.HasPrefix(d["X"][0], "approve") {
		t.Errorf("X: %v", d)
	}
	r.sent(bucket)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	for _, m := range theirs {
		cfg := other.cfg
		cfg.State.Dir = t.TempDir()
		if _, err := pipeline.TakeCheckpoint(context.Background(), cfg, bucket, m.Name(), slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("theirs is no longer whole: %v", err)
		}
	}
}

// A bucket that can't be reached is tried again where it may hold what the topics
// no longer do, and isn't waited for where they hold everything.
func TestABucketThatIsAway(t *testing.T) {
	r := newHeld(t, 1, 1)
	bucket := bucketed(t, r)
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	in := r.run()
	r.until("decided", func() bool { return in.Balance().Read == 1 })
	r.sent(bucket)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.loseFolder()
	away := r.cfg.State.Checkpoint + "-away"
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(r.cfg.State.Checkpoint, away)
	if err := os.WriteFile(r.cfg.State.Checkpoint, nil, 0o600); err != nil { // no folder
		t.Fatal(err)
	}
	in = r.run()
	r.until("live without it", func() bool { return in.Ready() == nil })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.loseFolder()
	move(r.cfg.State.Checkpoint, away+"-file")
	move(away, r.cfg.State.Checkpoint)
	r.cutTo(bucket, r.list(bucket)[0])
	move(r.cfg.State.Checkpoint, away)
	move(away+"-file", r.cfg.State.Checkpoint)
	in = r.run()
	r.until("it waits", func() bool { err := in.Ready(); return err != nil && strings.Contains(err.Error(), "state.checkpoint") })
	move(r.cfg.State.Checkpoint, away+"-file")
	move(away, r.cfg.State.Checkpoint)
	r.until("live", func() bool { return in.Ready() == nil })
	r.send("refunds", 0, refund("Y", "t1", "ann", "60", 2*time.Hour))
	r.until("decided", func() bool { return in.Balance().Read == 2 })
	if d := r.decided(); !strings.HasPrefix(d["Y"][0], "reject") {
		t.Errorf("%v", d)
	}
}

// A standby that takes a checkpoint of the instance that works stands by, and
// goes on from there once that one is gone.
func TestAStandbyTakesACheckpoint(t *testing.T) {
	r := newHeld(t, 1, 1)
	bucket := bucketed(t, r)
	dir := t.TempDir()
	a := r.join(filepath.Join(dir, "a"))
	r.leader(a)
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	r.until("decided", func() bool { return a.Balance().Read == 1 })
	r.sent(bucket)
	r.cutTo(bucket, r.list(bucket)[0])
	b := r.join(filepath.Join(dir, "b"))
	r.standsBy(b)
	if err := a.Ready(); err != nil {
		t.Errorf("the leader: %v", err)
	}
	if err := a.end(); err != nil {
		t.Fatal(err)
	}
	r.leader(b)
	r.send("refunds", 0, refund("Y", "t1", "ann", "60", 2*time.Hour))
	r.until("decided", func() bool { return b.Balance().Read == 2 })
	if d := r.decided(); !strings.HasPrefix(d["Y"][0], "reject") {
		t.Errorf("%v", d)
	}
}

// A process that starts over and over makes no more checkpoints than one that
// runs on.
func TestAProcessThatStartsOverAndOver(t *testing.T) {
	r := newHeld(t, 1, 1)
	bucket := bucketed(t, r)
	r.cfg.State.CheckpointInterval = time.Hour
	var first []checkpoint.Manifest
	for i := range 4 {
		r.send("refunds", 0, refund(fmt.Sprint("X", i), "t1", "ann", "60", time.Hour))
		in := r.run()
		r.until("decided", func() bool { return in.Balance().Read == int64(i+1) })
		if i == 0 {
			r.until("there is a checkpoint", func() bool { return len(r.list(bucket)) > 0 })
			first = r.list(bucket)
		} else {
			r.settle(in)
		}
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
	}
	if all := r.list(bucket); len(all) != 1 || all[0].Name() != first[0].Name() {
		t.Errorf("%d checkpoints", len(all))
	}
}

// A bucket that nothing can be written to holds nothing up, and leaves nothing in
// the state folder; once it can be, there is a checkpoint.
func TestABucketThatCantBeWritten(t *testing.T) {
	r := newHeld(t, 1, 1)
	bucket := bucketed(t, r)
	if err := os.WriteFile(r.cfg.State.Checkpoint, nil, 0o600); err != nil { // no folder
		t.Fatal(err)
	}
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	in := r.run()
	for i := range 3 {
		r.send("refunds", 0, refund(fmt.Sprint("X", i), "t1", "ann", "10", time.Hour))
		r.until("decided", func() bool { return in.Balance().Read == int64(i+1) })
		r.settle(in)
	}
	if err := os.Remove(r.cfg.State.Checkpoint); err != nil {
		t.Fatal(err)
	}
	r.sent(bucket)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"outgoing", "incoming"} {
		if _, err := os.Stat(filepath.Join(r.cfg.State.Dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is left in the state folder: %v", name, err)
		}
	}
}
