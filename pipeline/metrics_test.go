package pipeline_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// labelled is a series that has this label, and whether there is one.
func labelled(t *testing.T, registry *prometheus.Registry, name, label, value string) (float64, bool) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if f.GetName() == name && l.GetName() == label && l.GetValue() == value {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue(), true
				}
			}
		}
	}
	return 0, false
}

// The series of a rule that is taken out stay for a quarter of an hour, then they
// end; those of the others go on.
func TestSeriesOfRulesThatAreGone(t *testing.T) {
	slow(t)
	w := newWorld(t, 1, testRules)
	var ahead atomic.Int64
	w.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	in := w.start()
	w.until("ready", func() bool { return in.Ready() == nil })
	w.send("refunds", 0, refund("r1", "", "ann", "600", time.Hour))
	w.passed(in, 1)
	has := func(name, rule string) bool {
		_, ok := labelled(t, in.registry, name, "rule", rule)
		return ok
	}
	byRule := []string{"refundguard_rule_hits_total", "refundguard_rule_errors_total", "refundguard_rule_evaluation_seconds_total", "refundguard_rule_evaluations_total", "refundguard_breaker_trips_total"}
	for _, name := range byRule {
		if !has(name, "watch") || !has(name, "velocity") {
			t.Errorf("%s lacks a rule", name)
		}
	}
	if n, _ := labelled(t, in.registry, "refundguard_rule_hits_total", "rule", "watch"); n != 1 {
		t.Errorf("%v hits of watch, want 1", n)
	}
	w.writeRules("rules:\n  - {id: velocity, action: review, when: amount > 5}\n  - {id: another, mode: shadow, action: review, when: amount > 5}\n")
	w.until("the new rules are there", func() bool { return has("refundguard_rule_hits_total", "another") })
	ahead.Store(int64(14 * time.Minute))
	w.send("refunds", 0, refund("r2", "", "ann", "600", 2*time.Hour))
	w.passed(in, 2)
	w.until("a second has passed with the clock of then", func() bool {
		at, _ := labelled(t, in.registry, "refundguard_reviews_waiting", "severity", "medium")
		return at == 1
	})
	if !has("refundguard_rule_hits_total", "watch") {
		t.Error("the series of a rule that was just taken out are gone")
	}
	ahead.Store(int64(16 * time.Minute))
	w.until("the series end", func() bool { return !has("refundguard_rule_hits_total", "watch") })
	for _, name := range byRule {
		if has(name, "watch") || !has(name, "velocity") || !has(name, "another") {
			t.Errorf("%s has watch: %v, velocity: %v, another: %v", name, has(name, "watch"), has(name, "velocity"), has(name, "another"))
		}
	}
}

// Decisions of people count as theirs, anomalies of the ledger by their kind, and
// refunds that wait show how long they may.
func TestMetricsOfTheLifeOfRefunds(t *testing.T) {
	slow(t)
	r := newLife(t)
	in := r.run()
	r.send("refunds", 0, refund("odd", "", "ann", "60", time.Hour))
	r.until("it is in review", func() bool { return in.Balance().InReview == 1 })
	series := func(name, label, value string) float64 {
		n, ok := labelled(t, in.registry, name, label, value)
		if !ok {
			return -1
		}
		return n
	}
	due := func() (n int) {
		for _, severity := range []string{"low", "medium", "high", "critical"} {
			if left := series("refundguard_reviews_next_deadline_seconds", "severity", severity); left > 0 {
				n++
			}
		}
		return n
	}
	r.until("one deadline is shown", func() bool { return due() == 1 })
	r.send("reviews", 0, fields{"review_id": "v1", "refund_id": "odd", "verdict": "approve", "analyst": "mia", "occurred_at": time.Now().UTC().Format(time.RFC3339)})
	r.until("the verdict is counted", func() bool { return series("refundguard_decisions_total", "decided_by", "analyst") == 1 })
	r.until("no deadline is shown", func() bool { return due() == 0 })
	r.send("ledger-results", 0, fields{"result_id": "x1", "refund_id": "nobody asked", "status": "executed", "occurred_at": time.Now().UTC().Format(time.RFC3339)})
	r.until("the payment of nothing is counted", func() bool {
		return series("refundguard_case_alerts_total", "rule", "EXECUTED_UNKNOWN_REFUND") == 1 && series("refundguard_dead_letters_total", "code", "UNKNOWN_REFUND") == 1
	})
	if n := series("refundguard_case_alerts_total", "rule", "EXECUTED_TWICE"); n != 0 {
		t.Errorf("EXECUTED_TWICE is %v, want a series that is 0", n)
	}
}
