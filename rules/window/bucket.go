package window

import (
	"cmp"
	"slices"
	"unsafe"
)

// past is what buckets hold of a key: for each level its buckets, in order.
type past [][]bucket

// bucket holds what is kept of the events of one stretch of time that are no
// longer kept one by one.
type bucket struct {
	k      int64
	n      int64 // events
	latest int64 // time of the last of them
	cells  []cell
}

// cell is a column of a bucket.
type cell struct {
	moments
	least, greatest int64
	first, last     end
	currency        currencies
	values          sketch
}

// end is an event as First and Last compare it.
type end struct {
	time     int64
	name     string
	id       uint64
	value    int64
	currency uint16
}

func (e *end) compare(o *end) int {
	return cmp.Or(cmp.Compare(e.time, o.time), cmp.Compare(e.name, o.name), cmp.Compare(e.id, o.id))
}

// currencies is which currencies were seen, as far as matters.
type currencies struct {
	found, mixed bool
	one          uint16
}

func (c *currencies) see(x uint16) {
	c.mixed = c.mixed || c.found && x != c.one
	if !c.found {
		c.found, c.one = true, x
	}
}

func (c *currencies) merge(o *currencies) {
	if o.found {
		c.see(o.one)
		c.mixed = c.mixed || o.mixed
	}
}

func (c *currencies) result() (uint16, error) {
	if c.mixed {
		return 0, ErrCurrencies
	}
	return c.one, nil
}

// enter adds an event to the buckets of a key whose newest event is at newest.
// With held, the store's texts count what the buckets name.
func (s *Store) enter(p past, e *Event, newest int64, held bool) {
	name := ""
	if s.spec.Names {
		name = s.names.of(e.ID)
	}
	for i := range s.levels {
		l := &s.levels[i]
		k := l.bucket(e.Time)
		if k < l.first(newest) {
			continue
		}
		at, found := find(p[i], k)
		if !found {
			p[i] = slices.Insert(p[i], at, bucket{k: k, latest: e.Time, cells: make([]cell, s.spec.Columns)})
		}
		b := &p[i][at]
		b.n++
		b.latest = max(b.latest, e.Time)
		for c := range b.cells {
			if e.Present>>c&1 != 0 {
				s.enterCell(&b.cells[c], c, e, name, held)
			}
		}
	}
}

func (s *Store) enterCell(x *cell, c int, e *Event, name string, held bool) {
	v := e.Values[c]
	at := end{time: e.Time, name: name, id: e.ID, value: v, currency: e.Currency}
	held = held && s.spec.Texts>>c&1 != 0
	isFirst, isLast := x.n == 0 || at.compare(&x.first) < 0, x.n == 0 || at.compare(&x.last) > 0
	for _, side := range []struct {
		changes bool
		to      *end
	}{{isFirst, &x.first}, {isLast, &x.last}} {
		if !side.changes {
			continue
		}
		if held {
			s.texts.hold(uint64(v))
			if x.n > 0 {
				s.texts.drop(uint64(side.to.value))
			}
		}
		*side.to = at
	}
	if x.n == 0 {
		x.least, x.greatest = v, v
	}
	x.least, x.greatest = min(x.least, v), max(x.greatest, v)
	x.currency.see(e.Currency)
	x.add(v)
	if s.spec.Counted == 0 || s.spec.Counted>>c&1 != 0 {
		x.values.add(v, s.spec.DistinctExact)
	}
}

// find is where bucket k is, or belongs.
func find(buckets []bucket, k int64) (int, bool) {
	return slices.BinarySearchFunc(buckets, k, func(b bucket, k int64) int { return cmp.Compare(b.k, k) })
}

// expire takes out the buckets that are too old while the newest event is at
// newest.
func (s *Store) expire(p past, newest int64, held bool) {
	for i := range p {
		n, _ := find(p[i], s.levels[i].first(newest))
		if held && s.spec.Texts != 0 {
			for _, b := range p[i][:n] {
				s.releaseBucket(&b)
			}
		}
		p[i] = slices.Delete(p[i], 0, n)
	}
}

func (s *Store) releaseBucket(b *bucket) {
	for c := range b.cells {
		if x := &b.cells[c]; x.n > 0 && s.spec.Texts>>c&1 != 0 {
			s.texts.drop(uint64(x.first.value))
			s.texts.drop(uint64(x.last.value))
		}
	}
}

// bytes is the memory of buckets.
func (p past) bytes() int64 {
	var n uintptr
	for _, buckets := range p {
		n += unsafe.Sizeof(buckets) + uintptr(cap(buckets))*unsafe.Sizeof(bucket{})
		for i := range buckets {
			cells := buckets[i].cells
			n += uintptr(cap(cells)) * unsafe.Sizeof(cell{})
			for c := range cells {
				n += uintptr(8*cap(cells[c].values.list) + cap(cells[c].values.registers))
			}
		}
	}
	return int64(n)
}

// clone is a copy of all of p that enter changes.
func (p past) clone() past {
	p = slices.Clone(p)
	for i := range p {
		p[i] = slices.Clone(p[i])
		for j := range p[i] {
			cells := slices.Clone(p[i][j].cells)
			for c := range cells {
				v := &cells[c].values
				v.list, v.registers = slices.Clone(v.list), slices.Clone(v.registers)
			}
			p[i][j].cells = cells
		}
	}
	return p
}
