package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

const derivedRules = `
rules:
  - {id: large, action: review, severity: high, on_missing: skip, when: 'amount > 50'}
  - {id: repeat, score: 1, on_missing: skip, when: 'hits.by(customer_id).where(rule == "large").within("30d").count() >= 2'}
  - {id: held, score: 1, on_missing: skip, when: 'decisions.by(device_id).where(outcome == "review").within("30d").sum(amount) >= 100'}
`

func hitsOf(d *event.Decision) string {
	var ids []string
	for _, h := range d.Hits {
		ids = append(ids, h.Rule)
	}
	return strings.Join(ids, " ")
}

func TestHitsAndDecisionsAreSeenAndSurviveARestart(t *testing.T) {
	w := newWorld(t, 2, derivedRules)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	in := w.start()
	n := int64(0)
	send := func(amount string, after time.Duration) string {
		t.Helper()
		f := refund(fmt.Sprintf("r%02d", n), "", "ann", amount, after)
		f["device_id"] = "d1"
		w.send("refunds", int32(n%2), f)
		n++
		w.passed(in, n) // each in an epoch of its own
		return f["refund_id"].(string)
	}
	send("60", time.Minute)
	send("61", 2*time.Minute)
	third := send("1", 3*time.Minute)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	in = w.start()
	fourth := send("2", 4*time.Minute)
	late := send("3", 90*time.Second) // when only the first had been asked for
	all := w.decisions()
	for id, want := range map[string]string{third: "repeat held", fourth: "repeat held", late: ""} {
		if got := hitsOf(all[id]); got != want {
			t.Errorf("%s: hits %q, want %q", id, got, want)
		}
	}
	if !slices.EqualFunc(all[third].Features, all[fourth].Features, func(a, b event.Feature) bool { return a.Name == b.Name && a.Num == b.Num }) {
		t.Errorf("before the restart %v\nafter it %v", all[third].Features, all[fourth].Features)
	}
}

const paymentRules = testRules + `
  - {id: burst, on: transactions, action: alert, severity: low, on_missing: skip, when: 'transactions.by(customer_id).within("1h").count() >= 2', message: 'with {{transactions.by(customer_id).within("1h").count()}} before'}
  - {id: after-burst, action: review, on_missing: skip, when: 'hits.by(customer_id).where(rule == "burst").within("1d").count() >= 1'}
`

// bursts are the alerts of the rule burst by transaction; two of one
// transaction end the test.
func (w *world) bursts() map[string]*event.Alert {
	w.t.Helper()
	all := map[string]*event.Alert{}
	for _, r := range w.cluster.ReadCommitted("alerts") {
		a, err := event.ParseAlert(r.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		if a.Rule != "burst" {
			continue
		}
		if string(r.Key) != a.AlertID || all[a.TransactionID] != nil {
			w.t.Fatalf("alert %+v, and before it %+v", a, all[a.TransactionID])
		}
		all[a.TransactionID] = a
	}
	return all
}

func TestRulesOnTransactions(t *testing.T) {
	w := newWorld(t, 2, paymentRules)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "latest"}
	// Before decide_from: they count, and are not judged.
	for i := range 3 {
		w.send("transactions", int32(i%2), tx(fmt.Sprint("old", i), "ann", "5", time.Duration(i)*time.Minute))
	}
	in := w.start()
	w.until("it is live", func() bool { return in.Ready() == nil })
	w.send("transactions", 0, tx("t1", "ann", "5", 10*time.Minute))
	w.send("transactions", 1, tx("u1", "bob", "5", 10*time.Minute))
	w.send("transactions", 1, tx("u2", "bob", "5", 11*time.Minute))
	again := w.send("transactions", 0, tx("u3", "bob", "5", 12*time.Minute))
	w.sendRaw("transactions", 0, string(again.Value))
	settled := tx("u3", "bob", "5", 13*time.Minute) // a status update is no new transaction
	settled["status"] = "settled"
	w.send("transactions", 0, settled)
	w.until("both alerts are there", func() bool { return len(w.bursts()) == 2 })
	a := w.bursts()
	if a["t1"] == nil || a["t1"].Message != "with 3 before" || a["t1"].CustomerID != "ann" || a["t1"].InstrumentID != "pm_ann" || a["t1"].RefundID != "" || a["u3"] == nil {
		t.Errorf("alerts %+v", a)
	}
	w.send("refunds", 0, refund("r1", "", "bob", "1", time.Hour))
	w.passed(in, 1)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}

	// While it is down more comes in; nothing is told twice, and the hits are
	// known again.
	for i := range 300 {
		w.send("transactions", int32(i%2), tx(fmt.Sprint("v", i), fmt.Sprint("c", i/3), "5", 2*time.Hour+time.Duration(i)*time.Second))
	}
	in = w.start()
	w.until("one alert for every third", func() bool { return len(w.bursts()) == 102 })
	w.send("refunds", 1, refund("r2", "", "ann", "1", 3*time.Hour))
	w.passed(in, 2)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	if got := w.outcomes(); got != "r1 review, r2 review" {
		t.Error(got)
	}
	in = w.start()
	w.send("refunds", 1, refund("r3", "", "c7", "1", 3*time.Hour))
	w.passed(in, 3)
	if got := w.outcomes(); got != "r1 review, r2 review, r3 review" || len(w.bursts()) != 102 {
		t.Errorf("%s, %d alerts", got, len(w.bursts()))
	}
}

