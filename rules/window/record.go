package window

import (
	"encoding/binary"
	"math"
)

// A record's header; the columns' bytes (see shape), the key and the entries
// follow.
const (
	offHash   = 0  // uint32: high half of the mixed hash
	offN      = 4  // uint32: entries
	offKeyLen = 8  // uint32
	offCur    = 12 // uint16: currency of all entries, unless flagCurrencies
	offFlags  = 14 // uint8
	headSize  = 15
)

const (
	flagWide       = 1 << iota // times take 8 bytes, not 6
	flagCurrencies             // each entry has its own currency
)

// Narrow times are 6 bytes: 1 is the first millisecond of year 0, and the
// greatest lies in year 8919. A key with an event outside has 8-byte times.
const (
	narrowZero = -62167219200001
	narrowMask = 1<<48 - 1
)

func isNarrow(t int64) bool {
	return t > narrowZero && t <= narrowZero+narrowMask
}

// record is a key's header and entries, opened for reading or writing.
type record struct {
	b      []byte // from the header to the end of the slab, not of the record
	ref    uint64
	n      int
	data   int // where entries begin
	stride int // bytes of an entry
	cur    int // where in an entry its currency is, 0: in the header
	cols   int // where in an entry its columns begin
	wide   bool
}

func (s *Store) open(ref uint64) record {
	b := s.arena.at(ref)
	h := b[:headSize]
	r := record{
		b:    b,
		ref:  ref,
		n:    int(binary.LittleEndian.Uint32(h[offN:])),
		data: s.head + int(binary.LittleEndian.Uint32(h[offKeyLen:])),
		cols: 14,
	}
	if f := h[offFlags]; f != 0 {
		if f&flagWide != 0 {
			r.wide = true
			r.cols += 2
		}
		if f&flagCurrencies != 0 {
			r.cur = r.cols
			r.cols += 2
		}
	}
	r.stride = r.cols
	for _, c := range b[headSize:s.head] {
		r.stride += columnSize(c)
	}
	return r
}

func (r *record) setN(n int) {
	r.n = n
	binary.LittleEndian.PutUint32(r.b[offN:], uint32(n))
}

// raw is a time as this record orders it. Of a time that it can't hold, it is
// one that compares in the same way with all that it can.
func (r *record) raw(t int64) uint64 {
	switch {
	case r.wide:
		return uint64(t) ^ 1<<63
	case t <= narrowZero:
		return 0
	case t > narrowZero+narrowMask:
		return narrowMask
	}
	return uint64(t - narrowZero)
}

// timeMask cuts a time out of the 8 bytes that it begins.
func (r *record) timeMask() uint64 {
	if r.wide {
		return math.MaxUint64
	}
	return narrowMask
}

func (r *record) time(i int) int64 {
	x := binary.LittleEndian.Uint64(r.b[r.data+i*r.stride:])
	if r.wide {
		return int64(x ^ 1<<63)
	}
	return int64(x&narrowMask) + narrowZero
}

func (r *record) id(i int) uint64 {
	off := r.data + i*r.stride + 6
	if r.wide {
		off += 2
	}
	return binary.LittleEndian.Uint64(r.b[off:])
}

func (r *record) currency(i int) uint16 {
	off := offCur
	if r.cur != 0 {
		off = r.data + i*r.stride + r.cur
	}
	return binary.LittleEndian.Uint16(r.b[off:])
}

// from is how many entries have a time < t.
func (r *record) from(t int64) int {
	if t == math.MinInt64 {
		return 0
	}
	n, _ := r.between(t-1, t-1)
	return n
}

// between is how many entries have a time ≤ from, and how many have one ≤ to.
func (r *record) between(from, to int64) (lo, hi int) {
	return r.after(r.raw(from)), r.after(r.raw(to))
}

// after is how many entries have a time ≤ x, a raw one. Events come evenly
// enough, mostly, for a guess to be close: it is tried first, and then farther
// and farther from it, as each look elsewhere is a wait for memory.
func (r *record) after(x uint64) int {
	if r.n == 0 {
		return 0
	}
	mask := r.timeMask()
	b, stride := r.b[r.data:], r.stride
	first := binary.LittleEndian.Uint64(b) & mask
	last := binary.LittleEndian.Uint64(b[(r.n-1)*stride:]) & mask
	if last <= x {
		return r.n
	}
	if first > x {
		return 0
	}
	lo, hi := 0, r.n-1 // the entry at lo isn't later, that at hi is
	if r.n > 8 {
		guess := int(float64(x-first) / float64(last-first) * float64(hi))
		guess = min(guess, hi-1)
		step := 2
		if binary.LittleEndian.Uint64(b[guess*stride:])&mask <= x {
			lo = guess
			for i := lo + step; i < hi; i += step {
				if binary.LittleEndian.Uint64(b[i*stride:])&mask > x {
					hi = i
					break
				}
				lo = i
				step *= 2
			}
		} else {
			hi = guess
			for i := hi - step; i > lo; i -= step {
				if binary.LittleEndian.Uint64(b[i*stride:])&mask <= x {
					lo = i
					break
				}
				hi = i
				step *= 2
			}
		}
	}
	for hi-lo > 1 {
		mid := int(uint(lo+hi) >> 1)
		if binary.LittleEndian.Uint64(b[mid*stride:])&mask <= x {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// place is where the event with this time and id is, or belongs. It looks from
// the end on, where nearly all belong.
func (r *record) place(t int64, id uint64) (i int, found bool) {
	lo, hi := -1, r.n // entries up to lo come before, those from hi on do not
	for step := 1; hi > 0; step *= 2 {
		i := max(hi-step, 0)
		if r.precedes(i, t, id) {
			lo = i
			break
		}
		hi = i
	}
	for lo+1 < hi {
		mid := int(uint(lo+hi) >> 1)
		if r.precedes(mid, t, id) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi, hi < r.n && r.time(hi) == t && r.id(hi) == id
}

// precedes reports whether entry i comes before (t, id).
func (r *record) precedes(i int, t int64, id uint64) bool {
	x := r.time(i)
	return x < t || x == t && r.id(i) < id
}
