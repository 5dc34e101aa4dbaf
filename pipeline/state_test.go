package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

const stateRules = `
rules:
  - {id: over-refund, severity: critical, action: reject, reason: OVER_REFUND, on_missing: skip, when: 'original != nil and refunded + amount > original.amount'}
  - {id: velocity, severity: high, score: 20, on_missing: skip, when: 'refunds.by(customer_id).within("7d").count() >= 3'}
  - {id: devices, score: 10, on_missing: skip, when: 'transactions.by(customer_id).within("2h").distinct(instrument_id) >= 2'}
  - {id: sum, score: 5, on_missing: skip, when: 'transactions.by(customer_id).ever().sum(amount) > 300'}
  - {id: last, score: 5, on_missing: skip, when: 'transactions.by(customer_id).within("1h").last(instrument_id) == "pm_ann"'}
  - {id: settled, score: 1, on_missing: skip, when: 'updates.by(customer_id).within("1d").count() > 1'}
  - {id: busy, on: transactions, action: alert, severity: low, on_missing: skip, when: 'transactions.by(customer_id).within("30m").count() >= 3'}
policy: {review_at: 30}
`

// script is what happens in a test: the same for a pipeline that runs once and
// for one that is stopped, and its state folder mistreated, all the time.
type script struct {
	r      *rand.Rand
	n      int
	minute int
}

// batch makes some records: transactions up to a time, and refunds up to a later
// one, so that some wait.
func (s *script) batch() (records []*kgo.Record) {
	add := func(topic string, partition int32, at int, f fields) {
		text := fmt.Sprint(f["raw"])
		if f["raw"] == nil {
			var b strings.Builder
			b.WriteString("{")
			for i, k := range slices.Sorted(maps.Keys(f)) {
				if i > 0 {
					b.WriteString(",")
				}
				fmt.Fprintf(&b, "%q:%q", k, f[k])
			}
			text = b.String() + "}"
		}
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(text), Timestamp: base.Add(time.Duration(at) * time.Minute)})
	}
	customers := []string{"ann", "bob", "cy"}
	for range 10 + s.r.IntN(30) {
		s.n++
		s.minute += s.r.IntN(3)
		c := s.r.IntN(3)
		f := tx(fmt.Sprint("t", s.n), customers[c], fmt.Sprint(20+s.r.IntN(100)), time.Duration(s.minute)*time.Minute)
		f["instrument_id"] = "pm_" + customers[s.r.IntN(3)]
		add("transactions", int32(c%2), s.minute, f)
		if s.r.IntN(6) == 0 {
			f = maps.Clone(f)
			f["status"] = "settled"
			add("transactions", int32(c%2), s.minute, f)
		}
		if s.r.IntN(9) == 0 {
			add("transactions", int32(c%2), s.minute, fields{"raw": "no json"})
		}
	}
	for m := s.minute - 20; m < s.minute+15; m += 1 + s.r.IntN(8) {
		s.n++
		c := s.r.IntN(3)
		id := fmt.Sprint("r", s.n)
		f := refund(id, fmt.Sprint("t", 1+s.r.IntN(s.n)), customers[c], fmt.Sprint(1+s.r.IntN(60)), time.Duration(m)*time.Minute)
		add("refunds", int32(c%2), m, f)
		switch s.r.IntN(6) {
		case 0: // the same again, in the other partition
			add("refunds", int32((c+1)%2), m, f)
		case 1: // with another amount
			f = maps.Clone(f)
			f["amount"] = "1000"
			add("refunds", int32(c%2), m, f)
		case 2:
			add("refunds", int32(c%2), m, fields{"raw": `{"refund_id":"x"}`})
		}
	}
	s.minute += 40
	return records
}

func (r *held) produce(records []*kgo.Record) {
	r.t.Helper()
	for _, rec := range records {
		c := *rec
		if err := r.client.ProduceSync(context.Background(), &c).FirstErr(); err != nil {
			r.t.Fatal(err)
		}
		if rec.Topic == "refunds" {
			r.ends[rec.Partition].Add(1)
		}
	}
}

var varying = regexp.MustCompile(`"(decided_at|source)":("[^"]*"|\{[^}]*\})`)

// results are all decisions, without what may differ, and all alerts of
// transactions.
func (r *held) results() map[string]string {
	r.t.Helper()
	all := map[string]string{}
	for _, rec := range r.read("refund-decisions") {
		d, err := event.ParseDecision(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, twice := all[d.RefundID]; twice {
			r.t.Errorf("refund %s was decided twice", d.RefundID)
		}
		all[d.RefundID] = varying.ReplaceAllString(string(rec.Value), "")
	}
	for _, rec := range r.read("alerts") {
		a, err := event.ParseAlert(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if a.TransactionID == "" {
			continue
		}
		if _, twice := all[a.AlertID]; twice {
			r.t.Errorf("the alert of transaction %s was written twice", a.TransactionID)
		}
		all[a.AlertID] = a.TransactionID + " " + a.Rule
	}
	return all
}

func (r *held) compare(want map[string]string) {
	r.t.Helper()
	got := r.results()
	for id, w := range want {
		if got[id] != w {
			r.t.Errorf("%s:\n%s\nwithout a crash:\n%s", id, got[id], w)
		}
	}
	for id, g := range got {
		if _, ok := want[id]; !ok {
			r.t.Errorf("only with crashes: %s", g)
		}
	}
}

func newStateWorld(t *testing.T) *held {
	r := newHeld(t, 2, 2)
	r.writeRules(stateRules)
	r.hold.Store(true)
	return r
}

// settle waits until what can be decided is decided and committed.
func (r *held) settle(in *instance) {
	last, since := pipeline.Balance{}, time.Now()
	r.until("live", func() bool { return in.Ready() == nil })
	for time.Since(since) < 300*time.Millisecond {
		if b := in.Balance(); b != last {
			last, since = b, time.Now()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// drained waits until all that the topics hold is decided and committed.
func (r *held) drained() {
	r.t.Helper()
	r.until("all is decided", func() bool {
		st, err := pipeline.ReadStatus(context.Background(), r.cfg, "refundguard", []kgo.Opt{kgo.SeedBrokers(r.c.ListenAddrs()...)})
		if err != nil || len(st.Streams) == 0 {
			return false
		}
		for _, s := range st.Streams {
			if s.Lag+s.Undecided > 0 {
				return false
			}
		}
		return true
	})
}

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
			once := newStateWorld(t)
			for _, b := range batches {
				once.produce(b)
			}
			once.hold.Store(false)
			in := once.run()
			once.drained()
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			want := once.results()

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
	sc := &script{r: rand.New(rand.NewPCG(9, 9))}
	batches := [][]*kgo.Record{sc.batch(), sc.batch(), sc.batch()}
	once := newStateWorld(t)
	for _, b := range batches {
		once.produce(b)
	}
	once.hold.Store(false)
	in := once.run()
	once.drained()
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	w := newStateWorld(t)
	w.cfg.State.Dir, w.cfg.State.SaveInterval = t.TempDir(), time.Millisecond
	in = w.run()
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
	w.compare(once.results())
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
