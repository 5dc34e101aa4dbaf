package window

import (
	"encoding/binary"
	"math"
)

// from is how many entries have a time < t.
func (r *record) from(t int64) int {
	if t == math.MinInt64 {
		return 0
	}
	return r.after(t - 1)
}

// after is how many entries have a time ≤ t. Events come evenly enough, mostly,
// for a guess to be close: it is tried first, and then farther and farther from
// it, as each look elsewhere is a wait for memory.
func (r *record) after(t int64) int {
	if r.n == 0 {
		return 0
	}
	x, mask := r.raw(t), r.timeMask()
	b, stride := r.b[r.data:], r.stride
	first := binary.LittleEndian.Uint64(b) & mask
	last := binary.LittleEndian.Uint64(b[(r.n-1)*stride:]) & mask
	if last <= x {
		return r.n
	}
	if first > x {
		return 0
	}
	lo, hi := 0, r.n-1 // the entry at lo isn't later, that at hi is
	if r.n > 8 {
		guess := int(float64(x-first) / float64(last-first) * float64(hi))
		guess = min(guess, hi-1)
		step := 2
		if binary.LittleEndian.Uint64(b[guess*stride:])&mask <= x {
			lo = guess
			for i := lo + step; i < hi; i += step {
				if binary.LittleEndian.Uint64(b[i*stride:])&mask > x {
					hi = i
					break
				}
				lo = i
				step *= 2
			}
		} else {
			hi = guess
			for i := hi - step; i > lo; i -= step {
				if binary.LittleEndian.Uint64(b[i*stride:])&mask <= x {
					lo = i
					break
				}
				hi = i
				step *= 2
			}
		}
	}
	for hi-lo > 1 {
		mid := int(uint(lo+hi) >> 1)
		if binary.LittleEndian.Uint64(b[mid*stride:])&mask <= x {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// place is where the event with this time and id is, or belongs, if that is not
// behind end. It looks from end on towards the beginning, as nearly all are
// close to it.
func (r *record) place(t int64, id uint64, end int) (i int, found bool) {
	lo, hi := -1, end // entries up to lo come before, those from hi on do not
	for step := 1; hi > 0; step *= 2 {
		i := max(hi-step, 0)
		if r.precedes(i, t, id) {
			lo = i
			break
		}
		hi = i
	}
	for lo+1 < hi {
		mid := int(uint(lo+hi) >> 1)
		if r.precedes(mid, t, id) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi, hi < r.n && r.time(hi) == t && r.id(hi) == id
}

// precedes reports whether entry i comes before (t, id).
func (r *record) precedes(i int, t int64, id uint64) bool {
	x := r.time(i)
	return x < t || x == t && r.id(i) < id
}
