package engine

import (
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/rules/event"
)

// Apply enters items into the state, in order, and sets each one's Fate. A nil
// item is passed over. The strings of an item's event are copied.
func (e *Engine) Apply(items []*Item) {
	for _, it := range items {
		if it != nil {
			e.newest = max(e.newest, it.Event.Time)
			e.received, e.earliest = max(e.received, it.Received), min(e.earliest, it.Received)
		}
	}
	// Two passes with a barrier between: who owns an id decides whether it is
	// an event at all; who owns a key enters it there.
	e.parallel(len(items), func(w int) { e.admitAll(w, items) })
	e.parallel(len(items), e.insertAll)
}

func (e *Engine) admitAll(w int, items []*Item) {
	wk, sh := e.workers[w], e.shards[w]
	wk.reset()
	wk.own = wk.own[:0]
	for i, it := range items {
		if it != nil && e.owner(it.id) == w {
			wk.own = append(wk.own, int32(i))
		}
	}
	for own := wk.own; len(own) > 0; {
		n := min(len(own), together)
		for _, i := range own[:n] {
			if it := items[i]; it.Stream == e.transactions {
				wk.touched += sh.originals.touch(it.id)
			} else {
				wk.touched += sh.ids[it.Stream].touch(it.id)
			}
		}
		for _, i := range own[:n] {
			it := items[i]
			wk.order = int(i)
			switch it.Fate = e.admit(sh, wk, it); it.Fate {
			case Fresh:
				e.route(wk, &it.Event, it.id, e.byStream[it.Stream])
			case Update:
				e.route(wk, &it.Event, it.id^it.content, e.updates) // updates of one transaction share its id
			}
		}
		own = own[n:]
	}
}

// together is how many keys are looked at before anything is done with them. Where
// a key is, is mostly not in the processor's caches; of many that are asked for one
// after the other, with nothing between that waits for the answers, it fetches some
// ten at a time.
const together = 32

// admit tells a new event from a repeated one and remembers it.
func (e *Engine) admit(sh *shard, wk *worker, it *Item) Fate {
	ev := &it.Event
	if it.Stream != e.transactions {
		x, known := sh.ids[it.Stream].put(it.id, ev.ID(), dayOf(it.Seen))
		if !known {
			x.val = it.content
			if it.Stream == e.refunds && ev.Time != ev.Vals[ev.Stream.TimeSlot()].Num {
				sh.moved[strings.Clone(ev.ID())] = ev.Time
			}
			return Fresh
		}
		if x.val == it.content {
			return Duplicate
		}
		return Conflict
	}
	x, known := sh.originals.put(it.id, ev.ID(), dayOf(it.Seen))
	if !known {
		x.val = original{content: it.content, time: ev.Time, packed: sh.originals.keys.pack(ev)}
		return Fresh
	}
	if x.val.content == it.content || sh.updates.find(&x.val, it.content) != nil {
		return Duplicate
	}
	u := update{content: it.content, time: ev.Time, index: -1}
	if ev.Has(e.slots.txStatus) {
		v := ev.Vals[e.slots.txStatus]
		u.status, u.index = sh.originals.keys.add([]byte(v.Str)), v.Num
	}
	sh.updates.chain(&x.val, u)
	if e.tracking {
		sh.updates.toSave = append(sh.updates.toSave, toSave{x.hash, x.val.updates})
	}
	return Update
}

// reset forgets what was routed. The keys of what is routed next alias scratch
// until insertAll has copied them.
func (wk *worker) reset() {
	for i := range wk.out {
		wk.out[i] = wk.out[i][:0]
	}
	wk.scratch = wk.scratch[:0]
}

