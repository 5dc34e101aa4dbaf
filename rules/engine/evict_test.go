package engine_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// What changes while a save is written is not let go of by it, and what it holds
// elsewhere is given back when it goes.
func TestWhatChangedSinceASaveStays(t *testing.T) {
	schema := event.Builtin()
	set := loadSet(t, schema, `rules:
  - {id: settled, score: 1, on_missing: skip, when: 'original.status == "settled"'}
  - {id: partly, score: 2, on_missing: skip, when: 'refunded > 0'}
  - {id: much, score: 4, on_missing: skip, when: 'refunded >= 20'}
`)
	const payments = 12
	rapid.Check(t, func(t *rapid.T) {
		d := &disk{parts: map[string][][]byte{}}
		start := func() *machine {
			m := newSmallMachine(t, schema, set, rapid.IntRange(1, 3).Draw(t, "workers"), 0, 1)
			m.e.Track()
			m.e.KeepOnDisk(d)
			return m
		}
		m := start()
		defer func() { m.e.Close() }()
		refunds := 0
		refund := func(original, want int) {
			t.Helper()
			refunds++
			m.seen += 24 * 3600_000
			m.epoch([]row{{refund: true, id: refunds, minute: 100 + refunds, cents: 1000, customer: 1, device: 1, original: original}}, func(got *event.Decision) {
				if int(got.Score) != want {
					t.Fatalf("refund %d of transaction %d has a score of %d, want %d", refunds, original, got.Score, want)
				}
			})
		}
		save := func(meanwhile func()) {
			t.Helper()
			sv := m.e.StartSave(noExpiry)
			copied, done := m.e.CopySome(sv, 1)
			meanwhile()
			for !done {
				var more []engine.Copied
				more, done = m.e.CopySome(sv, 3)
				copied = append(copied, more...)
			}
			d.save(sv, copied)
			m.e.StartEvict(sv)
			for m.e.EvictFor(time.Minute) {
			}
		}
		pay := func(id int, update bool) row {
			r := row{id: id, minute: 1, cents: 5000, customer: 1, device: 1, status: "captured"}
			if update {
				r.update, r.minute, r.status = true, 2, "settled"
			}
			return r
		}
		for id := range payments {
			m.epoch([]row{pay(id+1, false)}, nil)
		}
		save(func() {})
		id := rapid.IntRange(1, payments).Draw(t, "payment")
		refund(id, 0)
		for other := range payments {
			if other+1 != id {
				refund(other+1, 0)
			}
		}
		save(func() {
			m.epoch([]row{pay(id, true)}, nil)
			refund(id, 1+2)
		})
		crash := func() {
			if rapid.Bool().Draw(t, "crash") {
				m.e.Close()
				seen := m.seen
				m = start()
				m.seen = seen
				if err := m.e.Restore(d.head, noExpiry, d); err != nil {
					t.Fatal(err)
				}
			}
		}
		refund(id, 1+2+4)
		save(func() {})
		crash()
		for id := range payments { // of a save's last, some stay in memory
			m.epoch([]row{pay(payments+id+1, false)}, nil)
		}
		save(func() {})
		reads := d.reads.Load()
		again := m.item(pay(id, true))
		if m.e.Apply([]*engine.Item{again}); again.Fate != engine.Duplicate || d.reads.Load() == reads {
			t.Fatalf("an update that is known is of fate %d, after %d readings", again.Fate, d.reads.Load()-reads)
		}
		refund(id, 1+2+4)
		refund(id%payments+1, 2)
		var bytes int64
		for round := range 20 {
			again := m.item(pay(id, true))
			m.e.Apply([]*engine.Item{again}) // which brings it back
			save(func() {})
			if now := m.e.Stats().Bytes; round == 10 {
				bytes = now
			} else if round > 10 && now > bytes {
				t.Fatalf("coming and going takes memory: %d bytes, then %d", bytes, now)
			}
		}
		if err := m.e.Err(); err != nil {
			t.Fatal(err)
		}
	})
}
