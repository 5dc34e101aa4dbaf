package cases

import (
	"fmt"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// Kind is what happens to a case.
type Kind uint8

// The kinds.
const (
	Approve    Kind = iota + 1 // an analyst's verdicts
	Reject                     //
	Escalate                   //
	TimePassed                 // its deadline, or its ETA
	Confirm                    // the customer's answer: it is theirs,
	Deny                       // or not
	Execute                    // the ledger's results
	Fail                       //
)

var kindNames = [...]string{"", "approve", "reject", "escalate", "time passed", "confirmed", "denied", "executed", "failed"}

// String names the kind in messages.
func (k Kind) String() string { return kindNames[k] }

// Event is something that happens to a refund.
type Event struct {
	Kind     Kind
	By       string         // the analyst
	Note     string         // the analyst's, or the ledger's error
	Amount   event.Money    // the ledger's; 0: it doesn't say
	Currency event.Currency // likewise
	Now      int64          // Unix milliseconds, of this machine
	At       int64          // the record's event time
	Content  event.Answer   // the customer's: satisfied
}

// Policy is what the configuration says of reviews and payments. Times are Unix
// milliseconds.
type Policy interface {
	ReviewBy(severity rules.Severity, now int64) int64
	PaidBy(method string, now int64) int64
	OnDeadline(c *Case) Kind // Approve, Reject or Escalate
	NeedsTwo(c *Case) bool   // analysts, to approve it
}

// Change is what follows. The case is changed already.
type Change struct {
	Kind      Kind
	From      State
	Outcome   event.Outcome // of a new decision; 0: there is none
	DecidedBy string
	Reason    string // of the decision, and of the status
	Status    bool   // the customer is told of the state
	Release   bool   // the request goes to the ledger
	Request   *Request
	Reserve   int    // 1: its amount counts in refunded from now on; -1: no longer
	Fraud     bool   // the customer says that it is
	Alert     *Alert // nil: none
}

// Alert is for people: money may have left, or is late.
type Alert struct {
	Rule     string
	Severity rules.Severity
	Message  string
}

// Refusal is an event that can't be. The case is as before.
type Refusal struct{ Code, Message string }

func (r *Refusal) Error() string { return r.Message }

// Reasons of decisions and statuses, and rules of alerts, that are made here.
const (
	ReasonApproved     = "APPROVED_BY_ANALYST"
	ReasonRejected     = "REJECTED_BY_ANALYST"
	ReasonEscalated    = "ESCALATED"
	ReasonDeadline     = "REVIEW_DEADLINE"
	ReasonDenied       = "DENIED_BY_CUSTOMER"
	ReasonExecuted     = "EXECUTED"
	ReasonFailed       = "LEDGER_FAILED"
	ReasonOverdue      = "OVERDUE"
	AlertDeadline      = "review-deadline"
	AlertDenied        = "denied-by-customer"
	AlertUnapproved    = "EXECUTED_WITHOUT_APPROVAL"
	AlertTwice         = "EXECUTED_TWICE"
	AlertAfterAll      = "EXECUTED_AFTER_FAILED"
	AlertOtherAmount   = "EXECUTED_OTHER_AMOUNT"
	AlertOtherCurrency = "EXECUTED_OTHER_CURRENCY"
	AlertUnknown       = "EXECUTED_UNKNOWN_REFUND"
	AlertFailed        = "LEDGER_FAILED"
	AlertOverdue       = "OVERDUE"
)

// Codes of events that are refused.
const (
	CodeUnknown      = "UNKNOWN_REFUND"
	CodeFinished     = "CASE_FINISHED"
	CodeNotInReview  = "NOT_IN_REVIEW"
	CodeSameAnalyst  = "SAME_ANALYST"
	CodeSelfApproval = "SELF_APPROVAL"
	CodePaid         = "ALREADY_PAID"
	CodeNotApproved  = "NOT_APPROVED"
	CodeRepeated     = "RESULT_REPEATED"
)

// Kinds, Alerts and Codes are all that there are, for metrics that start their
// series at zero.
func Kinds() []Kind {
	return []Kind{Approve, Reject, Escalate, TimePassed, Confirm, Deny, Execute, Fail}
}

// Alerts: see Kinds.
func Alerts() []string {
	return []string{AlertDeadline, AlertDenied, AlertUnapproved, AlertTwice, AlertAfterAll, AlertOtherAmount, AlertOtherCurrency,
		AlertUnknown, AlertFailed, AlertOverdue}
}

// Codes: see Kinds.
func Codes() []string {
	return []string{CodeUnknown, CodeFinished, CodeNotInReview, CodeSameAnalyst, CodeSelfApproval, CodePaid, CodeNotApproved, CodeRepeated}
}

// transition does one thing to a case, or refuses to.
type transition func(c *Case, ev *Event, p Policy, ch *Change) *Refusal

// transitions are all that can happen. What isn't here can't: see refuse.
var transitions = map[State]map[Kind]transition{
	InReview: {
		Approve: approve, Reject: reject, Escalate: escalate, TimePassed: deadline,
		Confirm: nothing, Deny: deny, Execute: unapproved,
	},
	Approved: {
		TimePassed: overdue, Confirm: nothing, Deny: tooLate, Execute: execute, Fail: fail,
	},
	Overdue: {
		TimePassed: nothing, Confirm: nothing, Deny: tooLate, Execute: execute, Fail: fail,
	},
	Rejected: {Confirm: nothing, Deny: fraud, Execute: unapproved},
	Executed: {Confirm: nothing, Deny: tooLate, Execute: twice},
	Failed:   {Confirm: nothing, Deny: fraud, Execute: afterAll},
}

// Step has something happen to a case. A refusal leaves it as it was.
func Step(c *Case, ev Event, p Policy) (ch Change, refused *Refusal) {
	ch.Kind, ch.From = ev.Kind, c.State
	t := transitions[c.State][ev.Kind]
	if t == nil {
		return Change{}, refuse(c, ev.Kind)
	}
	was := *c
	if refused = t(c, &ev, p, &ch); refused != nil {
		*c = was
		return Change{}, refused
	}
	if c.State != was.State {
		c.Since = ev.Now
	}
	if ev.Content != 0 {
		c.Content = ev.Content
	}
	c.Changed = max(c.Changed+1, ev.Now) // whatever clocks do
	return ch, nil
}

func refuse(c *Case, k Kind) *Refusal {
	code := CodeFinished
	switch {
	case k == Fail && (c.State == InReview || c.State == Rejected):
		code = CodeNotApproved
	case k == Fail:
		code = CodeRepeated
	case !c.State.Final():
		code = CodeNotInReview
	}
	return &Refusal{code, fmt.Sprintf("%s: refund %q is %s: nothing was changed", k, c.RefundID, c.State)}
}
