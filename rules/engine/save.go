package engine

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/refundguard/refundguard/rules/window"
)

// Track makes the engine note what changes, so that it can be saved: what there
// is already is all to be saved the first time. Call it before anything is
// applied.
func (e *Engine) Track() {
	e.tracking = true
	for _, s := range e.stores {
		for _, w := range s.shards {
			w.Track()
		}
	}
}

// Untrack ends that, for good.
func (e *Engine) Untrack() {
	e.tracking, e.eviction = false, nil
	for _, sh := range e.shards {
		sh.updates.toSave, sh.changed = nil, nil
	}
	for _, s := range e.stores {
		for _, w := range s.shards {
			w.Untrack()
		}
	}
}

// Save is a copy of all that has changed since the last one, as of StartSave.
type Save struct {
	Header []byte      // for Restore
	Drops  [][2][]byte // ranges of keys, the end left out, that are gone
	Gone   [][]byte    // keys that are, too

	day    uint16
	stores []*store
	shards []copying
}

// Copied is a part of what is saved; Each reads it.
type Copied struct {
	store int // -1: keys and values as they are
	day   uint16
	bytes []byte
}

// copying is how far the copy of one shard is.
type copying struct {
	chunks  []Copied
	puts    []byte
	ends    []tableEnd // as of StartSave, by Engine.tables
	updates int        // of updates.toSave, up to where they are copied
	copied  int        // of these
	table   int
	segment int
	store   int
	done    bool
}

// purges reports whether something expired by then.
func (sv *Save) purges() bool { return len(sv.Drops) > 0 }

// StartSave begins to copy what has changed. It takes a moment; the rest is
// CopySome's, which must have come to its end before the next StartSave. What is
// decided between the two doesn't change the copy. now, Unix milliseconds, keeps
// Kafka timestamps of the far future from making ids old.
func (e *Engine) StartSave(now int64) *Save {
	e.eviction = nil
	drops := e.drops(now)
	head, err := json.Marshal(e.header())
	if err != nil {
		panic(err) // no such type in it
	}
	sv := &Save{Header: head, Drops: drops, day: dayOf(min(e.received, now)), stores: e.stores, shards: make([]copying, len(e.shards))}
	for _, sh := range e.shards {
		sv.Gone = append(sv.Gone, sh.gone...)
		sh.gone = nil
	}
	e.parallel(parallelFrom, func(w int) {
		c, sh := &sv.shards[w], e.shards[w]
		for _, t := range e.tables(sh) {
			c.ends = append(c.ends, t.end())
		}
		c.updates = len(sh.updates.toSave)
		c.copyRefunded(sh)
		for _, s := range sv.stores {
			s.shards[w].Freeze()
		}
	})
	return sv
}

// KeepExpired has nothing expire, in what is saved or restored, while records of
// different times are applied again side by side: a repeat of one may follow that
// others are much later than.
func (e *Engine) KeepExpired(on bool) { e.keepsExpired = on }

// drops are the ranges of what has expired and of stores that are no longer
// kept.
func (e *Engine) drops(now int64) (ranges [][2][]byte) {
	for stream := range e.cfg.Schema.Streams {
		day := e.expired(stream, now)
		if day == 0 || day == e.dropped[stream] {
			continue
		}
		e.dropped[stream] = day
		if e.disk != nil { // and with what has left memory ids are gone at once
			e.forget(stream, day)
		}
		for _, kind := range e.datedKinds(stream) {
			ranges = append(ranges, [2][]byte{appendKey(nil, kind, dayGroup(stream, 0), 0), appendKey(nil, kind, dayGroup(stream, day), 0)})
		}
	}
	kept := map[int]bool{}
	for _, s := range e.stores {
		kept[s.id] = true
	}
	for id := range e.saved {
		if !kept[id] {
			ranges = append(ranges, [2][]byte{appendKey(nil, kindWindow, uint32(id), 0), appendKey(nil, kindWindow, uint32(id+1), 0)})
		}
	}
	e.saved = kept
	return ranges
}

