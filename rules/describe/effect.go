package describe

import (
	"fmt"
	"strings"

	"github.com/refundguard/refundguard/rules"
)

func (p *page) missing() {
	p.title("When a value is missing")
	if len(p.r.Missing) == 0 {
		p.say(2, "Every value that the condition needs is always there, or is asked for before it is used.")
		return
	}
	p.say(2, "These can be: %s.", strings.Join(p.r.Missing, ", "))
	switch {
	case p.rule.OnMissing == rules.MissingSkip:
		p.say(2, "The rule is then left out, as if it had not hit, and the decision lists it as skipped (on_missing: skip).")
	case p.rule.AlertOnly():
		p.say(2, "The rule then fails, which the decision's errors say; it only alerts, so the outcome stays as it is (on_missing: review).")
	case p.rule.Mode == rules.Live:
		p.say(2, "The rule then fails, and the refund is held for review (on_missing: review). To leave the rule out instead, say on_missing: skip.")
	default:
		p.say(2, "The rule then fails, which the decision's errors say; it is not live, so nothing is held (on_missing: review).")
	}
}

func (p *page) effect() {
	p.title("What a hit does")
	switch p.rule.Mode {
	case rules.Off:
		p.say(2, "Nothing: the rule is off. It is checked, and never evaluated. If it were live:")
	case rules.Shadow:
		p.say(2, "It is recorded in the decision, and changes nothing: the rule is in shadow. If it were live:")
	}
	p.action()
	p.score()
	p.say(2, "Severity %s%s.", p.rule.Severity, words(", reason code ", p.rule.Reason, ""))
	if p.rule.OnTrip == rules.TripShadow {
		p.say(2, "Should it hold too many refunds by itself (limits.max_hold_share), it acts as if in shadow until someone resets it or its file changes (on_trip: shadow).")
	}
	if p.r.Message != "" {
		p.say(2, "Colleagues read: %s", p.r.Message)
	}
	if p.r.CustomerMessage != "" {
		p.say(2, "The customer may be told: %s", p.r.CustomerMessage)
	}
}

func (p *page) action() {
	switch p.rule.Action {
	case rules.ActionReject:
		p.say(2, "The refund is rejected, whatever other rules say.")
	case rules.ActionReview:
		p.say(2, "The refund is held for review, unless a reject rule hits, the score reaches reject_at (both reject it), or an approve rule hits.")
	case rules.ActionApprove:
		p.say(2, "The refund is trusted: it is approved even if review rules hit or the score reaches review_at; but not if a reject rule hits, a rule fails or the score reaches reject_at.")
	case rules.ActionAlert:
		p.say(2, "An alert is written. Nothing else happens to the %s by it.", p.subject)
	case rules.ActionNone:
		p.say(2, "It has no action: only its score counts.")
	}
}

func (p *page) score() {
	score := p.rule.Score
	if score == 0 {
		return
	}
	p.say(2, "It adds %+d to the score, which is the sum of all live hits'.%s", score, p.thresholds())
}

func (p *page) thresholds() string {
	policy := p.Set.Policy
	if policy == nil || policy.ReviewAt == nil && policy.RejectAt == nil {
		return " There is no policy, so no score holds or rejects a refund."
	}
	var b strings.Builder
	alone := "by itself that is not enough for either"
	if p.rule.Score < 0 {
		alone = "this one speaks for the refund"
	}
	if policy.ReviewAt != nil {
		fmt.Fprintf(&b, " From %d on a refund is held", *policy.ReviewAt)
		if p.rule.Score >= *policy.ReviewAt {
			alone = "by itself that is enough to hold it"
		}
	}
	if policy.RejectAt != nil {
		if b.Len() > 0 {
			fmt.Fprintf(&b, ", from %d on rejected", *policy.RejectAt)
		} else {
			fmt.Fprintf(&b, " From %d on a refund is rejected", *policy.RejectAt)
		}
		if p.rule.Score >= *policy.RejectAt {
			alone = "by itself that is enough to reject it"
		}
	}
	return b.String() + "; " + alone + "."
}
