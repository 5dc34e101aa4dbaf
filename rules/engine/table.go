package engine

import (
	"fmt"
	"unsafe"
)

// A table maps keys to values of a pointer-free type V. It is made for many
// millions of entries that the garbage collector must not walk and that must
// not stall when they grow: it is cut into segments that grow alone, each an
// open-addressing index over a dense slice of entries, keys in an arena.
//
// Entries that are saved can leave, the oldest first, and what is left of one is
// its slot in the index, 8 bytes: 46 bits of the hash, with which a key that was
// never there is known without reading anything, and the day under which the
// entry is saved. One that is asked for comes back as if it were new.
//
//	slot of an entry in memory  │ 0 │ mark │ hash, upper 30 │ index + 1, 32 │
//	slot of one that has left   │ 1 │ mark │ hash, 46 bits from bit 10 │ day 16 │
//
// One writer at a time; any number of readers while nobody writes.
type table[V any] struct {
	segments [tableSegments]segment[V]
	keys     arena
	n        int // with those that have left
	cold     int // those
	saved    Saved
	err      error // of reading back; for good

	kind   byte // in what is saved
	stream int
	decode func(name string, day uint16, hash uint64, value []byte) (V, error) // of an entry that comes back
}

const tableSegments = 256

type segment[V any] struct {
	slots   []uint64
	used    int // slots that are not empty
	entries []entry[V]
	saved   int // entries that are saved, or in the save that is under way
}

type entry[V any] struct {
	hash uint64
	key  ref
	day  uint16 // since 1970: see dayGroup; in room that would be empty
	val  V
}

const (
	coldSlot = 1 << 63
	slotMark = 1 << 62
	dayBits  = 16
	coldTag  = (1<<46 - 1) << dayBits
	hotTag   = (1<<30 - 1) << 32
	indexOf  = 1<<32 - 1
)

func hotSlot(hash uint64, index int) uint64 { return hash>>34<<32 | uint64(index+1) }

func tagOf(hash uint64) uint64 { return hash >> 10 << dayBits & coldTag }

// touch fetches the slot that a key's search begins with.
func (t *table[V]) touch(hash uint64) uint64 {
	s := &t.segments[hash%tableSegments]
	if len(s.slots) == 0 {
		return 0
	}
	return s.slots[hash>>10&uint64(len(s.slots)-1)]
}

// get is the entry of a key, or nil. It is good until the next put or get.
func (t *table[V]) get(hash uint64, key string) *entry[V] {
	s := &t.segments[hash%tableSegments]
	at, cold := s.find(&t.keys, hash, key)
	switch {
	case at >= 0:
		return &s.entries[uint32(s.slots[at])-1]
	case cold:
		return t.load(s, hash, key)
	}
	return nil
}

// put is get, with a new entry for a key that there is none of, and whether there
// was one.
func (t *table[V]) put(hash uint64, key string, day uint16) (*entry[V], bool) {
	if e := t.get(hash, key); e != nil {
		return e, true
	}
	s := &t.segments[hash%tableSegments]
	t.n++
	return t.insert(s, entry[V]{hash: hash, day: day}, key), false
}

// insert enters an entry that is not there.
func (t *table[V]) insert(s *segment[V], e entry[V], key string) *entry[V] {
	s.room()
	e.key = t.keys.add(unsafe.Slice(unsafe.StringData(key), len(key)))
	s.entries = append(s.entries, e)
	s.link(e.hash>>10, hotSlot(e.hash, len(s.entries)-1))
	return &s.entries[len(s.entries)-1]
}

// peek is get, but what has left stays where it is, and is only decoded. slot can
// be marked.
func (t *table[V]) peek(hash uint64, key string, decode func(value []byte) (V, error)) (v V, slot *uint64, ok bool) {
	s := &t.segments[hash%tableSegments]
	at, cold := s.find(&t.keys, hash, key)
	if at < 0 && cold {
		if at, _, ok = t.read(s, hash, key, func(_ uint16, value []byte) (err error) {
			v, err = decode(value)
			return err
		}); !ok {
			return v, nil, false
		}
		if s.alone(at, hash) {
			return v, &s.slots[at], true
		}
		// The slot may be another key's as well: in memory it has one of its own.
		if t.load(s, hash, key) == nil {
			return v, nil, false
		}
		at, _ = s.find(&t.keys, hash, key)
	}
	if at < 0 {
		return v, nil, false
	}
	return s.entries[uint32(s.slots[at])-1].val, &s.slots[at], true
}

