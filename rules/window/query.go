package window

import (
	"errors"
)

// ErrOverflow says that a sum does not fit 64 bits.
var ErrOverflow = errors.New("the sum does not fit in 64 bits")

// ErrCurrencies says that a sum is over amounts of more than one currency.
var ErrCurrencies = errors.New("the sum is over more than one currency")

// Span is the event times (From, To] in ms, and the event that is left out.
type Span struct {
	From, To int64
	HasSkip  bool
	SkipTime int64 // with Skip: time and id of the event to leave out
	Skip     uint64
}

// span finds the entries [lo, hi) of a span and which of them is left out, or
// -1.
func (s *Store) span(r *record, sp Span) (lo, hi, skip int) {
	from := sp.From
	if first := s.cutoff(r); first > from {
		// Older entries may be there still, but aren't any more.
		from = first - 1
	}
	if sp.To <= from {
		return 0, 0, -1
	}
	lo, hi, skip = r.after(from), r.after(sp.To), -1
	if sp.HasSkip && lo < hi && sp.SkipTime > from && sp.SkipTime <= sp.To {
		end := hi
		if sp.SkipTime != sp.To { // it is mostly the event that asks
			end = r.after(sp.SkipTime)
		}
		if i, found := r.place(sp.SkipTime, sp.Skip, end); found {
			skip = i
		}
	}
	return lo, hi, skip
}

// Count is how many events there are.
func (x *Selection) Count() int64 {
	n := int64(x.hi-x.lo) + int64(x.high-x.low)
	if x.skip >= 0 {
		n--
	}
	for i := range x.buckets {
		n += x.buckets[i].n
	}
	return n
}

// Sum is the exact total of a column over the n events that have
// it, and their currency (0 for a plain column and without events). It is
// ErrOverflow only if the total itself does not fit, whatever its parts do. The
// total stands beside ErrCurrencies too, for whom it means something.
func (x *Selection) Sum(col int) (total, n int64, currency uint16, err error) {
	r, c, skip := &x.r, x.store.column(&x.r, col), x.skip
	if skip >= 0 && !r.has(c, skip) {
		skip = -1
	}
	n = r.having(c, x.hi) - r.having(c, x.lo)
	if skip >= 0 {
		n--
	}
	if !x.rough() && n == 0 {
		return 0, 0, 0, nil
	}
	sum := r.sum(c, x.lo, x.hi, skip)
	if x.rough() {
		n += r.having(c, x.high) - r.having(c, x.low)
		part := r.sum(c, x.low, x.high, -1)
		sum.add(part)
		for i := range x.buckets {
			b := &x.buckets[i].cells[col]
			n += b.n
			sum.add(b.sum)
		}
	}
	if total, err = sum.small(); err != nil {
		return 0, n, 0, err
	}
	currency, err = x.currency(c, col)
	return total, n, currency, err
}

// sum adds up the values of the entries [lo, hi) but skip.
func (r *record) sum(c column, lo, hi, skip int) long {
	if c.w == 0 {
		return long{}
	}
	// That many values can't leave the range of a difference.
	at := r.total(c, lo)
	step := 1 << (8*c.w - 1 - int(c.bits))
	if hi-lo <= step {
		total := signed(r.total(c, hi)-at, c.w)
		if skip >= 0 {
			total -= r.value(c, skip)
		}
		return longOf(total)
	}
	var sum long
	for i := lo; i < hi; {
		i = min(i+step, hi)
		next := r.total(c, i)
		sum.add(longOf(signed(next-at, c.w)))
		at = next
	}
	if skip >= 0 {
		sum.sub(longOf(r.value(c, skip)))
	}
	return sum
}

// currency is that of what a selection holds of a column. It looks at each
// entry only if the key has seen two.
func (x *Selection) currency(c column, col int) (uint16, error) {
	if x.store.spec.Plain>>col&1 != 0 {
		return 0, nil
	}
	var seen currencies
	x.r.currencies(c, x.lo, x.hi, x.skip, &seen)
	x.r.currencies(c, x.low, x.high, -1, &seen)
	for i := range x.buckets {
		seen.merge(&x.buckets[i].cells[col].currency)
	}
	return seen.result()
}

func (r *record) currencies(c column, lo, hi, skip int, seen *currencies) {
	if r.cur == 0 {
		n := r.having(c, hi) - r.having(c, lo)
		if skip >= 0 && r.has(c, skip) {
			n--
		}
		if n > 0 {
			seen.see(r.currency(0))
		}
		return
	}
	for i := lo; i < hi && !seen.mixed; i++ {
		if i != skip && r.has(c, i) {
			seen.see(r.currency(i))
		}
	}
}
