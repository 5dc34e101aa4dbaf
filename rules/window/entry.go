package window

import (
	"cmp"
	"encoding/binary"
)

// column is where a record keeps a column, and how.
type column struct {
	off   int // in an entry
	w     int // bytes of the running total
	state uint8
	bits  uint8
}

func (s *Store) column(r *record, c int) column {
	heads := r.b[headSize:s.head]
	off := r.cols
	for _, h := range heads[:c] {
		off += columnSize(h)
	}
	h := heads[c]
	return column{off: off, w: width(h), state: h & hasMask, bits: h & bitsMask}
}

// Totals are kept modulo 2^(8w): differences of few enough neighbours are
// exact. Reads and writes of a total touch 8 bytes, which may reach into the
// next entry or record; a slab has 8 bytes to spare at its end.

func getBytes(b []byte, w int) uint64 {
	return binary.LittleEndian.Uint64(b) & (1<<(8*w) - 1)
}

func putBytes(b []byte, w int, v uint64) {
	mask := uint64(1)<<(8*w) - 1
	binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)&^mask|v&mask)
}

// signed is a difference of w bytes as a number.
func signed(d uint64, w int) int64 {
	free := 64 - 8*w
	return int64(d<<free) >> free
}

// total is the running total of the first i entries.
func (r *record) total(c column, i int) uint64 {
	if i == 0 {
		return 0
	}
	return getBytes(r.b[r.data+(i-1)*r.stride+c.off:], c.w)
}

// value is the column's value in entry i, 0 if it has none.
func (r *record) value(c column, i int) int64 {
	return signed(r.total(c, i+1)-r.total(c, i), c.w)
}

// having is how many of the first i entries have the column.
func (r *record) having(c column, i int) int64 {
	switch {
	case i == 0 || c.state == hasNone:
		return 0
	case c.state == hasAll:
		return int64(i)
	}
	return int64(binary.LittleEndian.Uint32(r.b[r.data+(i-1)*r.stride+c.off+c.w:]))
}

func (r *record) has(c column, i int) bool {
	return c.state == hasAll || c.state == hasMixed && r.having(c, i+1) != r.having(c, i)
}

// load reads entry i.
func (s *Store) load(r *record, i int, e *Event) {
	e.Time, e.ID, e.Currency, e.Present = r.time(i), r.id(i), r.currency(i), 0
	for c := range s.spec.Columns {
		col := s.column(r, c)
		e.Values[c] = 0
		if r.has(col, i) {
			e.Present |= 1 << c
			e.Values[c] = r.value(col, i)
		}
	}
}

// write puts e in as entry i and moves the later ones. There must be room, and
// the record's shape must fit.
func (s *Store) write(r *record, i int, e *Event) {
	off := r.data + i*r.stride
	end := r.data + r.n*r.stride
	if off < end {
		copy(r.b[off+r.stride:], r.b[off:end])
	}
	x := r.b[off:]
	binary.LittleEndian.PutUint64(x, r.raw(e.Time)) // of a narrow time, the id covers the last 2 bytes
	if r.wide {
		binary.LittleEndian.PutUint64(x[8:], e.ID)
	} else {
		binary.LittleEndian.PutUint64(x[6:], e.ID)
	}
	if r.cur != 0 {
		binary.LittleEndian.PutUint16(x[r.cur:], e.Currency)
	}
	r.setN(r.n + 1)
	s.events++
	at := r.cols
	for c, h := range r.b[headSize:s.head] {
		w, mixed := width(h), h&hasMask == hasMixed
		var v, one uint64
		if e.Present>>c&1 != 0 {
			v, one = uint64(e.Values[c]), 1
		}
		var total, count uint64
		if i > 0 {
			before := r.b[off-r.stride+at:]
			total = getBytes(before, w)
			if mixed {
				count = getBytes(before[w:], countSize)
			}
		}
		putBytes(x[at:], w, total+v)
		if mixed {
			putBytes(x[at+w:], countSize, count+one)
		}
		if off < end {
			r.shift(i+1, at, w, v)
			if mixed {
				r.shift(i+1, at+w, countSize, one)
			}
		}
		at += columnSize(h)
	}
}

// shift adds d to the running totals of the entries from i on.
func (r *record) shift(i, at, w int, d uint64) {
	if d == 0 || w == 0 {
		return
	}
	for x := r.data + i*r.stride + at; i < r.n; i++ {
		putBytes(r.b[x:], w, getBytes(r.b[x:], w)+d)
		x += r.stride
	}
}

// remove takes entry i out.
func (s *Store) remove(r *record, i int) {
	at := r.cols
	for c, h := range r.b[headSize:s.head] {
		col := s.column(r, c)
		has := r.has(col, i)
		r.shift(i+1, at, col.w, -uint64(r.value(col, i)))
		if has && col.state == hasMixed {
			r.shift(i+1, at+col.w, countSize, ^uint64(0))
		}
		at += columnSize(h)
	}
	off := r.data + i*r.stride
	copy(r.b[off:], r.b[off+r.stride:r.data+r.n*r.stride])
	r.setN(r.n - 1)
	s.events--
}

// trim takes the first drop entries out.
func (s *Store) trim(r *record, drop int) {
	if drop == 0 {
		return
	}
	at := r.cols
	for c, h := range r.b[headSize:s.head] {
		col := s.column(r, c)
		total, count := r.total(col, drop), r.having(col, drop)
		r.shift(drop, at, col.w, -total)
		if col.state == hasMixed {
			r.shift(drop, at+col.w, countSize, -uint64(count))
		}
		at += columnSize(h)
	}
	copy(r.b[r.data:], r.b[r.data+drop*r.stride:r.data+r.n*r.stride])
	r.setN(r.n - drop)
}

// lesser reports whether e comes before entry i, which has its time and id, by
// what is in them. Without an order of its own, which of the two stays would
// hang on which came first.
func (s *Store) lesser(e *Event, r *record, i int) bool {
	old := &s.twin
	s.load(r, i, old)
	present := e.Present & (1<<s.spec.Columns - 1)
	if d := cmp.Or(cmp.Compare(e.Currency, old.Currency), cmp.Compare(present, old.Present)); d != 0 {
		return d < 0
	}
	for c := range s.spec.Columns {
		if present>>c&1 != 0 && e.Values[c] != old.Values[c] {
			return e.Values[c] < old.Values[c]
		}
	}
	return false
}
