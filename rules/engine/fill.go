package engine

import (
	"encoding/binary"
	"math"
	"slices"
)

// A store that a reload makes misses what was applied before. Everything since
// goes into it like into any other; filling it is to give it, again and in any
// order, the records that were applied before. What a store holds is a function
// of the set of its events, so that afterwards it is what it would be had it
// been there from the start:
//
//   - A record that was applied is the event of its id, or an update, if the
//     tables of ids say so: the same tables that told it apart when it was
//     applied. No record below the offsets of the reload is new to them.
//   - Each event is entered once: it is marked in those tables, updates beside
//     them. (Windows keep the events of a busy key in buckets, and don't know one
//     from another there.)
//   - A filling that was not finished is worth nothing. Its stores are made anew
//     by the next SetRules.

// Filling lists the streams (indices in the schema) whose records stores miss;
// derived says that some of these make hits or decisions.
func (e *Engine) Filling() (streams []int, derived bool) {
	for i, st := range e.cfg.Schema.Streams {
		if slices.ContainsFunc(e.stores, func(s *store) bool { return s.filling && s.madeOf(st.Name) }) {
			streams = append(streams, i)
		}
	}
	for _, s := range e.stores {
		derived = derived || s.filling && (s.def.Source == "hits" || s.def.Source == "decisions")
	}
	return streams, derived
}

// Fill enters records that were applied before into the stores that miss them,
// and sets each one's Fate: Fresh is the event of its id, or a repeat that is
// equal to it, whichever is given first. A nil item is passed over. What was
// decided of refunds, and hit transactions, is for FillDecided.
func (e *Engine) Fill(items []*Item) {
	e.parallel(len(items), func(w int) {
		wk, sh := e.workers[w], e.shards[w]
		wk.reset()
		if sh.filled == nil {
			sh.unmark()
			sh.filled = map[uint64]bool{}
		}
		for i, it := range items {
			if it == nil || e.owner(it.id) != w {
				continue
			}
			wk.order = i
			switch it.Fate = e.known(sh, it); it.Fate {
			case Fresh:
				e.route(wk, &it.Event, it.id, e.fillable(wk, e.byStream[it.Stream]))
			case Update:
				e.route(wk, &it.Event, it.id^it.content, e.fillable(wk, e.updates))
			}
		}
	})
	e.parallel(len(items), e.insertAll)
}

// FillDecided is Recall into those stores of hits and decisions that miss what
// was decided before the last SetRules.
func (e *Engine) FillDecided(it *Item, d Decided) { e.recall(it, d, e.fillable) }

// fillable are those of the stores that miss something.
func (e *Engine) fillable(wk *worker, stores []int) []int {
	wk.fill = wk.fill[:0]
	for _, i := range stores {
		if e.stores[i].filling {
			wk.fill = append(wk.fill, i)
		}
	}
	return wk.fill
}

// known tells what a record was when it was applied. What has left memory stays
// where it is: all that was ever applied passes by here.
func (e *Engine) known(sh *shard, it *Item) Fate {
	ev := &it.Event
	if it.Stream == e.transactions {
		return sh.knownPayment(it)
	}
	refund := it.Stream == e.refunds
	t, moved := sh.moved[ev.ID()]
	content, slot, ok := sh.ids[it.Stream].peek(it.id, ev.ID(), func(value []byte) (content uint64, err error) {
		content, t, moved, err = decodeID(value, refund)
		return content, err
	})
	switch {
	case !ok || content != it.content:
		return Conflict
	// Equal bytes are equal events, but for the time of those stamped in the
	// future, which was their record's.
	case refund && (moved && t != ev.Time || !moved && ev.Time != ev.Vals[ev.Stream.TimeSlot()].Num):
		return Duplicate
	}
	return first(slot, slotMark, Fresh)
}

func (sh *shard) knownPayment(it *Item) Fate {
	t, id := sh.originals, it.Event.ID()
	o, slot, ok := t.peek(it.id, id, func(value []byte) (original, error) {
		o, _, err := readOriginal(value)
		return o, err
	})
	switch {
	case !ok:
		return Conflict
	case o.content == it.content:
		return first(slot, slotMark, Fresh)
	case *slot&coldSlot != 0:
		ok = t.has(binary.LittleEndian.AppendUint64(updateKey(t.stream, uint16(*slot), it.id, id), it.content), id)
	default:
		ok = sh.updates.find(&o, it.content) != nil
	}
	update := it.id ^ it.content
	if !ok {
		return Conflict
	}
	if sh.filled[update] {
		return Duplicate
	}
	sh.filled[update] = true
	return Update
}

// first is fate for the first time that a slot is asked for, then Duplicate.
func first(slot *uint64, mark uint64, fate Fate) Fate {
	if *slot&mark != 0 {
		return Duplicate
	}
	*slot |= mark
	return fate
}

// Filled says that Fill was given every record that was applied before the last
// SetRules, as far as topics still hold them. since is the event time from which
// on each stream (by index) is complete; one that isn't there is complete.
func (e *Engine) Filled(since map[int]int64, derived int64) {
	for _, s := range e.stores {
		if !s.filling {
			continue
		}
		s.filling, s.since = false, math.MinInt64
		for stream, t := range since {
			if s.madeOf(e.cfg.Schema.Streams[stream].Name) {
				s.since = max(s.since, t)
			}
		}
		for stream, t := range e.forgot { // events whose ids are forgotten were not entered
			if s.madeOf(e.cfg.Schema.Streams[stream].Name) {
				s.since = max(s.since, t+mostEarly)
			}
		}
		if s.def.Source == "hits" || s.def.Source == "decisions" {
			s.since = max(s.since, derived)
		}
	}
	e.SetRules(e.set) // expressions that others served so far may go together now
}

// mostEarly is by how much, in milliseconds, an event may be later than its Kafka
// timestamp.
const mostEarly = 5 * 60_000

// GiveUp says that what stores miss will not be filled: they are warming until
// their windows have passed.
func (e *Engine) GiveUp() {
	for _, s := range e.stores {
		s.filling = false
	}
	for _, sh := range e.shards {
		sh.filled = nil
	}
}

// IncompleteDerived says that decisions, or hits, before the given event time
// are in no journal any more.
func (e *Engine) IncompleteDerived(since int64) {
	for _, s := range e.stores {
		if s.def.Source == "hits" || s.def.Source == "decisions" {
			s.since = max(s.since, since)
		}
	}
}
