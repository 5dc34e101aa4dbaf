package pipeline_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/checkpoint"
)

var quiet = slog.New(slog.DiscardHandler)

// export writes the state of a world that has ended to a bucket.
func (r *held) export(b *checkpoint.Bucket) error {
	r.t.Helper()
	s, err := pipeline.OpenState(r.cfg, quiet)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Finish(context.Background(), "refundguard", []kgo.Opt{kgo.SeedBrokers(r.c.ListenAddrs()...)}); err != nil {
		return err
	}
	_, _, err = s.PutCheckpoint(context.Background(), b)
	return err
}

func newBucket(t *testing.T) *checkpoint.Bucket {
	t.Helper()
	b, err := checkpoint.New(filepath.Join(t.TempDir(), "bucket"), "refundguard")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// Half of what happens on one cluster, and half on another, to which only the
// state was taken: each refund has the decision that it would have had on one.
func TestADeploymentMovesToAnotherCluster(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		sc := &script{r: rand.New(rand.NewPCG(seed, 11))}
		first, second := append(sc.batch(), sc.batch()...), append(sc.batch(), sc.batch()...)
		once, old, next := newStateWorld(t), newStateWorld(t), newStateWorld(t)
		play := func(w *held, batches ...[]*kgo.Record) {
			t.Helper()
			w.hold.Store(false)
			for _, b := range batches {
				w.hold.Store(true) // so that all of a batch is there before its refunds are decided
				w.produce(b)
				in := w.run()
				w.hold.Store(false)
				w.drained()
				if err := in.end(); err != nil {
					t.Fatal(err)
				}
			}
		}
		once.cfg.State.Dir = t.TempDir()
		play(once, first, second)

		old.cfg.State.Dir = t.TempDir()
		play(old, first)
		b := newBucket(t)
		if err := old.export(b); err != nil {
			t.Fatal(err)
		}
		next.cfg.State.Dir, next.cfg.State.SaveInterval = t.TempDir(), time.Hour
		if _, err := pipeline.TakeMoved(context.Background(), next.cfg, b, "", quiet); err != nil {
			t.Fatal(err)
		}
		in := next.run() // and a start that saves nothing
		next.until("live", func() bool { return in.Ready() == nil })
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		play(next, second)
		want, got := once.results(), old.results()
		for id, d := range next.results() {
			if _, twice := got[id]; twice {
				t.Errorf("%s is on both clusters", id)
			}
			got[id] = d
		}
		for id, w := range want {
			if got[id] != w {
				t.Errorf("%s:\n%s\nwithout a move:\n%s", id, got[id], w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d results, without a move %d", len(got), len(want))
		}
	}
}

// moved is a deployment whose state came from another cluster.
func moved(t *testing.T) (next *held, b *checkpoint.Bucket) {
	t.Helper()
	old, b := newHeld(t, 1, 1), newBucket(t)
	old.cfg.State.Dir = t.TempDir()
	old.send("transactions", 0, tx("t1", "ann", "100", 0))
	old.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	in := old.run()
	old.until("decided", func() bool { return in.Balance().Read == 1 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	if err := old.export(b); err != nil {
		t.Fatal(err)
	}
	next = newHeld(t, 1, 1)
	next.cfg.State.Dir = filepath.Join(t.TempDir(), "state")
	if _, err := pipeline.TakeMoved(context.Background(), next.cfg, b, "", quiet); err != nil {
		t.Fatal(err)
	}
	return next, b
}

func (r *held) after(t *testing.T, want map[string]string) {
	t.Helper()
	in := r.run()
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour)) // was decided before the move
	r.send("refunds", 0, refund("Y", "t1", "ann", "60", 2*time.Hour))
	r.send("refunds", 0, refund("Z", "t1", "ann", "30", 3*time.Hour))
	r.until("all passed", func() bool { return in.Balance().Read == 3 })
	d := r.decided()
	for id, w := range want {
		if w == "" && len(d[id]) > 0 || w != "" && (len(d[id]) != 1 || !strings.HasPrefix(d[id][0], w)) {
			t.Errorf("%s: %v, want %q", id, d[id], w)
		}
	}
	if err := in.end(); err != nil {
		t.Error(err)
	}
}

// What was paid on the old cluster isn't paid again; and where the state that
// says so is lost, or can't be read, nothing is approved.
func TestAMovedStateKnowsWhatWasPaid(t *testing.T) {
	slow(t)
	t.Run("whole", func(t *testing.T) {
		r, _ := moved(t)
		r.after(t, map[string]string{"X": "", "Y": "reject", "Z": "approve"})
		if _, err := os.Stat(filepath.Join(r.cfg.State.Dir, "moved.json")); err != nil {
			t.Errorf("it goes with the first start that finds a state of this cluster: %v", err)
		}
		in := r.run()
		r.until("live", func() bool { return in.Ready() == nil })
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(r.cfg.State.Dir, "moved.json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what says that it moved is still there: %v", err)
		}
	})
	held := map[string]string{"X": "review@0:0 DEGRADED", "Y": "review@0:1 DEGRADED", "Z": "review@0:2 DEGRADED"}
	t.Run("damaged", func(t *testing.T) {
		r, _ := moved(t)
		tables, _ := filepath.Glob(filepath.Join(r.cfg.State.Dir, "db", "*.sst"))
		if len(tables) == 0 {
			t.Fatal("there are no tables")
		}
		for _, path := range tables {
			breakFile(t, path, "torn")
		}
		r.after(t, held)
	})
	t.Run("lost later", func(t *testing.T) {
		r, _ := moved(t)
		in := r.run()
		r.until("live", func() bool { return in.Ready() == nil })
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		r.loseFolder()
		r.after(t, held)
	})
	t.Run("a second instance takes the same", func(t *testing.T) {
		r, b := moved(t)
		in := r.run()
		r.until("live", func() bool { return in.Ready() == nil })
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		r.cfg.State.Dir = t.TempDir()
		if _, err := pipeline.TakeMoved(context.Background(), r.cfg, b, "", quiet); err != nil {
			t.Fatal(err)
		}
		r.after(t, map[string]string{"X": "", "Y": "reject", "Z": "approve"})
	})
	t.Run("to a cluster that began without it", func(t *testing.T) {
		r, b := moved(t)
		r.loseFolder()
		in := r.run()
		r.until("live", func() bool { return in.Ready() == nil })
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		r.loseFolder()
		if _, err := pipeline.TakeMoved(context.Background(), r.cfg, b, "", quiet); err != nil {
			t.Fatal(err)
		}
		in = r.run()
		r.until("live", func() bool { return in.Ready() == nil })
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(r.cfg.State.Dir, "set-aside-1")); err != nil {
			t.Errorf("it isn't set aside: %v", err)
		}
	})
}

