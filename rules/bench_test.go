package rules

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkGate evaluates the ten rules and seven expressions of the gate job
// on a refund that nothing hits.
func BenchmarkGate(b *testing.B) {
	s, err := Load("testdata/gate.yaml", Options{})
	if err != nil {
		b.Fatal(err)
	}
	in, fill := gateInput(b, s)
	v := s.NewEvaluator()
	b.ReportAllocs()
	for b.Loop() {
		v.Begin(&in)
		copy(v.Values(), fill)
		if r := v.Run(false); len(r.Hits) > 0 || len(r.Errors) > 0 {
			b.Fatalf("hits %v, errors %v", r.Hits, r.Errors)
		}
	}
}

func gateInput(tb testing.TB, s *Set) (Input, []Value) {
	fill := make([]Value, len(s.Features))
	for i := range s.Features {
		fill[i] = IntValue(1)
		if s.Features[i].Aggregate == Sum {
			fill[i] = usd(tb, "100")
			if !strings.HasPrefix(s.Features[i].Text, "transactions") {
				fill[i] = usd(tb, "10")
			}
		}
	}
	return Input{
		Event:    refund(tb, "amount=10 USD", "customer_id=c1", "device_id=d1", "merchant_id=m1", "transaction_id=t1", "instrument_id=i1", "mfa=true"),
		Original: payment(tb, "amount=30 USD", "instrument_id=i1"),
	}, fill
}

func TestEvaluationDoesNotAllocate(t *testing.T) {
	s, err := Load("testdata/gate.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, fill := gateInput(t, s)
	v := s.NewEvaluator()
	allocs := testing.AllocsPerRun(100, func() {
		v.Begin(&in)
		copy(v.Values(), fill)
		v.Run(false)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	key := make([]byte, 0, 64)
	allocs = testing.AllocsPerRun(100, func() {
		for i := range s.Series {
			series := &s.Series[i]
			if series.Source == "refunds" && series.Match(in.Event) {
				series.AppendKey(key, in.Event)
				series.Values(in.Event, make([]int64, 1))
			}
		}
	})
	if allocs != 0 {
		t.Errorf("series: %v allocations", allocs)
	}
}

// BenchmarkCompile loads 1,000 rules over 40 expressions.
func BenchmarkCompile(b *testing.B) {
	var content strings.Builder
	content.WriteString("rules:\n")
	for i := range 1000 {
		fmt.Fprintf(&content, "  - {id: r%d, score: 1, on_missing: skip, when: 'refunds.by(customer_id).within(\"%dh\").count() > %d and (amount > 5 or original != nil and device_id != original.device_id)', message: '{{customer_id}} {{amount}}'}\n", i, 1+i%40, i)
	}
	for b.Loop() {
		if _, err := loadText(b, content.String()); err != nil {
			b.Fatal(err)
		}
	}
}
