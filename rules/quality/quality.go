// Package quality measures rules by what refunds turned out to be: precision,
// recall, money, and analysts' time, from decisions and labels that somebody
// else reads. What each figure means is in README.md.
package quality

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"strings"
	"unsafe"

	"github.com/refundguard/refundguard/rules/event"
)

// Options say what is measured. Times are Unix milliseconds.
type Options struct {
	From, To       int64   // of the engine's decisions, To excluded; 0: without end
	Ruleset        string  // only decisions by rule sets whose version begins so, with or without sha256:; "": all
	JudgedUntil    int64   // later decisions are too young for their labels to be complete
	MinutesPerCase float64 // what an analyst spends on a case

	// AmountBase converts to the base currency Base; ok is false where it can't.
	Base       event.Currency
	AmountBase func(event.Money, event.Currency) (base event.Money, ok bool)
}

// Accumulator takes decisions and labels, in any order and each as often as it
// comes. Of a refund it keeps some hundred bytes, however long its records are:
// see BenchmarkMemory. It is for one goroutine.
type Accumulator struct {
	o       Options
	seeds   [2]maphash.Seed
	refunds map[key]refund
	labels  map[key]label
	names   interned[name]   // rules with their modes
	sets    interned[string] // versions of rule sets
	combos  interned[string] // of hits, encoded: refunds share them
	scratch []byte
}

// key is a hash of a refund's id: two of a thousand million refunds share one
// with a chance of 10^-21.
type key [2]uint64

// name is what the hits of a rule are counted under.
type name struct{ rule, mode string }

// hit is one rule that hit.
type hit struct {
	name  uint32
	holds bool // it is live, and holds or rejects by its action or its score
}

// refund is what is kept of a refund, without pointers.
type refund struct {
	amount   event.Money
	decided  int64  // when the engine decided it
	ended    int64  // when final was decided, if not by the engine
	hits     uint32 // which of combos
	ruleset  uint32 // which of sets
	currency event.Currency
	outcome  event.Outcome // the engine's; 0: its decision wasn't seen, or isn't measured
	final    event.Outcome // of who decided after the engine; 0: nobody has
	holdout  bool
	analyst  bool // an analyst has decided it
}

type label struct {
	id         string
	at, weight int64
	fraud      bool
}

// New measures what o says.
func New(o Options) *Accumulator {
	o.Ruleset = strings.TrimPrefix(o.Ruleset, "sha256:")
	return &Accumulator{o: o, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		refunds: map[key]refund{}, labels: map[key]label{}}
}

func (a *Accumulator) key(refundID string) key {
	return key{maphash.String(a.seeds[0], refundID), maphash.String(a.seeds[1], refundID)}
}

// Decision takes one decision, and keeps nothing of it.
func (a *Accumulator) Decision(d *event.Decision) {
	k := a.key(d.RefundID)
	r := a.refunds[k]
	if d.DecidedBy == "engine" {
		if !a.measures(d) || r.outcome != 0 && r.decided <= d.DecidedAt {
			return
		}
		r.amount, r.currency, r.decided, r.outcome, r.holdout = d.Amount, d.Currency, d.DecidedAt, d.Outcome, d.Holdout
		r.ruleset = a.sets.index(d.Ruleset, strings.Clone)
		r.hits = a.combo(d.Hits)
	} else {
		r.analyst = r.analyst || ends(d.Outcome) && strings.HasPrefix(d.DecidedBy, "analyst:")
		if r.endedBefore(d) {
			r.final, r.ended = d.Outcome, d.DecidedAt
		}
	}
	a.refunds[k] = r
}

// ends says of an outcome that nobody decides after it.
func ends(o event.Outcome) bool { return o != event.Review }

// endedBefore reports whether d is the later word on a refund. Clocks of two
// instances may differ: what ends a review came after what didn't.
func (r *refund) endedBefore(d *event.Decision) bool {
	if r.final == 0 || ends(r.final) != ends(d.Outcome) {
		return r.final == 0 || ends(d.Outcome)
	}
	return cmp.Or(cmp.Compare(d.DecidedAt, r.ended), cmp.Compare(d.Outcome, r.final)) > 0
}

func (a *Accumulator) measures(d *event.Decision) bool {
	return d.DecidedAt >= a.o.From && (a.o.To == 0 || d.DecidedAt < a.o.To) &&
		strings.HasPrefix(strings.TrimPrefix(d.Ruleset, "sha256:"), a.o.Ruleset)
}

// Label takes one label, and keeps nothing of it.
func (a *Accumulator) Label(l *event.Label) {
	k := a.key(l.RefundID)
	if was, seen := a.labels[k]; seen && !l.Outranks(was.event()) {
		return
	}
	a.labels[k] = label{strings.Clone(l.LabelID), l.At, l.Weight, l.Label == event.LabelFraud}
}

func (l label) event() *event.Label {
	e := &event.Label{LabelID: l.id, At: l.at, Weight: l.weight, Label: event.LabelLegit}
	if l.fraud {
		e.Label = event.LabelFraud
	}
	return e
}

// combo is the place of these hits among the combinations that there are.
func (a *Accumulator) combo(hits []event.Hit) uint32 {
	a.scratch = a.scratch[:0]
	for i := range hits {
		h := &hits[i]
		n := a.names.index(name{h.Rule, h.Mode}, func(n name) name { return name{strings.Clone(n.rule), strings.Clone(n.mode)} })
		holds := h.Mode == "live" && (h.Action == "review" || h.Action == "reject" || h.Score > 0)
		a.scratch = binary.AppendUvarint(a.scratch, uint64(n)<<1|uint64(oneIf(holds)))
	}
	return a.combos.index(unsafe.String(unsafe.SliceData(a.scratch), len(a.scratch)), strings.Clone)
}

// decode gives the hits of an encoded combination.
func decode(combo string) (hits []hit) {
	for data := []byte(combo); len(data) > 0; {
		v, n := binary.Uvarint(data)
		hits = append(hits, hit{uint32(v >> 1), v&1 == 1})
		data = data[n:]
	}
	return hits
}

func oneIf(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// interned numbers values, so that each is kept once.
type interned[T comparable] struct {
	places map[T]uint32
	all    []T
}

// index is the place of v, of which a clone is kept if it is new.
func (n *interned[T]) index(v T, clone func(T) T) uint32 {
	i, known := n.places[v]
	if !known {
		if n.places == nil {
			n.places = map[T]uint32{}
		}
		i, v = uint32(len(n.all)), clone(v)
		n.places[v], n.all = i, append(n.all, v)
	}
	return i
}
