package quality

import (
	"maps"
	"math/big"
	"slices"

	"github.com/refundguard/refundguard/rules/event"
)

// Sum is the money of some refunds: exact, as decimals per currency and in the
// base currency, each refund converted as amount_base is, by the rates given.
type Sum struct {
	Refunds    int64             `json:"refunds"`
	ByCurrency map[string]string `json:"by_currency"`
	Base       string            `json:"base"` // without those that have no rate
}

// total is a Sum while it grows. Sums are of any size: one refund may be so large
// that ten of them don't fit into event.Money.
type total struct {
	refunds int64
	by      map[event.Currency]*big.Int
	base    big.Int
}

func (t *total) sum(base event.Currency) Sum {
	s := Sum{Refunds: t.refunds, ByCurrency: map[string]string{}, Base: decimal(&t.base, base)}
	for c, units := range t.by {
		s.ByCurrency[c.String()] = decimal(units, c)
	}
	return s
}

// decimal writes units as event.Money is written.
func decimal(units *big.Int, c event.Currency) string {
	whole, rest := new(big.Int).QuoRem(new(big.Int).Abs(units), big.NewInt(10000), new(big.Int))
	sign := ""
	if units.Sign() < 0 {
		sign = "-"
	}
	return sign + whole.String() + event.Money(rest.Int64()).Format(c)[1:]
}

// money adds refunds to totals.
type money struct {
	o      Options
	noRate map[string]bool
	one    big.Int
}

func (m *money) add(t *total, r *refund) {
	if t.by == nil {
		t.by = map[event.Currency]*big.Int{}
	}
	units := t.by[r.currency]
	if units == nil {
		units = new(big.Int)
		t.by[r.currency] = units
	}
	t.refunds++
	units.Add(units, m.one.SetInt64(int64(r.amount)))
	if base, ok := m.o.AmountBase(r.amount, r.currency); ok {
		t.base.Add(&t.base, m.one.SetInt64(int64(base)))
	} else {
		m.noRate[r.currency.String()] = true
	}
}

func (m *money) unrated() []string { return slices.Sorted(maps.Keys(m.noRate)) }
