package rules

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
)

func TestEachExpressionIsComputedOnce(t *testing.T) {
	s := mustLoad(t, `
lists: {vip: [c1]}
macros:
  many: refunds.by(customer_id).within('7d').count() >= 5
rules:
  - {id: a, score: 1, on_missing: skip, when: 'many and refunds . by ( customer_id ) . within ( "7d" ) . count() < 50'}
  - {id: b, score: 1, on_missing: skip, when: 'refunds.by({customer_id: customer_id}).within("30d").sum(amount) > 5', message: "{{refunds.by(customer_id).ever().distinct(device_id)}}"}
  - {id: c, score: 1, on_missing: skip, when: 'refunds.by({customer_id: original.customer_id}).within("7d").delayed("60d").avg(units) > 5'}
  - {id: d, score: 1, on_missing: skip, when: 'refunds.by(customer_id).where(reason=="other"&&!mfa||amount>.5).within("1h").count() > 5'}
  - {id: e, score: 1, on_missing: skip, when: 'updates.by(transaction_id).where(status in ["failed"]).ever().count() > 5'}
  - {id: f, score: 1, on_missing: skip, when: 'refunds.by(customer_id).where(customer_id not in lists.vip).within("1h").count() > 5'}
`)
	var got []string
	for _, x := range s.Series {
		cols := ""
		for _, c := range x.Columns {
			cols += fmt.Sprintf(" %s:%d", c.Field, c.Kind)
		}
		got = append(got, fmt.Sprintf("series %s of %s: %d%s", strings.Split(x.Name, " #")[0], x.Stream.Name, x.Horizon/3_600_000, cols))
	}
	for _, l := range s.Lookups {
		got = append(got, fmt.Sprintf("lookup %d %s", l.Series, l.Key))
	}
	for _, f := range s.Features {
		got = append(got, fmt.Sprintf("feature %d %d %s", f.Lookup, f.Column, f.Text))
	}
	want := `series refunds.by(customer_id) of refunds: 0 amount:1 device_id:4 units:3
series refunds.by(customer_id).where(reason == "other" and not mfa or amount > .5) of refunds: 1
series updates.by(transaction_id).where(status in ["failed"]) of transactions: 0
series refunds.by(customer_id).where(customer_id not in lists.vip) of refunds: 1
lookup 0 customer_id
lookup 0 original.customer_id
lookup 1 customer_id
lookup 2 transaction_id
lookup 3 customer_id
feature 0 -1 refunds.by(customer_id).within("7d").count()
feature 0 0 refunds.by(customer_id).within("30d").sum(amount)
feature 0 1 refunds.by(customer_id).ever().distinct(device_id)
feature 1 2 refunds.by({customer_id: original.customer_id}).within("7d").delayed("60d").avg(units)
feature 2 -1 refunds.by(customer_id).where(reason == "other" and not mfa or amount > .5).within("1h").count()
feature 3 -1 updates.by(transaction_id).where(status in ["failed"]).ever().count()
feature 4 -1 refunds.by(customer_id).where(customer_id not in lists.vip).within("1h").count()`
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("got\n%s\nwant\n%s", g, want)
	}
}

// TestHorizon: the series of a window keeps what its oldest window needs.
func TestHorizon(t *testing.T) {
	s := mustLoad(t, one(`refunds.by(customer_id).within("2d").delayed("3d").count() > refunds.by(customer_id).within("4d").count()`))
	if got, want := s.Series[0].Horizon, int64(5*86_400_000); got != want {
		t.Errorf("horizon %d, want %d", got, want)
	}
}

func TestAListThatChangedMakesAnotherSeries(t *testing.T) {
	name := func(values string) string {
		return mustLoad(t, "lists: {vip: "+values+"}\n"+one(`refunds.by(customer_id).where(merchant_id in lists.vip).ever().count() > 5`)).Series[0].Name
	}
	if name("[a, b]") != name("[b, a]") {
		t.Error("the order of a list matters")
	}
	if name("[a, b]") == name("[a, c]") {
		t.Error("the content of a list does not matter")
	}
}

// TestAListOutsideOfWhereKeepsTheSeries: what is stored does not depend on it,
// and a list that changes every day must not cost the history.
func TestAListOutsideOfWhereKeepsTheSeries(t *testing.T) {
	name := func(values string) string {
		return mustLoad(t, "lists: {vip: "+values+"}\n"+one(`merchant_id not in lists.vip and refunds.by(customer_id).where(amount > 5).ever().count() > 5`)).Series[0].Name
	}
	if name("[a, b]") != name("[a, c]") {
		t.Error("the content of the list matters")
	}
}

