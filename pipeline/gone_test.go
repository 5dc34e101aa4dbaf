package pipeline_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/refundguard/refundguard/pipeline/kafkatest"
	"github.com/refundguard/refundguard/rules/event"
)

// What topics no longer hold.

// empty deletes all records of a partition.
func (r *held) empty(topic string, partition int32) {
	r.t.Helper()
	ends, err := r.adm.ListEndOffsets(context.Background(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, partition)
	var o kadm.Offsets
	o.AddOffset(topic, partition, end.Offset, -1)
	if _, err := r.adm.DeleteRecords(context.Background(), o); err != nil {
		r.t.Fatal(err)
	}
}

// warming is what each decision says, by refund id.
func (r *held) warming() map[string]string {
	out := map[string]string{}
	for _, rec := range r.read("refund-decisions") {
		d, err := event.ParseDecision(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		out[d.RefundID] = strings.Join(d.Warming, ", ")
	}
	return out
}

// A journal that lost the decisions of one partition, and not those of another,
// doesn't make refunds unknown: they would be paid again.
func TestAJournalCutUnevenlyForgetsNoRefund(t *testing.T) {
	for name, more := range map[string]int{"nothing left": 0, "later ones left": 16} {
		t.Run(name, func(t *testing.T) {
			r := newHeld(t, 2, 1)
			r.send("transactions", 0, tx("t1", "ann", "100", 0))
			in := r.run()
			n := int64(0)
			decide := func(f fields) {
				r.send("refunds", 0, f)
				n++
				r.until("it is decided", func() bool { return in.Balance().Read == n })
			}
			var first []fields
			for i := range 8 {
				f := refund(fmt.Sprint("r", i), "t1", "ann", "12", time.Hour)
				first = append(first, f)
				decide(f)
			}
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			r.empty("refund-decisions", 1)
			in = r.run()
			for i := range more {
				decide(refund(fmt.Sprint("later", i), "", "bob", "1", time.Hour))
			}
			if err := in.end(); err != nil {
				t.Fatal(err)
			}
			in = r.run()
			for _, f := range first {
				r.send("refunds", 0, f)
				n++
			}
			decide(refund("over", "t1", "ann", "5", 2*time.Hour)) // 8 × 12 are refunded
			if b := in.Balance(); b.Duplicates != 8 || b.Rejected != 1 {
				t.Errorf("balance %+v", b)
			}
		})
	}
}

// A topic that has lost all its records says no less that windows are filling
// than one that has lost some.
func TestWindowsOverEmptiedTopicsAreWarming(t *testing.T) {
	const payments, hits = `transactions.by(customer_id).within("7d").count()`, `hits.by(customer_id).within("7d").count()`
	r := newHeld(t, 1, 1)
	r.writeRules(`
rules:
  - {id: a, score: 1, on_missing: skip, when: '` + payments + ` > 5'}
  - {id: b, score: 1, on_missing: skip, when: '` + hits + ` > 5'}
`)
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	in := r.run()
	r.send("refunds", 0, refund("whole", "", "ann", "60", time.Hour))
	r.until("it is decided", func() bool { return in.Balance().Read == 1 })
	if got := r.warming(); got["whole"] != "" {
		t.Errorf("with all records there: %v", got)
	}
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.empty("transactions", 0)
	in = r.run()
	r.send("refunds", 0, refund("payments", "", "ann", "60", 2*time.Hour))
	r.until("it is decided", func() bool { return in.Balance().Read == 2 })
	if got := r.warming()["payments"]; !strings.Contains(got, payments) {
		t.Errorf("without transactions: warming %q", got)
	}
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.empty("refund-decisions", 0)
	in = r.run()
	r.send("refunds", 0, refund("journal", "", "ann", "60", 3*time.Hour))
	r.until("it is decided", func() bool { return in.Balance().Read == 3 })
	if got := r.warming()["journal"]; !strings.Contains(got, hits) {
		t.Errorf("without the journal: warming %q", got)
	}
}

// Outputs that lose their records below a producer that goes on cost it
// nothing, even where the broker has started again since.
func TestOutputsEmptiedBelowTheProducer(t *testing.T) {
	slow(t)
	for name, between := range map[string]func(*kafkatest.Cluster){
		"the broker stays":      func(*kafkatest.Cluster) {},
		"the broker is stopped": func(c *kafkatest.Cluster) { c.Stop(); c.Restart() },
		"the broker is killed":  func(c *kafkatest.Cluster) { c.Kill(); c.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, testRules)
			w.cfg.Streams["refunds"] = streamFrom("earliest")
			adm := kadm.NewClient(w.cluster.Client())
			in := w.start()
			paid := map[int64]string{} // a kill brings back what was deleted just before
			look := func() {
				for _, r := range w.cluster.ReadCommitted("refunds-approved") {
					paid[r.Offset] = header(r, "refundguard-decision-id")
				}
			}
			for round := range int64(3) {
				for i := range 5 {
					w.send("refunds", 0, refund(fmt.Sprint(round, "-", i), "", fmt.Sprint("c", round, i), "10", time.Hour))
				}
				w.passed(in, 5*(round+1))
				look()
				ends, err := adm.ListEndOffsets(t.Context(), "refunds-approved", "refund-decisions", "refund-status", "refundguard-progress")
				if err == nil {
					_, err = adm.DeleteRecords(t.Context(), ends.Offsets())
				}
				if err != nil {
					t.Fatal(err)
				}
				between(w.cluster)
			}
			w.send("refunds", 0, refund("last", "", "bob", "10", time.Hour))
			if b := w.passed(in, 16); b.Approved != 16 {
				t.Errorf("balance %+v", b)
			}
			if err := in.end(); err != nil {
				t.Error(err)
			}
			look()
			ids := slices.Compact(slices.Sorted(maps.Values(paid)))
			if len(paid) != 16 || len(ids) != 16 {
				t.Errorf("%d records pay %d refunds, want 16 and 16", len(paid), len(ids))
			}
		})
	}
}
