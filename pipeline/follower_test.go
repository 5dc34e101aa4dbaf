package pipeline_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// restarted is a standby that has saved, ended, and begun again.
func (r *held) restarted(dir string) *member {
	r.t.Helper()
	b := r.join(dir)
	r.standsBy(b)
	r.until("it has saved", func() bool { return b.saved() })
	if err := b.end(); err != nil {
		r.t.Fatal(err)
	}
	return r.join(dir)
}

// An instance whose state misses what the topics no longer hold knows that for
// good, though the one that it followed missed nothing.
func TestWhatAStandbyMissesIsNotForgotten(t *testing.T) {
	slow(t)
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "at once", true: "after a restart"}[restart], func(t *testing.T) {
			r := newStateful(t, time.Millisecond)
			dir := t.TempDir()
			a := r.join(filepath.Join(dir, "a"))
			r.leader(a)
			r.send("transactions", 0, tx("t1", "ann", "100", 0))
			r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
			r.until("X is decided", func() bool { return a.Balance().Read == 1 })
			r.cut("transactions", "refunds", "refund-decisions")
			var b *member
			if restart {
				b = r.restarted(filepath.Join(dir, "b"))
			} else {
				b = r.join(filepath.Join(dir, "b"))
			}
			r.standsBy(b)
			_ = a.end()
			r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
			r.send("refunds", 0, refund("Z", "t1", "ann", "50", 2*time.Hour))
			r.until("passed", func() bool { return b.Balance().Read == 3 })
			for id, d := range r.decided() {
				if len(d) != 1 || !strings.HasPrefix(d[0], "review") || !strings.HasSuffix(d[0], "DEGRADED") {
					t.Errorf("%s: %v, want a review: what was paid before is not known", id, d)
				}
			}
		})
	}
}

// Rules that are the first to read what was decided, and come while an instance
// stands by, see what was decided while it did.
func TestRulesThatReadDecisionsComeToAStandby(t *testing.T) {
	slow(t)
	r := newStateful(t, time.Millisecond)
	r.cfg.Rules.Reload = 20 * time.Millisecond
	dir := t.TempDir()
	a := r.join(filepath.Join(dir, "a"))
	r.leader(a)
	r.send("transactions", 0, tx("t1", "ann", "1000", 0))
	r.send("refunds", 0, refund("X", "t1", "ann", "1", time.Hour))
	r.until("X is decided", func() bool { return a.Balance().Read == 1 })
	b := r.join(filepath.Join(dir, "b"))
	r.standsBy(b)
	loaded := func(m *member) float64 { return m.metric("refundguard_ruleset_loaded_timestamp_seconds") }
	atA, atB := loaded(a), loaded(b)
	r.writeRules(testRules + `  - {id: many, action: alert, on_missing: skip, when: 'decisions.by(customer_id).within("1d").count() >= 2'}` + "\n")
	r.until("both have the new rules", func() bool { return loaded(a) > atA && loaded(b) > atB })
	r.send("refunds", 0, refund("Y", "t1", "ann", "1", 2*time.Hour))
	r.until("Y is decided", func() bool { return a.Balance().Read == 2 })
	r.standsBy(b)
	if err := a.end(); err != nil {
		t.Fatal(err)
	}
	r.leader(b)
	count := regexp.MustCompile(`decisions.by\(customer_id\).within\(\\"1d\\"\).count\(\)":(\d+)`)
	for n := 2; ; n++ { // until the new series is filled
		r.send("refunds", 0, refund(fmt.Sprint("Z", n), "t1", "ann", "1", 3*time.Hour+time.Duration(n)*time.Minute))
		r.until("it is decided", func() bool { return b.Balance().Read == int64(n+1) })
		all := r.read("refund-decisions")
		last := string(all[len(all)-1].Value)
		if strings.Contains(last, "warming") {
			continue
		}
		if m := count.FindStringSubmatch(last); m == nil || m[1] != fmt.Sprint(n) {
			t.Errorf("%s\nwant %d decisions before it", last, n)
		}
		return
	}
}

// Rules that come to a standby before it has read again what waited in its state
// see that, too.
func TestRulesComeToAStandbyInWhichSomethingWaits(t *testing.T) {
	slow(t)
	r := newStateful(t, time.Millisecond)
	r.cfg.Rules.Reload = 20 * time.Millisecond
	r.hold.Store(true)
	dir := t.TempDir()
	a := r.join(filepath.Join(dir, "a"))
	r.leader(a)
	wait := func(id string, at time.Duration) {
		r.send("refunds", 0, refund(id, "", "ann", "1", at))
		r.ends[0].Add(1)
	}
	wait("X", time.Hour)
	r.until("X is in what is saved", func() bool {
		return a.metric("refundguard_refunds_waiting") == 1 && a.saved()
	})
	if err := a.end(); err != nil {
		t.Fatal(err)
	}
	b := r.join(filepath.Join(dir, "b"))
	r.leader(b)
	b.net.set(true)
	a = r.join(filepath.Join(dir, "a")) // and stands by for a while
	r.writeRules(testRules + `  - {id: many, score: 1, on_missing: skip, when: 'refunds.by(customer_id).within("9d").count() >= 9'}` + "\n")
	r.leader(a)
	r.hold.Store(false)
	r.until("X is decided", func() bool { return a.Balance().Read == 1 })
	count := regexp.MustCompile(`refunds.by\(customer_id\).within\(\\"9d\\"\).count\(\)":(\d+)`)
	for n := 1; ; n++ { // until the new series is filled
		wait(fmt.Sprint("Z", n), 2*time.Hour+time.Duration(n)*time.Minute)
		r.until("it is decided", func() bool { return a.Balance().Read == int64(n+1) })
		all := r.read("refund-decisions")
		last := string(all[len(all)-1].Value)
		if strings.Contains(last, "warming") || !strings.Contains(last, "9d") {
			continue
		}
		if m := count.FindStringSubmatch(last); m == nil || m[1] != fmt.Sprint(n) {
			t.Errorf("%s\nwant %d refunds before it", last, n)
		}
		return
	}
}
