package event_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refundguard/refundguard/rules/event"
)

// FuzzParseLabel: what is read is written and read again as the same, and neither
// of two labels outranks the other both ways.
func FuzzParseLabel(f *testing.F) {
	f.Add([]byte(`{"label_id":"l","refund_id":"r","label":"fraud","source":"analyst","by":"ann","at":"2026-01-01T00:00:00Z","note":"n"}`), []byte(`{}`))
	f.Add([]byte(`{"label_id":"l","transaction_id":"t","label":"legit","source":"elsewhere","weight":7,"at":"2026-01-01T00:00:00Z"}`),
		[]byte(`{"label_id":"l2","transaction_id":"t","label":"fraud","source":"chargeback","at":"2026-01-01T00:00:00Z","reason":"CHARGED_BACK"}`))
	f.Fuzz(func(t *testing.T, one, other []byte) {
		l, err := event.ParseLabel(one)
		if err != nil {
			return
		}
		again, err := event.ParseLabel(l.Append(nil))
		if err != nil || cmp.Diff(l, again) != "" {
			t.Fatalf("%s is written again as %s: %v", one, l.Append(nil), err)
		}
		if l.Label != event.LabelFraud && l.Label != event.LabelLegit || l.Weight <= 0 || l.LabelID == "" || l.At == 0 || l.RefundID+l.TransactionID == "" {
			t.Fatalf("%s is read as %+v", one, l)
		}
		if o, err := event.ParseLabel(other); err == nil && l.Outranks(o) == o.Outranks(l) &&
			(l.LabelID != o.LabelID || l.Label != o.Label || l.Weight != o.Weight || l.At != o.At) {
			t.Fatalf("%+v and %+v: either outranks the other, or neither does", l, o)
		}
	})
}
