package event

import "strconv"

// Money is an exact amount in 1/10,000 of a currency's unit.
type Money int64

// ParseMoney reads a number as JSON writes it: 129.9, -3, 1.50E1. The value must
// have at most 4 decimals, however it is written (0.10000000 and 123e-2 have two
// at most), and be smaller than 10^14; nothing is ever rounded.
func ParseMoney(text []byte) (Money, error) {
	d, n := scanDecimal(text)
	if n == 0 || n != len(text) {
		return 0, problemNumber
	}
	m, p := d.money()
	if p != noProblem {
		return 0, p
	}
	return m, nil
}

// Append writes m with at least minor decimals and as many more, up to 4, as it
// needs to be exact: 129.9 with 2 gives 129.90, 0.1234 with 2 gives 0.1234.
func (m Money) Append(dst []byte, minor int) []byte {
	u := uint64(m)
	if m < 0 {
		dst = append(dst, '-')
		u = -u
	}
	dst = strconv.AppendUint(dst, u/10000, 10)
	rest := u % 10000
	n := min(max(minor, 0), 4)
	for n < 4 && rest%pow10(4-n) != 0 {
		n++
	}
	if n == 0 {
		return dst
	}
	dst = append(dst, '.')
	for i := 3; i >= 4-n; i-- {
		dst = append(dst, '0'+byte(rest/pow10(i)%10))
	}
	return dst
}

// Format is m as text with at least the minor units of its currency.
func (m Money) Format(c Currency) string {
	var buf [24]byte
	return string(m.Append(buf[:0], c.MinorUnits()))
}

// String is m with as many decimals as it needs.
func (m Money) String() string {
	var buf [24]byte
	return string(m.Append(buf[:0], 0))
}
