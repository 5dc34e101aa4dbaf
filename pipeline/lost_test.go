package pipeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// through decides what there is and ends.
func (r *held) through(read int64) {
	r.t.Helper()
	in := r.run()
	r.until(fmt.Sprint(read, " passed"), func() bool { return in.Balance().Read >= read && in.Ready() == nil })
	if err := in.end(); err != nil {
		r.t.Fatal(err)
	}
}

// cut takes all that topics hold away.
func (r *held) cut(topics ...string) {
	r.t.Helper()
	ends, err := r.adm.ListEndOffsets(context.Background(), topics...)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.adm.DeleteRecords(context.Background(), ends.Offsets()); err != nil {
		r.t.Fatal(err)
	}
}

// at sends a record with a Kafka timestamp of its own.
func (r *held) at(t time.Time, topic string, f fields) {
	r.t.Helper()
	b, err := json.Marshal(f)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.client.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: b, Timestamp: t}).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *held) keep(dir string) {
	r.t.Helper()
	_ = os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS(r.cfg.State.Dir)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *held) setBack(dir string) {
	r.t.Helper()
	_ = os.RemoveAll(r.cfg.State.Dir)
	if err := os.CopyFS(r.cfg.State.Dir, os.DirFS(dir)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *held) want(want map[string]string) {
	r.t.Helper()
	got := r.decided()
	for id, w := range want {
		if len(got[id]) != 1 || !strings.HasPrefix(got[id][0], strings.Fields(w)[0]) || !strings.HasSuffix(got[id][0], strings.TrimPrefix(w, strings.Fields(w)[0])) {
			r.t.Errorf("%s: %v, want one: %s", id, got[id], w)
		}
	}
	if len(got) != len(want) {
		r.t.Errorf("decided: %v", got)
	}
}

// saveWaiting leaves a saved state in which V, and another refund behind it, wait
// for their turn.
func (r *held) saveWaiting(f fields) {
	r.t.Helper()
	r.hold.Store(true)
	r.refund(0, refund("V", "", "ann", "1", time.Hour))
	r.refund(0, f)
	in := r.run()
	r.settle(in)
	applied := float64(time.Now().UnixMilli()) / 1000
	r.until("saved", func() bool { return in.metric("refundguard_state_saved_timestamp_seconds") > applied })
	if err := in.end(); err != nil {
		r.t.Fatal(err)
	}
}

func newStateful(t *testing.T, interval time.Duration) *held {
	r := newHeld(t, 1, 1)
	r.cfg.State.Dir, r.cfg.State.SaveInterval = filepath.Join(t.TempDir(), "state"), interval
	return r
}

// What producers write as Kafka timestamps makes no id old: a refund of 1970
// and one of the far future are known when they come again, where only the state
// on disk can tell.
func TestStrangeTimestampsForgetNothing(t *testing.T) {
	r := newStateful(t, time.Millisecond)
	r.cfg.Streams["refunds"] = streamFrom("earliest")
	r.at(time.UnixMilli(1000), "refunds", refund("old", "", "ann", "1", time.Hour))
	r.through(1)
	r.at(time.Now(), "refunds", refund("new", "", "ann", "2", time.Hour))
	r.at(time.Now().AddDate(60, 0, 0), "refunds", refund("far", "", "ann", "3", time.Hour))
	r.through(3)
	r.through(3) // a save after that, too
	r.cut("refunds", "refund-decisions")
	in := r.run()
	for i, id := range []string{"old", "new", "far"} {
		r.send("refunds", 0, refund(id, "", "ann", fmt.Sprint(i+1), time.Hour))
	}
	r.until("passed", func() bool { return in.Balance().Read == 6 })
	if b := in.Balance(); b.Duplicates != 3 {
		t.Errorf("%+v", b)
	}
	if d := r.decided(); len(d) != 0 {
		t.Errorf("decided again: %v", d)
	}
}

// A folder that is older than what the topics still hold is as good as lost: what
// lies between may have been refunded already, or be the very refund.
func TestAnOldStateAndTopicsThatBeginLater(t *testing.T) {
	r := newStateful(t, time.Millisecond)
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	r.send("transactions", 0, tx("t2", "bob", "100", 0))
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	r.through(1)
	old := filepath.Join(t.TempDir(), "old")
	r.keep(old)
	r.send("refunds", 0, refund("Y", "t2", "bob", "60", 2*time.Hour))
	r.through(2)
	r.setBack(old)
	r.cut("transactions", "refunds", "refund-decisions", "refundguard-cases")
	for range 2 {
		r.through(2)
	}
	r.send("refunds", 0, refund("Y", "t2", "bob", "60", 2*time.Hour))
	r.send("refunds", 0, refund("Z", "t2", "bob", "10", 3*time.Hour))
	// What was paid after the loss has lost nothing.
	later := time.Now().AddDate(0, 0, 8) // no window reaches back
	r.at(later, "transactions", tx("t3", "cy", "100", later.Sub(base)))
	r.at(later, "refunds", refund("W", "t3", "cy", "60", later.Sub(base)+time.Second))
	r.through(5)
	r.want(map[string]string{"Y": "review DEGRADED", "Z": "review DEGRADED", "W": "approve"})
}

// A refund that was accepted, and waited when the state was saved, is decided by
// the next start, whatever its limits are.
func TestLimitsThatChangeWhileRefundsWait(t *testing.T) {
	slow(t)
	for _, lower := range []bool{true, false} {
		t.Run(fmt.Sprint("lower ", lower), func(t *testing.T) {
			r := newStateful(t, time.Millisecond)
			small := r.cfg.Limits
			small.MaxFieldBytes = 256
			if !lower {
				r.cfg.Limits, small = small, r.cfg.Limits
			}
			r.send("transactions", 0, tx("t1", "ann", "100", 0))
			f := refund("X", "t1", "ann", "60", time.Hour)
			f["comment"] = strings.Repeat("x", 1000)
			f["reason"] = strings.Repeat("x", 1000)
			r.saveWaiting(f)
			if _, err := os.Stat(filepath.Join(r.cfg.State.Dir, "db")); err != nil {
				t.Fatal(err)
			}
			r.cfg.Limits = small
			in := r.run()
			r.refund(0, refund("Y", "t1", "ann", "60", 2*time.Hour))
			r.until("live", func() bool { return in.Ready() == nil })
			r.hold.Store(false)
			r.until("passed", func() bool { return in.Balance().Read == 3 })
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			r.want(map[string]string{"V": "approve", "X": "approve", "Y": "reject OVER_REFUND"})
			if n := len(r.read("dead-letters")); n != 0 {
				t.Errorf("%d dead letters", n)
			}
			if _, err := os.Stat(filepath.Join(r.cfg.State.Dir, "set-aside-1")); err == nil {
				t.Error("the state was set aside")
			}
		})
	}
}

// A series that a start has anew is filled with what was before the saved state,
// and gets what came after it once.
func TestNewSeriesOverAnOlderState(t *testing.T) {
	slow(t)
	r := newStateful(t, time.Millisecond)
	r.cfg.State.ExactEvents = 2 // of others, no window knows whether it has them
	for i := range 4 {
		r.send("transactions", 0, tx(fmt.Sprint("t", i), "ann", "100", time.Duration(i)*time.Minute))
	}
	r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
	r.through(1)
	old := filepath.Join(t.TempDir(), "old")
	r.keep(old)
	for i := 4; i < 7; i++ {
		r.send("transactions", 0, tx(fmt.Sprint("t", i), "ann", "100", time.Duration(i)*time.Minute))
	}
	r.send("refunds", 0, refund("Y", "t1", "ann", "1", 2*time.Hour))
	r.through(2)
	r.setBack(old)
	r.writeRules(testRules + `  - {id: many, action: alert, on_missing: skip, when: 'transactions.by(instrument_id).within("1d").count() >= 0 or transactions.by(instrument_id).within("1d").sum(amount) > 0 or decisions.by(customer_id).within("1d").count() > 0 or refunds.by(currency).within("1d").count() > 0'}` + "\n")
	in := r.run()
	r.until("live", func() bool { return in.Ready() == nil })
	time.Sleep(3 * time.Second) // the filling begins with the first commit
	f := refund("Z", "t2", "ann", "1", 3*time.Hour)
	f["instrument_id"] = "pm_ann"
	r.send("refunds", 0, f)
	r.until("decided", func() bool { return in.Balance().Read == 3 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	for _, rec := range r.read("refund-decisions") {
		s := string(rec.Value)
		if !strings.Contains(s, `"refund_id":"Z"`) {
			continue
		}
		for _, want := range []string{`transactions.by(instrument_id).within(\"1d\").count()":7`, `transactions.by(instrument_id).within(\"1d\").sum(amount)":"700`,
			`decisions.by(customer_id).within(\"1d\").count()":2`, `refunds.by(currency).within(\"1d\").count()":2`} {
			if !strings.Contains(s, want) || strings.Contains(s, "warming") {
				t.Errorf("%s\nwant %s", s, want)
			}
		}
		return
	}
	t.Error("Z is not decided")
}

// What only observes has a state of its own.
func TestObservingLeavesTheStateAlone(t *testing.T) {
	r := newStateful(t, time.Millisecond)
	r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
	r.through(1)
	live := r.run()
	r.until("live", func() bool { return live.Ready() == nil })
	r.cfg.Observe = true
	r.through(1)
	r.cfg.Observe = false
	if err := live.end(); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(r.cfg.State.Dir, "*aside*"))
	if err != nil || len(found) > 0 {
		t.Errorf("set aside: %v, %v", found, err)
	}
	if _, err := os.Stat(filepath.Join(r.cfg.State.Dir, "observe", "db")); err != nil {
		t.Error(err)
	}
}

// A refund that was refused, and waited for its turn when the state was saved,
// may be decided by an instance that had no such state, and other limits. Who
// comes back with that state knows it.
func TestARefusedRefundThatAnotherDecided(t *testing.T) {
	slow(t)
	for _, readable := range []bool{true, false} {
		t.Run(fmt.Sprint("readable ", readable), func(t *testing.T) {
			r := newStateful(t, time.Millisecond)
			large := r.cfg.Limits
			r.cfg.Limits.MaxFieldBytes = 256
			small := r.cfg.Limits
			f := refund("X", "", "ann", "60", time.Hour)
			f["reason"] = strings.Repeat("x", 1000)
			r.saveWaiting(f)
			old := filepath.Join(t.TempDir(), "old")
			r.keep(old)
			_ = os.RemoveAll(r.cfg.State.Dir)
			r.hold.Store(false)
			r.cfg.Limits = large
			r.through(2)
			r.want(map[string]string{"V": "approve", "X": "approve"})
			r.setBack(old)
			if !readable {
				r.cfg.Limits = small
				r.through(2)
				r.cfg.Limits = large
			}
			r.refund(0, f)
			r.through(3)
			r.want(map[string]string{"V": "approve", "X": "approve"})
		})
	}
}

// A refund that waited when the state was saved, and was rejected after that, has
// no share in what its payment's refunds sum up to.
func TestWhatWaitedIsSettledAsItWasDecided(t *testing.T) {
	r := newStateful(t, time.Millisecond)
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	r.hold.Store(true)
	r.refund(0, refund("X", "t1", "ann", "150", time.Hour))
	in := r.run()
	r.until("it waits in a saved state", func() bool { return in.metric("refundguard_refunds_waiting") == 1 })
	saved := func() float64 { return in.metric("refundguard_state_saved_timestamp_seconds") }
	since := saved()
	r.until("it is saved", func() bool { return saved() > since })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "old")
	r.keep(old)
	r.hold.Store(false)
	r.through(1)
	r.setBack(old)
	r.send("refunds", 0, refund("Y", "t1", "ann", "60", 2*time.Hour))
	r.through(2)
	r.want(map[string]string{"X": "reject OVER_REFUND", "Y": "approve"})
}
