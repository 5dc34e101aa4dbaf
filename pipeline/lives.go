package pipeline

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// What happens to a refund after its decision: verdicts, the customer's answer,
// the ledger's results, and time that passes. Records of these streams take their
// turn in the order of their partition, once they are applied; one whose refund
// isn't known waits until every refund of before it is decided. See package cases
// for what follows from each.

// lives is what a session has for that.
type lives struct {
	book   *cases.Book
	policy policy

	secondAbove event.Money // in the base currency; below 0: one analyst is enough always

	slots map[string]verdictSlots // by stream

	late bool     // a time has passed that waits for what was said before: see heard
	lost []string // while recovering: refunds in review that have no case

	deaf bool // a partition is silent, and time passes without it

	undecided map[string]bool // see waits; nil: nobody has asked in this turn

	// While recovering: cases whose refunds the state doesn't count yet.
	unsettled map[string]bool
}

// verdictSlots are fields of reviews, confirmations and ledger_results; -1 where
// a stream hasn't one.
type verdictSlots struct {
	refund, verdict, analyst, note, label int
	confirmed, satisfied                  int
	status, amount, currency, err         int
}

// streams whose records happen to cases.
const (
	reviewsStream       = "reviews"
	confirmationsStream = "confirmations"
	resultsStream       = "ledger_results"
)

func newLives(s *session) lives {
	l := lives{book: cases.New(nil), policy: policy{s}, slots: map[string]verdictSlots{}, unsettled: map[string]bool{}, secondAbove: s.cfg.Review.secondAbove()}
	for _, name := range []string{reviewsStream, confirmationsStream, resultsStream} {
		st := s.schema.Stream(name)
		l.slots[name] = verdictSlots{
			refund: st.Slot("refund_id"), verdict: st.Slot("verdict"), analyst: st.Slot("analyst"), note: st.Slot("note"), label: st.Slot("label"),
			confirmed: st.Slot("confirmed"), satisfied: st.Slot("satisfied"),
			status: st.Slot("status"), amount: st.Slot("amount"), currency: st.Slot("currency"), err: st.Slot("error"),
		}
	}
	return l
}

// happens reports whether an input's records happen to cases. What only observes
// has none that somebody would answer.
func (s *session) happens(in *input) bool {
	_, ok := s.lives.slots[in.stream.Name]
	return ok && !s.cfg.Observe
}

// policy is the configuration's.
type policy struct{ s *session }

func (p policy) ReviewBy(severity rules.Severity, now int64) int64 {
	return max(p.s.cfg.calendar.After(time.UnixMilli(now), p.s.sla(severity)).UnixMilli(), now+1) // or it never ends
}

func (p policy) PaidBy(method string, now int64) int64 {
	if !p.s.hasResults() || p.s.cfg.Observe { // nothing is paid of what is only observed
		return 0
	}
	return p.s.etaFrom(method, time.UnixMilli(now)).UnixMilli()
}

// OnDeadline approves nothing while it is on hold, or while it can't be told
// whether somebody has rejected it: then people are asked again.
func (p policy) OnDeadline(c *cases.Case) cases.Kind {
	switch p.s.cfg.Review.OnDeadline[c.Severity.String()] {
	case "approve":
		if p.s.lives.deaf || p.s.guards.Holds(c.MerchantID) {
			return cases.Escalate
		}
		return cases.Approve
	case "reject":
		return cases.Reject
	}
	return cases.Escalate
}

func (p policy) NeedsTwo(c *cases.Case) bool { return needsTwo(c, p.s.lives.secondAbove) }

// needsTwo is also where there is no rate for the currency.
func needsTwo(c *cases.Case, above event.Money) bool {
	return above >= 0 && (c.Base == 0 || c.Base > above)
}

// secondAbove is in the base currency; below 0: one analyst is always enough.
func (c ReviewConfig) secondAbove() event.Money {
	if c.SecondAbove == "" {
		return -1
	}
	above, _ := event.ParseMoney([]byte(c.SecondAbove)) // checked by Validate
	return above
}