// TestKeysMeet: a refund finds the key that a past event was stored under, and
// no other.
func TestKeysMeet(t *testing.T) {
	s := mustLoad(t, one(`refunds.by(customer_id, device_id).ever().count()
        + transactions.by({instrument_id: original.instrument_id, units: units, gift: mfa, weight: weight}).ever().count()
        + transactions.by(amount, occurred_at, currency).ever().count() > 5`))
	v := s.NewEvaluator()
	present := refund(t, "customer_id=c1", "device_id=d1", "units=7", "mfa=true", "weight=2.5")
	keys := v.Begin(&Input{Event: present, Original: payment(t, "instrument_id=i1")})
	for _, c := range []struct {
		series int
		e      *event.Event
		equal  bool
	}{
		{0, refund(t, "customer_id=c1", "device_id=d1"), true},
		{0, refund(t, "customer_id=d1", "device_id=c1"), false},
		{0, refund(t, "customer_id=c1d", "device_id=1"), false},
		{0, refund(t, "customer_id=c", "device_id=1d1"), false},
		{1, payment(t, "instrument_id=i1", "units=7", "gift=true", "weight=2.5"), true},
		{1, payment(t, "instrument_id=i1", "units=7", "gift=false", "weight=2.5"), false},
		{1, payment(t, "instrument_id=i1", "units=8", "gift=true", "weight=2.5"), false},
		{2, payment(t, "amount=10.0 USD"), true},
		{2, payment(t, "amount=10.01 USD"), false},
		{2, payment(t, "amount=10 EUR"), false},
	} {
		key, ok := s.Series[c.series].AppendKey([]byte("x"), c.e)
		if !ok || key[0] != 'x' {
			t.Fatalf("no key of %d", c.series)
		}
		if got := bytes.Equal(key[1:], keys[c.series].Bytes); got != c.equal {
			t.Errorf("series %d: equal is %v, want %v", c.series, got, c.equal)
		}
	}
	if key, ok := s.Series[0].AppendKey([]byte("x"), refund(t, "customer_id=c1")); ok || string(key) != "x" {
		t.Error("an event without a key field has a key")
	}
	keys = v.Begin(&Input{Event: present})
	if keys[0].Nil || !keys[1].Nil || len(keys[1].Bytes) != 0 || keys[2].Nil {
		t.Errorf("without original: %+v", keys)
	}
}

func TestAKeyThatFailsFailsTheRule(t *testing.T) {
	s := mustLoad(t, one(`(transactions.by({units: units * 9223372036854775807}).ever().count() ?? 0) > 5`))
	if got := verdict(evaluate(t, s, Input{Event: refund(t, "units=7")}, nil)); got != faultOverflow {
		t.Errorf("got %s", got)
	}
	if got := verdict(evaluate(t, s, Input{Event: refund(t, "units=1")}, nil)); got != "no" {
		t.Errorf("the refund after: got %s", got)
	}
}

func TestColumns(t *testing.T) {
	s := mustLoad(t, one(`transactions.by(customer_id).ever().sum(amount) > 1 and transactions.by(customer_id).ever().sum(units) > 1
        and transactions.by(customer_id).ever().sum(weight) > 1 and transactions.by(customer_id).ever().distinct(device_id) > 1
        and transactions.by(customer_id).ever().distinct(amount) > 1`))
	series := &s.Series[0]
	dst := make([]int64, len(series.Columns))
	e := payment(t, "amount=12.34 USD", "units=7", "device_id=d1")
	if present := series.Values(e, dst); present != 0b11011 || dst[0] != 123_400 || dst[1] != 7 {
		t.Errorf("present %b, values %v", present, dst)
	}
	hash := dst[3]
	series.Values(payment(t, "device_id=d2"), dst)
	if hash == dst[3] {
		t.Error("two devices have one hash")
	}
	amount := dst[4]
	series.Values(payment(t, "amount=10 EUR"), dst)
	if amount == dst[4] {
		t.Error("10 USD and 10 EUR have one hash")
	}
	if got := series.Currency(payment(t, "amount=1 EUR")).String(); got != "EUR" {
		t.Errorf("currency %q", got)
	}
}

func TestTotals(t *testing.T) {
	s := mustLoad(t, one(`refunds.by(customer_id).ever().sum(amount) + refunds.by(customer_id).ever().avg(amount) > 1
        and refunds.by(customer_id).ever().sum(units) + refunds.by(customer_id).ever().avg(units) + refunds.by(customer_id).ever().sum(weight) > 1`))
	euro, _ := event.ParseCurrency("EUR")
	want := []string{"2.50", "0.8333333333333334", "25000", "8333.333333333334", "2.5"}
	for i := range s.Features {
		f := &s.Features[i]
		if got := string(f.Total(25_000, 3, euro).appendText(nil)); got != want[i] {
			t.Errorf("%s is %s, want %s", f.Text, got, want[i])
		}
		none := f.Total(0, 0, euro)
		if isNil := none.Kind == KindNil; isNil != (f.Aggregate == Avg) || none.Currency != 0 {
			t.Errorf("%s of nothing is %+v", f.Text, none)
		}
		if money := f.Total(1, 1, euro).Currency == euro; money != f.Money {
			t.Errorf("%s: currency kept is %v", f.Text, money)
		}
	}
}
