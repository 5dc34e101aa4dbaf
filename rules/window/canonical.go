package window

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
)

// Range calls f for each key in memory, in no particular order, with how many
// events it has (those in buckets as far as any span reaches), until f returns
// false.
func (s *Store) Range(f func(key string, events int) bool) {
	s.each(func(ref uint64) bool {
		r := s.open(ref)
		n := r.n - r.from(s.cutoff(&r))
		if s.levels != nil {
			var all Selection
			s.Select(Key(ref), Span{From: math.MinInt64, To: math.MaxInt64}, &all)
			n = int(all.Count())
		}
		return f(string(s.keyOf(&r)), n)
	})
}

// AppendCanonical appends all that the store has in memory in one form: equal
// for all stores of the same Spec that were given the same events, in whatever
// order. It is for tests and comparisons, and sorts all keys.
func (s *Store) AppendCanonical(dst []byte) []byte {
	refs := make([]uint64, 0, s.keys.n)
	s.each(func(ref uint64) bool {
		refs = append(refs, ref)
		return true
	})
	slices.SortFunc(refs, func(x, y uint64) int {
		a, b := s.open(x), s.open(y)
		return bytes.Compare(s.keyOf(&a), s.keyOf(&b))
	})
	e := Event{Values: make([]int64, s.spec.Columns)}
	for _, ref := range refs {
		r := s.open(ref)
		key := s.keyOf(&r)
		dst = binary.AppendUvarint(dst, uint64(len(key)))
		dst = append(dst, key...)
		first := r.from(s.oldest(r.time(r.n - 1)))
		if s.levels != nil {
			first = max(first, r.n-s.spec.Exact)
		}
		dst = binary.AppendUvarint(dst, uint64(r.n-first))
		for i := first; i < r.n; i++ {
			s.load(&r, i, &e)
			dst = binary.BigEndian.AppendUint64(dst, uint64(e.Time))
			dst = binary.BigEndian.AppendUint64(dst, e.ID)
			dst = binary.BigEndian.AppendUint16(dst, e.Currency)
			dst = binary.BigEndian.AppendUint32(dst, e.Present)
			for c, v := range e.Values {
				if e.Present>>c&1 != 0 {
					dst = binary.BigEndian.AppendUint64(dst, uint64(v))
				}
			}
		}
		if s.levels != nil {
			dst = s.appendPast(dst, &r)
		}
	}
	return dst
}

func (s *Store) keyOf(r *record) []byte { return r.b[s.head:r.data] }

// each calls f for each record until it returns false.
func (s *Store) each(f func(ref uint64) bool) {
	for _, slots := range [][]uint64{s.keys.cur, s.keys.old} {
		for _, slot := range slots {
			if isHot(slot) && !f(slot&refMask) {
				return
			}
		}
	}
}