// hasResults reports whether there is a ledger that tells what it did: without
// one, nothing is late.
func (s *session) hasResults() bool {
	for _, in := range s.inputs {
		if in.stream.Name == resultsStream {
			return true
		}
	}
	return false
}

// takeTurns has what waits happen, in the order of each partition, and time pass.
// It reports whether there was anything.
func (s *session) takeTurns(d *due, now time.Time) (some bool) {
	s.lives.undecided = nil
	for _, in := range s.inputs {
		if in.gates || !in.decides {
			continue
		}
		for _, p := range in.partitions {
			for h := p.head(); h != nil && s.failed == nil && !s.epoch.full(); h = p.head() {
				if h.decidable() && !s.happen(h, d, now) {
					break
				}
				p.pop()
				some = true
			}
		}
	}
	return s.timePasses(now) || some
}

// happen is one record's turn. It reports false if the record waits.
func (s *session) happen(r *record, d *due, now time.Time) bool {
	slots := s.lives.slots[r.part.in.stream.Name]
	id := r.Event.Str(slots.refund)
	c, err := s.lives.book.Get(id)
	if err != nil {
		s.failed = fmt.Errorf("the state on disk: %w", err)
		return false
	}
	ev, named := s.eventOf(r, &slots, now)
	if c == nil {
		// Not until the time that it is stamped with, where that is yet to come:
		// what is behind it would wait as long.
		if ok, _ := d.at(r, min(r.Event.Time, r.Received)); !ok || s.refundsLeftOut() || s.waits(id) {
			return false
		}
		s.unknownRefund(r, id, ev.Kind, now)
		return true
	}
	ch, refused := cases.Step(c, ev, s.lives.policy)
	if refused != nil {
		s.refuse(r, &event.RecordError{Code: refused.Code, Field: "refund_id", Message: refused.Message}, rules.Medium, now)
		return true
	}
	s.metrics.served(c, &ch, &ev)
	s.labelCase(r, c, &ch, &slots)
	s.carryOut(c, &ch, named, now)
	return true
}

// refundsLeftOut reports whether a partition of refunds brings nothing of what it
// has: nobody can tell what was never asked for.
func (s *session) refundsLeftOut() bool {
	return slices.ContainsFunc(s.refunds.partitions, func(p *partition) bool { return p.leftOut })
}

// waits reports whether a refund is applied and waits for its decision. Alignment
// doesn't tell: one that is due can wait for an earlier one of its transaction.
func (s *session) waits(id string) bool {
	if !s.engine.Knows(id) {
		return false
	}
	if s.lives.undecided == nil { // no refund comes or goes during the turns
		s.lives.undecided = map[string]bool{}
		for _, p := range s.refunds.partitions {
			for _, x := range p.pending[p.pendingAt:] {
				if x.decidable() {
					s.lives.undecided[x.Event.ID()] = true
				}
			}
		}
	}
	return s.lives.undecided[id]
}

// eventOf is what a record says, and its id.
func (s *session) eventOf(r *record, at *verdictSlots, now time.Time) (ev cases.Event, id string) {
	e := &r.Event
	ev.Now, ev.At = now.UnixMilli(), e.Time
	switch e.Stream.Name {
	case reviewsStream:
		ev.By, ev.Note = e.Str(at.analyst), e.Str(at.note)
		ev.Kind = map[string]cases.Kind{"approve": cases.Approve, "reject": cases.Reject, "escalate": cases.Escalate}[e.Str(at.verdict)]
	case confirmationsStream:
		if ev.Kind = cases.Confirm; e.Vals[at.confirmed].Num == 0 {
			ev.Kind = cases.Deny
		}
		if e.Has(at.satisfied) {
			ev.Content = event.AnswerOf(e.Vals[at.satisfied].Num != 0)
		}
	case resultsStream:
		ev.Note = e.Str(at.err)
		if ev.Kind = cases.Execute; e.Str(at.status) == "failed" {
			ev.Kind = cases.Fail
		}
		if e.Has(at.amount) {
			ev.Amount = event.Money(e.Vals[at.amount].Num)
		}
		if e.Has(at.currency) {
			ev.Currency = event.Currency(e.Vals[at.currency].Num)
		}
	}
	return ev, e.ID()
}

