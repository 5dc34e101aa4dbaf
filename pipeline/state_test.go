package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// damage does something to one file of a folder. In use, it may be gone by then.
func damage(t *testing.T, r *rand.Rand, dir string) string {
	var files []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "LOCK" && !strings.Contains(path, "set-aside") {
			files = append(files, path)
		}
		return err
	})
	path := files[r.IntN(len(files))]
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "nothing"
	}
	if err != nil {
		t.Fatal(err)
	}
	switch at := r.IntN(len(b) + 1); {
	case r.IntN(3) == 0 || at == len(b):
		b = b[:at/2]
	default:
		b[at] ^= 1 << r.IntN(8)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whatever becomes of the process and of the state folder, each refund has the
// decision that it would have had, once.
func TestStateFolderWhateverHappens(t *testing.T) {
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			sc := &script{r: rand.New(rand.NewPCG(seed, 3))}
			var batches [][]*kgo.Record
			for range 5 {
				batches = append(batches, sc.batch())
			}
			want := decidedOnce(t, batches...)

			w := newStateWorld(t)
			w.cfg.State.Dir, w.cfg.State.SaveInterval, w.cfg.State.Memory = filepath.Join(t.TempDir(), "state"), 10*time.Millisecond, int64(seed%2)
			snapshots := []string{}
			for i, b := range batches {
				in := w.run()
				w.produce(b[:len(b)/2])
				w.settle(in)
				// As a crash of the machine would leave it: files of different moments.
				snap := filepath.Join(t.TempDir(), fmt.Sprint("snap", i))
				if err := os.CopyFS(snap, os.DirFS(w.cfg.State.Dir)); err == nil {
					snapshots = append(snapshots, snap)
				}
				if sc.r.IntN(3) == 0 {
					t.Log("while it is used, damaged is", damage(t, sc.r, w.cfg.State.Dir))
				}
				w.produce(b[len(b)/2:])
				w.settle(in)
				if i == len(batches)-1 {
					w.hold.Store(false)
					w.drained()
				}
				if err := in.end(); err != nil {
					t.Fatal(err)
				}
				what := "kept"
				switch sc.r.IntN(5) {
				case 0:
					what = "lost"
					_ = os.RemoveAll(w.cfg.State.Dir)
				case 1:
					what = "damaged: " + damage(t, sc.r, w.cfg.State.Dir)
				case 2, 3:
					what = "set back to"
					if len(snapshots) > 0 {
						snap := snapshots[sc.r.IntN(len(snapshots))]
						what += snap
						_ = os.RemoveAll(w.cfg.State.Dir)
						if err := os.CopyFS(w.cfg.State.Dir, os.DirFS(snap)); err != nil {
							t.Fatal(err)
						}
					}
				}
				t.Log("the state folder is", what)
			}
			w.compare(want)
		})
	}
}

// A commit that fails leaves a state that had been copied for it unsaved.
func TestAFailedCommitIsNotSaved(t *testing.T) {
	slow(t)
	sc := &script{r: rand.New(rand.NewPCG(9, 9))}
	batches := [][]*kgo.Record{sc.batch(), sc.batch(), sc.batch()}
	want := decidedOnce(t, batches...)
	w := newStateWorld(t)
	w.cfg.State.Dir, w.cfg.State.SaveInterval = t.TempDir(), time.Millisecond
	in := w.run()
	for _, b := range batches {
		w.produce(b[:len(b)/2])
		w.settle(in)
		w.c.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
			resp := req.ResponseKind().(*kmsg.EndTxnResponse)
			resp.ErrorCode = 48 // INVALID_TXN_STATE
			return resp, nil, true
		})
		w.produce(b[len(b)/2:])
		time.Sleep(300 * time.Millisecond)
		w.until("live again", func() bool { return in.Ready() == nil })
		w.settle(in)
	}
	w.hold.Store(false)
	w.drained()
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	w.compare(want)
}

