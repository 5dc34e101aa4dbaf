package window

// MinMax are the least and the greatest value of a column over the n events that
// have it, and their currency; 0 without events. Currencies are as in
// [Selection.Sum].
func (x *Selection) MinMax(col int) (least, greatest, n int64, currency uint16, err error) {
	r, c := &x.r, x.store.column(&x.r, col)
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
	currency, err = x.currency(c, col)
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
	var buf [valuesAtOnce]int64
	for n := 0; lo < hi; {
		if n, lo = r.values(c, lo, hi, skip, &buf); n == 0 {
			continue
		}
		least, greatest := buf[0], buf[0]
		for _, v := range buf[1:n] {
			least, greatest = min(least, v), max(greatest, v)
		}
		e.merge(least, greatest, int64(n))
	}
}
