package engine

import "unsafe"

// A table maps keys to values of a pointer-free type V. It is made for many
// millions of entries that the garbage collector must not walk and that must
// not stall when they grow: it is cut into segments that grow alone, each an
// open-addressing index over a dense slice of entries, keys in an arena.
//
// One writer at a time; any number of readers while nobody writes.
type table[V any] struct {
	segments [tableSegments]segment[V]
	keys     *arena
	n        int
}

const tableSegments = 64

type segment[V any] struct {
	slots   []uint64 // high 32 bits: tag; low 32 bits: entry index + 1, 0 is empty
	entries []entry[V]
	saved   int // entries that are saved, or in the save that is under way
}

type entry[V any] struct {
	hash uint64
	key  ref
	day  uint16 // of the Kafka timestamp, since 1970; in room that would be empty
	val  V
}

func newTable[V any](keys *arena) *table[V] { return &table[V]{keys: keys} }

// get returns the value of a key, or nil. The pointer is good until the next
// put.
func (t *table[V]) get(hash uint64, key string) *V {
	s := &t.segments[hash%tableSegments]
	if i := s.find(t.keys, hash, key); i >= 0 {
		return &s.entries[i].val
	}
	return nil
}

// locate is get, with where the entry is: it stays there.
func (t *table[V]) locate(hash uint64, key string) (segment, index int, v *V) {
	segment = int(hash % tableSegments)
	s := &t.segments[segment]
	if index = s.find(t.keys, hash, key); index < 0 {
		return segment, index, nil
	}
	return segment, index, &s.entries[index].val
}

// keyOf is where the arena has a key that is there.
func (t *table[V]) keyOf(hash uint64, key string) ref {
	s := &t.segments[hash%tableSegments]
	return s.entries[s.find(t.keys, hash, key)].key
}

// put returns the value of a key, and whether it was there; if not, it is
// entered as the zero value.
func (t *table[V]) put(hash uint64, key string, day uint16) (*V, bool) {
	s := &t.segments[hash%tableSegments]
	if i := s.find(t.keys, hash, key); i >= 0 {
		return &s.entries[i].val, true
	}
	if 4*(len(s.entries)+1) > 3*len(s.slots) {
		s.grow()
	}
	s.entries = append(s.entries, entry[V]{hash: hash, key: t.keys.add([]byte(key)), day: day})
	s.link(hash, len(s.entries)-1)
	t.n++
	return &s.entries[len(s.entries)-1].val, false
}

func (s *segment[V]) find(keys *arena, hash uint64, key string) int {
	if len(s.slots) == 0 {
		return -1
	}
	mask := uint64(len(s.slots) - 1)
	for i := hash / tableSegments & mask; ; i = (i + 1) & mask {
		slot := s.slots[i]
		if slot == 0 {
			return -1
		}
		if slot>>32 != hash>>32 {
			continue
		}
		e := &s.entries[uint32(slot)-1]
		if e.hash == hash && keys.str(e.key) == key {
			return int(uint32(slot) - 1)
		}
	}
}

// each calls f for the entries with this hash.
func (t *table[V]) each(hash uint64, f func(*entry[V])) {
	s := &t.segments[hash%tableSegments]
	mask := uint64(len(s.slots) - 1)
	for i := hash / tableSegments & mask; s.slots[i] != 0; i = (i + 1) & mask {
		if e := &s.entries[uint32(s.slots[i])-1]; e.hash == hash {
			f(e)
		}
	}
}

func (s *segment[V]) link(hash uint64, index int) {
	mask := uint64(len(s.slots) - 1)
	i := hash / tableSegments & mask
	for s.slots[i] != 0 {
		i = (i + 1) & mask
	}
	s.slots[i] = hash>>32<<32 | uint64(index+1)
}

func (s *segment[V]) grow() {
	s.slots = make([]uint64, max(8, 2*len(s.slots)))
	for i := range s.entries {
		s.link(s.entries[i].hash, i)
	}
}

// bytes is about what the table holds, without its keys.
func (t *table[V]) bytes() int64 {
	var n int64
	for i := range t.segments {
		s := &t.segments[i]
		n += int64(8*cap(s.slots)) + int64(cap(s.entries))*int64(unsafe.Sizeof(entry[V]{}))
	}
	return n
}

// An arena keeps byte strings of up to 2^24-1 bytes in large chunks.
type arena struct {
	chunks [][]byte
	size   int64
}

// ref is where an arena keeps a string: chunk, offset, length. 0 is none.
type ref struct {
	chunk  uint32
	offset uint32
	length uint32
}

const arenaChunk = 1 << 20

func (a *arena) add(b []byte) ref {
	last := len(a.chunks) - 1
	if last < 0 || len(a.chunks[last])+len(b) > cap(a.chunks[last]) {
		a.chunks = append(a.chunks, make([]byte, 0, max(arenaChunk, len(b))))
		a.size += int64(max(arenaChunk, len(b)))
		last++
	}
	c := a.chunks[last]
	r := ref{chunk: uint32(last), offset: uint32(len(c)), length: uint32(len(b))}
	a.chunks[last] = append(c, b...)
	return r
}

func (a *arena) get(r ref) []byte {
	return a.chunks[r.chunk][r.offset : r.offset+r.length : r.offset+r.length]
}

func (a *arena) str(r ref) string {
	if r.length == 0 {
		return ""
	}
	return unsafe.String(&a.chunks[r.chunk][r.offset], int(r.length))
}
