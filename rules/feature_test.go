package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
)

// TestSingles: what a column holds of one event comes back as the field's value.
func TestSingles(t *testing.T) {
	s := mustLoad(t, one(strings.Join([]string{
		`refunds.by(customer_id).ever().last(amount) == amount`, `refunds.by(customer_id).ever().last(units) == units`,
		`refunds.by(customer_id).ever().last(weight) == weight`, `refunds.by(customer_id).ever().last(mfa) == mfa`,
		`refunds.by(customer_id).ever().last(reason) == reason`, `refunds.by(customer_id).ever().last(currency) == currency`,
		`refunds.by(customer_id).ever().last(device_id) == device_id`, `refunds.by(customer_id).ever().last(occurred_at) == occurred_at`,
		`refunds.by(customer_id).ever().min(amount) == amount`, `refunds.by(customer_id).ever().max(occurred_at) == occurred_at`,
	}, "\n        and ")))
	e := refund(t, "customer_id=c1", "amount=12.34 EUR", "units=7", "weight=2.5", "mfa=true", "reason=other", "device_id=d1")
	if got := verdict(evaluate(t, s, Input{Event: e}, nil)); got != "missing" {
		t.Errorf("without events: %s", got)
	}
	series := &s.Series[0]
	if !series.Names {
		t.Error("the series does not keep names")
	}
	columns := make([]int64, len(series.Columns))
	if present := series.Values(e, columns); present != 1<<len(columns)-1 {
		t.Fatalf("present %b of %d", present, len(columns))
	}
	v := s.NewEvaluator()
	v.Begin(&Input{Event: e})
	for i := range s.Features {
		f, text := &s.Features[i], ""
		if series.Columns[f.Column].Kind == ColumnText {
			text = series.Text(e, f.Column)
		}
		v.Values()[i] = f.Single(columns[f.Column], series.Currency(e), text)
	}
	if r := v.Run(false); len(r.Hits) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestDeviationAndSince(t *testing.T) {
	s := mustLoad(t, one(`refunds.by(customer_id).within("7d").stddev(amount) + refunds.by(customer_id).within("1h").stddev(units)
        + refunds.by(customer_id).within("7d").delayed("30d").stddev(weight) + refunds.by(customer_id).ever().since_last() > 1`))
	euro, _ := event.ParseCurrency("EUR")
	var got []string
	for i := range s.Features {
		f := &s.Features[i]
		v := f.Deviation(25_000, euro)
		if f.Aggregate == SinceLast {
			v = f.Since(1_000_500, 1_000_000)
		}
		got = append(got, fmt.Sprintf("%s %v", v.appendText(nil), v.Currency == euro))
	}
	if want := []string{"2.5 true", "25000 false", "2.5 false", "0.5 false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := []int64{3_600_000, 7 * 86_400_000}; !slices.Equal(s.Series[0].Windows, want) || s.Series[0].Names {
		t.Errorf("windows %v, names %v", s.Series[0].Windows, s.Series[0].Names)
	}
	if s.Features[3].Column != -1 {
		t.Error("since_last has a column")
	}
}

// TestAggregatesWithoutEvents: only count, sum and distinct are 0.
func TestAggregatesWithoutEvents(t *testing.T) {
	for _, a := range Aggregates() {
		field := "f"
		if strings.Contains(a.Signature, "(f)") {
			field = "amount"
		}
		s := mustLoad(t, one("refunds.by(customer_id).ever()."+strings.Replace(a.Signature, "f)", field+")", 1)+" == nil"))
		v := s.NewEvaluator()
		v.Begin(&Input{Event: refund(t, "customer_id=c1")})
		switch f := &s.Features[0]; f.Aggregate {
		case Count, Distinct:
			v.Values()[0] = IntValue(0)
		case Sum, Avg:
			v.Values()[0] = f.Total(0, 0, 0)
		}
		zero := a.Name == "count" || a.Name == "sum" || a.Name == "distinct"
		if hit := len(v.Run(false).Hits) == 1; hit == zero {
			t.Errorf("%s of nothing is nil: %v", a.Name, hit)
		}
		if strings.Contains(a.Doc, "0 where") != zero {
			t.Errorf("%s is documented as %q", a.Name, a.Doc)
		}
	}
	if len(Aggregates()) != len(aggregates) {
		t.Error("an aggregate has no documentation")
	}
}
