package window

import "encoding/binary"

// table finds records: open addressing with linear probing over one array of
// 8-byte slots. A slot is 24 bits of the hash, a bit, and a 39-bit ref; the
// record has the 32 bits that say where a slot belongs. Of a key that is not in
// memory the bit is 1, and those 32 are in place of the ref. A slot is never
// taken away.
//
// It grows by moving a few slots with each new key, so that no insert waits for
// all of them; meanwhile keys are in one of two arrays.
type table struct {
	cur   []uint64
	old   []uint64 // being emptied, or nil
	moved int      // slots of old that have been emptied
	shift uint     // 32 − log2(len(cur))
	n     int
	cold  int // of n, how many are not in memory
}

const (
	coldBit   = 1 << 39
	refMask   = coldBit - 1
	tombstone = 1 << 40 // no record has ref 0
	firstBits = 3
	moveStep  = 16 // old is empty long before cur, of twice its size, is full
)

// mix spreads a hash whose upper or lower bits are all alike, as they are when
// keys have been shared out to stores by them.
func mix(hash uint64) uint64 {
	return (hash ^ hash>>32) * 0x9e3779b97f4a7c15
}

func (t *table) init() {
	t.cur = make([]uint64, 1<<firstBits)
	t.shift = 32 - firstBits
}

func (t *table) bytes() int64 { return 8 * int64(cap(t.cur)+cap(t.old)) }

// tagOf is what a slot has of a mixed hash beside its ref.
func tagOf(m uint64) uint64 { return m >> 8 << 40 }

// coldOf is the cold slot of a key with the tag of a slot and the high half of
// its mixed hash.
func coldOf(slot uint64, high uint32) uint64 { return slot>>40<<40 | coldBit | uint64(high) }

// isHot reports whether a slot is that of a record.
func isHot(slot uint64) bool { return slot&coldBit == 0 && slot != 0 && slot != tombstone }

// slot is slot i of both arrays.
func (t *table) slot(i int) *uint64 {
	if i < len(t.cur) {
		return &t.cur[i]
	}
	return &t.old[i-len(t.cur)]
}

// lookupCold is the first cold slot that may be that of a key, or nil.
func (s *Store) lookupCold(m uint64) *uint64 {
	t := &s.keys
	want := coldOf(tagOf(m), uint32(m>>32))
	if slot := probeCold(t.cur, uint32(m>>32)>>t.shift, want); slot != nil || t.old == nil {
		return slot
	}
	return probeCold(t.old, uint32(m>>32)>>(t.shift+1), want)
}

func probeCold(slots []uint64, home uint32, want uint64) *uint64 {
	mask := len(slots) - 1
	for i := int(home); ; i++ {
		switch slots[i&mask] {
		case 0:
			return nil
		case want:
			return &slots[i&mask]
		}
	}
}

// Touch fetches the slot that the search for a key begins with, and TouchRecord the
// key's record, if that slot is its own: for who inserts many keys, of which few are
// in the processor's caches, and can say so in advance. What they return means
// nothing; it is there to be used, so that the compiler doesn't leave the reading out.
func (s *Store) Touch(hash uint64) uint64 {
	return s.keys.cur[int(uint32(mix(hash)>>32)>>s.keys.shift)&(len(s.keys.cur)-1)]
}

// TouchRecord is for keys that Touch was called with a moment before.
func (s *Store) TouchRecord(hash uint64) uint64 {
	slot := s.Touch(hash)
	if !isHot(slot) || slot&^refMask != tagOf(mix(hash)) {
		return 0
	}
	return uint64(s.arena.at(slot & refMask)[offN])
}

// lookup is the slot of a key in memory, or nil.
func (s *Store) lookup(m uint64, key string) *uint64 {
	t := &s.keys
	if slot := s.probe(t.cur, uint32(m>>32)>>t.shift, m, key); slot != nil || t.old == nil {
		return slot
	}
	return s.probe(t.old, uint32(m>>32)>>(t.shift+1), m, key)
}

func (s *Store) probe(slots []uint64, home uint32, m uint64, key string) *uint64 {
	tag := tagOf(m)
	mask := len(slots) - 1
	for i := int(home); ; i++ {
		slot := slots[i&mask]
		if slot == 0 {
			return nil
		}
		if slot&^refMask == tag && slot != tombstone && s.is(slot&refMask, m, key) {
			return &slots[i&mask]
		}
	}
}

// is reports whether a record is that of the key.
func (s *Store) is(ref, m uint64, key string) bool {
	b := s.arena.at(ref)
	return binary.LittleEndian.Uint32(b[offHash:]) == uint32(m>>32) &&
		int(binary.LittleEndian.Uint32(b[offKeyLen:])) == len(key) &&
		string(b[s.head:s.head+len(key)]) == key
}

// hashOf is the high half of the mixed hash of a record's key.
func (s *Store) hashOf(ref uint64) uint32 {
	return binary.LittleEndian.Uint32(s.arena.at(ref)[offHash:])
}

// add enters the slot of a key that is not there yet.
func (s *Store) add(m, added uint64) {
	t := &s.keys
	if t.n >= len(t.cur)/4*3 {
		t.old, t.moved = t.cur, 0
		t.cur = make([]uint64, 2*len(t.old))
		t.shift--
		s.evicted = 0 // what is where has changed
	}
	if t.old != nil {
		end := min(t.moved+moveStep, len(t.old))
		for i, slot := range t.old[t.moved:end] {
			if slot != 0 {
				hash := uint32(slot)
				if slot&coldBit == 0 {
					hash = s.hashOf(slot & refMask)
				}
				t.place(hash, slot)
				t.old[t.moved+i] = tombstone
			}
		}
		if t.moved = end; end == len(t.old) {
			t.old = nil
		}
	}
	t.place(uint32(m>>32), added)
	t.n++
}

func (t *table) place(hash uint32, slot uint64) {
	mask := len(t.cur) - 1
	i := int(hash >> t.shift)
	for t.cur[i&mask] != 0 {
		i++
	}
	t.cur[i&mask] = slot
}
