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
	s = mustLoad(t, hundred())
	in, fill = hundredInput(t, s)
	v = s.NewEvaluator()
	allocs = testing.AllocsPerRun(100, func() {
		v.Begin(&in)
		copy(v.Values(), fill)
		if r := v.Run(false); len(r.Hits) > 0 || len(r.Errors) > 0 {
			t.Fatalf("hits %v, errors %v", r.Hits, r.Errors)
		}
	})
	if allocs != 0 {
		t.Errorf("100 rules: %v allocations", allocs)
	}
	key, columns := make([]byte, 0, 64), make([]int64, maxColumns)
	allocs = testing.AllocsPerRun(100, func() {
		for i := range s.Series {
			series := &s.Series[i]
			if series.Source == "refunds" && series.Match(in.Event) {
				series.AppendKey(key, in.Event)
				series.Values(in.Event, columns)
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

// hundred is 100 rules over 40 distinct past-events expressions, of all
// aggregates.
func hundred() string {
	aggregates := []string{"count()", "sum(amount)", "avg(amount)", "max(amount)", "stddev(amount)", "distinct(device_id)", "since_last()", "last(device_id)"}
	tests := []string{"> 50", "> 5000", "> 5000", "> 5000", "> 5000", "> 50", "< 1", `== "x"`}
	keys := []string{"customer_id", "device_id", "merchant_id", "instrument_id", "ip"}
	var b strings.Builder
	b.WriteString("lists: {bad: [x, y], nets: [10.0.0.0/8, '2001:db8::/32'], vip: [{value: c2, expires: 2099-12-31}]}\nrules:\n")
	for i := range 100 {
		past := fmt.Sprintf(`refunds.by(%s).within("%dd").%s %s`, keys[i%40/8], 7+i%40/8, aggregates[i%8], tests[i%8])
		own := []string{`amount > 500 and not mfa`, `original != nil and instrument_id != original.instrument_id`, `device_id in lists.bad`, `in_cidr(ip, lists.nets)`, `hour(occurred_at, "Europe/Berlin") < 5`}[i%5]
		fmt.Fprintf(&b, "  - {id: r%d, score: 1, on_missing: skip, when: '%s or amount > 5 and %s', exceptions: [{reason: known, when: 'customer_id in lists.vip'}], message: '{{customer_id}}: {{amount}}'}\n", i, past, own)
	}
	return b.String()
}

func hundredInput(tb testing.TB, s *Set) (Input, []Value) {
	in, _ := gateInput(tb, s)
	in.Event = refund(tb, "amount=10 USD", "customer_id=c1", "device_id=d1", "merchant_id=m1", "transaction_id=t1", "instrument_id=i1", "mfa=true", "ip=192.0.2.1")
	fill := make([]Value, len(s.Features))
	for i := range s.Features {
		f := &s.Features[i]
		switch f.Aggregate {
		case Count, Distinct:
			fill[i] = IntValue(3)
		case Sum, Avg:
			fill[i] = f.Total(300_000, 3, usd(tb, "1").Currency)
		case Last:
			fill[i] = f.Single(0, 0, "d7")
		case SinceLast:
			fill[i] = f.Since(90_000, 0)
		case Stddev:
			fill[i] = f.Deviation(2.5, usd(tb, "1").Currency)
		default:
			fill[i] = f.Single(10_000, usd(tb, "1").Currency, "")
		}
	}
	return in, fill
}

// BenchmarkHundred evaluates 100 rules with 40 distinct expressions, whose
// values are there, on a refund that nothing hits.
func BenchmarkHundred(b *testing.B) {
	s := mustLoad(b, hundred())
	if len(s.Features) != 40 {
		b.Fatalf("%d expressions", len(s.Features))
	}
	in, fill := hundredInput(b, s)
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
