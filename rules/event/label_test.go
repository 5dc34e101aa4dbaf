package event_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

func drawLabel(t *rapid.T) *event.Label {
	id := rapid.StringN(1, 40, -1)
	source := rapid.SampledFrom([]string{event.LabelByAnalyst, event.LabelByCustomer, event.LabelByChargeback, event.LabelByImport, "auditor"})
	return &event.Label{LabelID: id.Draw(t, "label"), RefundID: id.Draw(t, "refund"), Label: rapid.SampledFrom([]string{event.LabelFraud, event.LabelLegit}).Draw(t, "label"),
		Source: source.Draw(t, "source"), By: anyText.Draw(t, "by"), At: rapid.Int64Range(1, 253402300799_999).Draw(t, "at"),
		Weight: rapid.Int64Range(1, 1<<31-1).Draw(t, "weight"), Reason: anyText.Draw(t, "reason"), Note: anyText.Draw(t, "note")}
}

// TestWhichLabelCounts: whatever order labels come in, and however often each,
// the same one counts: the heaviest, of these the latest, of these the one with
// the smallest id.
func TestWhichLabelCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.Int64Range(1, 3)
		draw := rapid.Custom(func(t *rapid.T) *event.Label {
			l := drawLabel(t)
			l.Weight, l.At, l.LabelID = few.Draw(t, "weight"), few.Draw(t, "at"), rapid.SampledFrom([]string{"a", "b", "B"}).Draw(t, "id")
			return l
		})
		labels := rapid.SliceOfN(draw, 1, 8).Draw(t, "labels")
		counts := func(order []*event.Label) *event.Label {
			best := order[0]
			for _, l := range order[1:] {
				if l.Outranks(best) {
					best = l
				}
			}
			return best
		}
		best := counts(labels)
		for _, l := range labels {
			heavier := l.Weight > best.Weight
			later := l.Weight == best.Weight && l.At > best.At
			smaller := l.Weight == best.Weight && l.At == best.At && l.LabelID < best.LabelID
			if heavier || later || smaller {
				t.Fatalf("%+v counts rather than %+v", best, l)
			}
		}
		other := counts(append(rapid.Permutation(labels).Draw(t, "order"), labels[0]))
		if best.Weight != other.Weight || best.At != other.At || best.LabelID != other.LabelID || best.Label != other.Label {
			t.Fatalf("in another order %+v counts rather than %+v", other, best)
		}
	})
}

func TestLabelWeights(t *testing.T) {
	rising := []string{"rumour", event.LabelByAnalyst, event.LabelByCustomer, event.LabelByImport, event.LabelByChargeback}
	for i, source := range rising[1:] {
		if event.LabelWeight(source) <= event.LabelWeight(rising[i]) {
			t.Errorf("%s weighs no more than %s", source, rising[i])
		}
	}
}

func TestParseLabel(t *testing.T) {
	good := string(exampleLabel().Append(nil))
	for _, c := range []struct{ old, new, want string }{
		{good, `{}`, "label_id: is missing"},
		{`"refund_id":"ref_1",`, ``, "refund_id: is missing"},
		{`"label":"fraud",`, ``, "label: is missing"},
		{`"label":"fraud"`, `"label":"maybe"`, `"maybe" is no label; expected fraud or legit`},
		{`"source":"chargeback",`, ``, "source: is missing"},
		{`"at":"2024-05-06T12:34:56.789Z",`, ``, "at: is missing"},
		{`"weight":40`, `"weight":-1`, "negative"},
		{`"weight":40`, `"weight":1e2`, "is not an integer of 32 bits"},
		{`"source":"chargeback"`, `"source":"auditor","weight":0,"x":{"a":[]}`, ""}, // the later weight holds
		{`"chargeback","by":"acquirer","at":"2024-05-06T12:34:56.789Z","weight":40`, `"auditor","at":"2024-05-06T12:34:56.789Z"`, "weight: is missing"},
		{`,"weight":40`, ``, ""},
	} {
		l, err := event.ParseLabel([]byte(strings.Replace(good, c.old, c.new, 1)))
		switch {
		case c.want == "" && (err != nil || l.Weight != 40):
			t.Errorf("with %q: %+v, %v", c.new, l, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("with %q: %v; want an error about %q", c.new, err, c.want)
		}
	}
}
