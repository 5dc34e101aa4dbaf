package window

import (
	"math"
	"math/bits"
	"slices"
)

// sketch is a set of values: a sorted list of them, or, when they are too many,
// a HyperLogLog. Which of the two hangs on the values alone.
type sketch struct {
	list      []int64
	registers []uint8 // nil: list
}

const (
	registerBits = 12 // 1.04/√4096: a standard error of 1.63 %
	registers    = 1 << registerBits
	maxRank      = 64 - registerBits + 1
)

// add enters a value; a list holds up to most.
func (k *sketch) add(v int64, most int) {
	if k.registers != nil {
		note(k.registers, v)
		return
	}
	i, found := slices.BinarySearch(k.list, v)
	if found {
		return
	}
	if len(k.list) < most {
		k.list = slices.Insert(k.list, i, v)
		return
	}
	k.registers = make([]uint8, registers)
	note(k.registers, v)
	for _, v := range k.list {
		note(k.registers, v)
	}
	k.list = nil
}

// mergeInto adds a sketch's values to registers.
func (k *sketch) mergeInto(to []uint8) {
	for _, v := range k.list {
		note(to, v)
	}
	for i, rank := range k.registers {
		to[i] = max(to[i], rank)
	}
}

// note enters a value in registers.
func note(to []uint8, v int64) {
	// The finalizer of MurmurHash3: each bit of the value turns half of the others.
	h := uint64(v) + 0x9e3779b97f4a7c15 // so that 0 is no fixed point
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	i := h >> (64 - registerBits)
	rank := uint8(min(bits.LeadingZeros64(h<<registerBits)+1, maxRank))
	to[i] = max(to[i], rank)
}

// estimate is how many values registers have seen: the estimator of Ertl (New
// cardinality estimation algorithms for HyperLogLog sketches, 2017, algorithm
// 6), which has no bias anywhere and needs no tables. The conversions keep a
// compiler from fusing operations, which would round otherwise elsewhere.
func estimate(of []uint8) int64 {
	var count [maxRank + 1]int
	for _, rank := range of {
		count[rank]++
	}
	m := float64(registers)
	z := float64(m * tau(1-float64(count[maxRank])/m))
	for k := maxRank - 1; k >= 1; k-- {
		z = 0.5 * (z + float64(count[k]))
	}
	z += float64(m * sigma(float64(count[0])/m))
	// Without a value, z is infinite; with more than can be told apart, it is 0.
	return int64(math.Round(min(m/(2*math.Ln2)*m/z, 1<<62)))
}

func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x = float64(x * x)
		last := z
		z += float64(x * y)
		y += y
		if z == last {
			return z
		}
	}
}

func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		last := z
		y *= 0.5
		d := 1 - x
		z -= float64(float64(d*d) * y)
		if z == last {
			return z / 3
		}
	}
}
