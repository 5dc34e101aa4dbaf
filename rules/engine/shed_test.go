package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

// Where shadow rules are shed, each refund is decided as it would have been, and
// the decision lists them.
func TestShedShadowRulesDecideNothing(t *testing.T) {
	schema := event.Builtin()
	set := loadSet(t, schema, modelRules)
	shadow := []string{"g", "i", "j", "l"}
	rapid.Check(t, func(t *rapid.T) {
		rows := genRows(t)
		var want, got []string
		for _, shed := range []bool{false, true} {
			m := newMachine(t, schema, set, 2, 0)
			m.e.Shed(shed)
			m.epoch(rows, func(d *event.Decision) {
				hits := slices.DeleteFunc(slices.Clone(d.Hits), func(h event.Hit) bool { return h.Mode == "shadow" })
				errs := slices.DeleteFunc(slices.Clone(d.Errors), func(e event.RuleError) bool { return slices.Contains(shadow, e.Rule) })
				skipped := slices.DeleteFunc(slices.Clone(d.Skipped), func(id string) bool { return slices.Contains(shadow, id) })
				line := fmt.Sprint(d.RefundID, d.Outcome, d.Score, d.Reason, hits, errs, skipped)
				if !shed {
					want = append(want, line)
					return
				}
				got = append(got, line)
				if len(d.Skipped)-len(skipped) != len(shadow) || len(hits) != len(d.Hits) {
					t.Fatalf("skipped %v, hits %v", d.Skipped, d.Hits)
				}
			})
			m.e.Close()
		}
		if !slices.Equal(got, want) {
			t.Fatalf("with shadow rules shed:\n%v\nwithout:\n%v", got, want)
		}
	})
}
