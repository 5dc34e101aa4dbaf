package event

import (
	"fmt"
	"testing"
)

func TestHitsHaveTheEntitiesOfARefund(t *testing.T) {
	s := Builtin()
	if err := s.Extend(map[string]StreamConfig{"refunds": {Fields: map[string]FieldConfig{
		"household_id": {Type: "id", From: "payload.household"}, "severity": {Type: "id"}, "coupon": {Type: "string"},
	}}}); err != nil {
		t.Fatal(err)
	}
	refunds := s.Stream("refunds")
	hits := Hits(refunds)
	for name, want := range map[string]bool{
		"rule": true, "severity": true, "mode": true, "refund_id": true, "customer_id": true, "agent_id": true, "ip": true, "household_id": true,
		"amount": false, "coupon": false, "text": false,
	} {
		if got := hits.Slot(name) >= 0; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if hits.Slot("hit_id") != 0 || hits.Fields[hits.TimeSlot()].Name != "occurred_at" || hits.CurrencySlot() != -1 {
		t.Error("the id, the time or the currency is not where it should be")
	}
	// the rule's severity, not the refund's field of that name
	if f := hits.Fields[hits.Slot("severity")]; f.Type != TypeEnum {
		t.Errorf("severity is %s", f.TypeName())
	}
	for _, from := range []*Stream{refunds, s.Stream("transactions")} {
		for slot, source := range Projection(from, hits) {
			name := hits.Fields[slot].Name
			own := name == "hit_id" || name == "rule" || name == "severity" || name == "mode"
			if source >= 0 && (own || from.Fields[source].Name != name) || source < 0 && !own && from.Slot(name) >= 0 {
				t.Errorf("%s of %s is taken from slot %d", name, from.Name, source)
			}
		}
	}
}

func TestDecisionsHaveTheFieldsOfARefund(t *testing.T) {
	refunds := Builtin().Stream("refunds")
	decisions := Decisions(refunds)
	projection := Projection(refunds, decisions)
	for _, f := range refunds.Fields {
		slot := decisions.Slot(f.Name)
		if slot < 0 || refunds.Fields[projection[slot]].Name != f.Name || decisions.Fields[slot].Required != f.Required {
			t.Errorf("%s is missing, or made of something else", f.Name)
		}
	}
	if len(decisions.Fields) != len(refunds.Fields)+3 || decisions.CurrencySlot() < 0 || projection[0] != -1 {
		t.Errorf("%d fields, projection %v", len(decisions.Fields), projection)
	}
}

func TestDecisionsOfAFullStream(t *testing.T) {
	s := Builtin()
	fields := map[string]FieldConfig{}
	for i := len(s.Stream("refunds").Fields); i < MaxFields; i++ {
		fields[fmt.Sprintf("extra_%02d", i)] = FieldConfig{Type: "string"}
	}
	if err := s.Extend(map[string]StreamConfig{"refunds": {Fields: fields}}); err != nil {
		t.Fatal(err)
	}
	decisions := Decisions(s.Stream("refunds"))
	if len(decisions.Fields) != MaxFields || decisions.Slot("extra_60") < 0 || decisions.Slot("extra_61") >= 0 {
		t.Errorf("%d fields", len(decisions.Fields))
	}
}
