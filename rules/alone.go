package rules

import (
	"slices"

	"github.com/refundguard/refundguard/rules/event"
)

// findAlone notes the rules each of which, by itself, keeps the refund from being
// approved: without it, all others as they are, it would be.
func (v *Evaluator) findAlone(t *tally) {
	r := &v.result
	if r.Outcome == event.Approve || t.rejects > 1 || len(v.failed) > 1 {
		return // whichever is left out, one that is enough stays
	}
	for i, rule := range r.HitRules {
		if r.Hits[i].Mode == Live.String() && t.approvesWithout(rule, true, slices.Contains(v.failed, rule), v.set.Policy) {
			r.Alone = append(r.Alone, rule)
		}
	}
	for _, rule := range v.failed {
		if !slices.Contains(r.HitRules, rule) && t.approvesWithout(rule, false, true, v.set.Policy) {
			r.Alone = append(r.Alone, rule)
		}
	}
}

// approvesWithout is the outcome table without a rule that hit, failed, or both.
func (t *tally) approvesWithout(rule *Rule, hit, failed bool, p *Policy) bool {
	rejects, approves, reviews, failures, score := t.rejects, t.approves, t.reviews, t.failures, t.score
	if hit {
		score -= rule.Score
		switch rule.Action {
		case ActionReject:
			rejects--
		case ActionApprove:
			approves--
		case ActionReview:
			reviews--
		}
	}
	if failed {
		failures--
	}
	reached := func(at *int64) bool { return at != nil && score >= *at }
	if p == nil {
		p = &noPolicy
	}
	switch {
	case rejects > 0, failures > 0, reached(p.RejectAt):
		return false
	}
	return approves > 0 || reviews == 0 && !reached(p.ReviewAt)
}

var noPolicy Policy
