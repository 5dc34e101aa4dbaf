package quality

import (
	"cmp"
	"slices"

	"github.com/refundguard/refundguard/rules/event"
)

// Report is what was measured. Counts are of refunds.
type Report struct {
	Refunds   int64     `json:"refunds"`           // that the engine decided
	TooYoung  int64     `json:"too_young"`         // of these; not judged
	Holdout   int64     `json:"holdout"`           // of those that are judged
	Labelled  int64     `json:"labelled"`          // likewise
	Fraud     int64     `json:"fraud"`             // of the labelled
	Unmatched int64     `json:"unmatched"`         // labelled, and not among the refunds
	Rules     []Rule    `json:"rules"`             // by id, then mode
	Rulesets  []Ruleset `json:"rulesets"`          // by their first decision
	Base      string    `json:"base"`              // currency of Sum.Base
	NoRate    []string  `json:"no_rate,omitempty"` // currencies of sums that Sum.Base leaves out
}

// Rule is how good a rule was in one mode, over all rule sets.
type Rule struct {
	Rule string `json:"rule"`
	Mode string `json:"mode"` // live, shadow
	Quality
}

// Ruleset is how good a rule set was: a hit is a refund that its live rules
// held, rejected, or would have held had it not been let through as holdout.
type Ruleset struct {
	Ruleset  string `json:"ruleset"`
	Refunds  int64  `json:"refunds"` // that it decided
	Labelled int64  `json:"labelled_refunds"`
	Quality

	first int64
}

// Quality is what a rule or a rule set did.
type Quality struct {
	Hits        int64 `json:"hits"`
	TooYoung    int64 `json:"hits_too_young"` // of these; the next four are of the others
	Labelled    int64 `json:"hits_labelled"`
	HoldoutHits int64 `json:"hits_holdout"`

	Biased   Share `json:"precision_biased"`   // frauds among all labelled hits
	Unbiased Share `json:"precision_unbiased"` // among those let through as holdout
	Recall   Share `json:"recall"`             // hits among all labelled frauds

	Caught      Sum     `json:"caught"`       // fraud that it held or rejected, and nobody released
	WronglyHeld Sum     `json:"wrongly_held"` // legit that it held or rejected
	Cases       int64   `json:"cases"`        // that it held, and an analyst decided
	Minutes     float64 `json:"analyst_minutes"`

	caught, wronglyHeld total
}

// Share is how many of how many, and how sure that is. Of nothing there is no
// share.
type Share struct {
	Count int64 `json:"count"`
	Of    int64 `json:"of"`
	*Interval
}

// Interval is a share with its Wilson interval of 95 %.
type Interval struct {
	Share float64 `json:"share"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

func (s *Share) add(yes bool) {
	s.Of++
	s.Count += oneIf(yes)
}

func (s *Share) finish() {
	if s.Of > 0 {
		low, high := Wilson(s.Count, s.Of)
		s.Interval = &Interval{float64(s.Count) / float64(s.Of), low, high}
	}
}

// Report is what was measured so far.
func (a *Accumulator) Report() *Report {
	out := &Report{Base: a.o.Base.String(), Unmatched: int64(len(a.labels)), Rules: []Rule{}, Rulesets: []Ruleset{}}
	for _, n := range a.names.all {
		out.Rules = append(out.Rules, Rule{Rule: n.rule, Mode: n.mode})
	}
	for _, version := range a.sets.all {
		out.Rulesets = append(out.Rulesets, Ruleset{Ruleset: version})
	}
	combos := make([][]hit, len(a.combos.all))
	for i, text := range a.combos.all {
		combos[i] = decode(text)
	}
	m := &money{o: a.o, noRate: map[string]bool{}}
	for k, r := range a.refunds {
		if r.outcome == 0 {
			continue
		}
		l, labelled := a.labels[k]
		c := &seen{refund: r, labelled: labelled, fraud: labelled && l.fraud, young: r.decided > a.o.JudgedUntil}
		out.count(c)
		set := &out.Rulesets[r.ruleset]
		if set.Refunds == 0 || r.decided < set.first {
			set.first = r.decided
		}
		set.Refunds++
		if c.judged() {
			set.Labelled++
			set.Recall.Of += oneIf(c.fraud)
		}
		held := false
		for _, h := range combos[r.hits] {
			out.Rules[h.name].count(c, h.holds, m)
			held = held || h.holds
		}
		if held && (r.outcome != event.Approve || r.holdout) {
			set.count(c, true, m)
		}
	}
	return out.finish(a.o, m)
}

// seen is a refund as it is counted.
type seen struct {
	refund
	labelled, fraud, young bool
}

func (c *seen) judged() bool { return c.labelled && !c.young }

func (out *Report) count(c *seen) {
	out.Refunds++
	out.TooYoung += oneIf(c.young)
	out.Holdout += oneIf(c.holdout && !c.young)
	out.Unmatched -= oneIf(c.labelled)
	if c.judged() {
		out.Labelled++
		out.Fraud += oneIf(c.fraud)
	}
}

// count counts one hit.
func (q *Quality) count(c *seen, holds bool, m *money) {
	q.Hits++
	q.TooYoung += oneIf(c.young)
	q.HoldoutHits += oneIf(c.holdout && !c.young)
	if c.judged() {
		q.Labelled++
		q.Biased.add(c.fraud)
		if c.holdout {
			q.Unbiased.add(c.fraud)
		}
		q.Recall.Count += oneIf(c.fraud)
	}
	if !holds || c.outcome == event.Approve {
		return
	}
	q.Cases += oneIf(c.outcome == event.Review && c.analyst)
	switch {
	case c.fraud && c.final != event.Approve:
		m.add(&q.caught, &c.refund)
	case c.labelled && !c.fraud:
		m.add(&q.wronglyHeld, &c.refund)
	}
}

func (out *Report) finish(o Options, m *money) *Report {
	// What was only ever hit by refunds whose decision was replaced is left out.
	out.Rules = slices.DeleteFunc(out.Rules, func(r Rule) bool { return r.Hits == 0 })
	out.Rulesets = slices.DeleteFunc(out.Rulesets, func(r Ruleset) bool { return r.Refunds == 0 })
	for i := range out.Rules {
		r := &out.Rules[i]
		r.Recall.Of = out.Fraud
		r.finish(o)
	}
	for i := range out.Rulesets {
		out.Rulesets[i].finish(o)
	}
	slices.SortFunc(out.Rules, func(a, b Rule) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Mode, b.Mode)) })
	slices.SortFunc(out.Rulesets, func(a, b Ruleset) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.Ruleset, b.Ruleset))
	})
	out.NoRate = m.unrated()
	return out
}

func (q *Quality) finish(o Options) {
	q.Minutes = float64(q.Cases) * o.MinutesPerCase
	for _, s := range []*Share{&q.Biased, &q.Unbiased, &q.Recall} {
		s.finish()
	}
	q.Caught, q.WronglyHeld = q.caught.sum(o.Base), q.wronglyHeld.sum(o.Base)
}
