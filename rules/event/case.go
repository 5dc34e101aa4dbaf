package event

import "strconv"

// HeaderCase is the header of a record of refundguard-cases that says what is
// known of the case: a CaseSummary.
const HeaderCase = "refundguard-case-summary"

// CaseSummary is a refund's case as it was after a change, for readers of the
// topic of cases that aren't the service. Times are Unix milliseconds.
type CaseSummary struct {
	RefundID      string
	TransactionID string // "" when missing; so are the next four
	CustomerID    string
	MerchantID    string
	Method        string // where the money was to go
	RequestReason string // why it was asked for
	Amount        Money
	Currency      Currency

	State      string // in_review, approved, rejected, executed, failed, overdue
	Severity   string // of the review; "" where there never was one
	Reason     string // of the last decision; "" when there is none
	DecidedBy  string // of the last decision
	DecisionID string
	FirstBy    string // the analyst who approved it, where a second one must; "" else

	OccurredAt int64 // of the request
	ReceivedAt int64
	OpenedAt   int64 // first decision
	Since      int64 // when it came to this state
	DueAt      int64 // in review the deadline, then the ETA; 0: none
	ExecutedAt int64 // event time of the ledger's result; 0: none
	ChangedAt  int64 // when this was written; of two records of a refund the later one has the greater

	Denied    bool   // the customer said that it isn't theirs
	Satisfied Answer // the customer's last answer
}

// Answer is yes, no, or none.
type Answer uint8

// The answers. None is the zero value.
const (
	Yes Answer = iota + 1
	No
)

// AnswerOf is yes or no.
func AnswerOf(yes bool) Answer {
	if yes {
		return Yes
	}
	return No
}

// String is yes, no or none.
func (a Answer) String() string {
	switch a {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "none"
}

// Append writes c as one JSON object, the value of HeaderCase. Fields that are
// not set are left out.
func (c *CaseSummary) Append(dst []byte) []byte {
	w := writer{buf: dst}
	w.open('{')
	w.text("refund_id", c.RefundID)
	w.optional("transaction_id", c.TransactionID)
	w.optional("customer_id", c.CustomerID)
	w.optional("merchant_id", c.MerchantID)
	w.optional("method", c.Method)
	w.optional("request_reason", c.RequestReason)
	w.money("amount", c.Amount, c.Currency)
	w.currency("currency", c.Currency)
	w.text("state", c.State)
	w.optional("severity", c.Severity)
	w.optional("reason", c.Reason)
	w.optional("decided_by", c.DecidedBy)
	w.text("decision_id", c.DecisionID)
	w.optional("first_by", c.FirstBy)
	w.time("occurred_at", c.OccurredAt)
	w.time("received_at", c.ReceivedAt)
	w.time("opened_at", c.OpenedAt)
	w.time("since", c.Since)
	for _, t := range []struct {
		name string
		ms   int64
	}{{"due_at", c.DueAt}, {"executed_at", c.ExecutedAt}} {
		if t.ms != 0 {
			w.time(t.name, t.ms)
		}
	}
	w.time("changed_at", c.ChangedAt)
	w.flag("denied", c.Denied)
	if c.Satisfied != 0 {
		w.key("satisfied")
		w.buf = strconv.AppendBool(w.buf, c.Satisfied == Yes)
	}
	w.close('}')
	return w.buf
}

// ParseCaseSummary reads what CaseSummary.Append writes, and ignores members that
// it doesn't know.
func ParseCaseSummary(data []byte) (*CaseSummary, error) {
	c := &CaseSummary{}
	err := parse(data, "a case", func(r *reader) {
		r.caseSummary(c)
		r.require("refund_id", c.RefundID != "")
		r.require("state", c.State != "")
		r.require("changed_at", c.ChangedAt != 0)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (r *reader) caseSummary(c *CaseSummary) {
	texts := map[string]*string{"refund_id": &c.RefundID, "transaction_id": &c.TransactionID, "customer_id": &c.CustomerID, "merchant_id": &c.MerchantID,
		"method": &c.Method, "request_reason": &c.RequestReason, "state": &c.State, "severity": &c.Severity, "reason": &c.Reason,
		"decided_by": &c.DecidedBy, "decision_id": &c.DecisionID, "first_by": &c.FirstBy}
	times := map[string]*int64{"occurred_at": &c.OccurredAt, "received_at": &c.ReceivedAt, "opened_at": &c.OpenedAt, "since": &c.Since,
		"due_at": &c.DueAt, "executed_at": &c.ExecutedAt, "changed_at": &c.ChangedAt}
	r.open('{')
	for name, ok := r.member(); ok; name, ok = r.member() {
		switch {
		case texts[name] != nil:
			*texts[name] = r.text()
		case times[name] != nil:
			*times[name] = r.time()
		case name == "amount":
			c.Amount = r.money()
		case name == "currency":
			c.Currency = r.currency()
		case name == "denied":
			c.Denied = r.bool()
		case name == "satisfied" && !r.isNull():
			c.Satisfied = AnswerOf(r.bool())
		case name != "satisfied":
			r.skip()
		}
	}
}