// alone reports whether no other slot of what has left is like this one.
func (s *segment[V]) alone(at int, hash uint64) bool {
	mask := uint64(len(s.slots) - 1)
	for i := hash >> 10 & mask; s.slots[i] != 0; i = (i + 1) & mask {
		if int(i) != at && s.slots[i]&^slotMark == s.slots[at]&^slotMark {
			return false
		}
	}
	return true
}

// find is the slot of a key that is in memory, else -1 and whether it may have
// left.
func (s *segment[V]) find(keys *arena, hash uint64, key string) (at int, cold bool) {
	if len(s.slots) == 0 {
		return -1, false
	}
	mask := uint64(len(s.slots) - 1)
	for i := hash >> 10 & mask; ; i = (i + 1) & mask {
		slot := s.slots[i]
		switch {
		case slot == 0:
			return -1, cold
		case slot&coldSlot != 0:
			cold = cold || slot&coldTag == tagOf(hash)
		case slot&hotTag == hash>>34<<32:
			e := &s.entries[uint32(slot)-1]
			if e.hash == hash && keys.str(e.key) == key {
				return int(i), false
			}
		}
	}
}

// each calls f for the entries in memory with this hash.
func (t *table[V]) each(hash uint64, f func(*entry[V])) {
	s := &t.segments[hash%tableSegments]
	mask := uint64(len(s.slots) - 1)
	for i := hash >> 10 & mask; s.slots[i] != 0; i = (i + 1) & mask {
		if slot := s.slots[i]; slot&coldSlot == 0 {
			if e := &s.entries[uint32(slot)-1]; e.hash == hash {
				f(e)
			}
		}
	}
}

// room makes the index hold one more.
func (s *segment[V]) room() {
	if 4*(s.used+1) > 3*len(s.slots) {
		s.resize(2 * len(s.slots))
	}
}

func (s *segment[V]) resize(size int) {
	s.rebuild(size, func(slot uint64) uint64 { return slot })
}

// rebuild makes the index anew with what keep makes of each slot; 0 leaves it
// out.
func (s *segment[V]) rebuild(size int, keep func(slot uint64) uint64) {
	old := s.slots
	s.slots, s.used = make([]uint64, max(8, size)), 0
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		home := slot & coldTag >> dayBits
		if slot&coldSlot == 0 {
			home = s.entries[uint32(slot)-1].hash >> 10
		}
		if slot = keep(slot); slot != 0 {
			s.link(home, slot)
		}
	}
}

func (s *segment[V]) link(home, slot uint64) {
	mask := uint64(len(s.slots) - 1)
	i := home & mask
	for s.slots[i] != 0 {
		i = (i + 1) & mask
	}
	s.slots[i] = slot
	s.used++
}

// read looks a key that may have left up in what is saved, on the latest of the
// days that it may be of: of several the last counts. at is its slot.
func (t *table[V]) read(s *segment[V], hash uint64, key string, decode func(day uint16, value []byte) error) (at int, day uint16, ok bool) {
	for below := 1 << dayBits; t.err == nil && !ok; below = int(day) {
		if at = s.last(hash, below); at < 0 {
			return at, 0, false
		}
		day = uint16(s.slots[at])
		name := append(appendKey(nil, t.kind, dayGroup(t.stream, day), hash), key...)
		err := t.saved.Get(name, func(part []byte) error {
			ok = true
			return decode(day, part)
		})
		if err != nil {
			t.err = fmt.Errorf("reading %q back: %w", key, err)
		}
	}
	return at, day, ok && t.err == nil
}

// has reports whether there is a key in what is saved, for the entry of a name.
func (t *table[V]) has(key []byte, name string) (ok bool) {
	if err := t.saved.Get(key, func([]byte) error { ok = true; return nil }); err != nil && t.err == nil {
		t.err = fmt.Errorf("reading %q back: %w", name, err)
	}
	return ok
}

