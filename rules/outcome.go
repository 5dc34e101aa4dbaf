package rules

import "github.com/refundguard/refundguard/rules/event"

// Cause is the line of the outcome table that applied.
type Cause uint8

// The causes, in the order in which they are asked for.
const (
	CauseReject      Cause = iota + 1 // a hit of a reject rule
	CauseHold                         // the caller's hold, see Evaluator.Run
	CauseFailure                      // a live rule that isn't alert-only failed
	CauseRejectScore                  // the score reached reject_at
	CauseTrust                        // a hit of an approve rule
	CauseReview                       // a hit of a review rule
	CauseReviewScore                  // the score reached review_at
	CauseNone                         // nothing spoke against it
)

var causeNames = []string{"", "reject rule", "hold", "failed rule", "reject_at", "approve rule", "review rule", "review_at", "none"}

func (c Cause) String() string { return causeNames[c] }

// ReasonRuleFailed is the reason of a refund that is held because a rule
// failed.
const ReasonRuleFailed = "RULE_FAILED"

// Result is what the rules say of one refund. It is valid until the next Begin
// of its evaluator; the texts stay valid as long as the refund's bytes do.
type Result struct {
	Outcome         event.Outcome
	Cause           Cause
	Score           int64    // of the live hits
	Severity        Severity // the greatest of the live hits; 0 without any
	Reason          string   // of the first hit that decided, or the one of the greatest score; "" with CauseHold, whose reason the caller knows
	CustomerMessage string   // likewise
	Hits            []event.Hit
	HitRules        []*Rule  // the rule of each of Hits: see Rule.Alerts
	Alone           []*Rule  // live rules without any one of which the refund would be approved
	Controls        []string // of the snoozes that turned something off
	Errors          []event.RuleError
	Skipped         []string
	Excepted        []Excepted
	Features        []event.Feature // all of Set.Features, by name
}

// Excepted is a hit that an exception turned off.
type Excepted struct {
	Rule   string
	Reason string // of the exception
}

func (r *Result) reset() {
	r.Outcome, r.Cause, r.Score, r.Severity = 0, 0, 0, 0
	r.Reason, r.CustomerMessage = "", ""
	r.Hits, r.HitRules = r.Hits[:0], r.HitRules[:0]
	r.Errors, r.Skipped = r.Errors[:0], r.Skipped[:0]
	r.Excepted = r.Excepted[:0]
	r.Alone, r.Controls = r.Alone[:0], r.Controls[:0]
}

// tally gathers what the live rules say. Hits are held as their index in
// Result.Hits plus one, so that the zero tally is ready for use.
type tally struct {
	reject, approve, review, scored int
	score, most                     int64 // the sum, and the greatest: that of scored
	severity                        Severity

	rejects, approves, reviews, failures int // how many

	decider int // index of the hit that decided; -1: none
}

// hit takes the hit of a rule that acts live.
func (t *tally) hit(r *Rule, index int) {
	first := func(at *int) {
		if *at == 0 {
			*at = index + 1
		}
	}
	switch r.Action {
	case ActionReject:
		first(&t.reject)
		t.rejects++
	case ActionApprove:
		first(&t.approve)
		t.approves++
	case ActionReview:
		first(&t.review)
		t.reviews++
	}
	if r.Score > t.most {
		t.most, t.scored = r.Score, index+1
	}
	t.score += r.Score // can't overflow: scores and the number of rules are bounded
	t.severity = max(t.severity, r.Severity)
}

// decide applies the outcome table: the first line that applies.
func (t *tally) decide(p *Policy, hold bool, r *Result) {
	r.Score, r.Severity = t.score, t.severity
	reached := func(at *int64) bool { return at != nil && t.score >= *at }
	if p == nil {
		p = &noPolicy
	}
	set := func(o event.Outcome, c Cause, decider int) {
		r.Outcome, r.Cause, t.decider = o, c, decider-1
	}
	switch {
	case t.reject > 0:
		set(event.Reject, CauseReject, t.reject)
	case hold:
		set(event.Review, CauseHold, 0)
	case t.failures > 0:
		set(event.Review, CauseFailure, 0)
		r.Reason = ReasonRuleFailed
	case reached(p.RejectAt):
		set(event.Reject, CauseRejectScore, t.scored)
	case t.approve > 0:
		set(event.Approve, CauseTrust, t.approve)
	case t.review > 0:
		set(event.Review, CauseReview, t.review)
	case reached(p.ReviewAt):
		set(event.Review, CauseReviewScore, t.scored)
	default:
		set(event.Approve, CauseNone, 0)
	}
}
