package engine

import (
	"math"
	"slices"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/window"
)

// store keeps the past events of one series, in every shard. A series may have
// two for a while: one from before a reload, for the expressions that stayed,
// and one that keeps more, for new ones.
type store struct {
	def     *rules.Series // of the present set: which events it takes, and their keys
	columns *rules.Series // of the set that it was made for: what it keeps of each
	spec    window.Spec
	shards  []*window.Store
	since   int64 // event time from which it is complete; MinInt64: always was
	filling bool  // made by a reload, and not filled since: see Fill
	id      int   // in what is saved: no other store ever has it
}

func (s *store) insert(shard int, o *op, values []int64) {
	to := s.shards[shard]
	ev := window.Event{Time: o.event.Time, ID: o.id, Values: values[:len(s.columns.Columns)]}
	ev.Present = s.columns.Values(o.event, ev.Values)
	ev.Currency = uint16(s.columns.Currency(o.event))
	if s.spec.Texts != 0 {
		intern(to, s.columns, o.event, &ev)
	}
	if s.spec.Names {
		ev.Name = o.event.ID()
	}
	to.Insert(o.hash, o.key, &ev)
}

// Which plan: what is decided or evaluated.
const (
	onRefunds = iota
	onTransactions
)

// plan is where the values of a set's past-events expressions are found.
type plan struct {
	set    *rules.Set // nil: there are no such rules
	finds  []find
	spans  []span
	places []place                       // by feature
	live   struct{ finds, spans []bool } // what live rules need
	skip   string                        // source of the series that the present event is itself in
}

// find is a lookup's key in one of its series' stores.
type find struct{ lookup, store int }

// span is a window over what a find, by its index, finds.
type span struct {
	find            int
	within, delayed int64 // within 0: ever
	fault           int   // column of the store that tells where the series' where(…) fails; -1: none
}

// selected is what of a find lies in a span, and whether its series' where(…)
// fails on some of that.
type selected struct {
	window.Selection
	fails bool
}

// place is where a feature is computed: index in spans, column of the store.
type place struct{ span, column int }

// found is the key of one find.
type found struct {
	store *window.Store
	key   window.Key
	ok    bool
}

// SetRules makes set the rules of the decisions that follow. An expression that
// the old set had too keeps its history. For one that is new, what is stored of
// its series is used if it reaches as far and holds what is needed; if not, a
// store is begun empty and reported as warming until a window has passed, or
// until it is filled, unless nothing was applied before.
func (e *Engine) SetRules(set *rules.Set) {
	old := map[string][]*store{}
	for _, s := range e.stores {
		if !s.filling { // what is filled half is made anew
			old[s.def.Name] = append(old[s.def.Name], s)
		}
	}
	for _, sh := range e.shards {
		sh.filled = nil
	}
	e.set, e.stores, e.eviction = set, nil, nil
	at := make([][]int, len(set.Series)) // by series, its stores
	for i := range set.Series {
		def := &set.Series[i]
		whole := false
		for _, s := range old[def.Name] {
			s.def = def
			whole = whole || e.serves(s, e.spec(i), def.Columns)
			at[i] = append(at[i], len(e.stores))
			e.stores = append(e.stores, s)
		}
		if !whole {
			at[i] = append(at[i], len(e.stores))
			e.stores = append(e.stores, e.newStore(i))
		}
	}
	e.plans[onRefunds] = e.plan(set, at, "refunds")
	e.plans[onTransactions] = plan{}
	if set.Transactions != nil {
		e.plans[onTransactions] = e.plan(set.Transactions, at, "transactions")
	}
	e.dropUnread()
	e.feed()
	for _, w := range e.workers {
		for i := range e.plans {
			if w.evals[i] = nil; e.plans[i].set != nil {
				w.evals[i] = e.plans[i].set.NewEvaluator()
				w.evals[i].Override(e.guards.Overrides)
			}
			w.found[i] = make([]found, len(e.plans[i].finds))
			w.selected[i] = make([]selected, len(e.plans[i].spans))
		}
	}
}

func (e *Engine) newStore(series int) *store {
	def := &e.set.Series[series]
	s := &store{def: def, columns: def, spec: e.spec(series), since: math.MinInt64, id: e.nextID}
	e.nextID++
	if e.newest != math.MinInt64 {
		s.since, s.filling = e.newest, true
	}
	for range e.shards {
		w := window.New(s.spec)
		if e.tracking {
			w.Track()
		}
		s.shards = append(s.shards, w)
	}
	e.keepOnDisk(s)
	return s
}

// plan chooses a store for each feature of a set: of those that serve it, the
// one that is complete from the earliest time on.
func (e *Engine) plan(set *rules.Set, at [][]int, skip string) plan {
	p := plan{set: set, skip: skip, places: make([]place, len(set.Features))}
	known, spans := map[find]int{}, map[span]int{}
	for i := range set.Features {
		f := &set.Features[i]
		best := find{lookup: f.Lookup, store: -1}
		series := set.Lookups[f.Lookup].Series
		spec, columns := e.need(f, &e.set.Series[series])
		for _, j := range at[series] {
			if s := e.stores[j]; e.serves(s, spec, columns) && (best.store < 0 || s.since <= e.stores[best.store].since) {
				best.store = j
			}
		}
		if _, ok := known[best]; !ok {
			known[best] = len(p.finds)
			p.finds = append(p.finds, best)
		}
		at := span{find: known[best], delayed: f.Delayed, fault: faultColumn(e.stores[best.store].columns)}
		if !f.Ever {
			at.within = f.Within
		}
		if _, ok := spans[at]; !ok {
			spans[at] = len(p.spans)
			p.spans = append(p.spans, at)
		}
		p.places[i] = place{span: spans[at], column: -1}
		p.live.finds = append(p.live.finds, make([]bool, len(p.finds)-len(p.live.finds))...)
		p.live.spans = append(p.live.spans, make([]bool, len(p.spans)-len(p.live.spans))...)
		if f.Live {
			p.live.finds[at.find], p.live.spans[spans[at]] = true, true
		}
		if f.Column >= 0 {
			p.places[i].column = slices.Index(e.stores[best.store].columns.Columns, columns[0])
		}
	}
	return p
}