// A start with a saved state reads what came since, even where the topics hold
// nothing else any more; without it, refunds are held.
func TestAStateOutlivesItsTopics(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprint("lost ", lost), func(t *testing.T) {
			r := newHeld(t, 1, 1)
			r.cfg.State.Dir = filepath.Join(t.TempDir(), "state")
			r.send("transactions", 0, tx("t1", "ann", "100", 0))
			r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
			in := r.run()
			r.until("X is decided", func() bool { return in.Balance().Read == 1 })
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			for _, topic := range []string{"transactions", "refunds"} {
				var o kadm.Offsets
				o.AddOffset(topic, 0, 1, -1)
				if _, err := r.adm.DeleteRecords(context.Background(), o); err != nil {
					t.Fatal(err)
				}
			}
			if lost {
				if err := os.RemoveAll(r.cfg.State.Dir); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // and the start after that
				in = r.run()
				r.until("live", func() bool { return in.Ready() == nil })
				if err := in.end(); err != nil {
					t.Fatal(err)
				}
			}
			in = r.run()
			r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
			r.send("refunds", 0, refund("Y", "t1", "ann", "10", 2*time.Hour))
			r.send("refunds", 0, refund("Z", "t1", "ann", "60", 3*time.Hour))
			r.until("all passed", func() bool { return in.Balance().Read == 4 })
			d := r.decided()
			want := map[string]string{"Y": "approve", "Z": "reject"}
			if lost {
				want = map[string]string{"Y": "review@0:2 DEGRADED", "Z": "review@0:3 DEGRADED"}
			}
			for id, w := range want {
				if len(d[id]) != 1 || !strings.HasPrefix(d[id][0], w) {
					t.Errorf("%s: %v, want %s", id, d[id], w)
				}
			}
			if len(d["X"]) != 1 {
				t.Errorf("X: %v", d["X"])
			}
			if err := in.end(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A folder of another deployment or cluster is set aside, not used, not lost.
func TestAForeignStateFolder(t *testing.T) {
	dir := t.TempDir()
	for i := range 2 {
		r := newHeld(t, 1, 1)
		r.cfg.State.Dir = dir
		r.send("transactions", 0, tx("t1", "ann", "100", 0))
		r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
		in := r.run()
		r.until("decided", func() bool { return in.Balance().Read == 1 })
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		if d := r.decided(); !strings.HasPrefix(d["X"][0], "approve") {
			t.Errorf("X: %v", d["X"])
		}
		if _, err := os.Stat(filepath.Join(dir, "set-aside-1")); (err == nil) != (i == 1) {
			t.Errorf("start %d: set aside: %v", i, err == nil)
		}
	}
}

// A second process with the same folder takes over, and leaves the folder alone.
func TestAStateFolderInUse(t *testing.T) {
	r := newHeld(t, 1, 1)
	r.cfg.State.Dir = t.TempDir()
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	first := r.run()
	r.until("decided", func() bool { return first.Balance().Read == 1 })
	second := r.run()
	r.until("live", func() bool { return second.Ready() == nil })
	r.send("refunds", 0, refund("Z", "t1", "ann", "60", 2*time.Hour))
	r.until("decided", func() bool { return second.Balance().Read == 2 })
	if d := r.decided(); len(d["X"]) != 1 || !strings.HasPrefix(d["Z"][0], "reject") {
		t.Errorf("%v", d)
	}
	if err := second.end(); err != nil {
		t.Error(err)
	}
}

// Rules that changed while nothing ran: what stayed is restored, the rest filled
// from the topics.
func TestRulesChangedBetweenTwoStarts(t *testing.T) {
	slow(t)
	r := newHeld(t, 1, 1)
	r.cfg.State.Dir = t.TempDir()
	for i := range 4 {
		r.send("transactions", 0, tx(fmt.Sprint("t", i), "ann", "100", time.Duration(i)*time.Minute))
	}
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	in := r.run()
	r.until("decided", func() bool { return in.Balance().Read == 1 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.writeRules(testRules + "  - {id: many, action: review, on_missing: skip, when: 'transactions.by(instrument_id).within(\"1d\").count() >= 0'}\n")
	in = r.run()
	r.until("live", func() bool { return in.Ready() == nil })
	time.Sleep(3 * time.Second) // the filling begins with the first commit
	r.send("refunds", 0, func() fields {
		f := refund("Y", "t2", "ann", "1", 2*time.Hour)
		f["instrument_id"] = "pm_ann"
		return f
	}())
	r.until("decided", func() bool { return in.Balance().Read == 2 })
	for _, rec := range r.read("refund-decisions") {
		if strings.Contains(string(rec.Value), `"refund_id":"Y"`) {
			if s := string(rec.Value); !strings.Contains(s, `within(\"1d\").count()":4`) || strings.Contains(s, "warming") || !strings.Contains(s, `refunds.by(customer_id).within(\"7d\").count()":1`) {
				t.Errorf("%s", s)
			}
		}
	}
	if err := in.end(); err != nil {
		t.Error(err)
	}
}
