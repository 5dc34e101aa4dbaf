package engine

import (
	"slices"
	"time"
)

// eviction lets go of what there is no room for, a little at a time: first of
// what is known by id, then of keys of windows, those first that were unused for
// longest.
type eviction struct {
	shards []evicting
	age    int // of keys of windows, in saves
}

// evicting is how far it is in one shard.
type evicting struct {
	tables         []leaving
	table, segment int
	store          int
}

// leaving is a table, and up to where it leaves.
type leaving struct {
	of      evictable
	before  uint32 // the first chunk that stays
	expired uint16 // the first day that is not forgotten; 0: nothing expired since
}

// evictable is a table of whatever type.
type evictable interface {
	bytes() int64
	evictSegment(segment int, before uint32, expired uint16)
	chunks() *arena
	end() tableEnd
	streamIndex() int
}

// tableEnd is up to where a table was filled at some time.
type tableEnd struct {
	entries [tableSegments]int // by segment
	chunk   uint32
}

// idTable, originalTable and refundedTable say how what they hold leaves.
type (
	idTable struct {
		*table[uint64]
		sh      *shard
		refunds bool
	}
	originalTable struct {
		*table[original]
		sh *shard
	}
	refundedTable struct{ *table[reserved] }
)

func (t *table[V]) chunks() *arena { return &t.keys }

func (t *table[V]) streamIndex() int { return t.stream }

func (t *table[V]) end() tableEnd {
	end := tableEnd{chunk: t.keys.end()}
	for i := range t.segments {
		end.entries[i] = len(t.segments[i].entries)
	}
	return end
}

func (t idTable) evictSegment(segment int, before uint32, expired uint16) {
	t.evict(segment, before, expired, fate[uint64]{
		stays: func(*entry[uint64]) bool { return false },
		leaves: func(x *entry[uint64]) {
			if t.refunds && len(t.sh.moved) > 0 {
				delete(t.sh.moved, t.keys.str(x.key))
			}
		},
	})
}

func (t originalTable) evictSegment(segment int, before uint32, expired uint16) {
	us := &t.sh.updates
	t.evict(segment, before, expired, fate[original]{
		stays: func(x *entry[original]) bool {
			for u := range us.of(&x.val) {
				if !u.saved {
					return true
				}
			}
			return false
		},
		moved: func(x *entry[original]) {
			x.val.packed = t.keys.add(t.keys.get(x.val.packed))
			for u := range us.of(&x.val) {
				u.status = t.keys.add(t.keys.get(u.status))
			}
		},
		leaves: func(x *entry[original]) { us.release(&x.val) },
	})
}

func (t refundedTable) evictSegment(segment int, before uint32, expired uint16) {
	t.evict(segment, before, expired, fate[reserved]{
		stays:  func(x *entry[reserved]) bool { return x.val.changed },
		moved:  func(*entry[reserved]) {},
		leaves: func(*entry[reserved]) {},
	})
}

// tables are a shard's: by stream what is known by id, then the sums of refunds.
func (e *Engine) tables(sh *shard) (tables []evictable) {
	for stream, t := range sh.ids {
		if stream == e.transactions {
			tables = append(tables, originalTable{sh.originals, sh})
		} else {
			tables = append(tables, idTable{t, sh, stream == e.refunds})
		}
	}
	return append(tables, refundedTable{sh.refunded})
}

// StartEvict begins to let go of what is expired, and of what sv has saved, as
// far as there is more in memory than Config.Memory. Call it when sv is on disk;
// EvictFor does it, and must have come to its end before the next StartSave.
func (e *Engine) StartEvict(sv *Save) {
	if e.disk == nil || !e.tracking || e.filling() {
		return // what is filled is marked where it is in memory
	}
	v := &eviction{age: mostAge, shards: make([]evicting, len(e.shards))}
	over := e.over()
	if over <= 0 && !sv.purges() {
		return
	}
	for w, sh := range e.shards {
		tables := e.tables(sh)
		could := int64(0) // leave
		for i, t := range tables {
			could += share(t, sv.shards[w].ends[i].chunk)
		}
		for i, t := range tables {
			l := leaving{of: t, before: t.chunks().first}
			if sv.purges() {
				l.expired = e.dropped[t.streamIndex()]
			}
			if most := int64(sv.shards[w].ends[i].chunk - l.before); over > 0 && could > 0 {
				part := min(over/int64(len(e.shards))*most/could+1, most)
				l.before += uint32(part)
			}
			v.shards[w].tables = append(v.shards[w].tables, l)
		}
	}
	e.eviction = v
}

// share is about how much of a table leaves up to a chunk.
func share(t evictable, until uint32) int64 {
	a := t.chunks()
	return t.bytes() * int64(until-a.first) / int64(max(len(a.chunks), 1))
}

const (
	evictSlots = 2048 // of windows, at once
	mostAge    = 3    // saves, unused for which a key goes before others
)

// over is how much more is in memory than there is to be once something leaves.
func (e *Engine) over() int64 {
	bytes := e.Stats().Bytes
	if e.cfg.Memory == 0 || bytes <= e.cfg.Memory {
		return 0
	}
	return bytes - e.cfg.Memory/10*9
}

// EvictFor lets go for about so long, at least a little, and reports whether
// there is more to do.
func (e *Engine) EvictFor(d time.Duration) (more bool) {
	for began := time.Now(); e.eviction != nil; {
		e.evictSome()
		if time.Since(began) > d {
			break
		}
	}
	return e.eviction != nil
}

// Evicting reports whether EvictFor has something to do.
func (e *Engine) Evicting() bool { return e.eviction != nil }

func (e *Engine) evictSome() {
	v := e.eviction
	e.parallel(parallelFrom, func(w int) { v.shards[w].some(e, w, v.age) })
	for w := range v.shards {
		if !v.shards[w].done(e) {
			return
		}
	}
	if v.age--; v.age == 0 || e.over() <= 0 {
		e.eviction = nil
		return
	}
	for w := range v.shards {
		v.shards[w].store = 0
	}
}

func (v *evicting) done(e *Engine) bool { return v.table == len(v.tables) && v.store == len(e.stores) }

// some lets go of a segment, or of some keys of windows.
func (v *evicting) some(e *Engine, w, age int) {
	switch {
	case v.table < len(v.tables):
		t := &v.tables[v.table]
		t.of.evictSegment(v.segment, t.before, t.expired)
		if v.segment++; v.segment == tableSegments {
			t.of.chunks().drop(t.before)
			v.table, v.segment = v.table+1, 0
		}
	case v.store < len(e.stores):
		if !e.stores[v.store].shards[w].Evict(evictSlots, age) {
			v.store++
		}
	}
}

func (e *Engine) filling() bool {
	return slices.ContainsFunc(e.stores, func(s *store) bool { return s.filling })
}
