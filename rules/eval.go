package rules

import (
	"github.com/refundguard/refundguard/rules/event"
)

// frame is what a condition sees besides the present event.
type frame struct {
	original *event.Event
	refunded Value
	base     Value // amount_base
	features []Value
}

// fn is a compiled expression. f is nil inside where(…), where e is the past
// event; elsewhere e is the present one. It must not keep either.
type fn func(f *frame, e *event.Event) Value

// RefundedState says what is known of the refunds of the same transaction.
type RefundedState uint8

// The states. Both RefundedNone and RefundedMixed are nil in conditions.
const (
	RefundedNone  RefundedState = iota // the refund names no transaction
	RefundedKnown                      // Amount holds their sum, 0 where there are none
	RefundedMixed                      // they are in more than one currency
)

// Refunded is the sum of the refunds of the same transaction that were decided
// before and not rejected or failed.
type Refunded struct {
	State    RefundedState
	Amount   event.Money
	Currency event.Currency // 0 where there are none
}

// Input is one refund to evaluate, or one transaction where the set is that of
// Set.Transactions.
type Input struct {
	Event    *event.Event
	Original *event.Event // nil: unknown
	Refunded Refunded
}

// LookupKey is the key of one of Set.Lookups for the present refund.
type LookupKey struct {
	Bytes []byte // as Series.AppendKey encodes it; valid until the next Begin
	Nil   bool   // part of the key is missing: leave the lookup's features nil
}

// Evaluator evaluates one refund after the other. It is the scratch of one
// goroutine; a Set can have any number of them.
type Evaluator struct {
	set    *Set
	event  *event.Event
	frame  frame
	buf    []byte
	ends   []int
	keys   []LookupKey
	faults []string // by lookup: why its key could not be computed
	faulty bool     // there is one
	shed   bool
	failed []*Rule // those that hold the refund by that
	timing timing

	overrides *Overrides
	result    Result
	text      []byte
}

// NewEvaluator makes an evaluator of the set.
func (s *Set) NewEvaluator() *Evaluator {
	v := &Evaluator{
		set:    s,
		frame:  frame{features: make([]Value, len(s.Features))},
		ends:   make([]int, len(s.Lookups)),
		keys:   make([]LookupKey, len(s.Lookups)),
		faults: make([]string, len(s.Lookups)),
		result: Result{Features: make([]event.Feature, len(s.Features))},
	}
	for i, slot := range s.order {
		v.result.Features[i].Name = s.Features[slot].Text
	}
	return v
}

// Begin starts a refund and returns the keys to look up, one for each of
// Set.Lookups. All of Values are nil again. The input's events must stay as
// they are until Run has returned.
func (v *Evaluator) Begin(in *Input) []LookupKey {
	v.event = in.Event
	v.frame.original = in.Original
	v.frame.refunded = Value{}
	if in.Refunded.State == RefundedKnown {
		v.frame.refunded = Value{Kind: KindMoney, Num: int64(in.Refunded.Amount), Currency: in.Refunded.Currency}
		if in.Refunded.Amount == 0 {
			v.frame.refunded.Currency = 0
		}
	}
	v.frame.base = Value{}
	if v.set.baseUsed {
		v.frame.base = v.set.convert.amount(v.set.fields, in.Event)
	}
	clear(v.frame.features)
	v.faulty = false
	v.buf = v.buf[:0]
	for i := range v.set.Lookups {
		v.beginKey(i)
	}
	start := 0
	for i, end := range v.ends { // only now, because buf may have moved while it grew
		v.keys[i].Bytes = v.buf[start:end]
		start = end
	}
	return v.keys
}

func (v *Evaluator) beginKey(i int) {
	v.keys[i].Nil, v.faults[i] = false, ""
	start := len(v.buf)
	for _, k := range v.set.Lookups[i].keys {
		val := k.fn(&v.frame, v.event)
		switch val.Kind {
		case KindNil, kindMissing:
			v.keys[i].Nil = true
		case KindFault:
			v.keys[i].Nil, v.faults[i], v.faulty = true, val.Str, true
		default:
			v.buf = appendKeyPart(v.buf, k.typ, val)
			continue
		}
		v.buf = v.buf[:start]
		break
	}
	v.ends[i] = len(v.buf)
}

