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

// Ids, transactions with their updates, and sums of refunds are kept for as long
// as they are to be, wherever they are meanwhile, whoever takes them over, and
// whatever producers' clocks say; what is forgotten is forgotten as a whole.
func TestNothingIsForgottenTooEarly(t *testing.T) {
	schema := event.Builtin()
	set := loadSet(t, schema, `rules:
  - {id: sum, score: 1, when: 'refunded >= 0', message: "{{refunded}}"}
  - {id: status, score: 1, on_missing: skip, when: 'original.status != ""', message: "{{original.status}}"}
`)
	const day = 24 * 3600_000
	type sum struct{ cents, day int64 }
	type payment struct {
		day    int64
		status string
	}
	rapid.Check(t, func(t *rapid.T) {
		keep := map[string]int64{}
		for _, what := range []string{"refunds", "transactions"} {
			keep[what] = rapid.Int64Range(2, 9).Draw(t, what+" kept") * day
		}
		d := &disk{parts: map[string][][]byte{}}
		now, received := int64(20_000*day), int64(0)
		start := func() *machine {
			e := engine.New(engine.Config{Schema: schema, Workers: rapid.IntRange(1, 4).Draw(t, "workers"), Memory: rapid.SampledFrom([]int64{1, 20_000}).Draw(t, "memory"),
				Retention: keep["refunds"], Originals: keep["transactions"]}, set)
			m := newMachine(t, schema, set, 1, 0)
			m.e.Close()
			m.e = e
			m.e.Track()
			m.e.KeepOnDisk(d)
			return m
		}
		m := start()
		defer func() { m.e.Close() }()
		expired := func(what string) int64 { return max(min(received, now)-keep[what], 0) / day }
		refunds, payments, sums := map[int]int64{}, map[int]*payment{}, map[int]*sum{}
		apply := func(r row) *engine.Item {
			it := m.item(r)
			if it.Received = now; rapid.IntRange(0, 9).Draw(t, "clock") == 0 {
				it.Received += rapid.SampledFrom([]int64{-5 * day, 3 * day, 200_000 * day}).Draw(t, "wrong by")
			}
			it.Seen = max(it.Received, now)
			received = max(received, it.Received)
			m.e.Apply([]*engine.Item{it})
			return it
		}
		seen := func(it *engine.Item) int64 { return min(it.Seen/day, 1<<16-1) }
		minute := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			minute++
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0, 1, 2: // a refund, new or again
				id := rapid.IntRange(1, 30).Draw(t, "refund")
				r := row{refund: true, id: id, minute: 100_000 + id, cents: 100 * id, original: 1 + id%5}
				since, known := refunds[id]
				it := apply(r)
				switch {
				case known && since >= expired("refunds") && it.Fate != engine.Duplicate:
					t.Fatalf("refund %d of day %d is of fate %d, all from day %d on are kept", id, since, it.Fate, expired("refunds"))
				case !known && it.Fate != engine.Fresh:
					t.Fatalf("refund %d is of fate %d", id, it.Fate)
				case it.Fate != engine.Fresh:
					continue
				}
				refunds[id] = seen(it)
				tx := r.original
				got, status := int64(-1), ""
				m.e.Decide([]*engine.Item{it}, func(_, _ int, d *event.Decision, _ *rules.Result) {
					for _, h := range d.Hits {
						if h.Rule == "status" {
							status = h.Message
							continue
						}
						amount, err := event.ParseMoney([]byte(h.Message))
						if err != nil {
							t.Fatal(err)
						}
						got = int64(amount) / 100
					}
				})
				s := sums[tx]
				if s == nil {
					s = &sum{}
					sums[tx] = s
				}
				if got != s.cents && (got != 0 || s.day >= expired("refunds")) {
					t.Fatalf("%d was refunded of transaction %d, want %+v; all from day %d on are kept", got, tx, s, expired("refunds"))
				}
				s.cents, s.day = got+int64(r.cents), max(s.day, seen(it))
				if got == 0 {
					s.day = seen(it)
				}
				p := payments[tx]
				switch {
				case p == nil && status != "":
					t.Fatalf("transaction %d is %s", tx, status)
				case p != nil && status != p.status && (status != "" || p.day >= expired("transactions")):
					t.Fatalf("transaction %d of day %d is %q, want %q; all from day %d on are kept", tx, p.day, status, p.status, expired("transactions"))
				}
			case 3, 4: // a transaction, or an update of it
				id := rapid.IntRange(1, 5).Draw(t, "transaction")
				status := fmt.Sprint("s", minute)
				it := apply(row{id: id, minute: minute, cents: 100, status: status})
				p := payments[id]
				switch {
				case it.Fate == engine.Fresh && p != nil && p.day >= expired("transactions"):
					t.Fatalf("transaction %d of day %d is new, all from day %d on are kept", id, p.day, expired("transactions"))
				case it.Fate == engine.Fresh:
					payments[id] = &payment{day: seen(it), status: status}
				case it.Fate == engine.Update && p != nil:
					p.status = status
				default:
					t.Fatalf("transaction %d is of fate %d", id, it.Fate)
				}
			case 5:
				now += rapid.Int64Range(0, 3*day).Draw(t, "later")
			default:
				sv := m.e.StartSave(now)
				copied, done := m.e.CopySome(sv, 1<<20)
				if !done {
					t.Fatal("a save goes on")
				}
				d.save(sv, copied)
				m.e.StartEvict(sv)
				for more := rapid.SampledFrom([]int{300, 1 << 20}).Draw(t, "evict"); more > 0 && m.e.EvictFor(0); more-- {
				}
				if rapid.Bool().Draw(t, "crash") {
					m.e.Close()
					m = start()
					if err := m.e.Restore(d.head, now, d); err != nil {
						t.Fatal(err)
					}
				}
				if err := m.e.Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for m.e.EvictFor(time.Minute) {
		}
	})
}

