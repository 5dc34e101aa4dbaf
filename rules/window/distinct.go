package window

// Scratch is memory that Distinct works in. Its zero value is ready; one
// goroutine at a time may use it, for any store.
type Scratch struct {
	slots []uint64
	size  int // slots in use, a power of two
	n     int // values in them, 0 not counted
}

const scratchSlots = 64

// Distinct is how many different values a column has over the events in the
// span.
func (s *Store) Distinct(k Key, col int, sp Span, scratch *Scratch) int64 {
	r := s.open(uint64(k))
	lo, hi, skip := s.span(&r, sp)
	c := s.column(&r, col)
	if c.state == hasNone || lo == hi {
		return 0
	}
	scratch.reset()
	zero := 0
	last := uint64(0) // the latest value looked up; the same again is common
	at, had := r.total(c, lo), r.having(c, lo)
	for i := lo; i < hi; i++ {
		next := r.total(c, i+1)
		v := uint64(signed(next-at, c.w))
		at = next
		if c.state == hasMixed {
			has := r.having(c, i+1)
			if has == had {
				continue
			}
			had = has
		}
		switch {
		case i == skip:
		case v == 0:
			zero = 1
		case v != last:
			scratch.add(v)
			last = v
		}
	}
	return int64(scratch.n + zero)
}

func (s *Scratch) reset() {
	if s.slots == nil {
		s.slots = make([]uint64, scratchSlots)
	}
	s.size, s.n = scratchSlots, 0
	clear(s.slots[:scratchSlots])
}

func (s *Scratch) add(v uint64) {
	if !s.put(v) {
		return
	}
	if s.n++; s.n <= s.size/2 {
		return
	}
	s.grow()
}

// put enters a value that is not 0; it reports whether it is new.
func (s *Scratch) put(v uint64) bool {
	mask := uint64(s.size - 1)
	for i := mix(v) >> 32; ; i++ {
		switch s.slots[i&mask] {
		case 0:
			s.slots[i&mask] = v
			return true
		case v:
			return false
		}
	}
}

// grow doubles the slots in use. The values move through the upper half of
// memory four times as large, so that none is needed per query.
func (s *Scratch) grow() {
	size := s.size
	if need := 4 * size; len(s.slots) < need {
		s.slots = append(make([]uint64, 0, need), s.slots[:size]...)[:need]
	}
	old := s.slots[2*size : 3*size]
	copy(old, s.slots[:size])
	s.size = 2 * size
	clear(s.slots[:s.size])
	for _, v := range old {
		if v != 0 {
			s.put(v)
		}
	}
}
