package event_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refundguard/refundguard/rules/event"
)

func TestBuiltin(t *testing.T) {
	s := event.Builtin()
	var names []string
	for _, st := range s.Streams {
		names = append(names, st.Name)
		if s.Stream(st.Name) != st {
			t.Errorf("Stream(%q) is another", st.Name)
		}
		if f := st.Fields[0]; !f.ID || !f.Required || st.Slot(f.Name) != 0 {
			t.Errorf("%s: the first field is %+v, want the id", st.Name, f)
		}
		optional := false
		for slot, f := range st.Fields {
			if optional && f.Required {
				t.Errorf("%s.%s is required, and stands behind optional ones", st.Name, f.Name)
			}
			optional = !f.Required
			if st.Slot(f.Name) != slot || f.Doc == "" || f.TypeName() == "" {
				t.Errorf("%s.%s: slot %d, %+v", st.Name, f.Name, st.Slot(f.Name), f)
			}
			if strings.HasSuffix(f.Name, "_id") != f.ID && f.Name != "analyst" {
				t.Errorf("%s.%s: ID is %v", st.Name, f.Name, f.ID)
			}
			if (f.Type == event.TypeMoney || f.Type == event.TypeCurrency) && st.CurrencySlot() < 0 {
				t.Errorf("%s has no currency slot", st.Name)
			}
		}
		if f := st.Fields[st.TimeSlot()]; f.Name != "occurred_at" || f.Type != event.TypeTime || !f.Required {
			t.Errorf("%s: the time is %+v", st.Name, f)
		}
		if st.Slot(st.Key) < 0 || st.Topic == "" || st.Doc == "" {
			t.Errorf("%s: key %q, topic %q, doc %q", st.Name, st.Key, st.Topic, st.Doc)
		}
	}
	if diff := cmp.Diff([]string{"transactions", "refunds", "complaints", "confirmations", "reviews", "ledger_results"}, names); diff != "" {
		t.Error(diff)
	}
	if s.Stream("nope") != nil {
		t.Error("there is a stream nope")
	}
	s.Stream("refunds").Fields[0].Name = "changed"
	if event.Builtin().Stream("refunds").Fields[0].Name != "refund_id" {
		t.Error("Builtin shares its streams")
	}
}

// TestUnknownValues: which enums refuse a value that isn't known.
func TestUnknownValues(t *testing.T) {
	strict := map[string]bool{"reviews.verdict": true, "reviews.label": true, "ledger_results.status": true, "complaints.kind": true}
	for _, st := range event.Builtin().Streams {
		for _, f := range st.Fields {
			if f.Type == event.TypeEnum && f.Strict != strict[st.Name+"."+f.Name] {
				t.Errorf("%s.%s: Strict is %v", st.Name, f.Name, f.Strict)
			}
		}
	}
}

type (
	streams = map[string]event.StreamConfig
	fields  = map[string]event.FieldConfig
)

