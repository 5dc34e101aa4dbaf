package engine

import (
	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// Decided is what was decided of a refund, or what hit a transaction.
type Decided struct {
	DecisionID string // of a refund; "" for a transaction
	Outcome    event.Outcome
	Score      int64
	Hits       []event.Hit
}

// derived waits for Derive.
type derived struct {
	item *Item
	past Decided
}

// derivation makes the events of the streams hits and decisions.
type derivation struct {
	hits, decisions projection
}

func (d *derivation) any() bool { return len(d.hits.stores) > 0 || len(d.decisions.stores) > 0 }

// projection makes events of one derived stream.
type projection struct {
	stores                []int
	stream                *event.Stream
	refunds, transactions []int // slots, see event.Projection
	rule, severity, mode  int
	outcome, score        int
}

// feed adds a store of the stream.
func (p *projection) feed(e *Engine, store int) {
	p.stores = append(p.stores, store)
	if p.stream != nil {
		return
	}
	p.stream = e.stores[store].def.Stream
	p.refunds = event.Projection(e.cfg.Schema.Streams[e.refunds], p.stream)
	p.transactions = event.Projection(e.cfg.Schema.Streams[e.transactions], p.stream)
	p.rule, p.severity, p.mode = p.stream.Slot("rule"), p.stream.Slot("severity"), p.stream.Slot("mode")
	p.outcome, p.score = p.stream.Slot("outcome"), p.stream.Slot("score")
}

// project is an event of the derived stream with the fields that it shares with
// the event that it is about.
func (p *projection) project(from *event.Event, slots []int, id string) *event.Event {
	ev := &event.Event{Stream: p.stream, Time: from.Time, Vals: make([]event.Value, len(p.stream.Fields))}
	for to, slot := range slots {
		if !from.Has(slot) {
			continue
		}
		v := from.Vals[slot]
		if p.stream.Fields[to].Type == event.TypeEnum {
			p.set(ev, to, v.Str, v.Num)
			continue
		}
		ev.Vals[to] = v
		ev.Present |= 1 << uint(to)
	}
	p.set(ev, 0, id, 0)
	return ev
}

// set gives a field its text. An enum's number is that of its own stream.
func (p *projection) set(ev *event.Event, slot int, text string, num int64) {
	if slot < 0 {
		return
	}
	if f := &p.stream.Fields[slot]; f.Type == event.TypeEnum {
		num = -1
		for i, known := range f.Values {
			if known == text {
				num = int64(i)
			}
		}
	}
	ev.Vals[slot] = event.Value{Str: text, Num: num}
	ev.Present |= 1 << uint(slot)
}

// Derive enters what was decided and hit since the last call into the streams
// hits and decisions, so that decisions from now on see it. Call it where an
// epoch ends. The items that were decided must have stayed as they were.
func (e *Engine) Derive() {
	n := 0
	for _, wk := range e.workers {
		n += len(wk.decided)
	}
	if n == 0 {
		return
	}
	e.parallel(n, func(w int) {
		wk := e.workers[w]
		wk.reset()
		for i := range wk.decided {
			e.derive(wk, &wk.decided[i], all)
		}
		clear(wk.decided)
		wk.decided = wk.decided[:0]
	})
	e.parallel(n, e.insertAll)
}

// Recall enters what was decided or hit earlier, as a journal says, into the
// streams hits and decisions at once. Each may be told only once.
func (e *Engine) Recall(it *Item, d Decided) { e.recall(it, d, all) }

func (e *Engine) recall(it *Item, d Decided, which func(*worker, []int) []int) {
	if !e.derived.any() {
		return
	}
	for _, wk := range e.workers {
		wk.reset()
	}
	e.derive(e.workers[0], &derived{it, d}, which)
	for w := range e.workers {
		e.insertAll(w)
	}
}

// all are the stores themselves, in the place of fillable.
func all(_ *worker, stores []int) []int { return stores }

// Derives reports whether some rule reads hits or decisions, so that Recall has
// a use.
func (e *Engine) Derives() bool { return e.derived.any() }

// derive makes the events of one decision, and sends them to those of the
// streams' stores that which picks.
func (e *Engine) derive(wk *worker, d *derived, which func(*worker, []int) []int) {
	from, past := &d.item.Event, &d.past
	transaction := d.item.Stream == e.transactions
	if p := &e.derived.hits; len(p.stores) > 0 {
		slots, id := p.refunds, past.DecisionID
		if transaction {
			slots, id = p.transactions, "transaction/"+from.ID()
		}
		for i := range past.Hits {
			h := &past.Hits[i]
			ev := p.project(from, slots, id+"/"+h.Rule)
			p.set(ev, p.rule, h.Rule, 0)
			p.set(ev, p.severity, h.Severity, 0)
			p.set(ev, p.mode, h.Mode, 0)
			e.route(wk, ev, xxh3.HashString(ev.ID()), which(wk, p.stores))
		}
	}
	if p := &e.derived.decisions; len(p.stores) > 0 && !transaction {
		ev := p.project(from, p.refunds, past.DecisionID)
		p.set(ev, p.outcome, past.Outcome.String(), 0)
		p.set(ev, p.score, "", past.Score)
		e.route(wk, ev, xxh3.HashString(ev.ID()), which(wk, p.stores))
	}
}

// Evaluates reports whether there are rules on transactions.
func (e *Engine) Evaluates() bool { return e.plans[onTransactions].set != nil }

// Evaluate runs the rules on transactions over transactions that were applied,
// in parallel. Of what emit is given, i is the index in items; res is valid
// during the call only. Hits of live rules go to the stream hits.
func (e *Engine) Evaluate(items []*Item, emit func(w, i int, res *rules.Result)) {
	if len(items) == 0 || !e.Evaluates() {
		return
	}
	e.share(items, func(it *Item) int { return e.owner(it.id) })
	e.bringBack(onTransactions, items)
	e.parallel(len(items), func(w int) {
		for _, i := range e.workers[w].due {
			e.evaluate(w, items[i], func(res *rules.Result) { emit(w, int(i), res) })
		}
	})
}

func (e *Engine) evaluate(w int, it *Item, emit func(*rules.Result)) {
	wk := e.workers[w]
	in := e.input(wk, onTransactions, it)
	e.lookUp(wk, onTransactions, &in, it.id)
	res := wk.evals[onTransactions].Run(false)
	if len(e.derived.hits.stores) > 0 {
		// Only live hits are recorded anywhere (as alerts), and so can be told
		// again after a restart.
		var live []event.Hit
		for i := range res.Hits {
			if res.Hits[i].Mode == rules.Live.String() {
				live = append(live, res.Hits[i])
			}
		}
		if len(live) > 0 {
			wk.decided = append(wk.decided, derived{it, Decided{Hits: live}})
		}
	}
	emit(res)
}