// forget notes that ids of a stream from before a day are not known any more.
func (e *Engine) forget(stream int, day uint16) {
	if t := int64(day) * dayMS; t > e.earliest {
		e.forgot[stream] = max(e.forgot[stream], t)
	}
}

// datedKinds are what is saved of a stream by the day of its Kafka timestamp.
func (e *Engine) datedKinds(stream int) []byte {
	switch stream {
	case e.transactions:
		return []byte{kindOriginal, kindUpdate}
	case e.refunds:
		return []byte{kindID, kindRefunded}
	}
	return []byte{kindID}
}

// CopyFor is CopySome for about so long, at least once.
func (e *Engine) CopyFor(sv *Save, d time.Duration) (copied []Copied, done bool) {
	for began := time.Now(); !done; {
		var more []Copied
		more, done = e.CopySome(sv, copyKeys)
		if copied = append(copied, more...); time.Since(began) > d {
			break
		}
	}
	return copied, done
}

// copyKeys of a shard take some 0.1 ms.
const copyKeys = 256

// CopySome copies up to n keys a shard and reports whether that was all. What
// was copied is given out once.
func (e *Engine) CopySome(sv *Save, n int) (copied []Copied, done bool) {
	e.parallel(parallelFrom, func(w int) {
		if c := &sv.shards[w]; !c.done {
			c.some(e, sv, w, n)
		}
	})
	done = true
	for w := range sv.shards {
		c := &sv.shards[w]
		if len(c.puts) > 0 {
			copied = append(copied, Copied{store: -1, bytes: c.puts})
		}
		copied = append(copied, c.chunks...)
		c.puts, c.chunks = nil, nil
		done = done && c.done
	}
	return copied, done
}

func (c *copying) some(e *Engine, sv *Save, w, n int) {
	sh := e.shards[w]
	// The sums of refunds, the last table, are copied already.
	for ; c.table < len(sh.ids); c.table, c.segment = c.table+1, 0 {
		for ; c.segment < tableSegments; c.segment++ {
			until := c.ends[c.table].entries[c.segment]
			if c.table == e.transactions {
				n = c.copyOriginals(sh, until, n)
			} else {
				n = c.copyIDs(e, sh, until, n)
			}
			if n == 0 {
				return
			}
		}
	}
	for ; c.copied < c.updates; n-- {
		if n == 0 {
			return
		}
		c.copyUpdate(sh, sh.updates.toSave[c.copied])
		c.copied++
	}
	// Keys of windows take longer than ids.
	for ; c.store < len(sv.stores); c.store++ {
		changes, more := sv.stores[c.store].shards[w].Changes(nil, max(n/4, 1))
		if len(changes) > 0 {
			c.chunks = append(c.chunks, Copied{sv.stores[c.store].id, sv.day, changes})
		}
		if more {
			return
		}
	}
	sh.updates.toSave = append([]toSave(nil), sh.updates.toSave[c.updates:]...)
	c.done = true
}

// begin writes the head of a key and value to c.puts; end fills in the lengths.
func (c *copying) begin(kind byte, group uint32, hash uint64, name string) int {
	at := len(c.puts)
	c.puts = append(c.puts, 0, 0, 0, 0, 0, 0, 0, 0)
	c.puts = appendKey(c.puts, kind, group, hash)
	c.puts = append(c.puts, name...)
	binary.LittleEndian.PutUint32(c.puts[at:], uint32(keyHead+len(name)))
	return at
}

func (c *copying) end(at int) {
	n := len(c.puts) - at - 8 - int(binary.LittleEndian.Uint32(c.puts[at:]))
	binary.LittleEndian.PutUint32(c.puts[at+4:], uint32(n))
}

