package window

import (
	"math"
	"math/bits"
)

// long is a signed number of 128 bits.
type long struct{ high, low uint64 }

func longOf(v int64) long { return long{uint64(v >> 63), uint64(v)} }

func (l *long) add(v long) {
	var carry uint64
	l.low, carry = bits.Add64(l.low, v.low, 0)
	l.high, _ = bits.Add64(l.high, v.high, carry)
}

func (l *long) sub(v long) {
	var borrow uint64
	l.low, borrow = bits.Sub64(l.low, v.low, 0)
	l.high, _ = bits.Sub64(l.high, v.high, borrow)
}

// small is the number if 64 bits hold it.
func (l long) small() (int64, error) {
	if int64(l.high) != int64(l.low)>>63 {
		return 0, ErrOverflow
	}
	return int64(l.low), nil
}

// size is the number without its sign.
func (l long) size() wide {
	if int64(l.high) < 0 {
		var zero long
		zero.sub(l)
		l = zero
	}
	return wide{l.low, l.high}
}

// wide is an unsigned number of 192 bits, the lowest first. The greatest that
// is kept in one is the sum of 2^32 squares of 64-bit numbers, times 2^32:
// 2^190.
type wide [3]uint64

func (w *wide) add(v wide) {
	var carry uint64
	w[0], carry = bits.Add64(w[0], v[0], 0)
	w[1], carry = bits.Add64(w[1], v[1], carry)
	w[2] += v[2] + carry
}

func (w *wide) sub(v wide) {
	var borrow uint64
	w[0], borrow = bits.Sub64(w[0], v[0], 0)
	w[1], borrow = bits.Sub64(w[1], v[1], borrow)
	w[2] -= v[2] + borrow
}

// product is the lower 192 bits of w × n.
func (w wide) product(n uint64) wide {
	h0, l0 := bits.Mul64(w[0], n)
	h1, l1 := bits.Mul64(w[1], n)
	m1, carry := bits.Add64(l1, h0, 0)
	return wide{l0, m1, w[2]*n + h1 + carry}
}

// size is |v| as an unsigned number; of the least int64 too.
func size(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// float is the nearest float64.
func (w wide) float() float64 {
	top := 2
	for top > 0 && w[top] == 0 {
		top--
	}
	if top == 0 {
		return float64(w[0])
	}
	shift := bits.LeadingZeros64(w[top])
	head := w[top]<<shift | w[top-1]>>(64-shift)
	rest := w[top-1] << shift
	if top == 2 {
		rest |= w[0]
	}
	if rest != 0 {
		head |= 1 // of 64 bits a float64 keeps 53: this one only breaks ties
	}
	return math.Ldexp(float64(head), 64*top-shift)
}
