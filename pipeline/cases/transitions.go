package cases

import (
	"fmt"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

func nothing(c *Case, ev *Event, _ Policy, _ *Change) *Refusal {
	if ev.Kind == TimePassed {
		c.Due = 0 // it was told of once
	}
	return nil
}

// decide ends a review.
func (c *Case) decide(ch *Change, o event.Outcome, by, reason string) {
	c.Ordinal++
	c.Reason, c.By, c.First = reason, by, ""
	ch.Outcome, ch.DecidedBy, ch.Reason, ch.Status = o, by, reason, true
	ch.Request, c.Request = c.Request, nil
}

// reserve has its amount count in refunded, or not.
func (c *Case) reserve(ch *Change, on bool) {
	if c.Reserved == on {
		return
	}
	if c.Reserved = on; on {
		ch.Reserve = 1
	} else {
		ch.Reserve = -1
	}
}

// release approves a request that was held.
func (c *Case) release(ch *Change, ev *Event, p Policy, by, reason string) {
	c.decide(ch, event.Approve, by, reason)
	c.State, c.Due = Approved, p.PaidBy(c.Method, ev.Now)
	ch.Release = true
	c.reserve(ch, true)
}

// end rejects a request that was held. What the ledger paid all the same counts
// on.
func (c *Case) end(ch *Change, by, reason string) {
	c.decide(ch, event.Reject, by, reason)
	c.State, c.Due = Rejected, 0
	c.reserve(ch, c.Paid)
}

func analyst(ev *Event) string { return "analyst:" + ev.By }

func approve(c *Case, ev *Event, p Policy, ch *Change) *Refusal {
	switch {
	case c.Paid:
		return &Refusal{CodePaid, fmt.Sprintf("approve: the ledger has executed refund %q already, without an approval: to release it would pay it again; reject it", c.RefundID)}
	case c.Agent != "" && samePerson(c.Agent, ev.By):
		return &Refusal{CodeSelfApproval, fmt.Sprintf("approve: %q asked for refund %q, and may not approve it", ev.By, c.RefundID)}
	case p.NeedsTwo(c) && c.First == "":
		c.First = ev.By
		return nil
	case p.NeedsTwo(c) && samePerson(c.First, ev.By):
		return &Refusal{CodeSameAnalyst, fmt.Sprintf("approve: %q approved refund %q before: a second analyst must", ev.By, c.RefundID)}
	}
	c.release(ch, ev, p, analyst(ev), ReasonApproved)
	return nil
}

func reject(c *Case, ev *Event, _ Policy, ch *Change) *Refusal {
	c.end(ch, analyst(ev), ReasonRejected)
	return nil
}

// escalate raises the severity, and begins the time for a verdict anew.
func escalate(c *Case, ev *Event, p Policy, _ *Change) *Refusal {
	c.Severity = min(c.Severity+1, rules.Critical)
	c.Due = p.ReviewBy(c.Severity, ev.Now)
	return nil
}

func deadline(c *Case, ev *Event, p Policy, ch *Change) *Refusal {
	passed := c.Severity
	what := p.OnDeadline(c)
	if what == Approve && (c.Paid || p.NeedsTwo(c)) {
		what = Escalate // nobody looked, and somebody must
	}
	switch what {
	case Approve:
		c.release(ch, ev, p, "deadline", ReasonDeadline)
	case Reject:
		c.end(ch, "deadline", ReasonDeadline)
	default:
		_ = escalate(c, ev, p, ch)
	}
	ch.Alert = &Alert{AlertDeadline, c.Severity, fmt.Sprintf("refund %s of severity %s had no verdict in time: %s", c.RefundID, passed, then[what])}
	return nil
}

var then = map[Kind]string{Approve: "it is approved", Reject: "it is rejected", Escalate: "it is escalated"}

func deny(c *Case, _ *Event, _ Policy, ch *Change) *Refusal {
	c.Denied, ch.Fraud = true, true
	c.end(ch, "customer", ReasonDenied)
	ch.Alert = &Alert{AlertDenied, rules.High, fmt.Sprintf("the customer didn't ask for refund %s: it is rejected", c.RefundID)}
	return nil
}

func fraud(c *Case, _ *Event, _ Policy, ch *Change) *Refusal {
	c.Denied, ch.Fraud = true, true
	return nil
}

// tooLate is a denial of what is released, which alerts once.
func tooLate(c *Case, _ *Event, _ Policy, ch *Change) *Refusal {
	if ch.Fraud = true; !c.Denied {
		ch.Alert = &Alert{AlertDenied, rules.Critical, fmt.Sprintf("the customer didn't ask for refund %s, which is %s", c.RefundID, c.State)}
	}
	c.Denied = true
	return nil
}

func unapproved(c *Case, ev *Event, _ Policy, ch *Change) *Refusal {
	if c.Paid {
		return twice(c, ev, nil, ch)
	}
	c.Paid = true
	c.reserve(ch, true)
	ch.Alert = &Alert{AlertUnapproved, rules.Critical, fmt.Sprintf("the ledger executed refund %s, which is %s and was not approved", c.RefundID, c.State)}
	return nil
}

func execute(c *Case, ev *Event, _ Policy, ch *Change) *Refusal {
	c.State, c.Due, c.Executed = Executed, 0, ev.At
	ch.Status, ch.Reason = true, ReasonExecuted
	switch {
	case ev.Amount != 0 && ev.Currency != 0 && ev.Currency != c.Currency:
		ch.Alert = &Alert{AlertOtherCurrency, rules.Critical, fmt.Sprintf("the ledger executed refund %s in %s, approved was %s", c.RefundID, ev.Currency, c.Currency)}
	case ev.Amount != 0 && ev.Amount != c.Amount:
		ch.Alert = &Alert{AlertOtherAmount, rules.Critical, fmt.Sprintf("the ledger executed refund %s of %s %s as %s", c.RefundID, c.Amount.Format(c.Currency), c.Currency, ev.Amount.Format(c.Currency))}
	}
	return nil
}

func twice(c *Case, _ *Event, _ Policy, ch *Change) *Refusal {
	ch.Alert = &Alert{AlertTwice, rules.Critical, fmt.Sprintf("the ledger executed refund %s again", c.RefundID)}
	return nil
}

// afterAll is a payment that failed first.
func afterAll(c *Case, ev *Event, p Policy, ch *Change) *Refusal {
	_ = execute(c, ev, p, ch)
	c.reserve(ch, true)
	if ch.Alert == nil {
		ch.Alert = &Alert{AlertAfterAll, rules.High, fmt.Sprintf("the ledger executed refund %s, which had failed", c.RefundID)}
	}
	return nil
}

func fail(c *Case, ev *Event, _ Policy, ch *Change) *Refusal {
	c.State, c.Due = Failed, 0
	c.reserve(ch, false)
	ch.Status, ch.Reason = true, ReasonFailed
	ch.Alert = &Alert{AlertFailed, rules.High, fmt.Sprintf("the ledger could not execute refund %s: %s", c.RefundID, orNone(ev.Note))}
	return nil
}

func orNone(note string) string {
	if note == "" {
		return "it doesn't say why"
	}
	return note
}

func overdue(c *Case, ev *Event, p Policy, ch *Change) *Refusal {
	c.State, c.Due = Overdue, p.PaidBy(c.Method, ev.Now)
	ch.Status, ch.Reason = true, ReasonOverdue
	ch.Alert = &Alert{AlertOverdue, rules.Critical, fmt.Sprintf("the ledger didn't say by its ETA what became of refund %s", c.RefundID)}
	return nil
}