// route computes an event's key in each of the stores and sends it to the
// shard of that key.
func (e *Engine) route(wk *worker, ev *event.Event, id uint64, stores []int) {
	for _, i := range stores {
		def := e.stores[i].def
		if !def.Match(ev) {
			continue
		}
		start := len(wk.scratch)
		b, ok := def.AppendKey(wk.scratch, ev)
		if !ok {
			wk.scratch = b[:start]
			continue
		}
		wk.scratch = b
		key := unsafe.String(unsafe.SliceData(b[start:]), len(b)-start)
		hash := xxh3.HashString(key)
		dest := e.owner(hash)
		wk.out[dest] = append(wk.out[dest], op{event: ev, id: id, store: i, order: wk.order, hash: hash, key: key})
	}
}

// insertAll enters what was routed to shard w, in the order of the events: mostly
// that of their times, in which a window only has to append. One worker's after the
// other's, half of a busy key's events would be put before others, which are moved.
func (e *Engine) insertAll(w int) {
	wk := e.workers[w]
	wk.queues = wk.queues[:0]
	defer func() { // what is routed must not keep records that are done with
		for _, from := range e.workers {
			clear(from.out[w])
		}
	}()
	for _, from := range e.workers {
		if len(from.out[w]) > 0 {
			wk.queues = append(wk.queues, from.out[w])
		}
	}
	for {
		ops := wk.nextOps()
		if len(ops) == 0 {
			return
		}
		for _, o := range ops {
			wk.touched += e.stores[o.store].shards[w].Touch(o.hash)
		}
		for _, o := range ops {
			wk.touched += e.stores[o.store].shards[w].TouchRecord(o.hash)
		}
		for _, o := range ops {
			e.stores[o.store].insert(w, o, wk.values)
		}
	}
}

// nextOps are the next of the queues, by order.
func (wk *worker) nextOps() []*op {
	ops := wk.ops[:0]
	for len(wk.queues) > 0 && len(ops) < together {
		first := 0
		for i := range wk.queues {
			if wk.queues[i][0].order < wk.queues[first][0].order {
				first = i
			}
		}
		ops = append(ops, &wk.queues[first][0])
		if wk.queues[first] = wk.queues[first][1:]; len(wk.queues[first]) == 0 {
			wk.queues = slices.Delete(wk.queues, first, first+1)
		}
	}
	return ops
}

// original finds the transaction that a refund names, as it was known at the
// refund's time, into wk.original; nil if there is none. It is for the worker
// that owns it.
func (e *Engine) original(wk *worker, it *Item) *event.Event {
	id := it.Event.Str(e.slots.rfTransaction)
	if id == "" {
		return nil
	}
	hash := xxh3.HashString(id)
	sh := e.shards[e.owner(hash)]
	x := sh.originals.get(hash, id)
	if x == nil || x.val.time > it.Event.Time {
		return nil
	}
	ev := &wk.original
	ev.Stream = e.cfg.Schema.Streams[e.transactions]
	if err := event.Unpack(ev.Stream, sh.originals.keys.get(x.val.packed), ev); err != nil {
		return nil // our own bytes, in memory; unknown is the safe reading
	}
	e.statusAt(sh, &x.val, it.Event.Time, ev)
	return ev
}

// statusAt sets the status of the record with the greatest time ≤ t. Of two at
// the same time the one with the greater content hash counts, so that the
// order of arrival doesn't.
func (e *Engine) statusAt(sh *shard, o *original, t int64, ev *event.Event) {
	best, bestTime, bestContent := (*update)(nil), o.time, o.content
	for u := range sh.updates.of(o) {
		if u.time > t || u.time < bestTime || u.time == bestTime && u.content < bestContent {
			continue
		}
		best, bestTime, bestContent = u, u.time, u.content
	}
	if best == nil || best.time == math.MinInt64 {
		return
	}
	slot := e.slots.txStatus
	if best.status.length == 0 {
		ev.Present &^= 1 << uint(slot)
		return
	}
	ev.Present |= 1 << uint(slot)
	ev.Vals[slot] = event.Value{Str: sh.originals.keys.str(best.status), Num: best.index}
}
