package window

// Scratch is memory that Distinct works in. Its zero value is ready; one
// goroutine at a time may use it, for any store.
type Scratch struct {
	slots []uint64
	size  int // slots in use, a power of two
	n     int // values in them, 0 not counted
	zero  int // 1: there was a 0

	registers []uint8
}

// Slots at the beginning, for few values and at most for many: the different
// ones among those may be few.
const scratchSlots, scratchStart = 64, 1024

// Distinct is how many different values a column has over the events. It
// is exact, but of events in buckets with more than Spec.DistinctExact
// values together with the others of the span: then it is estimated, with a
// standard error of 1.63 %.
func (x *Selection) Distinct(col int, scratch *Scratch) int64 {
	r, c := &x.r, x.store.column(&x.r, col)
	scratch.reset(x.hi - x.lo)
	r.distinct(c, x.lo, x.hi, x.skip, scratch)
	if !x.rough() {
		return scratch.count()
	}
	r.distinct(c, x.low, x.high, -1, scratch)
	most := int64(x.store.spec.DistinctExact)
	listed := true
	for i := 0; i < len(x.buckets) && listed && scratch.count() <= most; i++ {
		values := &x.buckets[i].cells[col].values
		listed = values.registers == nil
		for _, v := range values.list {
			scratch.see(v)
		}
	}
	if listed && scratch.count() <= most {
		return scratch.count()
	}
	// They are more than most, and no more than there are events.
	n := r.having(c, x.hi) - r.having(c, x.lo) + r.having(c, x.high) - r.having(c, x.low)
	if x.skip >= 0 && r.has(c, x.skip) {
		n--
	}
	for i := range x.buckets {
		n += x.buckets[i].cells[col].n
	}
	return min(max(scratch.estimate(x.buckets, col), most+1), n)
}

// distinct shows a scratch the values of the entries [lo, hi) but skip.
func (r *record) distinct(c column, lo, hi, skip int, scratch *Scratch) {
	first := true
	var last int64 // the latest value looked up; the same again is common
	var buf [valuesAtOnce]int64
	for n := 0; lo < hi; {
		n, lo = r.values(c, lo, hi, skip, &buf)
		for _, v := range buf[:n] {
			if first || v != last {
				scratch.see(v)
				first, last = false, v
			}
		}
	}
}

func (s *Scratch) count() int64 { return int64(s.n + s.zero) }

func (s *Scratch) see(v int64) {
	if v == 0 {
		s.zero = 1
	} else {
		s.add(uint64(v))
	}
}

// estimate counts what has been seen and what is in buckets. Those that have
// been seen may be in them.
func (s *Scratch) estimate(buckets []bucket, col int) int64 {
	if s.registers == nil {
		s.registers = make([]uint8, registers)
	}
	clear(s.registers)
	if s.zero != 0 {
		note(s.registers, 0)
	}
	for _, v := range s.slots[:s.size] {
		if v != 0 {
			note(s.registers, int64(v))
		}
	}
	for i := range buckets {
		buckets[i].cells[col].values.mergeInto(s.registers)
	}
	return estimate(s.registers)
}

// reset forgets all values, and makes room for some.
func (s *Scratch) reset(values int) {
	s.size, s.n, s.zero = scratchSlots, 0, 0
	for s.size < 2*values && s.size < scratchStart {
		s.size *= 2
	}
	if len(s.slots) < s.size {
		s.slots = make([]uint64, s.size)
	}
	clear(s.slots[:s.size])
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
