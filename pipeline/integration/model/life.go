package model

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Lives is what the service is told of reviews and payments. A world that has
// none has no reviews, confirmations and results either, and no time that passes.
type Lives struct {
	SLA         map[string]time.Duration // by severity
	OnDeadline  map[string]string        // by severity: escalate, approve, reject
	ETA         map[string]time.Duration // by method, and of other ones
	Ledger      bool                     // there is one that tells what it did
	SecondAbove int64                    // 1/10,000 of the base currency; 0: one analyst is enough

	// Working says when so much of business time is over; nil: all time is.
	Working func(from int64, takes time.Duration) int64

	// Controls are all that ever were in force, by id.
	Controls map[string]Control
}

// Control is a hold of a merchant or of everything, or a snooze of a rule for a
// customer.
type Control struct{ Rule, Customer, Merchant string }

// The streams of what happens to refunds, and their topics.
var lifeTopics = map[string]string{"reviews": "review_id", "confirmations": "confirmation_id", "ledger-results": "result_id"}

// life is a refund after its decision. The table of package cases is written here
// a second time, from its README.
type life struct {
	refund   record
	state    string
	severity string
	due      int64  // 0: nothing is waited for
	first    string // who approved it, where two must
	paid     bool   // without an approval
	denied   bool
	reserved bool
}

// happening is a record about a refund, or time that passes.
type happening struct {
	kind     string
	who      string // the analyst
	amount   int64
	currency string
	held     bool   // when time passed, it was on hold
	label    string // that it puts on the refund, and whose that is
	source   string
}

// following is what must be written because of it.
type following struct {
	code     string // of its dead letter; then nothing else
	outcome  string // of a decision
	by       string
	reason   string
	status   bool
	alert    string
	severity string // the alert's
	label    string
	source   string
}

// escalated is the next higher severity; the highest stays.
func escalated(severity string) string {
	severities := []string{"low", "medium", "high", "critical"}
	return severities[min(slices.Index(severities, severity)+1, len(severities)-1)]
}

func (l *life) final() bool {
	return l.state == "rejected" || l.state == "executed" || l.state == "failed"
}

func (l *life) released() bool { return l.state == "approved" || l.state == "overdue" }

func (p *Lives) needsTwo(l *life) bool {
	return p.SecondAbove > 0 && (l.refund.text["currency"] != "USD" || l.refund.amount > p.SecondAbove)
}

// dueAt is when what is waited for in this state must have come.
func (p *Lives) dueAt(l *life, at int64) int64 {
	switch {
	case l.state == "in_review" && p.Working != nil:
		return p.Working(at, p.SLA[l.severity])
	case l.state == "in_review":
		return at + p.SLA[l.severity].Milliseconds()
	case l.released() && p.Ledger:
		return p.paidBy(l, at)
	}
	return 0
}

// paidBy is what a customer is told of what was approved.
func (p *Lives) paidBy(l *life, at int64) int64 {
	takes, known := p.ETA[l.refund.text["method"]]
	if !known {
		takes = p.ETA["other"]
	}
	return at + takes.Milliseconds()
}

// step has something happen. Whether a deadline begins anew is told, and not when
// it ends: that is dueAt.
func (p *Lives) step(l life, h happening) (next life, out following, anew bool) {
	switch h.kind {
	case "approve", "reject", "escalate":
		switch {
		case l.final():
			return l, following{code: "CASE_FINISHED"}, false
		case l.released():
			return l, following{code: "NOT_IN_REVIEW"}, false
		}
		next, out, anew = p.verdict(l, h)
	case "time":
		next, out, anew = p.late(l, h.held)
	case "denied":
		next, out = denied(l)
	case "executed", "failed":
		next, out = result(l, h)
	default: // confirmed
		next = l
	}
	if out.code == "" && h.label != "" {
		out.label, out.source = h.label, h.source
	}
	return next, out, anew
}

func (p *Lives) verdict(l life, h happening) (life, following, bool) {
	if h.kind == "escalate" {
		l.raise()
		return l, following{}, true
	}
	by := "analyst:" + h.who
	if h.kind == "reject" {
		return l.rejected(by, "REJECTED_BY_ANALYST")
	}
	switch {
	case l.paid:
		return l, following{code: "ALREADY_PAID"}, false
	case h.who == l.refund.text["agent_id"]:
		return l, following{code: "SELF_APPROVAL"}, false
	case p.needsTwo(&l) && l.first == "":
		l.first = h.who
		return l, following{}, false
	case p.needsTwo(&l) && l.first == h.who:
		return l, following{code: "SAME_ANALYST"}, false
	}
	return l.approved(by, "APPROVED_BY_ANALYST")
}

func (l *life) raise() { l.severity = escalated(l.severity) }

func (l life) approved(by, reason string) (life, following, bool) {
	l.state, l.first = "approved", ""
	return l, following{outcome: "approve", by: by, reason: reason, status: true}, true
}

func (l life) rejected(by, reason string) (life, following, bool) {
	l.state, l.due, l.first, l.reserved = "rejected", 0, "", l.paid
	return l, following{outcome: "reject", by: by, reason: reason, status: true}, false
}

