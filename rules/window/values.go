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
	if c.state == hasNone {
		return 0, hi
	}
	// What is above a total's bytes falls out at the left.
	free := 64 - 8*c.w
	at, had := r.total(c, i), r.having(c, i)
	off := r.data + i*r.stride + c.off
	for ; i < hi; i++ {
		total := binary.LittleEndian.Uint64(r.b[off:])
		to[n&(valuesAtOnce-1)] = int64((total-at)<<free) >> free
		at = total
		one := 1
		if c.state == hasMixed {
			has := int64(binary.LittleEndian.Uint32(r.b[off+c.w:]))
			one = int(has - had)
			had = has
		}
		if i == skip {
			one = 0
		}
		n += one
		off += r.stride
	}
	return n, hi
}