// A series that is filled from records whose ids were forgotten meanwhile doesn't
// have them, and says so.
func TestFillingAfterIdsWereForgotten(t *testing.T) {
	schema := event.Builtin()
	none, added := loadSet(t, schema, few), loadSet(t, schema, few+`  - {id: b, score: 1, on_missing: skip, when: 'transactions.by(customer_id).ever().count() > 0'}
`)
	const day = 24 * 3600_000
	rapid.Check(t, func(t *rapid.T) {
		const first = 20_000
		d := &disk{parts: map[string][][]byte{}}
		m := newMachine(t, schema, none, 1, 0)
		m.e.Close()
		m.e = engine.New(engine.Config{Schema: schema, Workers: 2, Memory: rapid.SampledFrom([]int64{1, 1 << 30}).Draw(t, "memory"), Originals: 3 * day}, none)
		defer m.e.Close()
		m.e.Track()
		m.e.KeepOnDisk(d)
		days := rapid.IntRange(1, 10).Draw(t, "days")
		items := func() (items []*engine.Item) {
			for id := range days {
				it := m.item(row{id: id + 1, minute: id * 24 * 60, cents: 100, customer: 1})
				it.Received = int64(first+id) * day
				it.Seen = it.Received
				items = append(items, it)
			}
			return items
		}
		for _, it := range items() {
			m.e.Apply([]*engine.Item{it})
			if rapid.Bool().Draw(t, "save") {
				sv := m.e.StartSave(it.Received)
				copied, _ := m.e.CopySome(sv, 1<<20)
				d.save(sv, copied)
				m.e.StartEvict(sv)
				for m.e.EvictFor(time.Minute) {
				}
			}
		}
		m.e.SetRules(added)
		m.e.Fill(items())
		m.e.Filled(nil, -1<<63)
		m.epoch([]row{{refund: true, id: 99, minute: 400 * 24 * 60, cents: 1, customer: 1}}, func(got *event.Decision) {
			if count := got.Features[0].Num; count != int64(days) && len(got.Warming) == 0 {
				t.Fatalf("%s = %d of %d, and it is not warming", got.Features[0].Name, count, days)
			}
		})
	})
}
