// Package cases is the life of a refund once it is decided: in review, approved
// or rejected, and what the ledger then makes of it.
//
// Step is the whole of it: a case, something that happens, and what follows from
// that. It knows no clock and no topic, changes nothing but the case, and gives
// the same again for the same, so that whoever calls it decides when, and writes
// what follows together with the case or not at all.
package cases

import (
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// State is where a refund is. There is no case before its first decision.
type State uint8

// The states. Rejected, Executed and Failed are final.
const (
	InReview State = iota + 1
	Approved
	Rejected
	Executed
	Failed
	Overdue // approved, and the ledger didn't say by its ETA what became of it
)

var stateNames = [...]string{"", "in_review", "approved", "rejected", "executed", "failed", "overdue"}

// String is the state as refund-status and the topic of cases name it.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return ""
}

// Final reports whether nothing is waited for any more.
func (s State) Final() bool { return s == Rejected || s == Executed || s == Failed }

// rests reports whether nothing is waited for: it is final, or nobody tells what
// the ledger did.
func (c *Case) rests() bool { return c.State.Final() || c.State != InReview && c.Due == 0 }

// order is how far a refund has come by that state, under one decision.
func (s State) order() int {
	return [...]int{InReview: 0, Approved: 0, Rejected: 0, Overdue: 1, Failed: 2, Executed: 3}[s]
}

// After reports whether c can only be a later state of the refund than was.
func (c *Case) After(was *Case) bool {
	if c.Ordinal != was.Ordinal {
		return c.Ordinal > was.Ordinal
	}
	return c.State.order() > was.State.order()
}

// Case is one refund. Times are Unix milliseconds, 0 is never.
type Case struct {
	RefundID      string
	TransactionID string // "" when missing, as are all texts
	CustomerID    string
	MerchantID    string
	Method        string
	Language      string // the customer's
	Agent         string // who asked for it, where that was an agent
	RequestReason string // why it was asked for
	Amount        event.Money
	Currency      event.Currency
	Base          event.Money // in currency.base; 0: no rate
	Source        event.Source
	Occurred      int64
	Received      int64
	Opened        int64 // when it was decided first

	State    State
	Severity rules.Severity // of the review; 0 where there never was one
	Reason   string         // of the last decision
	By       string         // who made the last decision
	Ordinal  int            // of the last decision; the first is 0
	Since    int64          // when it came to this state
	Due      int64          // in review: the deadline; approved: the ETA; 0: none
	First    string         // the analyst who approved it first, where two must
	Reserved bool           // it counts in refunded
	Paid     bool           // the ledger executed it while it wasn't approved
	Denied   bool           // the customer said that it isn't theirs
	Executed int64          // event time of the ledger's result
	Changed  int64          // when something happened to it last; rises with each time
	Content  event.Answer   // the customer is satisfied, by the last answer that says so
	Settled  bool           // what counts in refunded is in the state that the case is kept with; a topic doesn't say

	// Request is what is released, while it is in review.
	Request *Request
}

// Request is a refund's record as it was read.
type Request struct {
	Key     []byte // nil is not empty
	Value   []byte
	Headers []event.Header
}
