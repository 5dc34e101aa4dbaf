package model

import (
	"slices"
	"testing"
)

// Day is a model of the rules of retail.yaml and of DeskRules, without events.
func Day(t testing.TB, ruleFile string) *Model {
	t.Helper()
	return newModel(t, ruleFile, slices.Concat(retailRules, deskRules), retailPolicy)
}

// DeskRules hold what is asked for at a merchant called like a desk. They stand
// among those of retail.yaml.
const DeskRules = `  - {id: desk, when: merchant_id == "desk", action: review, on_missing: skip}
  - {id: idle, when: merchant_id == "idle", action: review, severity: low, on_missing: skip}
  - {id: urgent, when: merchant_id == "urgent", action: review, severity: critical, on_missing: skip}
`

var deskRules = []modelRule{deskRule("desk"), deskRule("idle"), deskRule("urgent")}

func deskRule(name string) modelRule {
	return modelRule{id: name, action: "review", skips: true, condition: func(f *facts) bool { return f.need("merchant_id") == name }}
}
