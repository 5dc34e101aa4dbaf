package demo

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules"
)

// analyst is two of them, who share one queue and work it by deadline.
type analyst struct {
	*program
	c     *cast
	queue map[string]*held
}

// held is a case in review, as it was read last.
type held struct {
	now       *cases.Case
	from      time.Time // when somebody looks at it
	asked     bool      // a verdict is sent, and nothing is heard of it yet
	escalated bool      // an analyst did
	raising   bool      // and nothing is heard of it yet
	late      bool      // a deadline has passed
}

// The two. No agent of the shop is called so.
var analysts = [...]string{"ada@desk", "ben@desk"}

func newAnalyst(c *cast) *program {
	a := &analyst{program: &program{}, c: c, queue: map[string]*held{}}
	a.read, a.rest, a.waits = a.take, a.work, a.waiting
	return a.program
}

func (a *analyst) waiting() string {
	if n := len(a.queue); n > 0 {
		return fmt.Sprintf("%d refunds are in review", n)
	}
	return ""
}

func (a *analyst) take(r *kgo.Record) {
	if r.Value == nil {
		return
	}
	c, err := pipeline.ParseCase(r)
	if err != nil {
		a.deeds.fail(err)
		return
	}
	if c.State != cases.InReview {
		delete(a.queue, c.RefundID)
		return
	}
	c.Request = nil // the verdict doesn't need it
	h := a.queue[c.RefundID]
	if h == nil {
		h = &held{now: c, from: time.Now().Add(a.c.span("look", c.RefundID, 100*time.Millisecond, time.Second))}
		a.queue[c.RefundID] = h
	}
	switch passed := h.now.Due <= time.Now().UnixMilli(); {
	case c.Due == h.now.Due:
	case h.raising:
		h.raising = false
	case passed:
		h.late = true
		a.later(0, func() step { return step{deeds: []deed{{"deadlines_passed", cases.AlertDeadline, c.RefundID}}} })
	}
	h.now, h.asked = c, false
}

// atOnce is how many verdicts fit between two looks at the queue.
const atOnce = 500

// work gives verdicts, on the most urgent first.
func (a *analyst) work(now time.Time) (steps []step) {
	var open []*held
	for id, h := range a.queue {
		switch fate := a.c.fateOfHeld(id); {
		case h.asked, now.Before(h.from):
		case fate == denied: // until its customer is heard
		case fate == leaked && !h.now.Paid:
		case fate == forgotten && !h.late:
		default:
			open = append(open, h)
		}
	}
	slices.SortFunc(open, func(x, y *held) int {
		return cmp.Or(cmp.Compare(x.now.Due, y.now.Due), cmp.Compare(x.now.RefundID, y.now.RefundID))
	})
	for _, h := range open[:min(len(open), atOnce)] {
		steps = append(steps, a.judge(h))
		h.asked = true
	}
	return steps
}

// judge is a verdict: of a hundred, six are escalated first, 15 rejected as
// fraud, the rest approved. Where two must approve, the case comes back.
func (a *analyst) judge(h *held) step {
	c := h.now
	who, n := a.c.dice("who", c.RefundID)%2, a.c.dice("verdict", c.RefundID)
	verdict := func(verdict, label, note string, list ...deed) step {
		id := fmt.Sprintf("rev_%s_%s_%d", c.RefundID, verdict, who)
		return done(a.record(topicReviews, c.RefundID, map[string]any{"review_id": id, "refund_id": c.RefundID, "verdict": verdict,
			"analyst": analysts[who], "label": label, "note": note}), append(list, deed{kind: verdict})...)
	}
	switch {
	case c.Paid:
		return verdict("reject", "", "the ledger has paid it already", deed{kind: "already_paid"})
	case c.First != "":
		if c.First == analysts[who] {
			who = 1 - who
		}
		return verdict("approve", "legit", "", deed{kind: "second_approval"})
	case n < 60 && !h.escalated && !h.late && c.Severity < rules.Critical:
		h.escalated, h.raising = true, true
		return verdict("escalate", "", "somebody else should look")
	case n >= 100 && n < 250:
		return verdict("reject", "fraud", "")
	}
	return verdict("approve", "legit", "")
}
