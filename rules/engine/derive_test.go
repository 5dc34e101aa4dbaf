package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

const derivedRules = `
rules:
  - {id: large, score: 50, severity: high, on_missing: skip, when: 'amount > 50'}
  - {id: quiet, score: 1, mode: shadow, on_missing: skip, when: 'amount > 60'}
  - {id: again, action: review, on_missing: skip, when: 'hits.by(customer_id).where(rule == "large" and severity == "high").within("1d").count() >= 2'}
  - {id: shadowed, score: 1, on_missing: skip, when: 'hits.by(device_id).where(mode == "shadow").ever().count() >= 1'}
  - {id: held, score: 1, on_missing: skip, when: 'decisions.by(customer_id).where(outcome == "review" and score >= 50).within("1d").sum(amount) > 0'}
  - {id: watched, score: 1, on_missing: skip, when: 'hits.by(customer_id).where(rule == "burst").within("1d").count() >= 1'}
  - {id: burst, on: transactions, action: alert, severity: low, on_missing: skip, when: 'transactions.by(customer_id).within("1h").count() >= 1', message: 'after {{transactions.by(customer_id).within("1h").last(amount)}}'}
  - {id: unseen, on: transactions, action: alert, mode: shadow, on_missing: skip, when: 'amount > 0'}
policy: {review_at: 40}
`

func TestHitsAndDecisionsAreSeenByLaterEpochs(t *testing.T) {
	schema := event.Builtin()
	e := engine.New(engine.Config{Schema: schema, Workers: 2}, loadSet(t, schema, derivedRules))
	defer e.Close()
	decoders := []*event.Decoder{event.NewDecoder(schema.Stream("transactions"), event.DefaultLimits()), event.NewDecoder(schema.Stream("refunds"), event.DefaultLimits())}
	apply := func(r row) *engine.Item {
		it := &engine.Item{}
		if r.refund {
			it.Stream = 1
		}
		it.Event.Vals = make([]event.Value, 0, event.MaxFields)
		if err := decoders[it.Stream].Decode([]byte(r.json()), &it.Event); err != nil {
			t.Fatal(err)
		}
		it.Prepare([]byte(r.json()))
		e.Apply([]*engine.Item{it})
		return it
	}
	n := 0
	decide := func(minute, cents int) (hits []string) {
		n++
		it := apply(row{refund: true, id: n, minute: minute, cents: cents, customer: 1, device: 1})
		e.Decide([]*engine.Item{it}, func(_, _ int, d *event.Decision, _ *rules.Result) {
			for _, h := range d.Hits {
				hits = append(hits, h.Rule)
			}
			if len(d.Errors) > 0 {
				t.Error(d.Errors)
			}
		})
		return hits
	}
	expect := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: hits %v, want %v", what, got, want)
		}
	}
	expect("first", decide(0, 5500), "large")
	expect("second, same epoch", decide(1, 7000), "large", "quiet")
	e.Derive()
	expect("next epoch", decide(2, 100), "again", "shadowed", "held")
	expect("earlier in event time", decide(-1, 100))
	e.Derive()
	e.Derive()
	expect("after a day", decide(24*60+1, 100), "shadowed")

	pay := func(minute int) (alerts []string) {
		n++
		it := apply(row{id: n, minute: minute, cents: 250, customer: 1})
		e.Evaluate([]*engine.Item{it}, func(_, _ int, res *rules.Result) {
			for _, h := range res.Hits {
				alerts = append(alerts, h.Rule+" "+h.Mode+" "+h.Message)
			}
		})
		return alerts
	}
	day := 3 * 24 * 60
	if got := fmt.Sprint(pay(day), pay(day+5)); got != "[unseen shadow ] [burst live after 2.50 unseen shadow ]" {
		t.Error(got)
	}
	expect("a refund in the same epoch", decide(day+6, 100), "shadowed")
	e.Derive()
	expect("and in the next", decide(day+7, 100), "shadowed", "watched")
}
