package window

import (
	"errors"
	"math"
	"math/bits"
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

// Count is how many events there are in the span.
func (s *Store) Count(k Key, sp Span) int64 {
	r := s.open(uint64(k))
	lo, hi, skip := s.span(&r, sp)
	n := int64(hi - lo)
	if skip >= 0 {
		n--
	}
	return n
}

// Last is the time of the latest event in the span; ok is false if there is
// none.
func (s *Store) Last(k Key, sp Span) (time int64, ok bool) {
	r := s.open(uint64(k))
	lo, hi, skip := s.span(&r, sp)
	if skip == hi-1 {
		hi--
	}
	if lo >= hi {
		return 0, false
	}
	return r.time(hi - 1), true
}

// Sum is the exact total of a column over the n events in the span that have
// it, and their currency (0 for a plain column and without events). It is
// ErrOverflow only if the total itself does not fit, whatever its parts do. The
// total stands beside ErrCurrencies too, for whom it means something.
func (s *Store) Sum(k Key, col int, sp Span) (total, n int64, currency uint16, err error) {
	r := s.open(uint64(k))
	lo, hi, skip := s.span(&r, sp)
	c := s.column(&r, col)
	if skip >= 0 && !r.has(c, skip) {
		skip = -1
	}
	n = r.having(c, hi) - r.having(c, lo)
	if skip >= 0 {
		n--
	}
	if n == 0 {
		return 0, 0, 0, nil
	}
	if total, err = r.sum(c, lo, hi, skip); err != nil {
		return 0, n, 0, err
	}
	if s.spec.Plain>>col&1 == 0 {
		currency, err = r.oneCurrency(c, lo, hi, skip)
	}
	return total, n, currency, err
}

// sum adds up the values of the entries [lo, hi) but skip.
func (r *record) sum(c column, lo, hi, skip int) (int64, error) {
	if c.w == 0 {
		return 0, nil
	}
	// That many values can't leave the range of a difference.
	at := r.total(c, lo)
	step := 1 << (8*c.w - 1 - int(c.bits))
	if hi-lo <= step {
		total := signed(r.total(c, hi)-at, c.w)
		if skip >= 0 {
			total -= r.value(c, skip)
		}
		return total, nil
	}
	var high, low uint64 // of 128 bits
	add := func(v int64) {
		var carry uint64
		low, carry = bits.Add64(low, uint64(v), 0)
		high, _ = bits.Add64(high, uint64(v>>63), carry)
	}
	for i := lo; i < hi; {
		i = min(i+step, hi)
		next := r.total(c, i)
		add(signed(next-at, c.w))
		at = next
	}
	if skip >= 0 {
		v := r.value(c, skip)
		if v == math.MinInt64 { // has no negative
			add(math.MaxInt64)
			add(1)
		} else {
			add(-v)
		}
	}
	if int64(high) != int64(low)>>63 {
		return 0, ErrOverflow
	}
	return int64(low), nil
}

// oneCurrency is the currency of the entries [lo, hi) but skip that have the
// column. It looks at each only if the key has seen two.
func (r *record) oneCurrency(c column, lo, hi, skip int) (uint16, error) {
	if r.cur == 0 {
		return r.currency(0), nil
	}
	var currency uint16
	found := false
	for i := lo; i < hi; i++ {
		if i == skip || !r.has(c, i) {
			continue
		}
		x := r.currency(i)
		if found && x != currency {
			return 0, ErrCurrencies
		}
		currency, found = x, true
	}
	return currency, nil
}