// serves reports whether a store holds what the spec and the columns need.
func (e *Engine) serves(s *store, spec window.Spec, columns []rules.Column) bool {
	for _, c := range columns {
		if !slices.Contains(s.columns.Columns, c) {
			return false
		}
	}
	return canServe(s.spec, spec)
}

// dropUnread leaves out the stores that nothing reads any more.
func (e *Engine) dropUnread() {
	moved := make([]int, len(e.stores))
	kept := e.stores[:0:0]
	for i, s := range e.stores {
		read := s.filling
		for _, p := range e.plans {
			read = read || slices.ContainsFunc(p.finds, func(f find) bool { return f.store == i })
		}
		if read {
			moved[i] = len(kept)
			kept = append(kept, s)
		}
	}
	e.stores = kept
	for _, p := range e.plans {
		for i := range p.finds {
			p.finds[i].store = moved[p.finds[i].store]
		}
	}
}

// feed says which streams' events go to which stores.
func (e *Engine) feed() {
	e.byStream, e.updates = make([][]int, len(e.cfg.Schema.Streams)), nil
	e.derived = derivation{}
	for i, s := range e.stores {
		switch s.def.Source {
		case "updates":
			e.updates = append(e.updates, i)
		case "hits":
			e.derived.hits.feed(e, i)
		case "decisions":
			e.derived.decisions.feed(e, i)
		default:
			for j, st := range e.cfg.Schema.Streams {
				if st.Name == s.def.Source {
					e.byStream[j] = append(e.byStream[j], i)
				}
			}
		}
	}
}

// lookUp begins an event and computes all of its past-events expressions,
// whatever the rules will read of them: the decision shows them all.
func (e *Engine) lookUp(wk *worker, which int, in *rules.Input, id uint64) {
	p, eval, at, selected := &e.plans[which], wk.evals[which], wk.found[which], wk.selected[which]
	keys := eval.Begin(in)
	eval.Shed(e.shed)
	for i, f := range p.finds {
		at[i] = found{}
		if e.shed && !p.live.finds[i] {
			continue
		}
		if k := keys[f.lookup]; !k.Nil {
			key := unsafe.String(unsafe.SliceData(k.Bytes), len(k.Bytes))
			hash := xxh3.HashString(key)
			at[i].store = e.stores[f.store].shards[e.owner(hash)]
			at[i].key, at[i].ok = at[i].store.Find(hash, key)
		}
	}
	values, t := eval.Values(), in.Event.Time
	for i, s := range p.spans {
		if k := &at[s.find]; k.ok && (!e.shed || p.live.spans[i]) {
			sp := window.Span{From: math.MinInt64, To: t - s.delayed}
			if s.within > 0 {
				sp.From = sp.To - s.within
			}
			if e.stores[p.finds[s.find].store].def.Source == p.skip {
				sp.HasSkip, sp.Skip, sp.SkipTime = true, id, t
			}
			k.store.Select(k.key, sp, &selected[i].Selection)
			selected[i].fails = false
			if s.fault >= 0 {
				_, n, _, _ := selected[i].Sum(s.fault)
				selected[i].fails = n > 0
			}
		}
	}
	for i := range p.set.Features {
		f, place := &p.set.Features[i], p.places[i]
		if e.shed && !f.Live {
			continue
		}
		switch k := &at[p.spans[place.span].find]; {
		case k.ok && selected[place.span].fails:
			values[i] = rules.FaultValue(f.Text + ": its where(…) fails on a past event")
		case k.ok:
			values[i] = aggregate(wk, f, k.store, &selected[place.span].Selection, place.column, t)
		case k.store != nil:
			values[i] = absent(f)
		} // else the key is nil, and so is the value
	}
}

// warming lists the expressions whose window reaches back further than what
// their store holds.
func (e *Engine) warming(dst []string, which int, t int64) []string {
	p := &e.plans[which]
	for i := range p.set.Features {
		f := &p.set.Features[i]
		since := e.stores[p.finds[p.spans[p.places[i].span].find].store].since
		if since != math.MinInt64 && (f.Ever || t-f.Delayed-f.Within < since) {
			dst = append(dst, f.Text)
		}
	}
	slices.Sort(dst)
	return dst
}

// Incomplete says that events before the given event time are missing from a
// stream (its topic no longer holds them), so that windows reaching further
// back are warming.
func (e *Engine) Incomplete(stream int, since int64) {
	for _, s := range e.stores {
		if s.madeOf(e.cfg.Schema.Streams[stream].Name) {
			s.since = max(s.since, since)
		}
	}
}

// madeOf reports whether a store's events come from records of the stream.
func (s *store) madeOf(stream string) bool {
	switch s.def.Source {
	case "updates":
		return stream == "transactions"
	case "hits":
		return stream == "refunds" || stream == "transactions"
	case "decisions":
		return stream == "refunds"
	}
	return stream == s.def.Source
}