// unknownRefund is for a record whose refund has no case: it was never asked for,
// or before decide_from, or its case is forgotten.
func (s *session) unknownRefund(r *record, id string, k cases.Kind, now time.Time) {
	known := s.engine.Knows(id)
	switch {
	case known && (k == cases.Confirm || k == cases.Deny || k == cases.Execute || k == cases.Fail):
		s.metrics.caseEvents.WithLabelValues(k.String() + "_without_case").Inc()
		return // of a time that nothing is kept of: before decide_from, or long after the end
	case known:
		s.refuse(r, &event.RecordError{Code: cases.CodeFinished, Field: "refund_id", Message: fmt.Sprintf("%s: refund %q was never in review, or was finished long ago", k, id)}, rules.Medium, now)
		return
	}
	s.refuse(r, &event.RecordError{Code: cases.CodeUnknown, Field: "refund_id", Message: fmt.Sprintf("%s: refund %q was never asked for", k, id)}, rules.Medium, now)
	if k == cases.Execute {
		s.metrics.caseAlerts.WithLabelValues(cases.AlertUnknown).Inc()
		s.alert(&event.Alert{AlertID: event.AlertID("case", cases.AlertUnknown, id, r.Event.ID()), Rule: cases.AlertUnknown, Severity: rules.Critical.String(), RefundID: id,
			Message: fmt.Sprintf("the ledger executed refund %s, which was never asked for", id), At: now.UnixMilli()})
	}
}

// heard is the time before which all that was said of cases had its turn. No time
// passes that is later: after hours in which nothing worked, a verdict that was in
// time comes before the deadline, and a result before it is overdue. What brings
// nothing for align_timeout isn't waited for; then deadlines approve nothing.
func (s *session) heard() int64 {
	until, silence := int64(math.MaxInt64), time.Now().Add(-s.cfg.Engine.AlignTimeout)
	s.lives.deaf = false
	for _, in := range s.inputs {
		if in.gates || !in.decides {
			continue
		}
		for _, p := range in.partitions {
			switch {
			case p.endKnown && p.decided() >= p.end:
				p.heardUntil, p.unheardSince = s.ends.of, time.Time{}
			case p.unheardSince.IsZero():
				p.unheardSince = time.Now()
			case p.unheardSince.Before(silence) && p.waiting() == 0 && p.peek() == nil && p.silentSince(silence):
				s.lives.deaf = true
				continue
			}
			until = min(until, p.heardUntil)
		}
	}
	return until
}

// silentSince reports whether a partition has brought nothing since then.
func (p *partition) silentSince(at time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved.Before(at)
}

// timePasses does what was to be done by now.
func (s *session) timePasses(now time.Time) (some bool) {
	s.lives.late = false
	if s.cfg.Observe {
		return false
	}
	heard := int64(math.MinInt64) // not asked yet
	for !s.epoch.full() && s.failed == nil {
		id, due, ok := s.lives.book.Next(now.UnixMilli())
		if !ok {
			break
		}
		if heard == math.MinInt64 {
			heard = s.heard()
		}
		if due > heard {
			s.lives.late = true
			break
		}
		c, err := s.lives.book.Get(id)
		if err != nil || c == nil {
			s.failed = fmt.Errorf("the state on disk: the case of refund %q: %w", id, firstError(err, errNoCase))
			break
		}
		named := fmt.Sprint(c.Due)
		ch, refused := cases.Step(c, cases.Event{Kind: cases.TimePassed, Now: now.UnixMilli()}, s.lives.policy)
		if refused != nil {
			s.failed = fmt.Errorf("the case of refund %q: %w", id, refused)
			break
		}
		s.carryOut(c, &ch, named, now)
		some = true
	}
	return some
}

var errNoCase = errors.New("something waits for it, and it isn't there")

