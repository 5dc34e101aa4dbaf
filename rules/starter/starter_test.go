package starter_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/starter"
)

func load(t *testing.T) *rules.Set {
	t.Helper()
	set, err := rules.LoadFS(starter.FS, "starter", rules.Options{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestStarterRulesAreCleanAndDescribed(t *testing.T) {
	set := load(t)
	if len(set.Warnings) > 0 {
		t.Errorf("warnings:\n%v", set.Warnings)
	}
	if set.Policy == nil || set.Policy.ReviewAt == nil || set.Policy.RejectAt == nil {
		t.Error("the policy lacks a threshold")
	}
	for _, r := range set.Rules {
		if r.Description == "" || r.Reason == "" || r.Owner == "" || len(r.Tags) == 0 {
			t.Errorf("%s lacks description, reason, owner or tags", r.ID)
		}
	}
}

func decode(t *testing.T, stream, json string) *event.Event {
	t.Helper()
	s := event.Builtin().Stream(stream)
	e := &event.Event{Stream: s, Vals: make([]event.Value, len(s.Fields))}
	if err := event.NewDecoder(s, event.DefaultLimits()).Decode([]byte(json), e); err != nil {
		t.Fatalf("%s: %v", json, err)
	}
	return e
}

// sparse is a refund as a small shop sends it: in pounds, without device,
// instrument, second factor or payment.
const sparse = `{"refund_id":"r1","customer_id":"c1","amount":"60.00","currency":"GBP","occurred_at":"2026-03-01T12:00:00Z"%s}`

const paid = `{"transaction_id":"t1","amount":"100.00","currency":"%s","instrument_id":"card_1","occurred_at":"2026-02-01T12:00:00Z"}`

func TestStarterRulesHitWhatTheyDescribe(t *testing.T) {
	pounds, _ := event.ParseCurrency("GBP")
	money := func(units int64) rules.Value {
		return rules.Value{Kind: rules.KindMoney, Num: units * 10_000, Currency: pounds}
	}
	refunded := func(units int64) rules.Refunded {
		return rules.Refunded{State: rules.RefundedKnown, Amount: event.Money(units * 10_000), Currency: pounds}
	}
	known := fmt.Sprintf(paid, "GBP")
	for _, c := range []struct {
		name     string
		fields   string
		original string
		refunded rules.Refunded
		past     map[string]rules.Value
		hits     string
		outcome  event.Outcome
	}{
		{name: "nothing known", hits: "orphan", outcome: event.Approve},
		{name: "a plain refund", fields: `,"transaction_id":"t1"`, original: known, refunded: refunded(40), outcome: event.Approve},
		{name: "over the original by a penny", fields: `,"transaction_id":"t1"`, original: known, refunded: refunded(41), hits: "over-refund", outcome: event.Review},
		{name: "refunds in two currencies before", fields: `,"transaction_id":"t1"`, original: known, refunded: rules.Refunded{State: rules.RefundedMixed}, outcome: event.Review},
		{name: "payment in dollars", fields: `,"transaction_id":"t1"`, original: fmt.Sprintf(paid, "USD"), refunded: refunded(0), hits: "other-currency", outcome: event.Review},
		{name: "to another card", fields: `,"transaction_id":"t1","instrument_id":"card_2"`, original: known, refunded: refunded(0), hits: "other-instrument", outcome: event.Review},
		{name: "to the same card", fields: `,"transaction_id":"t1","instrument_id":"card_1"`, original: known, refunded: refunded(0), outcome: event.Approve},
		{name: "asked for before", fields: `,"transaction_id":"t1"`, original: known, refunded: refunded(0),
			past: map[string]rules.Value{`refunds.by(transaction_id, amount).within("30d").count()`: rules.IntValue(1)}, hits: "double-refund", outcome: event.Approve},
		{name: "fifth in a week", past: map[string]rules.Value{`refunds.by(customer_id).within("7d").count()`: rules.IntValue(4)}, hits: "velocity-customer orphan", outcome: event.Review},
		{name: "fourth in a week", past: map[string]rules.Value{`refunds.by(customer_id).within("7d").count()`: rules.IntValue(3)}, hits: "orphan", outcome: event.Approve},
		{name: "busy agent", fields: `,"agent_id":"a1"`, past: map[string]rules.Value{`refunds.by(agent_id).within("1h").count()`: rules.IntValue(30)}, hits: "velocity-agent orphan", outcome: event.Review},
		{name: "most goes back", past: map[string]rules.Value{
			`transactions.by(customer_id, currency).within("90d").sum(amount)`: money(100),
			`refunds.by(customer_id, currency).within("90d").sum(amount)`:      money(1)}, hits: "refund-share orphan", outcome: event.Approve},
		{name: "just 60 % goes back", past: map[string]rules.Value{
			`transactions.by(customer_id, currency).within("90d").sum(amount)`: money(100)}, hits: "orphan", outcome: event.Approve},
		{name: "ring on a device", fields: `,"device_id":"d1"`, past: map[string]rules.Value{`refunds.by(device_id).within("7d").distinct(customer_id)`: rules.IntValue(3)}, hits: "ring-device orphan", outcome: event.Review},
		{name: "ring on an account", fields: `,"instrument_id":"i1"`, past: map[string]rules.Value{`refunds.by(instrument_id).within("30d").distinct(customer_id)`: rules.IntValue(3)}, hits: "ring-instrument orphan", outcome: event.Review},
		{name: "small without a second factor", fields: `,"mfa":false`, hits: "orphan", outcome: event.Approve},
		{name: "blocked account", fields: `,"instrument_id":"example_blocked_instrument"`, hits: "blocked-instrument orphan", outcome: event.Reject},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := rules.Input{Event: decode(t, "refunds", fmt.Sprintf(sparse, c.fields)), Refunded: c.refunded}
			if c.original != "" {
				in.Original = decode(t, "transactions", c.original)
			}
			check(t, in, c.past, c.hits, c.outcome)
		})
	}
	t.Run("large without a second factor", func(t *testing.T) {
		e := decode(t, "refunds", `{"refund_id":"r1","amount":500.01,"currency":"GBP","mfa":false,"occurred_at":"2026-03-01T12:00:00Z"}`)
		check(t, rules.Input{Event: e}, nil, "large-without-mfa orphan", event.Review)
	})
}

func check(t *testing.T, in rules.Input, past map[string]rules.Value, hits string, outcome event.Outcome) {
	t.Helper()
	set := load(t)
	v := set.NewEvaluator()
	keys := v.Begin(&in)
	for i := range set.Features {
		f := &set.Features[i]
		switch {
		case keys[f.Lookup].Nil:
		case past[f.Text].Kind != rules.KindNil:
			v.Values()[i] = past[f.Text]
		case f.Aggregate == rules.Sum:
			v.Values()[i] = f.Total(0, 0, 0)
		default:
			v.Values()[i] = rules.IntValue(0)
		}
	}
	r := v.Run(false)
	got := map[string]bool{}
	for _, h := range r.Hits {
		got[h.Rule] = true
		if h.Message == "" || strings.Contains(h.Message, "{{") {
			t.Errorf("message of %s: %q", h.Rule, h.Message)
		}
	}
	for _, want := range strings.Fields(hits) {
		if !got[want] {
			t.Errorf("%s did not hit", want)
		}
		delete(got, want)
	}
	for rule := range got {
		t.Errorf("%s hit", rule)
	}
	if r.Outcome != outcome {
		t.Errorf("outcome %v by %v (score %d, errors %v), want %v", r.Outcome, r.Cause, r.Score, r.Errors, outcome)
	}
}