func (c *copying) copyIDs(e *Engine, sh *shard, until, n int) int {
	t := sh.ids[c.table]
	s := &t.segments[c.segment]
	for ; s.saved < until && n > 0; n-- {
		x := &s.entries[s.saved]
		s.saved++
		name := t.keys.str(x.key)
		at := c.begin(t.kind, dayGroup(t.stream, x.day), x.hash, name)
		c.puts = binary.LittleEndian.AppendUint64(c.puts, x.val)
		if c.table == e.refunds && len(sh.moved) > 0 {
			if t, moved := sh.moved[name]; moved {
				c.puts = binary.AppendVarint(c.puts, t)
			}
		}
		c.end(at)
	}
	return n
}

func (c *copying) copyOriginals(sh *shard, until, n int) int {
	t := sh.originals
	s := &t.segments[c.segment]
	for ; s.saved < until && n > 0; n-- {
		x := &s.entries[s.saved]
		s.saved++
		at := c.begin(kindOriginal, dayGroup(c.table, x.day), x.hash, t.keys.str(x.key))
		c.puts = binary.LittleEndian.AppendUint64(c.puts, x.val.content)
		c.puts = binary.AppendVarint(c.puts, x.val.time)
		c.puts = append(c.puts, t.keys.get(x.val.packed)...)
		c.end(at)
	}
	return n
}

func (c *copying) copyUpdate(sh *shard, what toSave) {
	us := &sh.updates
	u := &us.all[what.number-1]
	sh.originals.each(what.hash, func(x *entry[original]) {
		if us.find(&x.val, u.content) != u {
			return // of an id with the same hash
		}
		id := sh.originals.keys.str(x.key)
		at := c.begin(kindUpdate, dayGroup(sh.originals.stream, x.day), x.hash, id)
		c.puts = binary.LittleEndian.AppendUint64(c.puts, u.content)
		binary.LittleEndian.PutUint32(c.puts[at:], uint32(keyHead+len(id)+8))
		c.puts = binary.AppendVarint(c.puts, u.time)
		c.puts = binary.AppendVarint(c.puts, u.index)
		c.puts = append(c.puts, sh.originals.keys.get(u.status)...)
		c.end(at)
		u.saved = true
	})
}

// copyRefunded copies the sums that changed, at once: they are few. One that was
// saved under an earlier day is saved there, too, until that is dropped: the last
// counts.
func (c *copying) copyRefunded(sh *shard) {
	for _, hash := range sh.changed {
		sh.refunded.each(hash, func(x *entry[reserved]) {
			if !x.val.changed {
				return
			}
			x.val.changed = false
			at := c.begin(kindRefunded, dayGroup(sh.refunded.stream, x.day), hash, sh.refunded.keys.str(x.key))
			c.puts = x.val.encode(c.puts)
			c.end(at)
		})
	}
	sh.changed = sh.changed[:0]
}

// Each calls put for keys and their values, and add for what comes behind the
// value that a key has. A key that is put in the same save has all of it. It ends
// with the first error, and may run on any goroutine.
func (c Copied) Each(put, add func(key, value []byte) error) error {
	if c.store >= 0 {
		var full, value []byte
		for ch := range window.EachChange(c.bytes) {
			full = append(appendKey(full[:0], kindWindow, uint32(c.store), hashOf(ch.Key)), ch.Key...)
			value = append(binary.LittleEndian.AppendUint16(value[:0], c.day), ch.Value...)
			to := add
			if ch.Whole {
				to = put
			}
			if err := to(full, value); err != nil {
				return err
			}
		}
		return nil
	}
	for b := c.bytes; len(b) > 0; {
		k, v := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		b = b[8:]
		if err := put(b[:k:k], b[k:k+v:k+v]); err != nil {
			return err
		}
		b = b[k+v:]
	}
	return nil
}

// Rewrite has the value of a key of a window put whole next time, for it has
// grown by many calls of add.
func (e *Engine) Rewrite(key []byte) {
	if len(key) <= keyHead || key[0] != kindWindow {
		return
	}
	hash := binary.BigEndian.Uint64(key[4:])
	for _, s := range e.stores {
		if s.id == int(groupOf(key)) {
			s.shards[e.owner(hash)].Rewrite(hash, string(key[keyHead:]))
		}
	}
}
