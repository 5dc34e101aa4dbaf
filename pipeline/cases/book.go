package cases

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"

	"github.com/refundguard/refundguard/rules"
)

// Book keeps the cases. What was saved is on disk only; in memory are those that
// changed since, and of each that something is waited for, when that is. One
// goroutine may use it, but for Frozen.
type Book struct {
	disk   Disk
	fresh  map[string][]byte // changed since the last Freeze; nil bytes: gone
	frozen map[string][]byte // of the save under way
	open   map[string]wait
	timers timers // by Due

	waiting [rules.Critical + 1]struct {
		n      int
		timers timers // by Since
		due    timers // by Due
	}
	ended map[uint16][]string // without a disk: finished, by day

	days    [][]byte // keys of days that are done with
	expired string   // up to where
}

// Disk is where cases are that were saved. Get calls each for the value of a key,
// or not at all; Scan for those from lo up to but not hi, in order.
type Disk interface {
	Get(key []byte, each func(value []byte) error) error
	Scan(lo, hi []byte, each func(key, value []byte) error) error
}

// wait is what is known of an open case without reading it.
type wait struct {
	due, since int64
	state      State
	severity   rules.Severity
}

func (w wait) inReview() bool { return w.state == InReview }

// New is a book with nothing in it. Without a disk all of it is in memory.
func New(disk Disk) *Book {
	return &Book{disk: disk, fresh: map[string][]byte{}, open: map[string]wait{}, ended: map[uint16][]string{}}
}

// Keys on disk are
//
//	c │ id          a case
//	e │ day 2 B │ id   nothing: it was finished on that day since 1970
const (
	caseKey  = 'c'
	endedKey = 'e'
)

func key(id string) []byte { return append([]byte{caseKey}, id...) }

func dayKey(day uint16, id string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{endedKey}, day), id...)
}

const dayMS = 24 * 60 * 60 * 1000

func dayOf(ms int64) uint16 { return uint16(min(max(ms, 0)/dayMS, math.MaxUint16)) }

// Keys is the range of keys that Load is to be called for.
func Keys() (lo, hi []byte) { return []byte{caseKey}, []byte{caseKey + 1} }