// newCase is the case of a refund that was just decided. It runs on a worker.
func (s *session) newCase(rec *record, out *decided, now int64) *cases.Case {
	ev, slots := &rec.Event, &s.slots
	c := &cases.Case{
		// The book keeps the id for long: it must not hold on to what was fetched with it.
		RefundID: strings.Clone(ev.ID()), TransactionID: ev.Str(slots.transaction), CustomerID: ev.Str(slots.customer), MerchantID: ev.Str(slots.merchant),
		Method: clip(ev.Str(slots.method), maxCaseText), Agent: ev.Str(slots.agent), RequestReason: clip(ev.Str(slots.reason), maxCaseText), Language: clip(s.language(ev), maxCaseText),
		Amount: event.Money(ev.Vals[slots.amount].Num), Currency: event.Currency(ev.Vals[slots.currency].Num),
		Source:   event.Source{Topic: rec.part.in.stream.Topic, Partition: rec.Partition, Offset: rec.Offset},
		Occurred: rec.Sent, Received: rec.Received, Opened: now, Since: now, Changed: now, Ordinal: 1, Reason: clip(out.reason, maxCaseText), By: "engine", Settled: true,
	}
	c.Base, _ = s.set.InBase(c.Amount, c.Currency)
	switch out.outcome {
	case event.Approve:
		c.State, c.Due, c.Reserved = cases.Approved, s.lives.policy.PaidBy(c.Method, now), true
	case event.Review:
		c.State, c.Due, c.Reserved, c.Severity = cases.InReview, out.deadline, true, out.severity
		c.Request = &cases.Request{Key: rec.raw.Key, Value: rec.raw.Value}
		for _, h := range rec.raw.Headers {
			c.Request.Headers = append(c.Request.Headers, event.Header{Key: h.Key, Value: h.Value})
		}
	case event.Reject:
		c.State = cases.Rejected
	}
	return c
}

// carryOut writes what follows from a change of a case, and keeps the case.
func (s *session) carryOut(c *cases.Case, ch *cases.Change, named string, now time.Time) {
	at, key, e := now.UnixMilli(), []byte(c.RefundID), s.epoch
	id := event.DecisionID(c.RefundID, c.Ordinal)
	if ch.Outcome != 0 {
		d := event.Decision{DecisionID: id, RefundID: c.RefundID, TransactionID: c.TransactionID, CustomerID: c.CustomerID, MerchantID: c.MerchantID,
			Amount: c.Amount, Currency: c.Currency, Outcome: ch.Outcome, DecidedBy: ch.DecidedBy, Reason: ch.Reason, Ruleset: s.set.Version,
			OccurredAt: c.Occurred, ReceivedAt: c.Received, DecidedAt: at, Source: c.Source}
		e.add(&kgo.Record{Topic: s.topics.Decisions, Key: key, Value: d.Append(nil)})
		s.tally.decision(ch.DecidedBy, ch.Outcome)
	}
	if ch.Status {
		e.add(&kgo.Record{Topic: s.topics.Status, Key: key, Value: s.caseStatus(c, ch, now)})
	}
	if ch.Release {
		e.add(s.approved(ch.Request, id))
	}
	s.metrics.caseEvents.WithLabelValues(ch.Kind.String()).Inc()
	if a := ch.Alert; a != nil {
		s.metrics.caseAlerts.WithLabelValues(a.Rule).Inc()
		s.alert(&event.Alert{AlertID: event.AlertID("case", a.Rule, c.RefundID, named), Rule: a.Rule, Severity: a.Severity.String(), RefundID: c.RefundID,
			TransactionID: c.TransactionID, CustomerID: c.CustomerID, MerchantID: c.MerchantID, Outcome: ch.Outcome.String(),
			Amount: c.Amount, Currency: c.Currency, Message: a.Message, At: at})
	}
	s.reserve(c, ch.Reserve)
	if c.Opened >= s.moved { // else another cluster's balance has it
		s.balance.move(ch.From, c.State)
	}
	s.lives.book.Put(c)
	r := s.caseRecord(&s.writers[0], c, id) // no worker is at work
	e.add(&r)
}

// reserve has the amount of a case count in refunded, or not.
func (s *session) reserve(c *cases.Case, how int) {
	p := pastOf(c)
	switch how {
	case 1:
		s.engine.Reserve(p)
	case -1:
		s.engine.Release(p)
	}
}
