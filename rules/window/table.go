package window

import "encoding/binary"

// table finds records: open addressing with linear probing over one array of
// 8-byte slots. A slot is 24 bits of the hash and a 40-bit ref; the record has
// the 32 bits that say where a slot belongs.
//
// It grows by moving a few slots with each new key, so that no insert waits for
// all of them; meanwhile keys are in one of two arrays.
type table struct {
	cur   []uint64
	old   []uint64 // being emptied, or nil
	moved int      // slots of old that have been emptied
	shift uint     // 32 − log2(len(cur))
	n     int
}

const (
	refMask   = 1<<40 - 1
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

// lookup is the slot of a key, or nil.
func (s *Store) lookup(m uint64, key string) *uint64 {
	t := &s.keys
	if slot := s.probe(t.cur, uint32(m>>32)>>t.shift, m, key); slot != nil || t.old == nil {
		return slot
	}
	return s.probe(t.old, uint32(m>>32)>>(t.shift+1), m, key)
}

func (s *Store) probe(slots []uint64, home uint32, m uint64, key string) *uint64 {
	tag := m << 32 &^ refMask
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

// add enters a key that is not there yet.
func (s *Store) add(m, ref uint64) {
	t := &s.keys
	if t.n >= len(t.cur)/4*3 {
		t.old, t.moved = t.cur, 0
		t.cur = make([]uint64, 2*len(t.old))
		t.shift--
	}
	if t.old != nil {
		end := min(t.moved+moveStep, len(t.old))
		for i, slot := range t.old[t.moved:end] {
			if slot != 0 {
				hash := binary.LittleEndian.Uint32(s.arena.at(slot & refMask)[offHash:])
				t.place(hash, slot)
				t.old[t.moved+i] = tombstone
			}
		}
		if t.moved = end; end == len(t.old) {
			t.old = nil
		}
	}
	t.place(uint32(m>>32), m<<32&^refMask|ref)
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
