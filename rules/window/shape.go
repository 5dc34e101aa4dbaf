package window

import (
	"encoding/binary"
	"math/bits"
)

// shape is what a record's entries look like. It only ever widens.
//
// A column's byte holds in its low 6 bits how many bits the greatest magnitude
// in it takes (63 stands for 64 too), and above them which entries have it.
type shape struct {
	cols  [MaxColumns]uint8
	cur   uint16
	flags uint8
}

const (
	hasNone  = 0 << 6
	hasAll   = 1 << 6
	hasMixed = 2 << 6 // each entry also counts those up to it that have the column
	bitsMask = 1<<6 - 1
	hasMask  = 3 << 6
)

const countSize = 4

// width is how many bytes a running total takes in a column of such bits: at
// least 8 bits more than a value, so that 128 neighbours can be summed at once.
func width(c uint8) int {
	if c&bitsMask == 0 {
		return 0
	}
	return min((int(c&bitsMask)+15)/8, 8)
}

func columnSize(c uint8) int {
	if c&hasMask == hasMixed {
		return width(c) + countSize
	}
	return width(c)
}

// magnitude is how many bits |v| takes, as a shape tells it.
func magnitude(v int64) uint8 {
	if v < 0 {
		v = -v // the least int64 stays itself, of 64 bits
	}
	return uint8(min(bits.Len64(uint64(v)), bitsMask))
}

func (s *Store) stride(sh *shape) int {
	n := 14
	if sh.flags&flagWide != 0 {
		n += 2
	}
	if sh.flags&flagCurrencies != 0 {
		n += 2
	}
	for _, c := range sh.cols[:s.spec.Columns] {
		n += columnSize(c)
	}
	return n
}

func (s *Store) putShape(b []byte, sh *shape) {
	binary.LittleEndian.PutUint16(b[offCur:], sh.cur)
	b[offFlags] = sh.flags
	copy(b[headSize:s.head], sh.cols[:s.spec.Columns])
}

// first is the shape of a record with this event only.
func (s *Store) first(e *Event, sh *shape) {
	sh.cur = e.Currency
	if !isNarrow(e.Time) {
		sh.flags = flagWide
	}
	for c := range s.spec.Columns {
		if e.Present>>c&1 != 0 {
			sh.cols[c] = hasAll | magnitude(e.Values[c])
		}
	}
}

// fit is the shape that a record needs to hold e as well. It reports whether
// that differs from the record's.
func (s *Store) fit(r *record, e *Event, to *shape) bool {
	flags := r.b[offFlags]
	to.cur = binary.LittleEndian.Uint16(r.b[offCur:])
	to.flags = flags
	if !isNarrow(e.Time) {
		to.flags |= flagWide
	}
	if e.Currency != to.cur {
		to.flags |= flagCurrencies
	}
	changed := to.flags != flags
	for c, now := range r.b[headSize:s.head] {
		next := now
		if e.Present>>c&1 != 0 {
			if now&hasMask == hasNone {
				next = hasMixed | now&bitsMask
			}
			next = max(next&bitsMask, magnitude(e.Values[c])) | next&hasMask
		} else if now&hasMask == hasAll {
			next = hasMixed | now&bitsMask
		}
		to.cols[c] = next
		changed = changed || next != now
	}
	return changed
}

// reshape writes the entries of src, but for the first drop, to dst.
func (s *Store) reshape(dst, src *record, drop int) {
	for i := drop; i < src.n; i++ {
		s.load(src, i, &s.twin)
		s.write(dst, dst.n, &s.twin)
		s.events--
	}
}