// A state that leaves something undecided, or isn't the last, is not one to move
// with.
func TestAnExportThatIsNotFinal(t *testing.T) {
	r, b := newHeld(t, 1, 1), newBucket(t)
	r.cfg.State.Dir = t.TempDir()
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	in := r.run()
	r.until("decided", func() bool { return in.Balance().Read == 1 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(r.cfg.State.Dir)); err != nil {
		t.Fatal(err)
	}
	s, err := pipeline.OpenState(r.cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.PutCheckpoint(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := r.cfg
	cfg.State.Dir = t.TempDir()
	if _, err := pipeline.TakeMoved(context.Background(), cfg, b, "", quiet); !errors.Is(err, checkpoint.ErrRefused) {
		t.Errorf("of one that doesn't say that it is final: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cfg.State.Dir, "moved*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	r.send("refunds", 0, refund("Y", "t1", "ann", "10", 2*time.Hour))
	if err := r.export(b); err == nil || !strings.Contains(err.Error(), "undecided") {
		t.Errorf("with a refund that waits: %v", err)
	}
	in = r.run()
	r.until("decided", func() bool { return in.Balance().Read == 2 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	now := r.cfg.State.Dir
	r.cfg.State.Dir = before
	if err := r.export(b); err == nil || !strings.Contains(err.Error(), "epoch") {
		t.Errorf("of a folder of before: %v", err)
	}
	r.cfg.State.Dir = now
	if err := r.export(b); err != nil {
		t.Error(err)
	}
	cfg.State.Dir = t.TempDir()
	if _, err := pipeline.TakeMoved(context.Background(), cfg, b, "", quiet); err != nil {
		t.Error(err)
	}
}

// An expression that comes after the move is warming: the topics tell of nothing
// from before it, though they have lost nothing.
func TestRulesThatChangeAfterAMove(t *testing.T) {
	slow(t)
	r, _ := moved(t)
	in := r.run()
	r.until("live", func() bool { return in.Ready() == nil })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.writeRules(testRules + "  - {id: many, action: review, on_missing: skip, when: 'transactions.by(customer_id).within(\"1d\").count() > 5'}\n")
	in = r.run()
	filled := func() bool {
		s, err := r.adm.ListCommittedOffsets(context.Background(), "refundguard-progress")
		o, _ := s.Lookup("refundguard-progress", 0)
		return err == nil && o.Offset >= 12 // an idle instance commits each second; filling begins with the first
	}
	r.until("the new series is filled", filled)
	r.send("refunds", 0, refund("Y", "t1", "ann", "10", 2*time.Hour))
	r.until("decided", func() bool { return in.Balance().Read == 1 })
	for _, rec := range r.read("refund-decisions") {
		if s := string(rec.Value); !strings.Contains(s, `"warming":["transactions.by`) || !strings.Contains(s, `refunds.by(customer_id).within(\"7d\").count()":1`) {
			t.Errorf("%s", s)
		}
	}
	if err := in.end(); err != nil {
		t.Error(err)
	}
}
