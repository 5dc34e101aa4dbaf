package window

import (
	"encoding/binary"
	"iter"
)

// A store can be kept on disk by whoever keeps it in memory: it tells what has
// changed, a little at a time, and takes it back. Writing all keys that changed
// within one moment would make every decision wait, so a save is begun in a
// moment (Freeze) and copied in many (Changes). A key that is to change before
// its turn has come is copied first, so that the save holds what there was when
// it began.
//
// A short record is saved whole. Of a long one each event is saved that came
// since it was last saved whole: merchants have records of many kilobytes which
// change all the time. It is saved whole again when events of it have moved to
// buckets, since these can't be told apart any more, and when Rewrite asks for
// it.

// tracker notes what changes between two saves.
type tracker struct {
	on     bool
	flag   uint8    // of records that changed since Freeze: one of changedFlags
	stamp  uint8    // stampUnit for each call of Freeze, modulo 8: of records that got an event since
	dirty  []uint64 // mixed hashes of the keys that have it
	frozen []uint64 // of the keys that changed before Freeze, and have the other flag until they are copied
	out    []byte   // what is copied
	events []byte   // events of long records since Freeze
}

// How many events make a record long, and how many bytes of their events are
// kept before they are saved whole all the same.
const (
	longRecord = 64
	mostEvents = 16 << 20
)

// Track makes the store note changes. What it holds already counts as saved.
func (s *Store) Track() { s.track.on, s.track.flag = true, flagChangedA }

// Untrack ends that.
func (s *Store) Untrack() { s.track = tracker{} }

// Freeze begins a save of all that has changed since the last one. The last one
// must be over.
func (s *Store) Freeze() {
	t := &s.track
	t.flag ^= changedFlags
	t.stamp += stampUnit
	t.frozen, t.dirty = t.dirty, nil
	t.out, t.events = t.events, nil
}

// Changes appends to dst what the save has of up to n keys, and reports whether
// there are more. EachChange reads it.
func (s *Store) Changes(dst []byte, n int) ([]byte, bool) {
	t := &s.track
	for len(t.frozen) > 0 && n > 0 {
		m := t.frozen[len(t.frozen)-1]
		t.frozen = t.frozen[:len(t.frozen)-1]
		s.copyFrozen(m)
		n--
	}
	if len(dst) == 0 {
		dst = t.out
	} else {
		dst = append(dst, t.out...)
	}
	t.out = nil
	if len(t.frozen) > 0 {
		return dst, true
	}
	t.frozen = nil
	return dst, false
}

// Change is a key as it is, whole, which replaces all that was saved of it, or
// one more event of it, which comes behind.
type Change struct {
	Whole      bool
	Key, Value []byte
}

// EachChange goes through what Changes gave. Of one call of Freeze, events of a
// key that is given whole are to be left out.
func EachChange(changes []byte) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		for len(changes) > 0 {
			whole := changes[0] == 1
			k := binary.LittleEndian.Uint32(changes[1:])
			v := binary.LittleEndian.Uint32(changes[5:])
			changes = changes[9:]
			if !yield(Change{whole, changes[:k:k], changes[k : k+v : k+v]}) {
				return
			}
			changes = changes[k+v:]
		}
	}
}

// Rewrite has a key saved whole next time. It brings a cold one back.
func (s *Store) Rewrite(hash uint64, key string) {
	if !s.track.on || s.Load(hash, key) != nil {
		return
	}
	m := mix(hash)
	if slot := s.lookup(m, key); slot != nil {
		r := s.open(*slot & refMask)
		s.mark(&r, m)
	}
}

// touch is called before a record gets an event.
func (s *Store) touch(r *record, m uint64, e *Event) {
	t := &s.track
	flags := r.b[offFlags]
	s.stamp(r.b)
	if other := t.flag ^ changedFlags; flags&other != 0 {
		s.copyOut(r)
		r.b[offFlags] &^= other
	}
	switch {
	case flags&t.flag != 0:
	case r.n < longRecord || len(t.events) > mostEvents:
		s.mark(r, m)
	default:
		var at int
		t.events, at = beginChange(t.events, 0, s.keyOf(r))
		t.events = append(t.events, savedEvent)
		t.events = endChange(s.appendEvent(t.events, e, 0), at)
	}
}

// mark notes that a record is to be saved whole.
func (s *Store) mark(r *record, m uint64) {
	if r.b[offFlags]&s.track.flag == 0 {
		r.b[offFlags] |= s.track.flag
		s.track.dirty = append(s.track.dirty, m)
	}
}

// copyFrozen copies the records with this hash that were frozen and are not
// copied. Two keys of one hash are both found by the first.
func (s *Store) copyFrozen(m uint64) {
	t := &s.keys
	s.copyAlong(t.cur, uint32(m>>32)>>t.shift, m)
	if t.old != nil {
		s.copyAlong(t.old, uint32(m>>32)>>(t.shift+1), m)
	}
}

func (s *Store) copyAlong(slots []uint64, home uint32, m uint64) {
	tag, other, mask := tagOf(m), s.track.flag^changedFlags, len(slots)-1
	for i := int(home); slots[i&mask] != 0; i++ {
		slot := slots[i&mask]
		if slot&^refMask != tag || slot == tombstone {
			continue
		}
		b := s.arena.at(slot & refMask)
		if b[offFlags]&other == 0 || binary.LittleEndian.Uint32(b[offHash:]) != uint32(m>>32) {
			continue
		}
		r := s.open(slot & refMask)
		s.copyOut(&r)
		b[offFlags] &^= other
	}
}

func (s *Store) copyOut(r *record) {
	t := &s.track
	var at int
	t.out, at = beginChange(t.out, 1, s.keyOf(r))
	t.out = endChange(s.appendWhole(t.out, r), at)
}

// beginChange appends what comes before a change's value: whether it is a whole
// key, and how long key and value are; the latter is left to endChange.
func beginChange(dst []byte, whole byte, key []byte) (_ []byte, at int) {
	at = len(dst)
	dst = append(dst, whole)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(key)))
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, key...), at
}

func endChange(dst []byte, at int) []byte {
	value := at + 9 + int(binary.LittleEndian.Uint32(dst[at+1:]))
	binary.LittleEndian.PutUint32(dst[at+5:], uint32(len(dst)-value))
	return dst
}

func (t *tracker) bytes() int64 {
	return int64(8*(cap(t.dirty)+cap(t.frozen)) + cap(t.out) + cap(t.events))
}
