package rules

import "slices"

// Overrides are what live rules do other than their files say: some act as
// shadow, some let somebody off. They don't change, and are safe for concurrent
// use. Of rules that a set doesn't have they may speak, too.
type Overrides struct {
	rules map[string]*override
}

// Snooze lets one customer, merchant, instrument or device off one rule: its hits
// are recorded as those of ModeSnoozed, and decide nothing.
type Snooze struct {
	Control string // names it in Result.Controls
	Rule    string
	Field   string // one of SnoozeFields
	Value   string
}

// ModeSnoozed is the mode, in event.Hit, of a live rule's hit that a snooze turned
// off.
const ModeSnoozed = "snoozed"

// SnoozeFields are the fields by which a rule can be snoozed.
var SnoozeFields = []string{"customer_id", "merchant_id", "instrument_id", "device_id"}

type override struct {
	shadow  bool
	snoozes []map[string]string // by field as in SnoozeFields, value -> control
}

// NewOverrides makes them of the ids of rules that act as shadow, and of snoozes.
// It is nil where there are none.
func NewOverrides(shadow []string, snoozes []Snooze) *Overrides {
	if len(shadow)+len(snoozes) == 0 {
		return nil
	}
	o := &Overrides{rules: map[string]*override{}}
	of := func(rule string) *override {
		if o.rules[rule] == nil {
			o.rules[rule] = &override{snoozes: make([]map[string]string, len(SnoozeFields))}
		}
		return o.rules[rule]
	}
	for _, rule := range shadow {
		of(rule).shadow = true
	}
	for _, s := range snoozes {
		by := of(s.Rule).snoozes
		if i := slices.Index(SnoozeFields, s.Field); i >= 0 {
			if by[i] == nil {
				by[i] = map[string]string{}
			}
			by[i][s.Value] = s.Control
		}
	}
	return o
}

// Override puts overrides in force from the next refund on, in the place of those
// before; nil: none.
func (v *Evaluator) Override(o *Overrides) { v.overrides = o }

// mode is how a rule acts on the present event, as event.Hit says it. What is
// snoozed is noted in the result.
func (v *Evaluator) mode(r *Rule) string {
	if v.overrides == nil || r.Mode != Live {
		return r.Mode.String()
	}
	o := v.overrides.rules[r.ID]
	switch {
	case o == nil:
		return r.Mode.String()
	case o.shadow:
		return Shadow.String()
	}
	for i, by := range o.snoozes {
		if by == nil {
			continue
		}
		value := v.event.Str(v.event.Stream.Slot(SnoozeFields[i]))
		control, off := by[value]
		if !off || value == "" {
			continue
		}
		if !slices.Contains(v.result.Controls, control) {
			v.result.Controls = append(v.result.Controls, control)
		}
		return ModeSnoozed
	}
	return r.Mode.String()
}
