package window

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// arena hands out blocks of bytes by ref. Blocks of one size class come from
// slabs; a slab without blocks in use goes back to the Go heap, so that keys
// which all grow don't leave the memory of their smaller days behind. The
// collector sees a few large pieces without pointers.
//
// A ref is a slab's number (23 bits) above an offset in units of 8 bytes (16).
type arena struct {
	mem    [][]byte
	slabs  []slab
	gone   []uint32            // numbers of slabs that were given back
	open   [classes + 1]uint32 // per class: first slab with a free block, 0: none
	blocks [classes + 1]int    // per class: blocks in its slabs
	spare  [classes + 1]uint32 // per class: an empty slab kept, 0: none
	bytes  int64
}

type slab struct {
	size       int // of a block
	blocks     int
	fresh      int    // blocks handed out once at least
	live       int    // blocks in use
	free       uint32 // first free block's offset / 8 + 1, 0: none
	class      uint8
	prev, next uint32 // in the list of slabs with a free block
}

const (
	slabBytes   = 256 << 10
	mostSlabs   = 1 << 23
	largest     = 64 << 10 // greater blocks have a slab each
	classes     = 16 + 4*9 // 8, 16 … 128, 160, 192, 224, 256, 320 … 64 Ki
	firstBlocks = 4
	slack       = 8 // see getBytes
	slabMeta    = 24 + 64
)

func (a *arena) init() {
	// No block has ref 0.
	a.mem = make([][]byte, 1)
	a.slabs = make([]slab, 1)
}

// classOf is the class for n bytes and the size of its blocks. Beyond 128
// bytes there are four to a doubling.
func classOf(n int) (class, size int) {
	if n <= 128 {
		class = max((n+7)/8, 1)
		return class - 1, class * 8
	}
	step := bits.Len(uint(n-1)) - 3
	size = (n + 1<<step - 1) >> step << step
	if size > largest {
		return classes, size
	}
	// n−1 has its top bit at step+2, 7 for the first sizes beyond 128.
	return 16 + 4*(step-5) + (size >> step) - 5, size
}

// at is the memory from a block on.
func (a *arena) at(ref uint64) []byte {
	return a.mem[ref>>16][ref&0xffff<<3:]
}

// size is the size of a block.
func (a *arena) size(ref uint64) int { return a.slabs[ref>>16].size }

func (a *arena) alloc(n int) uint64 {
	class, size := classOf(n)
	k := a.open[class]
	if k == 0 {
		k = a.grow(class, size)
	}
	sl := &a.slabs[k]
	if a.spare[class] == k {
		a.spare[class] = 0
	}
	var off uint64
	if sl.free != 0 {
		off = uint64(sl.free - 1)
		sl.free = binary.LittleEndian.Uint32(a.mem[k][off<<3:])
	} else {
		off = uint64(sl.fresh*sl.size) >> 3
		sl.fresh++
	}
	if sl.live++; sl.live == sl.blocks {
		a.unlink(k)
	}
	return uint64(k)<<16 | off
}

func (a *arena) free(ref uint64) {
	k := uint32(ref >> 16)
	sl := &a.slabs[k]
	if sl.live == sl.blocks {
		a.link(k)
	}
	sl.live--
	off := uint32(ref & 0xffff)
	binary.LittleEndian.PutUint32(a.mem[k][uint64(off)<<3:], sl.free)
	sl.free = off + 1
	if sl.live > 0 {
		return
	}
	if sl.class != classes && a.spare[sl.class] == 0 {
		a.spare[sl.class] = k
		return
	}
	a.unlink(k)
	a.blocks[sl.class] -= sl.blocks
	a.bytes -= int64(len(a.mem[k])) + slabMeta
	a.mem[k] = nil
	a.gone = append(a.gone, k)
}

// grow makes a slab. A class's slabs grow with it, so that small stores stay
// small.
func (a *arena) grow(class, size int) uint32 {
	blocks := 1
	if class != classes {
		blocks = max(firstBlocks, a.blocks[class]/2)
		blocks = max(1, min(blocks, (slabBytes-slack)/size))
	}
	mem := make([]byte, blocks*size+slack)
	var k uint32
	if n := len(a.gone); n > 0 {
		k = a.gone[n-1]
		a.gone = a.gone[:n-1]
		a.mem[k] = mem
	} else {
		if len(a.mem) == mostSlabs { // 2 TiB of small keys, 512 GiB of great ones
			panic(fmt.Sprintf("window: a store of %d slabs (%d GiB) is full: spread its keys over more shards", mostSlabs, a.bytes>>30))
		}
		k = uint32(len(a.mem))
		a.mem = append(a.mem, mem)
		a.slabs = append(a.slabs, slab{})
	}
	a.slabs[k] = slab{size: size, blocks: blocks, class: uint8(class)}
	a.blocks[class] += blocks
	a.bytes += int64(len(mem)) + slabMeta
	a.link(k)
	return k
}

func (a *arena) link(k uint32) {
	sl := &a.slabs[k]
	first := a.open[sl.class]
	sl.prev, sl.next = 0, first
	if first != 0 {
		a.slabs[first].prev = k
	}
	a.open[sl.class] = k
}

func (a *arena) unlink(k uint32) {
	sl := &a.slabs[k]
	if sl.prev != 0 {
		a.slabs[sl.prev].next = sl.next
	} else {
		a.open[sl.class] = sl.next
	}
	if sl.next != 0 {
		a.slabs[sl.next].prev = sl.prev
	}
}
