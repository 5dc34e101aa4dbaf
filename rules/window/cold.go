package window

import "fmt"

// A key that is saved and that nobody asks for needs no memory but its slot.
// Evict lets such keys go, and the first Insert or Load that names one brings it
// back by Fetch.
//
// A key may go only if all of it is in saves that are over. Its flag of change
// tells of a record that is to be saved whole, but not of events that are saved
// one by one (see tracker): so a record has the number of Freeze calls, modulo
// 8, before its last insert. One that comes from before the last Freeze has been
// saved with it.

// Fetch reads what was saved of a key: it calls each with all parts of its
// value, in order, and not at all if nothing was saved of it. An error of each
// ends it. It must not call the store.
type Fetch func(hash uint64, key string, each func(part []byte) error) error

// FetchWith says where keys come back from. It comes before Evict and
// RestoreCold.
func (s *Store) FetchWith(f Fetch) { s.fetch = f }

// Evict looks at so many slots of the table, from where it left off, and lets
// the keys go that have neither been inserted to nor loaded for age calls of
// Freeze, from 1 to 6. (Once in a while a key stays for one more.) It reports
// whether the round over the table goes on; else the next call begins another.
//
// All that Changes gave must be safe where Fetch finds it: call Evict only
// between the end of a save and the next Freeze, and not between Intern and the
// Insert that it was for. Where nothing is tracked, or Changes has more to give,
// nothing goes.
func (s *Store) Evict(slots, age int) (more bool) {
	s.mustFetch("Evict")
	t, track := &s.keys, &s.track
	if !track.on || len(track.frozen) > 0 || len(track.out) > 0 || s.err != nil {
		return false
	}
	least := uint8(min(max(age, 1), 6))
	end := min(s.evicted+max(slots, 1), len(t.cur)+len(t.old))
	for i := s.evicted; i < end; i++ {
		slot := t.slot(i)
		if !isHot(*slot) {
			continue
		}
		r := s.open(*slot & refMask)
		flags := r.b[offFlags]
		if flags&changedFlags == 0 && (track.stamp-flags&stampMask)/stampUnit >= least {
			s.evict(slot, &r)
		}
	}
	if s.evicted = end; end < len(t.cur)+len(t.old) {
		return true
	}
	s.evicted = 0
	return false
}

func (s *Store) evict(slot *uint64, r *record) {
	s.release(r, 0, r.n)
	if p := s.pastOf(r); p != nil {
		for _, buckets := range p {
			for i := range buckets {
				s.releaseBucket(&buckets[i])
			}
		}
		delete(s.past, string(s.keyOf(r)))
	}
	s.events -= int64(r.n)
	*slot = coldOf(*slot, s.hashOf(r.ref))
	s.keys.cold++
	s.arena.free(r.ref)
}

// Cold is how many keys are not in memory.
func (s *Store) Cold() int { return s.keys.cold }

// IsCold reports whether a key is not in memory, but may be saved: what is not
// is told but by Load. It reads, as Find does.
func (s *Store) IsCold(hash uint64, key string) bool {
	if s.keys.cold == 0 {
		return false
	}
	m := mix(hash)
	return s.lookupCold(m) != nil && s.lookup(m, key) == nil
}

// Load brings a key back. It does nothing if the key is in memory, or was never
// there. It writes, as Insert does; its error is that of Err.
func (s *Store) Load(hash uint64, key string) error {
	if s.keys.cold == 0 || s.err != nil {
		return s.err
	}
	m := mix(hash)
	if s.lookup(m, key) == nil {
		s.bringBack(hash, m, key)
	}
	return s.err
}

// Err is the first error of Fetch, or of what it gave. The store is then good
// for nothing.
func (s *Store) Err() error { return s.err }

// RestoreCold is Restore of a key that is to stay where Fetch finds it. It is
// for keys that are not there yet.
func (s *Store) RestoreCold(hash uint64, _ string) {
	s.mustFetch("RestoreCold")
	m := mix(hash)
	s.add(m, coldOf(tagOf(m), uint32(m>>32)))
	s.keys.cold++
}

func (s *Store) mustFetch(who string) {
	if s.fetch == nil {
		panic(fmt.Sprintf("window: %s without FetchWith: nothing would bring a key back", who))
	}
}

// bringBack fetches a key that is not in memory and returns its slot, or nil if
// nothing was saved of it: a cold slot of its bits is that of another key then.
// Of several such slots it takes any, for they are alike.
func (s *Store) bringBack(hash, m uint64, key string) *uint64 {
	slot := s.lookupCold(m)
	if slot == nil || s.err != nil {
		return nil
	}
	// Texts that were interned for the next Insert must outlive the events that
	// come and go meanwhile.
	loose := s.loose
	for _, id := range loose {
		s.texts.hold(id)
	}
	s.loose, s.vacant = nil, slot
	var failed error
	err := s.fetch(hash, key, func(part []byte) error {
		if failed == nil {
			failed = s.Restore(hash, key, part)
		}
		return failed
	})
	s.loose, s.vacant = loose, nil
	for _, id := range loose {
		if x := s.texts.by[id]; x != nil {
			x.holds--
		}
	}
	if failed != nil { // even if Fetch made nothing of it
		err = failed
	}
	if err != nil {
		s.err = fmt.Errorf("reading what was saved of key %q: %w", key, err)
		return nil
	}
	if !isHot(*slot) {
		return nil
	}
	s.stamp(s.arena.at(*slot & refMask))
	return slot
}

// stamp notes in a record that it is not to be evicted before the next Freeze.
func (s *Store) stamp(b []byte) {
	b[offFlags] = b[offFlags]&^stampMask | s.track.stamp
}
