package pipeline_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

// sendRefunds sends refunds of 5, one each second from a time on, of customers
// whom held says that the rule holds.
func (w *world) sendRefunds(from, n int, held func(i int) bool) {
	w.t.Helper()
	var records []*kgo.Record
	for i := from; i < from+n; i++ {
		customer := "fine"
		if held(i) {
			customer = "odd"
		}
		value, err := json.Marshal(refund(fmt.Sprintf("r%05d", i), "", customer, "5", time.Duration(i)*time.Second))
		if err != nil {
			w.t.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: "refunds", Value: value})
	}
	w.cluster.Produce(records...)
}

// alertsOf are the messages of one rule's alerts.
func (w *world) alertsOf(rule string) (messages []string) {
	w.t.Helper()
	for _, r := range w.cluster.ReadCommitted("alerts") {
		a, err := event.ParseAlert(r.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		if a.Rule == rule {
			messages = append(messages, a.Severity+": "+a.Message)
		}
	}
	return messages
}

const trippable = `
rules:
  - {id: odd, action: review, on_trip: shadow, when: 'customer_id == "odd"'}
  - {id: other, action: review, when: 'customer_id == "other"'}
`

// A rule that by itself holds too many refunds alerts once and acts as shadow from
// the next epoch on; over a restart, too, and until its file changes.
func TestARuleThatHoldsTooManyTrips(t *testing.T) {
	w := newWorld(t, 1, trippable)
	w.cfg.Streams["refunds"] = streamFrom("earliest")
	in := w.start()
	third := func(i int) bool { return i%3 == 0 }
	w.sendRefunds(0, 499, third)
	if b := w.passed(in, 499); b.InReview != 167 || in.metric("refundguard_breaker_tripped") != 0 {
		t.Fatalf("below 500 refunds: balance %+v, %v tripped", b, in.metric("refundguard_breaker_tripped"))
	}
	w.sendRefunds(499, 101, third)
	w.passed(in, 600)
	w.until("the rule is tripped", func() bool { return in.metric("refundguard_breaker_tripped") == 1 })
	before := w.passed(in, 600).InReview
	if st, err := pipeline.ReadStatus(t.Context(), w.cfg, "refundguard", []kgo.Opt{kgo.SeedBrokers(w.cluster.Brokers()...)}); err != nil || !slices.Equal(st.Tripped, []string{"odd"}) {
		t.Errorf("status %+v, %v", st, err)
	}
	odd := func(int) bool { return true }
	w.sendRefunds(600, 100, odd)
	if b := w.passed(in, 700); b.InReview != before {
		t.Errorf("%d more were held by a tripped rule", b.InReview-before)
	}
	d := w.decisions()["r00650"]
	if d.Outcome != event.Approve || len(d.Hits) != 1 || d.Hits[0].Mode != "shadow" {
		t.Errorf("decision %+v", d)
	}
	if err := in.end(); err != nil {
		t.Fatal(err)
	}

	in = w.start()
	w.sendRefunds(700, 100, odd)
	if b := w.passed(in, 800); b.InReview != before || in.metric("refundguard_breaker_tripped") != 1 {
		t.Errorf("after a restart: balance %+v, %v tripped", b, in.metric("refundguard_breaker_tripped"))
	}
	alerts := w.alertsOf("breaker:odd")
	if len(alerts) != 1 || !strings.HasPrefix(alerts[0], "critical: rule odd alone held or rejected ") || !strings.Contains(alerts[0], "it acts as shadow") {
		t.Errorf("alerts: %v", alerts)
	}
	w.writeRules(strings.Replace(trippable, "{id: odd", "{id: odd, description: as it was", 1))
	w.until("the changed file is taken", func() bool { return in.metric("refundguard_breaker_tripped") == 0 })
	w.sendRefunds(800, 10, odd)
	if b := w.passed(in, 810); b.InReview != before+10 {
		t.Errorf("a rule whose file changed holds %d of 10", b.InReview-before)
	}
}

// One that keeps on only alerts; a breaker that is off does neither. What was
// counted before a restart counts after it.
func TestATrippedRuleThatKeepsOn(t *testing.T) {
	for _, share := range []pipeline.Share{20_0000, 0} {
		w := newWorld(t, 2, "rules: [{id: kept, action: review, when: 'customer_id == \"odd\"'}]\n")
		w.cfg.Streams["refunds"] = streamFrom("earliest")
		w.cfg.Limits.MaxHoldShare = share
		in := w.start()
		w.sendRefunds(0, 400, func(i int) bool { return i < 120 })
		w.passed(in, 400)
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		in = w.start()
		w.sendRefunds(400, 100, func(i int) bool { return i == 499 }) // the 500th, and the 121st held
		b := w.passed(in, 500)
		if b.InReview != 121 {
			t.Errorf("balance %+v", b)
		}
		w.sendRefunds(500, 10, func(int) bool { return true })
		if b := w.passed(in, 510); b.InReview != 131 {
			t.Errorf("balance %+v", b)
		}
		alerts := w.alertsOf("breaker:kept")
		if want := share > 0; (len(alerts) == 1) != want || len(alerts) > 1 || want && !strings.Contains(alerts[0], "121 of the 500 refunds") {
			t.Errorf("with a share of %s: alerts %v", share, alerts)
		}
		if slices.ContainsFunc(alerts, func(a string) bool { return !strings.Contains(a, "it stays live") }) {
			t.Errorf("alerts %v", alerts)
		}
	}
}
