package demo

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/cases"
)

// customers are told what becomes of their refunds, and say what they think.
type customers struct {
	*program
	c      *cast
	denied map[string]bool // held refunds that somebody else asked for: until they are rejected
}

func newCustomers(c *cast) *program {
	p := &customers{program: &program{}, c: c, denied: map[string]bool{}}
	p.read, p.waits = p.take, p.waiting
	return p.program
}

func (p *customers) waiting() string {
	if n := len(p.denied); n > 0 {
		return fmt.Sprintf("%d denials are not heard", n)
	}
	return ""
}

// take answers a status. Of a hundred paid refunds 70 are confirmed, and one is
// denied; of those that are late, failed or rejected, half bring a complaint,
// and now and then one that is held or paid.
func (p *customers) take(r *kgo.Record) {
	s, ok := p.deeds.status(r)
	if !ok {
		return
	}
	n := p.c.dice("answer", s.RefundID)
	switch s.Status {
	case "in_review":
		if p.c.fateOfHeld(s.RefundID) == denied {
			p.denied[s.RefundID] = true
			p.answer(s, false)
		}
		p.complain(s, "slow_support", 30)
	case "executed":
		switch {
		case n < 10:
			p.answer(s, false)
		case n < 710:
			p.answer(s, true)
		}
		p.complain(s, "other", 5)
	case "overdue":
		p.complain(s, "slow_support", 500)
	case "failed":
		p.complain(s, "failed_transaction", 500)
	case "rejected":
		delete(p.denied, s.RefundID)
		p.complain(s, "other", 500)
	}
}

func (p *customers) answer(s status, confirmed bool) {
	p.later(p.c.span("answer after", s.RefundID, 50*time.Millisecond, 600*time.Millisecond), func() step {
		fields := map[string]any{"confirmation_id": "conf_" + s.RefundID, "refund_id": s.RefundID, "customer_id": s.CustomerID, "confirmed": confirmed}
		deeds := []deed{{"denied", cases.AlertDenied, s.RefundID}}
		if confirmed {
			satisfied := p.c.dice("satisfied", s.RefundID) < 850
			fields["satisfied"] = satisfied
			deeds = []deed{{kind: "confirmed"}, {kind: map[bool]string{true: "satisfied", false: "not_satisfied"}[satisfied]}}
		}
		return done(p.record(topicConfirmations, keyOf(s), fields), deeds...)
	})
}

// complain does so in that many of a thousand cases.
func (p *customers) complain(s status, kind string, share int) {
	if p.c.dice("complaint "+s.Status, s.RefundID) >= share {
		return
	}
	p.later(p.c.span("complaint after", s.RefundID, 50*time.Millisecond, 600*time.Millisecond), func() step {
		return done(p.record(topicComplaints, keyOf(s), map[string]any{"complaint_id": "cmp_" + s.RefundID + "_" + s.Status, "kind": kind,
			"customer_id": s.CustomerID, "refund_id": s.RefundID, "text": "about a refund that is " + s.Status}), deed{kind: "complaints"})
	})
}

// keyOf is the customer, or for a guest the refund.
func keyOf(s status) string {
	if s.CustomerID == "" {
		return s.RefundID
	}
	return s.CustomerID
}