// More transactions of one event time than a partition may hold waiting, and
// then some in reverse: none of them blocks the way.
func TestRulesOnTransactionsWithFullBuffers(t *testing.T) {
	w := newWorld(t, 2, paymentRules)
	w.cfg.Engine.BufferRecords = 256
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	for i := range 2000 {
		at := time.Hour
		if i >= 1000 {
			at = time.Duration(2000-i) * time.Second
		}
		w.send("transactions", int32(i%2), tx(fmt.Sprint("t", i), fmt.Sprint("c", i/3), "5", at))
		if i%200 == 0 {
			w.send("refunds", int32(i%2), refund(fmt.Sprint("r", i), "", "x", "1", time.Duration(i)*time.Second))
		}
	}
	for i := range 6 {
		w.send("transactions", int32(i%2), tx(fmt.Sprint("z", i), fmt.Sprint("last", i%2), "5", 2*time.Hour+time.Duration(i)*time.Second))
	}
	in := w.start()
	w.passed(in, 10)
	w.until("the last of both partitions are judged", func() bool { b := w.bursts(); return b["z4"] != nil && b["z5"] != nil })
}

func TestAReloadFillsNewSeriesFromTheTopics(t *testing.T) {
	const one = `
rules:
  - {id: large, action: review, on_missing: skip, when: 'amount > 50'}
  - {id: a, score: 1, on_missing: skip, when: 'refunds.by(customer_id).within("7d").count() >= 100'}
`
	const two = one + `
  - {id: b, score: 1, on_missing: skip, when: 'refunds.by(customer_id).within("7d").sum(amount) >= 10000'}
  - {id: c, score: 1, on_missing: skip, when: 'transactions.by(customer_id).within("9d").max(amount) >= 10000'}
  - {id: d, score: 1, on_missing: skip, when: 'hits.by(customer_id).where(rule == "large").within("7d").count() >= 100'}
  - {id: e, score: 1, on_missing: skip, when: 'decisions.by(customer_id).within("7d").count() >= 100'}
`
	w := newWorld(t, 2, one)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	const payments = 3000
	for i := range payments {
		w.send("transactions", int32(i%2), tx(fmt.Sprint("t", i), "ann", fmt.Sprint(1+i), time.Duration(i)*time.Second))
	}
	in := w.start()
	n := int64(0)
	send := func(amount string) *event.Decision {
		id := fmt.Sprintf("r%05d", n)
		w.send("refunds", int32(n%2), refund(id, "", "ann", amount, 2*time.Hour+time.Duration(n)*time.Second))
		n++
		w.passed(in, n)
		return w.decisions()[id]
	}
	for i := range 20 {
		send(fmt.Sprint(41 + i)) // 10 of them are held
	}
	if d := send("1"); len(d.Warming) != 0 || len(d.Features) != 1 {
		t.Errorf("before the reload: %+v", d)
	}
	w.writeRules(two)
	var first, last *event.Decision
	w.until("nothing is warming", func() bool {
		d := send("1")
		if len(d.Features) == 5 {
			if first == nil {
				first = d
			}
			last = d
		}
		return last != nil && len(last.Warming) == 0
	})
	for when, d := range map[string]*event.Decision{"at first": first, "at last": last} {
		features := map[string]string{}
		for _, f := range d.Features {
			if features[f.Name] = fmt.Sprint(f.Num); f.Str != "" {
				features[f.Name] = f.Str
			}
		}
		var past int64
		if _, err := fmt.Sscanf(d.RefundID, "r%05d", &past); err != nil {
			t.Fatal(err)
		}
		if got := features[`refunds.by(customer_id).within("7d").count()`]; got != fmt.Sprint(past) {
			t.Errorf("%s: the series that stayed counts %s, want %d", when, got, past)
		}
		if when == "at first" {
			continue // the others are warming, or filled already
		}
		for name, want := range map[string]string{
			`refunds.by(customer_id).within("7d").sum(amount)`:                 fmt.Sprintf("%d.00", 1010+past-20),
			`transactions.by(customer_id).within("9d").max(amount)`:            fmt.Sprintf("%d.00", payments),
			`hits.by(customer_id).where(rule == "large").within("7d").count()`: "10",
			`decisions.by(customer_id).within("7d").count()`:                   fmt.Sprint(past),
		} {
			if got := features[name]; got != want {
				t.Errorf("%s: %s is %s, want %s", when, name, got, want)
			}
		}
	}
}
