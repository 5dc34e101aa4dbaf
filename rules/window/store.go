package window

import (
	"encoding/binary"
	"math"
)

// Event is one event as the store keeps it. Events are the same if Time and ID
// are.
type Event struct {
	Time     int64  // ms
	ID       uint64 // hash of the event's id
	Currency uint16 // of its money columns; 0 is a currency too
	Present  uint32 // bit c: column c has a value
	Values   []int64
	Name     string // the id itself, for ties, with Spec.Names; a function of ID
}

// Store holds, for each key, its events in order of (Time, ID). One goroutine
// may write; any number may read while nobody writes. Nothing is locked.
//
// What it holds is a function of the set of events inserted, not of their
// order.
type Store struct {
	spec   Spec
	keep   uint64 // 2*Horizon, or 0 for ever
	head   int    // bytes of a record before the key
	keys   table
	arena  arena
	events int64
	twin   Event // scratch of the writer
	going  Event // too
	given  Event // of Restore
	names  texts // by Event.ID
	texts  texts // by what Intern gave
	loose  []uint64
	levels []level // nil: no buckets
	past   map[string]past
	track  tracker

	fetch   Fetch
	err     error   // the first of fetch
	evicted int     // how far Evict's round is
	vacant  *uint64 // the slot of a key that is being brought back, until its record is there
}

// New makes an empty store. It panics if spec.Columns is not from 0 to
// MaxColumns or spec.Horizon is negative.
func New(spec Spec) *Store {
	spec.check()
	s := &Store{spec: spec, head: headSize + spec.Columns, keep: 2 * uint64(spec.Horizon), names: newTexts(), texts: newTexts(), levels: spec.levels(), past: map[string]past{}}
	s.twin.Values = make([]int64, spec.Columns)
	s.going.Values = make([]int64, spec.Columns)
	s.given.Values = make([]int64, spec.Columns)
	s.keys.init()
	s.arena.init()
	return s
}

// Key is where the events of a key are. It is valid until the store is written:
// by Insert, Load, Rewrite or Evict.
type Key uint64

// Find looks a key up in memory: where [Store.IsCold], Load comes first. The
// hash must be the one that it was inserted with.
func (s *Store) Find(hash uint64, key string) (Key, bool) {
	slot := s.lookup(mix(hash), key)
	if slot == nil {
		return 0, false
	}
	return Key(*slot & refMask), true
}

// Keys is how many keys there are, in memory or not.
func (s *Store) Keys() int { return s.keys.n }

// Events is how many events are held one by one in memory: those behind the
// horizon, which no query sees any more, count until their memory is needed.
func (s *Store) Events() int64 { return s.events }

// Bytes is the memory that the store has taken. It looks at all buckets.
func (s *Store) Bytes() int64 {
	n := s.arena.bytes + s.keys.bytes() + s.names.bytes + s.texts.bytes + s.track.bytes()
	for key, p := range s.past {
		n += int64(len(key)) + p.bytes()
	}
	return n
}

// Insert adds an event to a key; the key's bytes are copied. The hash spreads
// keys over the table, and need not be without collisions: keys are equal if
// their bytes are. An event that is there already is not added again. (Should
// two events of one Time and ID differ in the rest, the lesser by currency,
// presence and values stays, whichever came first.) A cold key is loaded first;
// should that fail, the event is dropped, and Err says why.
func (s *Store) Insert(hash uint64, key string, e *Event) {
	m := mix(hash)
	slot := s.lookup(m, key)
	if slot == nil && s.keys.cold > 0 {
		slot = s.bringBack(hash, m, key)
	}
	if s.err == nil {
		s.insert(m, slot, key, e)
	}
	if len(s.loose) > 0 {
		s.sweep()
	}
}

// insert adds an event to the key that has this slot, or nil.
func (s *Store) insert(m uint64, slot *uint64, key string, e *Event) {
	if slot == nil {
		s.create(m, key, e)
		return
	}
	r := s.open(*slot & refMask)
	i, found := r.n, false
	if e.Time <= r.time(r.n-1) {
		if e.Time < s.oldest(r.time(r.n-1)) {
			return
		}
		i, found = r.place(e.Time, e.ID, r.n)
	}
	if found {
		if !s.lesser(e, &r, i) {
			return
		}
	}
	if s.track.on {
		s.touch(&r, m, e)
	}
	s.hold(e) // before anything is released that may have the same texts
	if found {
		s.release(&r, i, i+1)
		s.remove(&r, i)
	}
	var to shape
	changed := s.fit(&r, e, &to)
	if changed || r.data+(r.n+1)*r.stride > s.arena.size(r.ref) {
		i -= s.makeRoom(slot, &r, e, &to, changed)
	}
	s.write(&r, i, e)
	s.compact(&r, m)
}

// cutoff is the earliest time of which a record, which must not be empty, still
// tells.
func (s *Store) cutoff(r *record) int64 {
	if s.keep == 0 {
		return math.MinInt64
	}
	return before(r.time(r.n-1), s.keep)
}

// before is t − d, or the earliest time there is.
func before(t int64, d uint64) int64 {
	if uint64(t)-1<<63 < d {
		return math.MinInt64
	}
	return int64(uint64(t) - d)
}

// create adds a key with its first event.
func (s *Store) create(m uint64, key string, e *Event) {
	var sh shape
	s.first(e, &sh)
	data := s.head + len(key)
	ref := s.arena.alloc(data + s.stride(&sh))
	b := s.arena.at(ref)
	binary.LittleEndian.PutUint32(b[offHash:], uint32(m>>32))
	binary.LittleEndian.PutUint32(b[offKeyLen:], uint32(len(key)))
	copy(b[s.head:], key)
	s.putShape(b, &sh)
	binary.LittleEndian.PutUint32(b[offN:], 0)
	r := s.open(ref)
	s.write(&r, 0, e)
	if s.track.on {
		s.stamp(r.b)
		s.mark(&r, m)
	}
	if slot := tagOf(m) | ref; s.vacant == nil {
		s.add(m, slot)
	} else {
		*s.vacant, s.vacant = slot, nil
		s.keys.cold--
	}
	s.hold(e)
}

// makeRoom gives the record the wanted shape and room for another event, and
// leaves out what the horizon has passed once e is in. It returns how many
// events it left out.
func (s *Store) makeRoom(slot *uint64, r *record, e *Event, to *shape, changed bool) int {
	drop := 0
	if s.keep != 0 {
		newest := e.Time
		if r.n > 0 {
			newest = max(newest, r.time(r.n-1))
		}
		drop = r.from(s.oldest(newest))
	}
	s.release(r, 0, drop)
	if drop > 0 {
		s.forget(r, max(e.Time, r.time(r.n-1)))
	}
	live := r.n - drop
	stride := s.stride(to)
	size := r.data + (live+1+live/4)*stride
	now := s.arena.size(r.ref)
	s.events -= int64(drop)
	enough := !changed && drop >= (r.n+7)/8 && size > now/2
	if !changed {
		s.trim(r, drop)
	}
	if enough {
		return drop
	}
	ref := s.arena.alloc(size)
	b := s.arena.at(ref)
	copy(b, r.b[:r.data])
	s.putShape(b, to)
	next := s.open(ref)
	if changed {
		next.setN(0)
		s.reshape(&next, r, drop)
	} else {
		copy(b[next.data:], r.b[r.data:r.data+r.n*r.stride])
	}
	s.arena.free(r.ref)
	*slot = *slot&^refMask | ref
	*r = next
	return drop
}
