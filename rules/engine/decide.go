package engine

import (
	"cmp"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// Emit takes one decision. It runs on worker w, at the same time as those of
// the other workers; d and res are valid during the call only. i is the
// refund's index in what Decide was given. It may turn an approval into a
// review.
type Emit func(w, i int, d *event.Decision, res *rules.Result)

// Shed says whether shadow rules, and the values that only they ask for, are left
// out from now on: for where there is more to decide than time for it. The
// decision lists them as skipped.
func (e *Engine) Shed(on bool) { e.shed = on }

// Decide decides refunds that were applied, in parallel. Those of one
// transaction are decided by event time, then id. What the decision shows of
// time and place of the record is taken from the item; DecidedAt is left to
// emit.
func (e *Engine) Decide(items []*Item, emit Emit) {
	if len(items) == 0 {
		return
	}
	e.share(items, e.reservation)
	e.parallel(len(items), func(w int) {
		slices.SortStableFunc(e.workers[w].due, func(a, b int32) int {
			x, y := items[a], items[b]
			return cmp.Or(cmp.Compare(x.Event.Time, y.Event.Time), cmp.Compare(x.Event.ID(), y.Event.ID()))
		})
	})
	for left := len(items); left > 0; {
		asked := e.bringBack(onRefunds, items)
		e.parallel(left, func(w int) {
			wk := e.workers[w]
			n := 0
			for n < len(wk.due) && e.decide(w, items, int(wk.due[n]), asked, emit) {
				n++
			}
			wk.due = append(wk.due[:0], wk.due[n:]...)
		})
		left = 0
		for _, wk := range e.workers {
			left += len(wk.due)
		}
	}
}

// share notes in each worker which items are its own.
func (e *Engine) share(items []*Item, owner func(*Item) int) {
	e.parallel(len(items), func(w int) {
		wk := e.workers[w]
		wk.due = wk.due[:0]
		for i, it := range items {
			if owner(it) == w {
				wk.due = append(wk.due, int32(i))
			}
		}
	})
}

// reservation is the shard that keeps the sum of a refund's transaction.
func (e *Engine) reservation(it *Item) int {
	if id := it.Event.Str(e.slots.rfTransaction); id != "" {
		return e.owner(xxh3.HashString(id))
	}
	return e.owner(it.id)
}

// decide reports whether it did: not where a key hangs on what was refunded, which
// has changed since it was asked for, and is not in memory.
func (e *Engine) decide(w int, items []*Item, i int, asked bool, emit Emit) bool {
	wk, it := e.workers[w], items[i]
	in := e.input(wk, onRefunds, it)
	if asked && in.Refunded != it.refunded && e.askFor(wk, onRefunds, &in) {
		return false
	}
	d := &wk.decision
	e.lookUp(wk, onRefunds, &in, it.id)
	d.Warming = e.warming(d.Warming[:0], onRefunds, it.Event.Time)
	paid := int64(0)
	if in.Original != nil {
		paid = in.Original.Vals[e.slots.txTime].Num
	}
	it.Degraded = it.Degraded || e.loss.touches(len(d.Warming) > 0, it.Event.Has(e.slots.rfTransaction), in.Original != nil, paid)
	hold := it.Hold != "" || it.Degraded && e.cfg.HoldDegraded || len(d.Warming) > 0 && e.cfg.HoldWarming
	res := wk.evals[onRefunds].Run(hold)
	if res.Outcome != event.Reject {
		e.reserve(it)
	}
	controls := res.Controls
	holdout := e.heldOut(wk, it, res)
	if holdout {
		res.Outcome, res.Reason, res.CustomerMessage = event.Approve, "", ""
	}
	if res.Outcome == event.Approve {
		if controls = e.guards.holds(controls, it.Event.Str(e.slots.rfMerchant)); len(controls) > len(res.Controls) {
			holdout = false
			res.Outcome, res.Reason, res.CustomerMessage = event.Review, ReasonHold, ""
		}
	}
	e.describe(wk, it, in.Original, res)
	d.Holdout, d.Controls = holdout, controls
	emit(w, i, d, res) // which may hold an approval, after all
	if e.derived.any() {
		wk.decided = append(wk.decided, derived{it, Decided{DecisionID: d.DecisionID, Outcome: d.Outcome, Score: d.Score, Hits: slices.Clone(res.Hits)}})
	}
	return true
}

// input is what the rules of a plan see of an item.
func (e *Engine) input(wk *worker, which int, it *Item) rules.Input {
	in := rules.Input{Event: &it.Event}
	if which == onRefunds {
		in.Original, in.Refunded = e.original(wk, it), e.reservedFor(it)
	}
	return in
}

// reservedFor is what is already refunded of the transaction that a refund
// names.
func (e *Engine) reservedFor(it *Item) rules.Refunded {
	id := it.Event.Str(e.slots.rfTransaction)
	if id == "" {
		return rules.Refunded{}
	}
	hash := xxh3.HashString(id)
	x := e.shards[e.owner(hash)].refunded.get(hash, id)
	switch {
	case x == nil || x.val.amount == 0 && !x.val.mixed:
		return rules.Refunded{State: rules.RefundedKnown}
	case x.val.mixed || len(x.val.others) > 0:
		return rules.Refunded{State: rules.RefundedMixed}
	}
	return rules.Refunded{State: rules.RefundedKnown, Amount: event.Money(x.val.amount), Currency: x.val.currency}
}

// reserve adds a refund to the sum of its transaction.
func (e *Engine) reserve(it *Item) {
	e.reserveFor(it.Event.Str(e.slots.rfTransaction), it.Event.Vals[e.slots.rfAmount].Num, event.Currency(it.Event.Vals[e.slots.rfCurrency].Num), it.Seen)
}

// reserveFor adds an amount to the sum of a transaction's refunds, which is kept
// for as long as the id of its last refund.
func (e *Engine) reserveFor(transaction string, amount int64, currency event.Currency, seen int64) {
	if transaction == "" {
		return
	}
	hash := xxh3.HashString(transaction)
	sh := e.shards[e.owner(hash)]
	x, known := sh.refunded.put(hash, transaction, dayOf(seen))
	x.day = max(x.day, dayOf(seen))
	r := &x.val
	if !known {
		*r = reserved{}
	}
	r.add(amount, currency)
	if e.tracking && !r.changed {
		r.changed = true
		sh.changed = append(sh.changed, hash)
	}
}

// Settle enters the outcome of a refund that was decided before: history, or
// what the journal says. The refund must have been applied.
func (e *Engine) Settle(it *Item, o event.Outcome) {
	if o != event.Reject {
		e.reserve(it)
	}
}

// Release takes a refund out of the sum of its transaction: it was rejected after
// all, or failed. The refund must have been reserved; a sum that is forgotten
// stays so.
func (e *Engine) Release(p Past) {
	hash := xxh3.HashString(p.TransactionID)
	if e.shards[e.owner(hash)].refunded.get(hash, p.TransactionID) != nil {
		e.reserveFor(p.TransactionID, -int64(p.Amount), p.Currency, p.Seen)
	}
}

// Knows reports whether a refund was applied, and its id isn't forgotten.
func (e *Engine) Knows(refundID string) bool {
	hash := xxh3.HashString(refundID)
	_, _, ok := e.shards[e.owner(hash)].ids[e.refunds].peek(hash, refundID, func(value []byte) (content uint64, err error) {
		content, _, _, err = decodeID(value, true)
		return content, err
	})
	return ok
}

// Past is what is known of a refund that was decided before, and whose record
// can't be read any more.
type Past struct {
	TransactionID string
	Amount        event.Money
	Currency      event.Currency
	Outcome       event.Outcome
	Seen          int64 // as of Item
}

// Remember enters such a refund: its id, so that a repeat is a Conflict (whether
// the bytes are the same can't be told), and its amount.
func (e *Engine) Remember(refundID string, p Past) {
	hash := xxh3.HashString(refundID)
	if _, known := e.shards[e.owner(hash)].ids[e.refunds].put(hash, refundID, dayOf(p.Seen)); known {
		return
	}
	e.Reserve(p)
}

// Reserve is Settle for a refund that was applied, and whose record can't be
// read any more.
func (e *Engine) Reserve(p Past) {
	if p.Outcome != event.Reject {
		e.reserveFor(p.TransactionID, int64(p.Amount), p.Currency, p.Seen)
	}
}

// describe fills the worker's decision. Its slices are the evaluator's.
func (e *Engine) describe(wk *worker, it *Item, original *event.Event, res *rules.Result) {
	ev, s, d := &it.Event, &e.slots, &wk.decision
	*d = event.Decision{
		RefundID: ev.ID(), TransactionID: ev.Str(s.rfTransaction), CustomerID: ev.Str(s.rfCustomer), MerchantID: ev.Str(s.rfMerchant),
		Amount: event.Money(ev.Vals[s.rfAmount].Num), Currency: event.Currency(ev.Vals[s.rfCurrency].Num),
		Outcome: res.Outcome, DecidedBy: "engine", Score: res.Score, Reason: res.Reason,
		Hits: res.Hits, Errors: res.Errors, Skipped: res.Skipped, Features: res.Features,
		Ruleset: e.set.Version, OccurredAt: it.Sent, ReceivedAt: it.Received, Degraded: it.Degraded, Warming: d.Warming,
		Source: event.Source{Topic: ev.Stream.Topic, Partition: it.Partition, Offset: it.Offset},
	}
	d.DecisionID = event.DecisionID(d.RefundID, 1)
	if d.Reason == "" && res.Outcome == event.Review {
		switch {
		case it.Hold != "":
			d.Reason = it.Hold
		case it.Degraded:
			d.Reason = "DEGRADED"
		case len(d.Warming) > 0 && e.cfg.HoldWarming:
			d.Reason = "WARMING"
		}
	}
	if original != nil {
		wk.shown = event.Original{
			TransactionID: original.ID(), Amount: event.Money(original.Vals[s.txAmount].Num), Currency: event.Currency(original.Vals[s.txCurrency].Num),
			OccurredAt: original.Vals[s.txTime].Num, InstrumentID: original.Str(s.txInstrument),
		}
		d.Original = &wk.shown
	}
}
