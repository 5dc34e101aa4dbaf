package event

// decimal is ±digits × 10^exp, where the digits neither begin nor end with a
// zero. Zero has none.
type decimal struct {
	mant   uint64 // the first kept digits
	kept   int    // all of them, or up to 19
	digits int    // how many there are
	exp    int
	neg    bool
}

// maxExponent bounds an exponent while it is read. Texts are bounded by the
// record's size, so no sum of it with a number of digits can overflow or come
// back into a valid range.
const maxExponent = 1 << 40

// scanDecimal reads the number in JSON's grammar that text begins with, and
// returns how many bytes it took: 0 if there is none.
func scanDecimal(text []byte) (d decimal, n int) {
	i := 0
	if i < len(text) && text[i] == '-' {
		d.neg = true
		i++
	}
	start := i
	zeros := 0 // zeros read and not yet in mant: they may be trailing ones
	for ; i < len(text) && isDigit(text[i]); i++ {
		zeros = d.push(text[i], zeros)
	}
	if i == start || text[start] == '0' && i > start+1 {
		return d, 0
	}
	if i < len(text) && text[i] == '.' {
		i++
		start = i
		for ; i < len(text) && isDigit(text[i]); i++ {
			zeros = d.push(text[i], zeros)
		}
		if i == start {
			return d, 0
		}
		d.exp = start - i
	}
	d.exp += zeros
	if i < len(text) && text[i]|0x20 == 'e' {
		e, n := scanExponent(text[i+1:])
		if n == 0 {
			return d, 0
		}
		d.exp += e
		i += 1 + n
	}
	return d, i
}

// money is the exact value of d.
func (d *decimal) money() (Money, problem) {
	switch {
	case d.digits == 0:
		return 0, noProblem
	case d.exp+d.digits > 14:
		return 0, problemRange
	case d.exp < -4:
		return 0, problemDecimals
	}
	// At most 18 digits, so neither mant nor the product can overflow.
	m := Money(d.mant * pow10(d.exp+4))
	if d.neg {
		m = -m
	}
	return m, noProblem
}

// int64 is the exact value of d, if it is an integer of 64 bits. 1e3 is one, and
// so is 12.0.
func (d *decimal) int64() (int64, bool) {
	switch {
	case d.digits == 0:
		return 0, true
	case d.exp < 0 || d.exp+d.digits > 19:
		return 0, false
	}
	n := d.mant * pow10(d.exp) // at most 19 digits: smaller than 2^64
	if d.neg {
		return -int64(n), n <= 1<<63
	}
	return int64(n), n < 1<<63
}

// floor is the greatest integer that isn't greater than d, for 0 ≤ d < 10^19.
func (d *decimal) floor() (uint64, bool) {
	exp := d.exp + d.digits - d.kept // of mant; digits that weren't kept are below 1
	switch {
	case d.digits == 0:
		return 0, true
	case d.neg || d.exp+d.digits > 19:
		return 0, false
	case exp >= 0:
		return d.mant * pow10(exp), true
	case exp < -19:
		return 0, true
	}
	return d.mant / pow10(-exp), true
}

// push appends one digit, and returns how many zeros are now held back.
func (d *decimal) push(c byte, zeros int) int {
	if c == '0' {
		return zeros + 1
	}
	if d.digits == 0 {
		zeros = 0
	}
	d.digits += zeros + 1
	if d.digits <= 19 {
		d.mant = d.mant*pow10(zeros+1) + uint64(c-'0')
		d.kept = d.digits
	}
	return 0
}

// scanExponent reads what follows an e, and returns how many bytes it took; 0
// means that it is not an exponent.
func scanExponent(text []byte) (exp, n int) {
	neg := false
	if n < len(text) && (text[n] == '+' || text[n] == '-') {
		neg = text[n] == '-'
		n++
	}
	start := n
	for ; n < len(text) && isDigit(text[n]); n++ {
		if exp < maxExponent {
			exp = exp*10 + int(text[n]-'0')
		}
	}
	if n == start {
		return 0, 0
	}
	if neg {
		exp = -exp
	}
	return exp, n
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// pow10 is 10^n for n in 0…19.
func pow10(n int) uint64 { return powersOf10[n] }

var powersOf10 = [20]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
	1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}