// last is the slot that may be of a key that has left, of the latest day before
// one; -1: there is none.
func (s *segment[V]) last(hash uint64, below int) int {
	at, mask := -1, uint64(len(s.slots)-1)
	for i := hash >> 10 & mask; s.slots[i] != 0; i = (i + 1) & mask {
		slot := s.slots[i]
		if slot&coldSlot != 0 && slot&coldTag == tagOf(hash) && int(uint16(slot)) < below && (at < 0 || uint16(slot) > uint16(s.slots[at])) {
			at = int(i)
		}
	}
	return at
}

// load brings an entry back that has left.
func (t *table[V]) load(s *segment[V], hash uint64, key string) *entry[V] {
	name := t.keys.add([]byte(key)) // the first of what it has there
	var v V
	at, day, ok := t.read(s, hash, key, func(day uint16, value []byte) (err error) {
		v, err = t.decode(key, day, hash, value)
		return err
	})
	if !ok {
		return nil
	}
	s.entries = append(s.entries, entry[V]{hash: hash, key: name, day: day, val: v})
	s.slots[at] = hotSlot(hash, len(s.entries)-1) | s.slots[at]&slotMark
	t.cold--
	return &s.entries[len(s.entries)-1]
}

// restore enters a key that is saved under a day. No key is saved under two.
func (t *table[V]) restore(hash uint64, key string, day uint16) (*entry[V], error) {
	e, known := t.put(hash, key, day)
	if known {
		return nil, ErrSaved
	}
	t.segments[hash%tableSegments].saved++
	return e, nil
}

// restoreCold enters a key that is saved under a day, and stays there.
func (t *table[V]) restoreCold(hash uint64, day uint16) {
	s := &t.segments[hash%tableSegments]
	s.room()
	s.link(hash>>10, coldSlot|tagOf(hash)|uint64(day))
	t.n++
	t.cold++
}

// unmark takes all marks away.
func (t *table[V]) unmark() {
	for i := range t.segments {
		slots := t.segments[i].slots
		for j := range slots {
			slots[j] &^= slotMark
		}
	}
}

// fate says what happens to the entries of a table that are to leave.
type fate[V any] struct {
	stays  func(e *entry[V]) bool // it is not all saved
	moved  func(e *entry[V])      // it stayed: what else it has in the table's arena is to be added anew
	leaves func(e *entry[V])      // it is gone, with all that it has elsewhere
}

// evict lets the entries of one segment go whose keys are in chunks before one.
// Of those, and of what left before, what is of a day before expired is
// forgotten.
func (t *table[V]) evict(segment int, before uint32, expired uint16, f fate[V]) {
	s := &t.segments[segment]
	n := 0
	for n < len(s.entries) && s.entries[n].key.chunk < before {
		n++
	}
	if n == 0 && expired == 0 {
		return
	}
	kept := make([]entry[V], 0, (len(s.entries)-n)*5/4+1)
	kept = append(kept, s.entries[n:]...)
	moved := map[int]int{}
	for i := range s.entries[:n] {
		e := &s.entries[i]
		if !f.stays(e) {
			f.leaves(e)
			continue
		}
		moved[i] = len(kept)
		kept = append(kept, *e)
		e = &kept[len(kept)-1]
		e.key = t.keys.add(t.keys.get(e.key)) // the first of what it has there
		f.moved(e)
	}
	gone := 0
	s.rebuild(len(s.slots), func(slot uint64) uint64 {
		if slot&coldSlot == 0 {
			i := int(slot&indexOf) - 1
			to, stays := moved[i]
			switch {
			case i >= n:
				return slot - uint64(n)
			case stays:
				return slot&^indexOf | uint64(to+1)
			}
			e := &s.entries[i]
			slot = coldSlot | slot&slotMark | tagOf(e.hash) | uint64(e.day)
			t.cold++
		}
		if uint16(slot) < expired {
			gone++
			return 0
		}
		return slot
	})
	t.n -= gone
	t.cold -= gone
	s.entries, s.saved = kept, max(s.saved-n, 0)
	if 8*s.used < len(s.slots) {
		s.resize(len(s.slots) / 4)
	}
}

// bytes is about what the table holds.
func (t *table[V]) bytes() int64 {
	n := t.keys.size
	for i := range t.segments {
		s := &t.segments[i]
		n += int64(8*cap(s.slots)) + int64(cap(s.entries))*int64(unsafe.Sizeof(entry[V]{}))
	}
	return n
}
