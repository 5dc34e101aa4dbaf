package window

// MinMax are the least and the greatest value of a column over the n events in
// the span that have it, and their currency; 0 without events. Currencies are
// as in [Store.Sum].
func (s *Store) MinMax(k Key, col int, sp Span) (least, greatest, n int64, currency uint16, err error) {
	r := s.open(uint64(k))
	x := s.choose(&r, sp)
	c := s.column(&r, col)
	var e extremes
	r.extremes(c, x.lo, x.hi, x.skip, &e)
	r.extremes(c, x.low, x.high, -1, &e)
	for i := range x.buckets {
		if b := &x.buckets[i].cells[col]; b.n > 0 {
			e.merge(b.least, b.greatest, b.n)
		}
	}
	if e.n == 0 {
		return 0, 0, 0, 0, nil
	}
	currency, err = s.currency(&r, c, col, &x)
	return e.least, e.greatest, e.n, currency, err
}

// extremes are the least and the greatest of n values.
type extremes struct{ least, greatest, n int64 }

func (e *extremes) merge(least, greatest, n int64) {
	if e.n == 0 {
		e.least, e.greatest = least, greatest
	}
	e.least, e.greatest, e.n = min(e.least, least), max(e.greatest, greatest), e.n+n
}

func (r *record) extremes(c column, lo, hi, skip int, e *extremes) {
	at, had := r.total(c, lo), r.having(c, lo)
	for i := lo; i < hi; i++ {
		next := r.total(c, i+1)
		v := signed(next-at, c.w)
		at = next
		if c.state != hasAll {
			has := r.having(c, i+1)
			if has == had {
				continue
			}
			had = has
		}
		if i != skip {
			e.merge(v, v, 1)
		}
	}
}