// Get is a case, nil if there is none.
func (b *Book) Get(id string) (c *Case, err error) {
	data, ok := b.fresh[id]
	if !ok {
		data, ok = b.frozen[id]
	}
	switch {
	case ok && data == nil:
		return nil, nil
	case ok:
		return Parse(id, data)
	case b.disk == nil:
		return nil, nil
	}
	err = b.disk.Get(key(id), func(value []byte) error {
		c, err = Parse(id, value)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the case of refund %q: %w", id, err)
	}
	return c, nil
}

// Put keeps a case as it is now.
func (b *Book) Put(c *Case) {
	if day := dayOf(c.Since); b.disk == nil && c.rests() {
		if was, ended := finished(b.fresh[c.RefundID]); !ended || was != day {
			b.ended[day] = append(b.ended[day], c.RefundID)
		}
	}
	b.fresh[c.RefundID] = c.Append(nil)
	b.watch(c)
}

// Drop forgets a case.
func (b *Book) Drop(id string) {
	b.fresh[id] = nil
	b.forget(id)
}

func (b *Book) forget(id string) {
	if w := b.open[id]; w.inReview() {
		b.waiting[w.severity].n--
	}
	delete(b.open, id)
}

// watch notes what is waited for, and until when.
func (b *Book) watch(c *Case) {
	was := b.open[c.RefundID]
	if b.forget(c.RefundID); c.rests() {
		return
	}
	now := wait{c.Due, c.Since, c.State, c.Severity}
	b.open[c.RefundID] = now
	if c.Due != 0 && c.Due != was.due {
		heap.Push(&b.timers, timer{c.Due, c.RefundID})
	}
	if len(b.timers) > 2*len(b.open)+64 {
		b.timers = b.timers.of(func(t timer) bool { return b.open[t.id].due == t.due })
	}
	if !now.inReview() {
		return
	}
	q := &b.waiting[c.Severity]
	if q.n++; !was.inReview() || was.severity != c.Severity || was.since != c.Since {
		heap.Push(&q.timers, timer{c.Since, c.RefundID})
	}
	if len(q.timers) > 2*q.n+64 {
		q.timers = q.timers.of(func(t timer) bool { return b.waits(t, c.Severity) })
	}
	if now.due != 0 && (!was.inReview() || was.severity != c.Severity || was.due != c.Due) {
		heap.Push(&q.due, timer{c.Due, c.RefundID})
	}
	if len(q.due) > 2*q.n+64 {
		q.due = q.due.of(func(t timer) bool { return b.isDue(t, c.Severity) })
	}
}

// isDue reports whether a case is still in review, under that severity and until
// then.
func (b *Book) isDue(t timer, s rules.Severity) bool {
	w := b.open[t.id]
	return w.inReview() && w.severity == s && w.due == t.due
}

// waits reports whether a case is still in review, under that severity and since
// then.
func (b *Book) waits(t timer, s rules.Severity) bool {
	w := b.open[t.id]
	return w.inReview() && w.severity == s && w.since == t.due
}

// Next is the id of the case whose time has passed first, that time, and whether
// there is one. The case must be Put with another time, or none, before the next
// one is asked for.
func (b *Book) Next(now int64) (id string, due int64, ok bool) {
	for len(b.timers) > 0 && b.timers[0].due <= now {
		t := b.timers[0]
		if b.open[t.id].due == t.due {
			return t.id, t.due, true
		}
		heap.Pop(&b.timers)
	}
	return "", 0, false
}

// Waiting is how many cases of a severity are in review, and since when the one
// is that has been for longest; 0 if there is none.
func (b *Book) Waiting(s rules.Severity) (n int, since int64) {
	q := &b.waiting[s]
	for len(q.timers) > 0 && !b.waits(q.timers[0], s) {
		heap.Pop(&q.timers)
	}
	if q.n == 0 {
		return 0, 0
	}
	return q.n, q.timers[0].due
}

// Deadline is the earliest of the deadlines of the cases of a severity that are in
// review; 0 if there is none.
func (b *Book) Deadline(s rules.Severity) int64 {
	q := &b.waiting[s]
	for len(q.due) > 0 && !b.isDue(q.due[0], s) {
		heap.Pop(&q.due)
	}
	if len(q.due) == 0 {
		return 0
	}
	return q.due[0].due
}

// Open is how many cases something is waited for.
func (b *Book) Open() int { return len(b.open) }

// Frozen is what has changed between two saves.
type Frozen struct {
	changed map[string][]byte
	days    [][]byte
}

// Freeze begins a save of what has changed by now. Thaw must come before the
// next one.
func (b *Book) Freeze() *Frozen {
	f := &Frozen{b.fresh, b.days}
	b.frozen, b.fresh, b.days = b.fresh, map[string][]byte{}, nil
	return f
}

// Thaw ends a save. If it failed, what it was to save stays in memory.
func (b *Book) Thaw(saved bool) {
	if !saved || b.disk == nil {
		maps.Copy(b.frozen, b.fresh)
		b.fresh = b.frozen
	}
	b.frozen = nil
}

// Gone lists the keys to be removed, Each the keys and values to be written. Any
// goroutine may call them.
func (f *Frozen) Gone() (keys [][]byte) {
	for id, data := range f.changed {
		if data == nil {
			keys = append(keys, key(id))
		}
	}
	return append(keys, f.days...)
}

// Each is described with Gone.
func (f *Frozen) Each(put func(key, value []byte) error) error {
	for id, data := range f.changed {
		if data == nil {
			continue
		}
		if err := put(key(id), data); err != nil {
			return err
		}
		if day, ended := finished(data); ended {
			if err := put(dayKey(day, id), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Expire forgets cases whose end came before the day of a time, n of them at
// most, and reports whether there are more. It is for between two saves or for
// during one, and for no book whose saves have failed.
func (b *Book) Expire(before int64, n int) (more bool, err error) {
	day := dayOf(before)
	if b.disk == nil {
		for d, ids := range b.ended {
			if d >= day {
				continue
			}
			for _, id := range ids {
				if last, ended := finished(b.fresh[id]); ended && last < day {
					delete(b.fresh, id)
				}
			}
			delete(b.ended, d)
		}
		return false, nil
	}
	var some [][]byte
	err = b.disk.Scan([]byte(max(b.expired, string(dayKey(0, "")))), dayKey(day, ""), func(key, _ []byte) error {
		if more = len(some) == n; more {
			return errEnough
		}
		if len(key) < 3 {
			return errKey
		}
		some = append(some, bytes.Clone(key))
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return false, fmt.Errorf("looking for old cases: %w", err)
	}
	for _, key := range some {
		id := string(key[3:])
		c, err := b.Get(id)
		if err != nil {
			return false, err
		}
		if c == nil || c.rests() && dayOf(c.Since) < day { // else more came of it
			b.Drop(id)
		}
		b.expired = string(key) + "\x00"
	}
	b.days = append(b.days, some...)
	return more, nil
}

var errEnough = errors.New("enough")

// errKey is for a key that isn't one of a case.
var errKey = errors.New("the key of no case")

// Load takes what is on disk: each key and value of Keys.
func (b *Book) Load(key, value []byte) (*Case, error) {
	if len(key) < 2 || key[0] != caseKey {
		return nil, errKey
	}
	c, err := Parse(string(key[1:]), value)
	if err != nil {
		return nil, err
	}
	b.watch(c)
	return c, nil
}

// Entry explains a key and value of a saved state: the case and its refund's id;
// no case for a day on which that ended; neither if they are of something else.
func Entry(key, value []byte) (c *Case, id string, err error) {
	switch {
	case len(key) > 1 && key[0] == caseKey:
		id = string(key[1:])
		c, err = Parse(id, value)
	case len(key) > 3 && key[0] == endedKey:
		id = string(key[3:])
	}
	return c, id, err
}
