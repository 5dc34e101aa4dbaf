package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
)

func TestRulesOnTransactions(t *testing.T) {
	euro, _ := event.ParseCurrency("EUR")
	s := mustLoad(t, `
lists: {known: [m1]}
macros: {often: 'transactions.by(customer_id).within("1h").count() >= 3'}
rules:
  - {id: refund, action: review, on_missing: skip, when: 'often and refunds.by(device_id).ever().count() > 5'}
  - {id: payment, on: transactions, action: alert, severity: high, on_missing: skip, when: 'often and amount_base > 5', message: '{{transaction_id}} {{amount}}'}
  - {id: before, on: transactions, action: alert, on_missing: skip, when: 'refunds.by({device_id: device_id}).ever().count() > 0 and merchant_id not in lists.known'}
  - {id: silent, on: transactions, action: alert, mode: off, on_missing: skip, when: 'reviews.by({analyst: customer_id}).ever().count() > 0'}
policy: {review_at: 5}
`, func(o *Options) { o.Rates = map[event.Currency]string{euro: "2"} })
	p := s.Transactions
	if p == nil || len(s.Rules) != 1 || len(p.Rules) != 3 || p.Version != s.Version || p.Policy != nil {
		t.Fatalf("%+v", p)
	}
	if len(s.Series) != 2 || &p.Series[0] != &s.Series[0] || len(p.Series) != 2 {
		t.Errorf("series are not shared: %d, %d", len(s.Series), len(p.Series))
	}
	if s.Rules[0].On != "refunds" || p.Rules[0].On != "transactions" {
		t.Error("a rule does not know what it is on")
	}
	var got []string
	for _, set := range []*Set{s, p} {
		for _, f := range set.Features {
			l := set.Lookups[f.Lookup]
			got = append(got, fmt.Sprint(l.Key, " in ", set.Series[l.Series].Name, ": ", f.Text))
		}
	}
	want := `customer_id in transactions.by(customer_id): transactions.by(customer_id).within("1h").count()
device_id in refunds.by(device_id): refunds.by(device_id).ever().count()
customer_id in transactions.by(customer_id): transactions.by(customer_id).within("1h").count()
device_id in refunds.by(device_id): refunds.by(device_id).ever().count()`
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("got\n%s", g)
	}
	in := Input{Event: payment(t, "amount=3 EUR", "customer_id=c1", "device_id=d1", "merchant_id=m1")}
	r := evaluate(t, p, in, past{`transactions.by(customer_id).within("1h").count()`: IntValue(3), `refunds.by(device_id).ever().count()`: IntValue(1)})
	if len(r.Hits) != 1 || r.Hits[0].Rule != "payment" || r.Hits[0].Message != "id_1 3.00" || !r.HitRules[0].Alerts(0) || r.Outcome != event.Approve {
		t.Errorf("%+v", r)
	}
	if mustLoad(t, one("amount > 5")).Transactions != nil {
		t.Error("a set without rules on transactions has such a set")
	}
	// a set may consist of them alone
	if only := mustLoad(t, "rules: [{id: a, on: transactions, action: alert, when: amount > 5}]"); len(only.Rules) != 0 || len(only.Transactions.Rules) != 1 {
		t.Errorf("%+v", only)
	}
}

func TestDerivedStreams(t *testing.T) {
	s := mustLoad(t, one(`hits.by(customer_id).where(severity == "high").ever().count() + decisions.by(customer_id).where(outcome == "reject").ever().sum(score) > 0`))
	for i, source := range []string{"hits", "decisions"} {
		if s.Series[i].Source != source || s.Series[i].Stream.Name != source {
			t.Errorf("%s: %+v", source, s.Series[i])
		}
	}
	hits, decisions := s.Series[0].Stream, s.Series[1].Stream
	hit := newEvent(t, hits, "rule=r", "severity=high", "mode=live", "customer_id=c1")
	decision := newEvent(t, decisions, "outcome=reject", "score=40", "customer_id=c1", "amount=5 USD")
	if !s.Series[0].Match(hit) || !s.Series[1].Match(decision) {
		t.Error("no match")
	}
	if dst := make([]int64, 1); s.Series[1].Values(decision, dst) != 1 || dst[0] != 40 {
		t.Errorf("score %v", dst)
	}
	key, _ := s.Series[0].AppendKey(nil, hit)
	v := s.NewEvaluator()
	if keys := v.Begin(&Input{Event: refund(t, "customer_id=c1")}); string(keys[0].Bytes) != string(key) {
		t.Error("keys don't meet")
	}
}

func TestASetWithoutRulesOnRefundsIsWarnedOf(t *testing.T) {
	s := mustLoad(t, "rules: [{id: a, on: transactions, action: alert, when: amount > 5}]")
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Message, "every refund would be approved") {
		t.Errorf("%v", s.Warnings)
	}
}
