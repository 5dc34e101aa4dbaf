package shop

import (
	"math/bits"
	"math/rand/v2"
)

// Everything random here is integer arithmetic over one PCG: floating point
// (and math.Exp, which has assembly on some machines) may differ in the last
// bit between machines, and one bit is enough to give another year.

// rng draws what the generator needs. The same seed gives the same draws on
// every machine and with every Go release: only PCG's own output is used.
type rng struct{ src *rand.PCG }

func newRNG(seed uint64) rng { return rng{rand.NewPCG(seed, mix(seed))} }

// below is uniform in [0, n). Its bias is below n/2^64. n = 0 gives 0.
func (r rng) below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.src.Uint64(), n)
	return hi
}

// between is uniform in [lo, hi].
func (r rng) between(lo, hi int64) int64 { return lo + int64(r.below(uint64(hi-lo+1))) }

// permille is true in n of 1,000 cases.
func (r rng) permille(n uint64) bool { return r.below(1000) < n }

// mix is splitmix64's finisher: a bijection that makes neighbours unlike.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// muldiv is a·b/c, floored, without overflow on the way. a·b/c must fit.
func muldiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	q, _ := bits.Div64(hi, lo, c)
	return q
}

// A quantile is one point of a distribution: p of a million values are at most v.
type quantile struct {
	p uint64
	v int64
}

const million = 1_000_000

// quantiles is a distribution as measured: its points, with straight lines
// between. The first has p = 0, the last p = million.
type quantiles []quantile

// at is the value at u millionths.
func (q quantiles) at(u uint64) int64 {
	i := 1
	for u >= q[i].p {
		i++
	}
	a, b := q[i-1], q[i]
	return a.v + int64(u-a.p)*(b.v-a.v)/int64(b.p-a.p)
}

func (q quantiles) draw(r rng) int64 { return q.at(r.below(million)) }

// choice is a value with its weight among a thousand.
type choice struct {
	name   string
	weight uint64
}

// pick takes one by weight; u is below 1,000, the sum of the weights.
func pick(from []choice, u uint64) uint8 {
	for i := range from {
		if u < from[i].weight {
			return uint8(i)
		}
		u -= from[i].weight
	}
	return uint8(len(from) - 1)
}