// mayHold is whether a refund was on hold when its time passed: no, or, since a
// hold begins and ends when it is read, it may have been.
func (p *Lives) mayHold(l *life) []bool {
	for _, c := range p.Controls {
		if c.Rule == "" && (c.Merchant == "" || c.Merchant == l.refund.text["merchant_id"]) {
			return []bool{false, true}
		}
	}
	return []bool{false}
}

// late is time that has passed.
func (p *Lives) late(l life, held bool) (next life, out following, anew bool) {
	switch l.state {
	case "in_review":
		switch what := p.OnDeadline[l.severity]; {
		case what == "reject":
			next, out, anew = l.rejected("deadline", "REVIEW_DEADLINE")
		case what == "approve" && !l.paid && !held && !p.needsTwo(&l):
			next, out, anew = l.approved("deadline", "REVIEW_DEADLINE")
		default:
			next, anew = l, true
			next.raise()
		}
		out.alert, out.severity = "review-deadline", next.severity
		return next, out, anew
	case "approved":
		l.state = "overdue"
		return l, following{reason: "OVERDUE", status: true, alert: "OVERDUE", severity: "critical"}, true
	}
	l.due = 0 // told once
	return l, following{}, false
}

func denied(l life) (life, following) {
	var out following
	switch {
	case l.state == "in_review":
		l, out, _ = l.rejected("customer", "DENIED_BY_CUSTOMER")
		out.alert, out.severity = "denied-by-customer", "high"
	case (l.released() || l.state == "executed") && !l.denied:
		out.alert, out.severity = "denied-by-customer", "critical"
	}
	l.denied = true
	return l, out
}

func result(l life, h happening) (life, following) {
	approved := l.state != "in_review" && l.state != "rejected"
	switch {
	case h.kind == "failed" && !approved:
		return l, following{code: "NOT_APPROVED"}
	case h.kind == "failed" && l.final():
		return l, following{code: "RESULT_REPEATED"}
	case h.kind == "failed":
		l.state, l.due, l.reserved = "failed", 0, false
		return l, following{reason: "LEDGER_FAILED", status: true, alert: "LEDGER_FAILED", severity: "high"}
	case l.state == "executed", !approved && l.paid:
		return l, following{alert: "EXECUTED_TWICE", severity: "critical"}
	case !approved:
		l.paid, l.reserved = true, true
		return l, following{alert: "EXECUTED_WITHOUT_APPROVAL", severity: "critical"}
	}
	out := following{reason: "EXECUTED", status: true}
	switch {
	case h.amount != 0 && h.currency != "" && h.currency != l.refund.text["currency"]:
		out.alert, out.severity = "EXECUTED_OTHER_CURRENCY", "critical"
	case h.amount != 0 && h.amount != l.refund.amount:
		out.alert, out.severity = "EXECUTED_OTHER_AMOUNT", "critical"
	case l.state == "failed":
		out.alert, out.severity = "EXECUTED_AFTER_FAILED", "high"
	}
	l.state, l.due, l.reserved = "executed", 0, true
	return l, out
}

// ofLives are the rules of alerts about what became of a refund.
func ofLives(rule string) bool {
	return rule == "review-deadline" || rule == "denied-by-customer" || rule == "OVERDUE" || rule == "LEDGER_FAILED" || strings.HasPrefix(rule, "EXECUTED_")
}

// defaultLives are those of a service that isn't told otherwise.
func defaultLives() *Lives {
	const day = 24 * time.Hour
	l := &Lives{
		SLA:        map[string]time.Duration{"critical": 15 * time.Minute, "high": time.Hour, "medium": 4 * time.Hour, "low": day},
		OnDeadline: map[string]string{},
		ETA:        map[string]time.Duration{"original": 5 * day, "balance": time.Hour, "bank_transfer": 3 * day, "other": 3 * day},
	}
	return l
}

func hitOrFailed(e *Expected, rule string) bool {
	return slices.Contains(e.Hits, rule) || slices.Contains(e.Errors, rule)
}

// guarded is what a decision must be, where it says that controls changed it, or
// that it was let through to measure the rules.
func (p *Lives) guarded(t testing.TB, d *Decision, want Expected) Expected {
	t.Helper()
	var snoozed []string
	held := false
	for _, id := range d.Controls {
		control, known := p.Controls[id]
		switch {
		case !known:
			t.Errorf("refund %s: no control %q was ever in force", d.RefundID, id)
		case control.Rule == "":
			held = true
			if control.Merchant != "" && want.refund.text["merchant_id"] != control.Merchant {
				t.Errorf("refund %s: it is held by %q, of another merchant", d.RefundID, id)
			}
		default:
			if snoozed = append(snoozed, control.Rule); want.refund.text["customer_id"] != control.Customer || !hitOrFailed(&want, control.Rule) {
				t.Errorf("refund %s: snooze %q has nothing to do with it", d.RefundID, id)
			}
		}
	}
	if len(snoozed) > 0 {
		want = sorted(want.apply(snoozed...))
	}
	if d.Holdout && want.Outcome == "review" {
		want.Outcome = "approve"
	}
	if held && want.Outcome == "approve" {
		want.Outcome = "review"
	}
	return want
}
