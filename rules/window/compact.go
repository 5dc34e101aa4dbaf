package window

import (
	"encoding/binary"
	"slices"
)

// Which events are in buckets is a function of the set of events: all but the
// newest Spec.Exact of a key, by time and id. A record holds more than that, so
// that they move many at a time; what is beyond Exact in it counts as in
// buckets all the same (see selection).

// spare is how many entries a record holds beyond Exact before they move.
func (s *Store) spare() int { return max(s.spec.Exact/4, 1) }

// compact moves all entries but the newest Exact to buckets, once they are many
// enough.
func (s *Store) compact(r *record, m uint64) {
	if s.levels == nil || r.n <= s.spec.Exact+s.spare() {
		return
	}
	key := s.keyOf(r)
	p := s.past[string(key)]
	if p == nil {
		p = make(past, len(s.levels))
		s.past[string(key)] = p
	}
	newest := r.time(r.n - 1)
	move := r.n - s.spec.Exact
	s.expire(p, newest, true)
	s.moveTo(p, r, move, &s.twin, true)
	s.release(r, 0, move)
	s.trim(r, move)
	s.events -= int64(move)
	r.b[offFlags] |= flagPast
	if s.track.on {
		s.mark(r, m)
	}
}

// forget takes out the buckets of a key that are too old.
func (s *Store) forget(r *record, newest int64) {
	p := s.pastOf(r)
	if p == nil {
		return
	}
	s.expire(p, newest, true)
	for _, buckets := range p {
		if len(buckets) > 0 {
			return
		}
	}
	delete(s.past, string(s.keyOf(r)))
}

// moveTo enters the first n entries of a record in buckets.
func (s *Store) moveTo(p past, r *record, n int, e *Event, held bool) {
	newest := r.time(r.n - 1)
	for i := r.from(s.oldest(newest)); i < n; i++ {
		s.load(r, i, e)
		s.enter(p, e, newest, held)
	}
}

// pastOf is what buckets hold of a record's key, nil if there are none.
func (s *Store) pastOf(r *record) past {
	if r.b[offFlags]&flagPast == 0 {
		return nil
	}
	return s.past[string(s.keyOf(r))]
}

// appendPast appends the canonical form of a key's buckets.
func (s *Store) appendPast(dst []byte, r *record) []byte {
	p := s.pastOf(r).clone()
	if p == nil {
		p = make(past, len(s.levels))
	}
	s.expire(p, r.time(r.n-1), false)
	s.moveTo(p, r, r.n-s.spec.Exact, &Event{Values: make([]int64, s.spec.Columns)}, false)
	for _, buckets := range p {
		dst = binary.AppendUvarint(dst, uint64(len(buckets)))
		for _, b := range buckets {
			dst = binary.AppendVarint(dst, b.k)
			dst = binary.AppendVarint(dst, b.n)
			dst = binary.AppendVarint(dst, b.latest)
			for c := range b.cells {
				dst = b.cells[c].append(dst)
			}
		}
	}
	return dst
}

func (x *cell) append(dst []byte) []byte {
	dst = binary.AppendVarint(dst, x.n)
	if x.n == 0 {
		return dst
	}
	for _, v := range slices.Concat([]uint64{x.sum.high, x.sum.low}, x.squares[:], []uint64{uint64(x.least), uint64(x.greatest)}) {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	for _, e := range []*end{&x.first, &x.last} {
		dst = binary.AppendVarint(dst, e.time)
		dst = binary.AppendUvarint(dst, uint64(len(e.name)))
		dst = append(dst, e.name...)
		dst = binary.BigEndian.AppendUint64(dst, e.id)
		dst = binary.AppendVarint(dst, e.value)
		dst = binary.BigEndian.AppendUint16(dst, e.currency)
	}
	if x.currency.mixed {
		dst = append(dst, 1) // which was seen first means nothing
	} else {
		dst = append(dst, 0)
		dst = binary.BigEndian.AppendUint16(dst, x.currency.one)
	}
	dst = binary.AppendUvarint(dst, uint64(len(x.values.list)))
	for _, v := range x.values.list {
		dst = binary.AppendVarint(dst, v)
	}
	return append(dst, x.values.registers...)
}
