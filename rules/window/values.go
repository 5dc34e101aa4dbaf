package window

import "encoding/binary"

// valuesAtOnce is how many values are taken out of a record before something is
// done with them: two short loops are faster than one long one.
const valuesAtOnce = 128

// values puts the values of the entries [i, hi) but skip into to, as many as
// there is room for, and returns how many they are and the entry that is next.
// Those are at most valuesAtOnce entries on.
func (r *record) values(c column, i, hi, skip int, to *[valuesAtOnce]int64) (n, next int) {
	hi = min(hi, i+valuesAtOnce)
	switch c.state {
	case hasNone:
		return 0, hi
	case hasMixed:
		return r.mixedValues(c, i, hi, skip, to), hi
	}
	n = hi - i
	if c.w == 0 {
		clear(to[:n])
	} else {
		// What is above a total's bytes falls out at the left.
		free := uint(64-8*c.w) & 63
		at, b, off := r.total(c, i), r.b, r.data+i*r.stride+c.off
		for k := range to[:n] {
			total := binary.LittleEndian.Uint64(b[off:])
			to[k] = int64((total-at)<<free) >> free
			at = total
			off += r.stride
		}
	}
	if skip >= i && skip < hi {
		copy(to[skip-i:n], to[skip-i+1:n])
		n--
	}
	return n, hi
}

// mixedValues is values of a column that some entries lack.
func (r *record) mixedValues(c column, i, hi, skip int, to *[valuesAtOnce]int64) (n int) {
	had := r.having(c, i)
	for ; i < hi; i++ {
		has := r.having(c, i+1)
		if has != had && i != skip {
			to[n] = r.value(c, i)
			n++
		}
		had = has
	}
	return n
}
