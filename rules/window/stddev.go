package window

import (
	"math"
	"math/bits"
)

// moments are the exact sums of some values.
type moments struct {
	n       int64
	sum     long
	squares wide
}

func (m *moments) add(v int64) {
	m.n++
	m.sum.add(longOf(v))
	x := size(v)
	high, low := bits.Mul64(x, x)
	m.squares.add(wide{low, high})
}

func (m *moments) merge(o *moments) {
	m.n += o.n
	m.sum.add(o.sum)
	m.squares.add(o.squares)
}

func (m *moments) mean() float64 {
	mean := m.sum.size().float() / float64(m.n)
	if int64(m.sum.high) < 0 {
		return -mean
	}
	return mean
}

// deviation is √(n·Σv² − (Σv)²) / n. All below the root is exact, so that
// nothing is lost to values that are large and close to each other.
func (m *moments) deviation() float64 {
	sum := m.sum.size()
	square := sum.product(sum[0])
	high := sum.product(sum[1])
	square.add(wide{0, high[0], high[1]})
	spread := m.squares.product(uint64(m.n))
	spread.sub(square)
	return math.Sqrt(spread.float()) / float64(m.n)
}

// Stddev is the population standard deviation of a column over the n events that
// have it, their mean, both in units of the column, and their currency; 0
// without events. Currencies are as in [Selection.Sum]. The sums are
// exact, whatever the values; what is rounded is the end: the mean by one part
// in 2^52 at most, the deviation by two.
func (x *Selection) Stddev(col int) (sd, mean float64, n int64, currency uint16, err error) {
	r, c := &x.r, x.store.column(&x.r, col)
	var m moments
	r.moments(c, x.lo, x.hi, x.skip, &m)
	r.moments(c, x.low, x.high, -1, &m)
	for i := range x.buckets {
		m.merge(&x.buckets[i].cells[col].moments)
	}
	if m.n == 0 {
		return 0, 0, 0, 0, nil
	}
	currency, err = x.currency(c, col)
	return m.deviation(), m.mean(), m.n, currency, err
}

func (r *record) moments(c column, lo, hi, skip int, m *moments) {
	// The squares of valuesAtOnce such values add up to less than 2^63.
	small := c.bits <= 28
	var buf [valuesAtOnce]int64
	for n := 0; lo < hi; {
		n, lo = r.values(c, lo, hi, skip, &buf)
		if !small {
			for _, v := range buf[:n] {
				m.add(v)
			}
			continue
		}
		var sum, squares int64
		for _, v := range buf[:n] {
			sum += v
			squares += v * v
		}
		m.n += int64(n)
		m.sum.add(longOf(sum))
		m.squares.add(wide{uint64(squares)})
	}
}
