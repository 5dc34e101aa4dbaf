package rules

import (
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/refundguard/refundguard/rules/event"
)

// converter computes amount_base.
type converter struct {
	base  event.Currency
	rates map[event.Currency]rate
}

// rate is mantissa / 10^digits, exactly as it was written.
type rate struct {
	mantissa uint64
	power    uint64 // 10^digits
}

// schemaSlots are the places of the fields that every refund has.
type schemaSlots struct {
	amount, currency int
}

func newConverter(o Options) (*converter, error) {
	c := &converter{base: o.Base, rates: map[event.Currency]rate{}}
	if c.base == 0 {
		c.base, _ = event.ParseCurrency("USD")
	}
	for currency, text := range o.Rates {
		r, err := parseRate(text)
		if err != nil {
			return nil, fmt.Errorf("the rate of %s is %q: %w", currency, text, err)
		}
		c.rates[currency] = r
	}
	return c, nil
}

// CheckRate says what is wrong with a rate of Options.Rates.
func CheckRate(text string) error {
	_, err := parseRate(text)
	return err
}

// parseRate reads a positive decimal of at most 18 digits.
func parseRate(text string) (rate, error) {
	errBad := fmt.Errorf("write one unit of it in the base currency as a decimal above 0 with at most 18 digits, such as 1.08")
	whole, fraction, dot := strings.Cut(text, ".")
	if whole == "" || dot && fraction == "" {
		return rate{}, errBad
	}
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" || len(digits) > 18 || len(fraction) > 18 {
		return rate{}, errBad
	}
	r := rate{power: 1}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return rate{}, errBad
		}
		r.mantissa = r.mantissa*10 + uint64(d-'0')
	}
	for range fraction {
		r.power *= 10
	}
	return r, nil
}

// InBase is an amount in the base currency, exactly what conditions see as
// amount_base; false where there is no rate, or no money holds it.
func (s *Set) InBase(m event.Money, currency event.Currency) (event.Money, bool) {
	if currency == s.convert.base {
		return m, true
	}
	r, ok := s.convert.rates[currency]
	if !ok {
		return 0, false
	}
	n, ok := r.of(int64(m))
	return event.Money(n), ok
}

// amount is the event's amount in the base currency; nil where it has no rate.
func (c *converter) amount(s schemaSlots, e *event.Event) Value {
	if !e.Has(s.amount) || !e.Has(s.currency) {
		return Value{}
	}
	currency := event.Currency(e.Vals[s.currency].Num)
	units := e.Vals[s.amount].Num
	if currency == c.base {
		return Value{Kind: KindMoney, Num: units, Currency: c.base}
	}
	r, ok := c.rates[currency]
	if !ok {
		return Value{}
	}
	n, ok := r.of(units)
	if !ok {
		return FaultValue(faultOverflow)
	}
	return Value{Kind: KindMoney, Num: n, Currency: c.base}
}

// of is units × rate, rounded half to even.
func (r rate) of(units int64) (int64, bool) {
	hi, lo := bits.Mul64(abs64(units), r.mantissa)
	if hi >= r.power {
		return 0, false
	}
	q, rest := bits.Div64(hi, lo, r.power)
	half := r.power / 2 // power is even, or 1 and then rest is 0
	if rest > half || rest == half && rest > 0 && q&1 == 1 {
		q++
	}
	if q > math.MaxInt64 {
		return 0, false
	}
	if units < 0 {
		return -int64(q), true
	}
	return int64(q), true
}
