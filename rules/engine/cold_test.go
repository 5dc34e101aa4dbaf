package engine_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// save saves all that changed, and lets go of it where there is no room.
func (m *machine) save(d *disk) {
	m.t.Helper()
	sv := m.e.StartSave(noExpiry)
	copied, done := m.e.CopySome(sv, 1<<20)
	if !done {
		m.t.Fatal("a save goes on")
	}
	d.save(sv, copied)
	m.e.StartEvict(sv)
	for m.e.EvictFor(time.Minute) {
	}
}

// onDisk is a machine that keeps nothing in memory that it can read back.
func onDisk(t *rapid.T, schema *event.Schema, set *rules.Set, workers int, d *disk) *machine {
	m := newSmallMachine(t, schema, set, workers, 0, 1)
	m.e.Track()
	m.e.KeepOnDisk(d)
	return m
}

// A key that hangs on what was refunded of the transaction, which decisions made
// just before change, is found on disk as in memory.
func TestKeysThatHangOnWhatWasRefunded(t *testing.T) {
	schema := event.Builtin()
	set := loadSet(t, schema, `rules:
  - {id: other, action: reject, on_missing: skip, when: 'refunds.by({device_id: refunded > 15 ? "2" : refunded > 5 ? "1" : "3"}).ever().count() > 2'}
  - {id: of, score: 1, on_missing: skip, when: 'transactions.by({customer_id: refunded > 15 ? "2" : "1"}).ever().sum(amount) > 5'}
`)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "workers")
		all := newMachine(t, schema, set, n, 0)
		defer all.e.Close()
		d := &disk{parts: map[string][][]byte{}}
		cold := onDisk(t, schema, set, n, d)
		defer cold.e.Close()
		id := 0
		for range rapid.IntRange(2, 5).Draw(t, "epochs") {
			var rows []row
			for range rapid.IntRange(1, 40).Draw(t, "rows") {
				id++
				r := row{id: id, minute: id, cents: rapid.IntRange(1, 1000).Draw(t, "cents"), customer: rapid.IntRange(1, 2).Draw(t, "customer"),
					device: rapid.IntRange(1, 3).Draw(t, "device"), refund: rapid.IntRange(0, 3).Draw(t, "refund") > 0}
				if r.refund {
					r.original = rapid.IntRange(1, 5).Draw(t, "original")
				}
				rows = append(rows, r)
			}
			var want, got []string
			all.epoch(rows, func(d *event.Decision) { want = append(want, string(d.Append(nil))) })
			cold.epoch(rows, func(d *event.Decision) { got = append(got, string(d.Append(nil))) })
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("with state on disk: %s\nall in memory: %s", got[i], want[i])
				}
			}
			if rapid.Bool().Draw(t, "save") {
				cold.save(d)
			}
		}
		if err := cold.e.Err(); err != nil {
			t.Fatal(err)
		}
	})
}

const few = `rules:
  - {id: a, action: reject, on_missing: skip, when: 'amount > 1000'}
`

// The place of a refund in time that was moved is that of the refund, whatever
// else has its id.
func TestAMovedRefundKeepsItsTime(t *testing.T) {
	schema := event.Builtin()
	none, added := loadSet(t, schema, few), loadSet(t, schema, few+`  - {id: b, score: 1, on_missing: skip, when: 'refunds.by(customer_id).ever().count() > 0'}
`)
	rapid.Check(t, func(t *rapid.T) {
		d := &disk{parts: map[string][][]byte{}}
		m := onDisk(t, schema, none, 1, d)
		defer func() { m.e.Close() }()
		complaints := 0
		for i, s := range schema.Streams {
			if s.Name == "complaints" {
				complaints = i
			}
		}
		complain := func(id string) {
			it := &engine.Item{Stream: complaints}
			it.Event.Vals = make([]event.Value, 0, event.MaxFields)
			data := fmt.Appendf(nil, `{"complaint_id":%q,"kind":"privacy","occurred_at":%d}`, id, minuteMS(1))
			if err := event.NewDecoder(schema.Streams[complaints], event.DefaultLimits()).Decode(data, &it.Event); err != nil {
				t.Fatal(err)
			}
			it.Prepare(data)
			m.e.Apply([]*engine.Item{it})
		}
		refund := func() *engine.Item {
			it := m.item(row{refund: true, id: 7, minute: 1000, cents: 100, customer: 1})
			it.Sent, it.Event.Time = it.Event.Time, minuteMS(5)
			return it
		}
		complain("r07")
		for i := range 20 {
			complain(fmt.Sprint("other ", i))
		}
		sv := m.e.StartSave(noExpiry)
		copied, _ := m.e.CopySome(sv, 1<<20)
		m.e.Apply([]*engine.Item{refund()}) // while it is saved
		d.save(sv, copied)
		m.e.StartEvict(sv)
		for m.e.EvictFor(time.Minute) {
		}
		if rapid.Bool().Draw(t, "leaves") {
			m.save(d)
			m.e.Apply([]*engine.Item{m.item(row{refund: true, id: 8, minute: 6, cents: 100, customer: 2})})
			m.save(d)
		}
		m.e.SetRules(added)
		again := refund()
		if m.e.Fill([]*engine.Item{again}); again.Fate != engine.Fresh {
			t.Fatalf("a refund that was applied is of fate %d to a series that is filled", again.Fate)
		}
	})
}

// Filling a series from what was applied before brings nothing back into memory
// for good.
func TestFillingLeavesOnDiskWhatIsThere(t *testing.T) {
	schema := event.Builtin()
	none, added := loadSet(t, schema, few), loadSet(t, schema, few+`  - {id: b, score: 1, on_missing: skip, when: 'updates.by(merchant_id).ever().count() > 0'}
`)
	rapid.Check(t, func(t *rapid.T) {
		d := &disk{parts: map[string][][]byte{}}
		m := onDisk(t, schema, none, rapid.IntRange(1, 3).Draw(t, "workers"), d)
		defer m.e.Close()
		var rows []row
		for id := range 300 {
			r := row{id: id + 1, minute: id, cents: 100, customer: 1, status: "captured"}
			rows = append(rows, r)
			r.update, r.status = true, "settled"
			rows = append(rows, r)
		}
		items := func() (items []*engine.Item) {
			for _, r := range rows {
				items = append(items, m.item(r))
			}
			return items
		}
		m.e.Apply(items())
		m.save(d)
		m.save(d) // of the save before, the last stay
		m.e.SetRules(added)
		before := m.e.Stats()
		for range 3 { // again is not again
			for i, it := range items() {
				m.e.Fill([]*engine.Item{it})
				if it.Fate != engine.Fresh && it.Fate != engine.Update && it.Fate != engine.Duplicate {
					t.Fatalf("record %d is of fate %d", i, it.Fate)
				}
			}
		}
		if st := m.e.Stats(); st.Cold < before.Cold || st.Bytes > before.Bytes+300*20*3 {
			t.Fatalf("of %d keys %d were on disk, in %d bytes; when all was read again %d, in %d", before.Keys, before.Cold, before.Bytes, st.Cold, st.Bytes)
		}
	})
}
