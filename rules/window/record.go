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
	flagPast                   // some of the key's events are in buckets
	flagChangedA               // these two: see tracker
	flagChangedB

	changedFlags = flagChangedA | flagChangedB

	stampUnit = flagChangedB << 1 // the bits above are a number: see tracker
	stampMask = 8*stampUnit - stampUnit
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