func TestExtend(t *testing.T) {
	s := event.Builtin()
	err := s.Extend(streams{
		"refunds": {Topic: "shop.refunds", Fields: fields{
			"amount":      {From: "payload.amt"},
			"customer_id": {Required: true, Type: "id"},
			"coupon":      {Type: "string", From: "payload.coupon"},
			"basket":      {Type: "int", Required: true},
		}},
		"coupons": {ID: "coupon_id", Key: "customer_id", Doc: "Coupons given.", Fields: fields{
			"occurred_at": {From: "ts"},
			"customer_id": {Type: "id"},
			"value":       {Type: "money", Required: true},
			"ccy":         {Type: "currency"},
			"kind":        {Type: "enum", Values: []string{"gift", "sorry"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	names := func(st *event.Stream) string {
		var list []string
		for _, f := range st.Fields {
			name := f.Name + ":" + f.TypeName()
			if f.Required {
				name += "!"
			}
			list = append(list, name)
		}
		return strings.Join(list, " ")
	}
	coupons := s.Stream("coupons")
	if got, want := names(coupons), "coupon_id:id! occurred_at:time! value:money! ccy:currency customer_id:id kind:enum"; got != want || coupons.Topic != "coupons" {
		t.Errorf("coupons: topic %q, fields\n%s\nwant\n%s", coupons.Topic, got, want)
	}
	refunds := s.Stream("refunds")
	if got, want := names(refunds), names(event.Builtin().Stream("refunds"))+" basket:int! coupon:string"; got != strings.Replace(want, "customer_id:id", "customer_id:id!", 1) {
		t.Errorf("refunds: %s", got)
	}
	var ev event.Event
	d := event.NewDecoder(refunds, event.Limits{})
	if err := d.Decode([]byte(`{"refund_id":"r","amount":"?","currency":"EUR","occurred_at":1714566896789,"customer_id":"c","basket":3,"payload":{"amt":5,"coupon":"SPRING"}}`), &ev); err != nil {
		t.Fatal(err)
	}
	if got := show(&ev); !strings.Contains(got, "amount=5 ") || !strings.Contains(got, `basket=3 coupon="SPRING"`) {
		t.Error(got)
	}
	if event.Builtin().Stream("coupons") != nil {
		t.Error("Builtin was extended")
	}
}

// TestExtendRefuses compares all that can be wrong with testdata/extend.txt.
func TestExtendRefuses(t *testing.T) {
	many := fields{}
	for i := range 60 {
		many[fmt.Sprintf("f%d", i)] = event.FieldConfig{Type: "string"}
	}
	var got strings.Builder
	for _, c := range []struct {
		name string
		cfg  streams
	}{
		{"a stream misspelled", streams{"refund": {Topic: "refunds"}}},
		{"a field misspelled", streams{"refunds": {Fields: fields{"custmer_id": {From: "customer"}}}}},
		{"a type misspelled", streams{"refunds": {Fields: fields{"coupon": {Type: "strng"}}}}},
		{"a type unheard of", streams{"refunds": {Fields: fields{"coupon": {Type: "uuid"}}}}},
		{"no type", streams{"things": {ID: "thing_id", Fields: fields{"coupon": {}}}}},
		{"a built-in field changed", streams{"refunds": {Fields: fields{"amount": {Type: "number"}, "reason": {Values: []string{"x"}}}}}},
		{"a built-in stream changed", streams{"refunds": {ID: "id"}}},
		{"names", streams{"My-Stream": {ID: "x"}, "hits": {ID: "x"}, "refunds": {Fields: fields{"Coupon": {Type: "string"}, "original": {Type: "string"}, "": {Type: "string"}}}}},
		{"paths", streams{"refunds": {Fields: fields{"a": {Type: "string", From: "a..b"}, "b": {Type: "string", From: "a\"b"}, "c": {Type: "string", From: "1.2.3.4.5.6.7.8.9"}}}}},
		{"paths that cross", streams{"refunds": {Fields: fields{"a": {Type: "string", From: "amount"}, "b": {Type: "string", From: "currency.code"}}}}},
		{"enums", streams{"refunds": {Fields: fields{"a": {Type: "enum"}, "b": {Type: "enum", Values: []string{"x", "x", ""}}, "c": {Type: "string", Strict: true}}}}},
		{"currencies", streams{"reviews": {Fields: fields{"fee": {Type: "money"}}}, "refunds": {Fields: fields{"other": {Type: "currency"}}}}},
		{"topics", streams{"refunds": {Topic: "transactions"}, "reviews": {Topic: "a b"}}},
		{"the id and the time", streams{
			"things": {ID: "thing_id", Key: "owner", Fields: fields{"thing_id": {Type: "int"}, "occurred_at": {Type: "string"}}},
			"more":   {ID: "occurred_at"},
		}},
		{"too many fields", streams{"refunds": {Fields: many}}},
	} {
		err := event.Builtin().Extend(c.cfg)
		fmt.Fprintf(&got, "# %s\n%v\n\n", c.name, err)
	}
	golden(t, "testdata/extend.txt", []byte(got.String()))
}

func TestMostFields(t *testing.T) {
	many := fields{}
	for i := range event.MaxFields - 2 {
		many[fmt.Sprintf("f%d", i)] = event.FieldConfig{Type: "int"}
	}
	s := event.Builtin()
	if err := s.Extend(streams{"things": {ID: "id", Fields: many}}); err != nil {
		t.Fatal(err)
	}
	var record strings.Builder
	record.WriteString(`{"id":"1","occurred_at":1714566896789`)
	for i := range event.MaxFields - 2 {
		fmt.Fprintf(&record, `,"f%d":%d`, i, i)
	}
	record.WriteString("}")
	var ev event.Event
	if err := event.NewDecoder(s.Stream("things"), event.Limits{}).Decode([]byte(record.String()), &ev); err != nil {
		t.Fatal(err)
	}
	if ev.Present != 1<<64-1 {
		t.Errorf("present: %b", ev.Present)
	}
	checkCopies(t, &ev)
}

// TestReadme keeps the tables of README.md in step with the schema.
func TestReadme(t *testing.T) {
	const begin, end = "<!-- streams: written by go test -update -->\n", "<!-- end of streams -->\n"
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(readme), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatal("README.md has lost its marks")
	}
	golden(t, "README.md", []byte(before+begin+"\n"+event.Builtin().Markdown()+"\n"+end+after))
	for _, code := range []string{
		event.CodeEmptyRecord, event.CodeTooLarge, event.CodeInvalidJSON, event.CodeInvalidUTF8, event.CodeTooDeep,
		event.CodeDuplicateKey, event.CodeMissingField, event.CodeWrongType, event.CodeInvalidValue,
	} {
		if !strings.Contains(string(readme), "| `"+code+"` |") {
			t.Errorf("README.md doesn't list %s", code)
		}
	}
}
