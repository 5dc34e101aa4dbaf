package engine_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// decideOne is the decision of one refund by an engine of its own, after before
// had its way with the item.
func decideOne(t *testing.T, cfg engine.Config, set *rules.Set, refund string, before func(*engine.Engine, *engine.Item)) (d event.Decision, res rules.Result) {
	t.Helper()
	e := engine.New(cfg, set)
	defer e.Close()
	it := &engine.Item{Stream: 1}
	it.Event.Vals = make([]event.Value, 0, event.MaxFields)
	if err := event.NewDecoder(cfg.Schema.Stream("refunds"), event.DefaultLimits()).Decode([]byte(refund), &it.Event); err != nil {
		t.Fatalf("%s: %v", refund, err)
	}
	it.Prepare([]byte(refund))
	e.Apply([]*engine.Item{it})
	if before != nil {
		before(e, it)
	}
	e.Decide([]*engine.Item{it}, func(_, _ int, of *event.Decision, r *rules.Result) { d, res = *of, *r })
	return d, res
}

// loadRated is loadSet where a euro is 1.1 dollars.
func loadRated(t *testing.T, text string) *rules.Set {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	eur, _ := event.ParseCurrency("EUR")
	set, err := rules.Load(dir, rules.Options{Rates: map[event.Currency]string{eur: "1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// With a share of all, what review actions and scores alone hold is approved up
// to the greatest amount, and nothing else is.
func TestHoldoutLetsOnlyReviewsThrough(t *testing.T) {
	set := loadRated(t, `
policy: {review_at: 40, reject_at: 80}
rules:
  - {id: review, action: review, severity: high, reason: R, message: m, customer_message: We look at it., on_missing: skip, when: 'device_id contains "review"'}
  - {id: reject, action: reject, on_missing: skip, when: 'device_id contains "reject"'}
  - {id: trust, action: approve, on_missing: skip, when: 'device_id contains "trust"'}
  - {id: scored, score: 40, on_missing: skip, when: 'device_id contains "scored"'}
  - {id: high, score: 80, on_missing: skip, when: 'device_id contains "high"'}
  - {id: fails, score: 1, on_missing: skip, when: 'device_id contains "fails" and 5 / (amount / amount - 1) > 5'}
  - {id: alarm, action: alert, on_missing: skip, when: 'device_id contains "alarm" and 5 / (amount / amount - 1) > 5'}
`)
	degraded := func(_ *engine.Engine, it *engine.Item) { it.Degraded = true }
	future := func(_ *engine.Engine, it *engine.Item) { it.Hold = "EVENT_IN_FUTURE" }
	for _, c := range []struct {
		device, amount, currency string
		before                   func(*engine.Engine, *engine.Item)
		decideDegraded           bool
		want                     string // outcome, reason, whether it is marked
	}{
		{device: "review", want: `approve "" true`},
		{device: "scored", want: `approve "" true`},
		{device: "review scored", want: `approve "" true`},
		{device: "review alarm", want: `approve "" true`}, // it failed, and can hold nothing
		{device: "none", want: `approve "" false`},
		{device: "trust review", want: `approve "" false`},
		{device: "reject review", want: `reject "" false`},
		{device: "high", want: `reject "" false`},
		{device: "fails", want: `review "RULE_FAILED" false`},
		{device: "fails review", want: `review "RULE_FAILED" false`},
		{device: "review", amount: "50.0001", want: `review "R" false`},
		{device: "review", amount: "45.45", currency: "EUR", want: `approve "" true`}, // 49.995
		{device: "review", amount: "45.46", currency: "EUR", want: `review "R" false`},
		{device: "review", amount: "1", currency: "GBP", want: `review "R" false`}, // no rate
		{device: "review", before: degraded, want: `review "DEGRADED" false`},
		{device: "review", before: degraded, decideDegraded: true, want: `review "R" false`},
		{device: "review", before: future, want: `review "EVENT_IN_FUTURE" false`},
	} {
		if c.amount == "" {
			c.amount = "50"
		}
		if c.currency == "" {
			c.currency = "USD"
		}
		d, res := decideOne(t, engine.Config{Schema: event.Builtin(), Workers: 1, HoldDegraded: !c.decideDegraded,
			Holdout: engine.Holdout{Millionths: 1_000_000, MaxAmount: 50_0000, Key: "k"}}, set,
			fmt.Sprintf(`{"refund_id":"r","device_id":%q,"amount":%q,"currency":%q,"occurred_at":1767600000000}`, c.device, c.amount, c.currency), c.before)
		if got := fmt.Sprintf("%v %q %v", d.Outcome, d.Reason, d.Holdout); got != c.want {
			t.Errorf("%s, %s %s: %s, want %s", c.device, c.amount, c.currency, got, c.want)
		}
		if d.Holdout && (len(d.Hits) == 0 || res.CustomerMessage != "") {
			t.Errorf("%s: hits %v, and the customer reads %q", c.device, d.Hits, res.CustomerMessage)
		}
	}
}

// The share is of the ids whose keyed hash, as a fraction of 2^64, is below it:
// exactly these, whatever else is decided, and others with another key.
func TestHoldoutIsAShareByHash(t *testing.T) {
	set := loadRated(t, "rules: [{id: all, action: review, when: amount > 0}]")
	schema := event.Builtin()
	for _, c := range []struct {
		millionths int64
		key        string
	}{{0, "k"}, {1, "k"}, {10_000, "k"}, {10_000, "other"}, {333_333, "k"}, {1_000_000, "k"}} {
		e := engine.New(engine.Config{Schema: schema, Workers: 3, Holdout: engine.Holdout{Millionths: c.millionths, MaxAmount: 50_0000, Key: c.key}}, set)
		const n = 20_000
		items := make([]*engine.Item, n)
		decoder := event.NewDecoder(schema.Stream("refunds"), event.DefaultLimits())
		for i := range items {
			data := fmt.Appendf(nil, `{"refund_id":"re_%d","amount":"50","currency":"USD","occurred_at":1767600000000}`, i)
			items[i] = &engine.Item{Stream: 1}
			items[i].Event.Vals = make([]event.Value, 0, event.MaxFields)
			if err := decoder.Decode(data, &items[i].Event); err != nil {
				t.Fatal(err)
			}
			items[i].Prepare(data)
		}
		e.Apply(items)
		got := make([]bool, n)
		e.Decide(items, func(_, i int, d *event.Decision, _ *rules.Result) {
			got[i] = d.Holdout
			if d.Holdout != (d.Outcome == event.Approve) {
				t.Errorf("%s is marked %v and %v", d.RefundID, d.Holdout, d.Outcome)
			}
		})
		e.Close()
		let := 0
		for i := range items {
			mac := hmac.New(sha256.New, []byte(c.key))
			mac.Write(fmt.Append(nil, "re_", i))
			hash := new(big.Int).SetBytes(mac.Sum(nil)[:8])
			fraction := new(big.Rat).SetFrac(hash, new(big.Int).Lsh(big.NewInt(1), 64))
			if want := fraction.Cmp(big.NewRat(c.millionths, 1_000_000)) < 0; want != got[i] {
				t.Fatalf("%d millionths by %q: re_%d is let through: %v, want %v", c.millionths, c.key, i, got[i], want)
			}
			if got[i] {
				let++
			}
		}
		want := n * c.millionths / 1_000_000
		if d := int64(let) - want; d*d > 16*want+16 { // 4 standard deviations; the same in each run
			t.Errorf("%d of %d were let through, want about %d", let, n, want)
		}
	}
}
