package window

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/zeebo/xxh3"
)

// ErrSaved is for bytes that a store of this spec can't have saved.
var ErrSaved = errors.New("window: what was saved of a key is damaged, or of another spec")

// Restore enters what Changes gave of a key: first the whole key, then its
// events in order. It doesn't count as a change, and keeps none of the bytes.
// After an error the store is good for nothing.
func (s *Store) Restore(hash uint64, key string, value []byte) error {
	on := s.track.on
	s.track.on = false
	defer func() { s.track.on = on }()
	in := saved{b: value}
	switch in.byte() {
	case savedEvent:
		in.event(s, 0)
		if !in.ended() {
			return ErrSaved
		}
		s.restore(hash, key)
		return nil
	case savedWhole:
	default:
		return ErrSaved
	}
	if _, known := s.Find(hash, key); known {
		return ErrSaved
	}
	n := in.count(11) // bytes of an event, at least
	since := int64(0)
	for range n {
		if in.event(s, since); in.bad {
			return ErrSaved
		}
		since = s.given.Time
		s.restore(hash, key)
	}
	p := s.readPast(&in)
	if !in.ended() || n == 0 {
		return ErrSaved
	}
	if p != nil {
		r := s.open(*s.lookup(mix(hash), key) & refMask)
		if s.pastOf(&r) != nil {
			return ErrSaved
		}
		r.b[offFlags] |= flagPast
		s.past[strings.Clone(key)] = p
	}
	return nil
}

// restore inserts s.given; what is cold stays so.
func (s *Store) restore(hash uint64, key string) {
	m := mix(hash)
	s.insert(m, s.lookup(m, key), key, &s.given)
	s.sweep()
}

// saved reads what was saved, until something is bad.
type saved struct {
	b   []byte
	bad bool
}

func (in *saved) ended() bool { return !in.bad && len(in.b) == 0 }

func (in *saved) take(n uint64) []byte {
	if n > uint64(len(in.b)) {
		in.bad, in.b = true, nil
		return nil
	}
	b := in.b[:n]
	in.b = in.b[n:]
	return b
}

func (in *saved) byte() byte {
	if b := in.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (in *saved) uint64() uint64 {
	if b := in.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (in *saved) bigUint64() uint64 {
	if b := in.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (in *saved) uvarint() uint64 {
	x, n := binary.Uvarint(in.b)
	if n <= 0 {
		in.bad, in.b = true, nil
		return 0
	}
	in.b = in.b[n:]
	return x
}

func (in *saved) varint() int64 {
	x := in.uvarint()
	return int64(x>>1) ^ -int64(x&1)
}

// count is a number of things that take so many bytes each, at least.
func (in *saved) count(size int) int {
	n := in.uvarint()
	if n > uint64(len(in.b)/size) {
		in.bad, in.b = true, nil
		return 0
	}
	return int(n)
}

func (in *saved) text() string { return string(in.take(in.uvarint())) }

// event reads an event into s.given.
func (in *saved) event(s *Store, since int64) {
	e := &s.given
	e.Time, e.ID = since+in.varint(), in.uint64()
	currency, present := in.uvarint(), in.uvarint()
	in.bad = in.bad || currency > 1<<16-1 || present>>s.spec.Columns != 0
	e.Currency, e.Present = uint16(currency), uint32(present)
	for c := range s.spec.Columns {
		e.Values[c] = 0
		switch {
		case e.Present>>c&1 == 0 || in.bad:
		case s.spec.Texts>>c&1 != 0:
			if text := in.text(); !in.bad {
				e.Values[c] = s.Intern(text)
			}
		default:
			e.Values[c] = in.varint()
		}
	}
	e.Name = ""
	if s.spec.Names {
		e.Name = in.text()
	}
}

// readPast reads buckets; nil if there are none.
func (s *Store) readPast(in *saved) past {
	levels := in.count(1)
	if levels == 0 {
		return nil
	}
	if levels != len(s.levels) {
		in.bad = true
		return nil
	}
	p := make(past, levels)
	for i := range p {
		n := in.count(3)
		for range n {
			b := bucket{k: in.varint(), n: in.varint(), latest: in.varint(), cells: make([]cell, s.spec.Columns)}
			in.bad = in.bad || len(p[i]) > 0 && p[i][len(p[i])-1].k >= b.k
			for c := range b.cells {
				s.readCell(in, c, &b.cells[c])
			}
			if in.bad {
				return nil
			}
			p[i] = append(p[i], b)
		}
	}
	return p
}

func (s *Store) readCell(in *saved, c int, x *cell) {
	sketched := in.byte()
	if x.n = in.varint(); x.n == 0 || in.bad {
		return
	}
	x.sum.high, x.sum.low = in.bigUint64(), in.bigUint64()
	for i := range x.squares {
		x.squares[i] = in.bigUint64()
	}
	x.least, x.greatest = int64(in.bigUint64()), int64(in.bigUint64())
	for _, e := range []*end{&x.first, &x.last} {
		e.time, e.name, e.id, e.value = in.varint(), in.text(), in.bigUint64(), in.varint()
		if b := in.take(2); b != nil {
			e.currency = binary.BigEndian.Uint16(b)
		}
	}
	x.currency.found = true
	if x.currency.mixed = in.byte() != 0; !x.currency.mixed {
		if b := in.take(2); b != nil {
			x.currency.one = binary.BigEndian.Uint16(b)
		}
	}
	s.readSketch(in, sketched != 0, &x.values)
	if s.spec.Texts>>c&1 == 0 {
		return
	}
	for _, e := range []*end{&x.first, &x.last} {
		text := in.text()
		if id := xxh3.HashString(text); in.bad || int64(id) != e.value {
			in.bad = true
			return
		}
		held, _ := s.texts.add(uint64(e.value), text)
		held.holds++
	}
}

func (s *Store) readSketch(in *saved, sketched bool, k *sketch) {
	n := in.count(1)
	for i := range n {
		v := in.varint()
		in.bad = in.bad || i > 0 && k.list[i-1] >= v
		k.list = append(k.list, v)
	}
	if !sketched {
		return
	}
	k.registers = append([]uint8(nil), in.take(registers)...)
	in.bad = in.bad || n > 0
	for _, rank := range k.registers {
		in.bad = in.bad || rank > maxRank
	}
}
