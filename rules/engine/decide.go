package engine

import (
	"cmp"
	"math"
	"slices"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/window"
)

// reserved is the sum of the refunds of one transaction that were decided and
// not rejected.
type reserved struct {
	amount   int64
	currency event.Currency
	mixed    bool
}

// found is one lookup's key in its store.
type found struct {
	store *window.Store
	key   window.Key
	ok    bool
}

// Emit takes one decision. It runs on worker w, at the same time as those of
// the other workers; d and res are valid during the call only. i is the
// refund's index in what Decide was given.
type Emit func(w, i int, d *event.Decision, res *rules.Result)

// Decide decides refunds that were applied, in parallel. Those of one
// transaction are decided by event time, then id. What the decision shows of
// time and place of the record is taken from the item; DecidedAt is left to
// emit.
func (e *Engine) Decide(items []*Item, emit Emit) {
	if len(items) == 0 {
		return
	}
	e.parallel(len(items), func(w int) {
		wk := e.workers[w]
		wk.due = wk.due[:0]
		for i, it := range items {
			if e.reservation(it) == w {
				wk.due = append(wk.due, int32(i))
			}
		}
		slices.SortStableFunc(wk.due, func(a, b int32) int {
			x, y := items[a], items[b]
			return cmp.Or(cmp.Compare(x.Event.Time, y.Event.Time), cmp.Compare(x.Event.ID(), y.Event.ID()))
		})
		for _, i := range wk.due {
			e.decide(w, items[i], func(d *event.Decision, res *rules.Result) { emit(w, int(i), d, res) })
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

func (e *Engine) decide(w int, it *Item, emit func(*event.Decision, *rules.Result)) {
	wk := e.workers[w]
	in := rules.Input{Event: &it.Event, Original: e.original(wk, it), Refunded: e.reservedFor(it)}
	for i, k := range wk.eval.Begin(&in) {
		wk.found[i] = e.find(i, k)
	}
	d := &wk.decision
	e.evaluateFeatures(wk, it)
	d.Warming = e.warming(d.Warming[:0], it)
	hold := it.Hold != "" || it.Degraded && e.cfg.HoldDegraded || len(d.Warming) > 0 && e.cfg.HoldWarming
	res := wk.eval.Run(hold)
	if res.Outcome != event.Reject {
		e.reserve(it)
	}
	e.describe(wk, it, in.Original, res)
	emit(d, res)
}

func (e *Engine) find(lookup int, k rules.LookupKey) found {
	if k.Nil {
		return found{}
	}
	key := unsafe.String(unsafe.SliceData(k.Bytes), len(k.Bytes))
	hash := xxh3.HashString(key)
	f := found{store: e.stores[e.set.Lookups[lookup].Series].shards[e.owner(hash)]}
	f.key, f.ok = f.store.Find(hash, key)
	return f
}

// evaluateFeatures computes every past-events expression, whatever the rules
// will read of it: the decision shows them all.
func (e *Engine) evaluateFeatures(wk *worker, it *Item) {
	values := wk.eval.Values()
	for i := range e.set.Features {
		f := &e.set.Features[i]
		at := wk.found[f.Lookup]
		if at.store == nil {
			continue // the key is nil, and so is the value
		}
		span := window.Span{From: math.MinInt64, To: it.Event.Time - f.Delayed}
		if !f.Ever {
			span.From = span.To - f.Within
		}
		if e.isRefunds(f) {
			span.HasSkip, span.Skip, span.SkipTime = true, it.id, it.Event.Time
		}
		values[i] = e.aggregate(wk, f, at, span)
	}
}

func (e *Engine) isRefunds(f *rules.Feature) bool {
	return e.set.Series[e.set.Lookups[f.Lookup].Series].Source == "refunds"
}

func (e *Engine) aggregate(wk *worker, f *rules.Feature, at found, span window.Span) rules.Value {
	switch f.Aggregate {
	case rules.Count:
		if !at.ok {
			return rules.IntValue(0)
		}
		return rules.IntValue(at.store.Count(at.key, span))
	case rules.Distinct:
		if !at.ok {
			return rules.IntValue(0)
		}
		return rules.IntValue(at.store.Distinct(at.key, f.Column, span, &wk.distinct))
	}
	if !at.ok {
		return f.Total(0, 0, 0)
	}
	total, n, currency, err := at.store.Sum(at.key, f.Column, span)
	if err != nil {
		return rules.FaultValue(f.Text + ": " + err.Error())
	}
	return f.Total(total, n, event.Currency(currency))
}

// warming lists the expressions whose window reaches back further than what
// their series holds.
func (e *Engine) warming(dst []string, it *Item) []string {
	for i := range e.set.Features {
		f := &e.set.Features[i]
		since := e.stores[e.set.Lookups[f.Lookup].Series].since
		if since == math.MinInt64 {
			continue
		}
		if f.Ever || it.Event.Time-f.Delayed-f.Within < since {
			dst = append(dst, f.Text)
		}
	}
	slices.Sort(dst)
	return dst
}

// reservedFor is what is already refunded of the transaction that a refund
// names.
func (e *Engine) reservedFor(it *Item) rules.Refunded {
	id := it.Event.Str(e.slots.rfTransaction)
	if id == "" {
		return rules.Refunded{}
	}
	hash := xxh3.HashString(id)
	r := e.shards[e.owner(hash)].refunded.get(hash, id)
	switch {
	case r == nil:
		return rules.Refunded{State: rules.RefundedKnown}
	case r.mixed:
		return rules.Refunded{State: rules.RefundedMixed}
	}
	return rules.Refunded{State: rules.RefundedKnown, Amount: event.Money(r.amount), Currency: r.currency}
}

// reserve adds a refund to the sum of its transaction.
func (e *Engine) reserve(it *Item) {
	e.reserveFor(it.Event.Str(e.slots.rfTransaction), it.Event.Vals[e.slots.rfAmount].Num, event.Currency(it.Event.Vals[e.slots.rfCurrency].Num))
}

// reserveFor adds an amount to the sum of a transaction's refunds. A sum that
// no integer holds stays at the greatest one: what reads it fails, and the
// refund is held.
func (e *Engine) reserveFor(transaction string, amount int64, currency event.Currency) {
	if transaction == "" {
		return
	}
	hash := xxh3.HashString(transaction)
	r, known := e.shards[e.owner(hash)].refunded.put(hash, transaction)
	switch {
	case !known:
		*r = reserved{amount: amount, currency: currency}
	case r.currency != currency:
		r.mixed = true
	case r.amount > math.MaxInt64-amount:
		r.amount = math.MaxInt64
	default:
		r.amount += amount
	}
}

// Settle enters the outcome of a refund that was decided before: history, or
// what the journal says. The refund must have been applied.
func (e *Engine) Settle(it *Item, o event.Outcome) {
	if o != event.Reject {
		e.reserve(it)
	}
}

// Past is what is known of a refund that was decided before, and whose record
// can't be read any more.
type Past struct {
	TransactionID string
	Amount        event.Money
	Currency      event.Currency
	Outcome       event.Outcome
}

// Remember enters such a refund: its id, so that a repeat is a Conflict (whether
// the bytes are the same can't be told), and its amount.
func (e *Engine) Remember(refundID string, p Past) {
	hash := xxh3.HashString(refundID)
	if _, known := e.shards[e.owner(hash)].ids[e.refunds].put(hash, refundID); known {
		return
	}
	if p.Outcome != event.Reject {
		e.reserveFor(p.TransactionID, int64(p.Amount), p.Currency)
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
