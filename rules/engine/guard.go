package engine

import (
	"slices"

	"github.com/refundguard/refundguard/rules"
)

// Guards are what people and breakers put in force beside the rules.
type Guards struct {
	Overrides *rules.Overrides // nil: none

	// Hold is the id of a control that holds every refund which would be approved;
	// "": none. HoldMerchants are those that do so for one merchant, by its id.
	Hold          string
	HoldMerchants map[string]string
}

// ReasonHold is the reason of a refund that only a control holds.
const ReasonHold = "HOLD"

// Guard puts guards in force for the decisions that follow, in the place of those
// before.
func (e *Engine) Guard(g Guards) {
	e.guards = g
	for _, wk := range e.workers {
		for _, v := range wk.evals {
			if v != nil {
				v.Override(g.Overrides)
			}
		}
	}
}

// Holds reports whether what would be approved of a merchant, "" for none, is held.
func (g *Guards) Holds(merchant string) bool { return len(g.holds(nil, merchant)) > 0 }

// holds is controls with those that hold an approved refund of the merchant.
func (g *Guards) holds(controls []string, merchant string) []string {
	one := ""
	if merchant != "" {
		one = g.HoldMerchants[merchant]
	}
	if g.Hold == "" && one == "" {
		return controls
	}
	controls = slices.Clone(controls) // the evaluator's
	for _, id := range []string{g.Hold, one} {
		if id != "" {
			controls = append(controls, id)
		}
	}
	return controls
}
