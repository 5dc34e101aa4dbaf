package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/rules/event"
)

// testTime is the occurred_at of events that don't say theirs.
var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newEvent makes an event of a stream from "field=value" texts; amounts are
// "129.90 USD".
func newEvent(t testing.TB, s *event.Stream, fields ...string) *event.Event {
	t.Helper()
	e := &event.Event{Stream: s, Vals: make([]event.Value, len(s.Fields))}
	set := func(name, value string) {
		slot := s.Slot(name)
		if slot < 0 {
			t.Fatalf("%s has no field %s", s.Name, name)
		}
		e.Present |= 1 << uint(slot)
		v := &e.Vals[slot]
		switch s.Fields[slot].Type {
		case event.TypeMoney, event.TypeNumber:
			m, err := event.ParseMoney([]byte(value))
			if err != nil {
				t.Fatal(err)
			}
			v.Num = int64(m)
		case event.TypeInt:
			m, err := event.ParseMoney([]byte(value))
			if err != nil {
				t.Fatal(err)
			}
			v.Num = int64(m) / 10_000
		case event.TypeBool:
			if value == "true" {
				v.Num = 1
			}
		case event.TypeTime:
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				t.Fatal(err)
			}
			v.Num = at.UnixMilli()
			e.Time = v.Num
		case event.TypeCurrency:
			c, ok := event.ParseCurrency(value)
			if !ok {
				t.Fatalf("no currency %s", value)
			}
			v.Str, v.Num = value, int64(c)
		default:
			v.Str = value
		}
	}
	set(s.Fields[0].Name, "id_1")
	set("occurred_at", testTime.Format(time.RFC3339))
	for _, f := range fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			t.Fatalf("%q is not field=value", f)
		}
		if amount, currency, ok := strings.Cut(value, " "); ok && name == "amount" {
			set("currency", currency)
			value = amount
		}
		set(name, value)
	}
	return e
}

// refund makes a refund of 10 USD unless the fields say otherwise.
func refund(t testing.TB, fields ...string) *event.Event {
	return newEvent(t, testSchema(t).Stream("refunds"), append([]string{"amount=10 USD"}, fields...)...)
}

func payment(t testing.TB, fields ...string) *event.Event {
	return newEvent(t, testSchema(t).Stream("transactions"), append([]string{"amount=10 USD"}, fields...)...)
}

// testSchema is the built-in schema with fields of the types that it lacks:
// units (int) and weight (number).
func testSchema(t testing.TB) *event.Schema {
	t.Helper()
	s := event.Builtin()
	cfg := map[string]event.StreamConfig{}
	for _, name := range []string{"refunds", "transactions"} {
		cfg[name] = event.StreamConfig{Fields: map[string]event.FieldConfig{
			"units": {Type: "int"}, "weight": {Type: "number"}, "gift": {Type: "bool"},
		}}
	}
	if err := s.Extend(cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// loadText loads one rule file with this content.
func loadText(t testing.TB, content string, change ...func(*Options)) (*Set, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Schema: testSchema(t)}
	for _, c := range change {
		c(&o)
	}
	return Load(path, o)
}

func mustLoad(t testing.TB, content string, change ...func(*Options)) *Set {
	t.Helper()
	s, err := loadText(t, content, change...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// one is a rule file with one condition.
func one(when string) string {
	return "rules:\n  - id: r\n    action: review\n    on_missing: skip\n    when: |\n      " + when + "\n"
}

// past gives features their values by canonical text.
type past map[string]Value

// evaluate runs a set on one refund.
func evaluate(t testing.TB, s *Set, in Input, values past) *Result {
	t.Helper()
	v := s.NewEvaluator()
	keys := v.Begin(&in)
	for i, f := range s.Features {
		if keys[f.Lookup].Nil {
			continue
		}
		if val, ok := values[f.Text]; ok {
			v.Values()[i] = val
		} else if f.Aggregate == Count || f.Aggregate == Sum || f.Aggregate == Distinct {
			v.Values()[i] = IntValue(0)
		}
	}
	return v.Run(false)
}

// verdict is what became of the only rule: "hit", "no", "missing", or a
// failure's text.
func verdict(r *Result) string {
	switch {
	case len(r.Hits) > 0:
		return "hit"
	case len(r.Skipped) > 0:
		return "missing"
	case len(r.Errors) > 0:
		return r.Errors[0].Error
	}
	return "no"
}
