package demo

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules/event"
)

// amount is the decimal as it was written.
func (a *approved) amount() string { return strings.Trim(string(a.Amount), `"`) }

// ledger pays what is approved, once, and tells so. Now and then something goes
// wrong with it.
type ledger struct {
	*program
	c      *cast
	paid   map[string]bool     // decision ids: a repeat is dropped
	late   map[string]approved // to be paid once they are asked for
	leaked map[string]bool     // paid without an approval
}

// approved is what a ledger needs of a request.
type approved struct {
	RefundID string          `json:"refund_id"`
	Amount   json.RawMessage `json:"amount"` // a string or a number
	Currency string          `json:"currency"`
}

func newLedger(c *cast) *program {
	l := &ledger{program: &program{}, c: c, paid: map[string]bool{}, late: map[string]approved{}, leaked: map[string]bool{}}
	l.read, l.waits = l.take, l.waiting
	return l.program
}

func (l *ledger) waiting() string {
	if n := len(l.late); n > 0 {
		return fmt.Sprintf("%d payments are late", n)
	}
	return ""
}

func (l *ledger) take(r *kgo.Record) {
	if r.Topic == topicStatus {
		if s, ok := l.deeds.status(r); ok {
			l.told(s)
		}
		return
	}
	for _, h := range r.Headers {
		if h.Key == event.HeaderDecisionID {
			if l.paid[string(h.Value)] {
				return
			}
			l.paid[string(h.Value)] = true
		}
	}
	var a approved
	if err := json.Unmarshal(r.Value, &a); err != nil {
		l.deeds.fail(fmt.Errorf("%s/%d/%d is not readable: %w", r.Topic, r.Partition, r.Offset, err))
		return
	}
	l.pay(a)
}

// pay is what becomes of an approved refund. Of a thousand, six each go wrong
// in one way.
func (l *ledger) pay(a approved) {
	after := l.c.span("pay", a.RefundID, 20*time.Millisecond, 400*time.Millisecond)
	executed := func(amount string, list ...deed) func() step {
		return func() step {
			return done(l.result(a.RefundID, "1", "executed", amount, a.Currency, ""), append(list, deed{kind: "executed"})...)
		}
	}
	amount := a.amount()
	switch n := l.c.dice("ledger", a.RefundID); {
	case n < 6:
		l.later(after, func() step {
			l.late[a.RefundID] = a
			return step{deeds: []deed{{"late", cases.AlertOverdue, a.RefundID}}}
		})
	case n < 12:
		l.later(after, func() step { return step{deeds: []deed{{"never", cases.AlertOverdue, a.RefundID}}} })
	case n < 18:
		l.later(after, executed(amount))
		l.later(2*after, func() step {
			return done(l.result(a.RefundID, "2", "executed", amount, a.Currency, ""), deed{"twice", cases.AlertTwice, a.RefundID})
		})
	case n < 24:
		l.later(after, executed(other(amount), deed{"other_amount", cases.AlertOtherAmount, a.RefundID}))
	case n < 30:
		l.later(after, func() step {
			return done(l.result(a.RefundID, "1", "failed", "", "", "account closed"), deed{"failed", cases.AlertFailed, a.RefundID})
		})
	case n < 36:
		l.later(after, executed(amount))
		l.later(after, func() step {
			nobodys := a.RefundID + "-unknown"
			return done(l.result(nobodys, "1", "executed", amount, a.Currency, ""), deed{"unknown", cases.AlertUnknown, nobodys})
		})
	default:
		l.later(after, executed(amount))
	}
}

// told takes a status: the ledger pays what is asked for because it is overdue,
// and some of what it must not pay.
func (l *ledger) told(s status) {
	switch {
	case s.Status == "overdue":
		if a, ok := l.late[s.RefundID]; ok {
			delete(l.late, s.RefundID)
			l.later(0, func() step {
				return done(l.result(a.RefundID, "1", "executed", a.amount(), a.Currency, ""), deed{kind: "executed"})
			})
		}
	case l.leaked[s.RefundID]:
	case s.Status == "in_review" && l.c.fateOfHeld(s.RefundID) == leaked,
		s.Status == "rejected" && l.c.dice("rejected", s.RefundID) < 100:
		l.leaked[s.RefundID] = true
		l.later(l.c.span("leak", s.RefundID, 20*time.Millisecond, 400*time.Millisecond), func() step {
			return done(l.result(s.RefundID, "1", "executed", "", "", ""), deed{"unapproved", cases.AlertUnapproved, s.RefundID})
		})
	}
}

func (l *ledger) result(refundID, n, status, amount, currency, why string) *kgo.Record {
	return l.record(topicResults, refundID, map[string]any{"result_id": "res_" + refundID + "_" + n, "refund_id": refundID,
		"status": status, "amount": amount, "currency": currency, "error": why})
}

// other is another amount: twice as much, unless that is more than there is.
func other(amount string) string {
	r, ok := new(big.Rat).SetString(amount)
	if !ok {
		return "1"
	}
	if r.Mul(r, big.NewRat(2, 1)).Cmp(big.NewRat(1e14, 1)) >= 0 {
		return "1"
	}
	return r.FloatString(4)
}
