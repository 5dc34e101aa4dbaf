package window

import "sort"

// LastTime is the time of the latest event; ok is false if there is none.
func (x *Selection) LastTime() (time int64, ok bool) {
	r, hi := &x.r, x.hi
	if x.skip == hi-1 {
		hi--
	}
	if x.lo < hi {
		return r.time(hi - 1), true
	}
	if x.low < x.high {
		time, ok = r.time(x.high-1), true
	}
	if n := len(x.buckets); n > 0 && (!ok || x.buckets[n-1].latest > time) {
		time, ok = x.buckets[n-1].latest, true
	}
	return time, ok
}

// First is a column's value in the earliest event that has it, and its currency
// (0 for a plain column); ok is false if none has. Of events of one time it is
// that of the smaller name with Spec.Names, else of the smaller id.
func (x *Selection) First(col int) (value int64, currency uint16, ok bool) {
	return x.end(col, -1)
}

// Last is as First, of the latest event and the greater name or id.
func (x *Selection) Last(col int) (value int64, currency uint16, ok bool) {
	return x.end(col, 1)
}

// end is First with side −1, Last with side 1.
func (x *Selection) end(col, side int) (value int64, currency uint16, ok bool) {
	s, r := x.store, &x.r
	c := s.column(r, col)
	best, ok := s.endOf(r, c, x.lo, x.hi, x.skip, side)
	if x.rough() {
		see := func(e *end) {
			if !ok || side*e.compare(&best) > 0 {
				best, ok = *e, true
			}
		}
		if e, found := s.endOf(r, c, x.low, x.high, -1, side); found {
			see(&e)
		}
		for i := range x.buckets {
			if b := &x.buckets[i].cells[col]; b.n > 0 {
				see(&b.first)
				see(&b.last)
			}
		}
	}
	if s.spec.Plain>>col&1 != 0 {
		best.currency = 0
	}
	return best.value, best.currency, ok
}

// endOf is the end of the entries [lo, hi) but skip that have the column.
func (s *Store) endOf(r *record, c column, lo, hi, skip, side int) (end, bool) {
	i := r.endOf(c, lo, hi, skip, side)
	if i < 0 {
		return end{}, false
	}
	best := s.endAt(r, c, i)
	if s.spec.Names {
		for j := i - side; j >= lo && j < hi && r.time(j) == best.time; j -= side {
			if j == skip || !r.has(c, j) {
				continue
			}
			if e := s.endAt(r, c, j); side*e.compare(&best) > 0 {
				best = e
			}
		}
	}
	return best, true
}

func (s *Store) endAt(r *record, c column, i int) end {
	e := end{time: r.time(i), id: r.id(i), value: r.value(c, i), currency: r.currency(i)}
	if s.spec.Names {
		e.name = s.names.of(e.id)
	}
	return e
}

// endOf is the first (side −1) or last (side 1) of the entries [lo, hi) but
// skip that has the column, or −1.
func (r *record) endOf(c column, lo, hi, skip, side int) int {
	if skip >= 0 && !r.has(c, skip) {
		skip = -1
	}
	base := r.having(c, lo)
	n := r.having(c, hi) - base
	at := int64(1) // which of those that have it
	if side > 0 {
		at = n
	}
	for range 2 {
		if at < 1 || at > n {
			return -1
		}
		i := lo + sort.Search(hi-lo, func(i int) bool { return r.having(c, lo+i+1)-base >= at })
		if i != skip {
			return i
		}
		at -= int64(side)
	}
	return -1
}
