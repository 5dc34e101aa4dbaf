package window

import (
	"fmt"
	"slices"
)

// MaxColumns is how many values an event can have.
const MaxColumns = 32

// Spec says what a Store keeps.
type Spec struct {
	// Horizon is how far a query reaches back, in ms: the largest
	// within + delayed. A key keeps twice that behind its newest event, so that
	// a query is exact for every t not older than Horizon before it. 0: ever.
	Horizon int64
	// Columns is how many values an event has, at most MaxColumns.
	Columns int
	// Plain says of which columns (bit c: column c) Sum need not look at
	// currencies: their values are no money, or converted to one currency.
	Plain uint32
	// Names: First and Last break ties by Event.Name.
	Names bool
	// Texts says which columns hold values of Intern, so that texts which no
	// event has any more are forgotten.
	Texts uint32
	// Windows are the lengths of the spans that are asked for, in ms; 0 stands
	// for ever. With them, the memory of a key is bounded: beyond Exact events,
	// its oldest go to time buckets, none wider than 1/256 of the shortest span
	// that needs it, or 1 ms. nil: all events are kept one by one.
	Windows []int64
	// Reaches are how far back the spans of Windows begin, one for each: within
	// + delayed. A missing one is as long as its window.
	Reaches []int64
	// Exact is how many events of a key are kept one by one. 0: 16,384.
	Exact int
	// DistinctExact is up to how many values Distinct is exact over buckets. 0:
	// 4,096.
	DistinctExact int
	// Counted says of which columns Distinct is asked, for buckets to keep what
	// it needs. 0: of all.
	Counted uint32
}

func (s *Spec) check() {
	if s.Columns < 0 || s.Columns > MaxColumns {
		panic(fmt.Sprintf("window: a store of %d columns; it can have 0 to %d", s.Columns, MaxColumns))
	}
	if s.Horizon < 0 {
		panic(fmt.Sprintf("window: a horizon of %d ms; it can't be negative (0 keeps events for ever)", s.Horizon))
	}
	if s.Exact < 0 || s.DistinctExact < 0 {
		panic(fmt.Sprintf("window: %d exact events and %d values; they can't be negative (0 stands for a default)", s.Exact, s.DistinctExact))
	}
	if s.Exact == 0 {
		s.Exact = 16384
	}
	if s.DistinctExact == 0 {
		s.DistinctExact = 4096
	}
	s.Texts &= 1<<s.Columns - 1
}

// CanServe reports whether a store made with have answers all that one made
// with want would, and as exactly, so that it can stay when what is wanted
// changes. Its columns must mean the same.
func CanServe(have, want Spec) bool {
	have.check()
	want.check()
	mask := uint32(1)<<want.Columns - 1
	return want.Columns <= have.Columns &&
		(have.Horizon == 0 || want.Horizon != 0 && want.Horizon <= have.Horizon) &&
		(have.Names || !want.Names) &&
		(have.Plain^want.Plain)&mask == 0 &&
		(have.Texts^want.Texts)&mask == 0 &&
		(have.Windows == nil || want.Windows != nil && have.resolves(&want, mask))
}

// resolves reports whether buckets of s are as good as those of want.
func (s *Spec) resolves(want *Spec, mask uint32) bool {
	if want.Exact > s.Exact || want.DistinctExact > s.DistinctExact {
		return false
	}
	if s.Counted != 0 && (want.Counted == 0 || want.Counted&mask&^s.Counted != 0) {
		return false
	}
	have := s.levels()
	for _, w := range want.levels() {
		if !slices.ContainsFunc(have, func(h level) bool { return h.width <= w.width && h.keep-1 >= w.keep-1 }) {
			return false
		}
	}
	return true
}