// Values has one slot for each of Set.Features, to be set before Run. See
// Feature for what goes there.
func (v *Evaluator) Values() []Value { return v.frame.features }

// Shed says whether shadow rules are left out, and listed as skipped, from the
// next refund on. Features that no live rule uses may then be left nil.
func (v *Evaluator) Shed(on bool) { v.shed = on }

// Run evaluates all rules on the refund that Begin started. With hold, the
// refund is not approved whatever the rules say: it is degraded, or stamped in
// the future or too far in the past.
func (v *Evaluator) Run(hold bool) *Result {
	if v.faulty {
		for i := range v.set.Features {
			if fault := v.faults[v.set.Features[i].Lookup]; fault != "" {
				v.frame.features[i] = FaultValue(fault)
			}
		}
	}
	r := &v.result
	r.reset()
	v.failed = v.failed[:0]
	var t tally
	timed := v.timing.next(len(v.set.conds))
	for i, cond := range v.set.conds {
		if v.shed && v.set.active[i].Mode == Shadow {
			r.Skipped = append(r.Skipped, v.set.active[i].ID)
			continue
		}
		var val Value
		if timed {
			val = v.timed(i)
		} else {
			val = cond(&v.frame, v.event)
		}
		if val.Kind == KindBool && val.Num == 0 {
			continue
		}
		rule := v.set.active[i]
		switch {
		case val.Kind == KindBool:
			if len(rule.Exceptions) > 0 && v.excepted(rule, &t) {
				continue
			}
			hit := rule.hit()
			if hit.Mode = v.mode(rule); hit.Mode == Live.String() {
				t.hit(rule, len(r.Hits))
			}
			r.Hits = append(r.Hits, hit)
			r.HitRules = append(r.HitRules, rule)
		case (val.Kind == kindMissing || val.Kind == KindNil) && rule.OnMissing == MissingSkip:
			r.Skipped = append(r.Skipped, rule.ID)
		default:
			v.fail(rule, &t)
			r.Errors = append(r.Errors, event.RuleError{Rule: rule.ID, Error: failureText(val)})
		}
	}
	for i, slot := range v.set.order {
		v.frame.features[slot].show(&r.Features[i])
	}
	t.decide(v.set.Policy, hold, r)
	if !hold {
		v.findAlone(&t)
	}
	v.render(&t)
	return r
}

// excepted says that no hit is to be recorded: an exception turned it off, or
// the rule failed.
func (v *Evaluator) excepted(rule *Rule, t *tally) bool {
	off, reason, fault := v.except(rule)
	if fault != "" {
		v.fail(rule, t)
		v.result.Errors = append(v.result.Errors, event.RuleError{Rule: rule.ID, Error: fault})
	} else if off {
		v.result.Excepted = append(v.result.Excepted, Excepted{Rule: rule.ID, Reason: reason})
	}
	return off
}

// fail notes that a rule failed; live, and unless it can only alert, that holds
// the refund.
func (v *Evaluator) fail(rule *Rule, t *tally) {
	if !rule.AlertOnly() && v.mode(rule) == Live.String() {
		t.failures++
		v.failed = append(v.failed, rule)
	}
}

func failureText(v Value) string {
	switch v.Kind {
	case KindFault:
		return v.Str
	case KindNil:
		return "missing a value: the condition is nil"
	case kindMissing:
		return "missing a value: " + v.Str + " is nil"
	}
	return "the condition is neither true nor false"
}

// render fills in the texts that are needed only when something hit.
func (v *Evaluator) render(t *tally) {
	r := &v.result
	for i, rule := range r.HitRules {
		if rule.message != nil {
			v.text = rule.message.append(v.text[:0], &v.frame, v.event)
			r.Hits[i].Message = string(v.text)
		}
	}
	if t.decider < 0 {
		return
	}
	rule := r.HitRules[t.decider]
	r.Reason = rule.Reason
	if rule.customerMessage != nil {
		v.text = rule.customerMessage.append(v.text[:0], &v.frame, v.event)
		r.CustomerMessage = string(v.text)
	}
}
