package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

const before = `
rules:
  - {id: over, action: reject, on_missing: skip, when: 'original != nil and refunded + amount > original.amount'}
  - {id: a, score: 1, on_missing: skip, when: 'refunds.by(customer_id).within("1h").count() >= 2'}
  - {id: b, score: 2, on_missing: skip, when: 'refunds.by(device_id).within("2h").distinct(customer_id) >= 2'}
`

// after shares series with before, as they are, with another column, and with
// a longer window, and has some of its own.
const after = before + `
  - {id: c, score: 4, on_missing: skip, when: 'refunds.by(customer_id).within("1h").sum(amount) > 100'}
  - {id: d, score: 8, on_missing: skip, when: 'refunds.by(device_id).within("5h").count() > 1'}
  - {id: e, score: 16, on_missing: skip, when: 'transactions.by(customer_id).within("3h").last(device_id) != "1"'}
  - {id: f, score: 32, on_missing: skip, when: 'updates.by(customer_id).ever().count() > 0'}
  - {id: g, score: 64, on_missing: skip, when: 'hits.by(customer_id).where(rule == "a").ever().count() > 0'}
  - {id: h, score: 128, on_missing: skip, when: 'decisions.by(device_id).where(outcome == "reject").ever().count() > 0'}
  - {id: i, score: 256, on_missing: skip, when: 'hits.by(customer_id).where(rule == "t").ever().count() > 0'}
  - {id: t, on: transactions, action: alert, severity: low, on_missing: skip, when: 'transactions.by(customer_id).within("2h").count() > 0'}
policy: {review_at: 40}
`

// machine applies rows to an engine, an epoch at a time.
type machine struct {
	t        *rapid.T
	schema   *event.Schema
	e        *engine.Engine
	decoders []*event.Decoder
	past     map[*engine.Item]engine.Decided // the journal
	seen     int64                           // of the next item
}

func newMachine(t *rapid.T, schema *event.Schema, set *rules.Set, workers, exact int) *machine {
	return newSmallMachine(t, schema, set, workers, exact, 0)
}

// newSmallMachine keeps so many bytes in memory.
func newSmallMachine(t *rapid.T, schema *event.Schema, set *rules.Set, workers, exact int, memory int64) *machine {
	m := &machine{t: t, schema: schema, past: map[*engine.Item]engine.Decided{},
		e: engine.New(engine.Config{Schema: schema, Workers: workers, ReadAhead: 6 * 3600_000, ExactEvents: exact, Memory: memory}, set)}
	for _, name := range []string{"transactions", "refunds"} {
		m.decoders = append(m.decoders, event.NewDecoder(schema.Stream(name), event.DefaultLimits()))
	}
	return m
}

func (m *machine) item(r row) *engine.Item {
	it := &engine.Item{Seen: m.seen}
	if r.refund {
		it.Stream = 1
	}
	it.Event.Vals = make([]event.Value, 0, event.MaxFields)
	data := []byte(r.json())
	if err := m.decoders[it.Stream].Decode(data, &it.Event); err != nil {
		m.t.Fatalf("%s: %v", data, err)
	}
	it.Prepare(data)
	return it
}

// epoch applies rows, decides and evaluates what is new in them, and ends the
// epoch. What it decides is noted as the journal would.
func (m *machine) epoch(rows []row, note func(d *event.Decision)) {
	var items, refunds, payments []*engine.Item
	for _, r := range rows {
		items = append(items, m.item(r))
	}
	m.e.Apply(items)
	for _, it := range items {
		if it.Fate != engine.Fresh {
			continue
		}
		if it.Stream == 1 {
			refunds = append(refunds, it)
		} else {
			payments = append(payments, it)
		}
	}
	pasts := make([]engine.Decided, len(refunds))
	decisions := make([]*event.Decision, len(refunds))
	m.e.Decide(refunds, func(_, i int, d *event.Decision, _ *rules.Result) {
		c := *d
		c.Features, c.Warming, c.Hits = slices.Clone(d.Features), slices.Clone(d.Warming), slices.Clone(d.Hits)
		c.Skipped, c.Errors = slices.Clone(d.Skipped), slices.Clone(d.Errors)
		if d.Original != nil {
			o := *d.Original
			c.Original = &o
		}
		decisions[i], pasts[i] = &c, engine.Decided{DecisionID: d.DecisionID, Outcome: d.Outcome, Score: d.Score, Hits: c.Hits}
	})
	hits := make([]engine.Decided, len(payments))
	m.e.Evaluate(payments, func(_, i int, res *rules.Result) { hits[i].Hits = slices.Clone(res.Hits) })
	m.e.Derive()
	for i, it := range refunds {
		m.past[it] = pasts[i]
		note(decisions[i])
	}
	for i, it := range payments {
		if len(hits[i].Hits) > 0 {
			m.past[it] = hits[i]
		}
	}
}

// A series that a reload adds, once it is filled with what was applied before,
// holds what it would hold had it been there from the start.
func TestAFilledSeriesIsWhatItWouldHaveBeen(t *testing.T) {
	schema := event.Builtin()
	oldSet, newSet := loadSet(t, schema, before), loadSet(t, schema, after)
	rapid.Check(t, func(t *rapid.T) {
		rows := genRows(t)
		for range rapid.IntRange(0, 20).Draw(t, "repeats") { // same bytes again
			rows = append(rows, rows[rapid.IntRange(0, len(rows)-1).Draw(t, "which")])
		}
		at := rapid.IntRange(0, len(rows)).Draw(t, "reload at")
		some := at > 0
		chunk := rapid.IntRange(1, 30).Draw(t, "chunk")
		exact := rapid.SampledFrom([]int{0, 4}).Draw(t, "exact") // with 4, most is in buckets
		m := newMachine(t, schema, oldSet, rapid.IntRange(1, 4).Draw(t, "workers"), exact)
		m.e.Track()
		for part := range slices.Chunk(rows[:at], chunk) {
			m.epoch(part, func(*event.Decision) {})
		}
		if rapid.Bool().Draw(t, "start") { // with the new rules, on what was saved, most of which stays on disk
			d := &disk{parts: map[string][][]byte{}}
			sv := m.e.StartSave(noExpiry)
			copied, _ := m.e.CopySome(sv, 1<<20)
			d.save(sv, copied)
			started := newSmallMachine(t, schema, newSet, rapid.IntRange(1, 4).Draw(t, "workers"), exact, rapid.SampledFrom([]int64{1, 1 << 30}).Draw(t, "memory"))
			started.e.KeepOnDisk(d)
			if err := started.e.Restore(d.head, noExpiry, d); err != nil {
				t.Fatal(err)
			}
			m.e.Close()
			started.past = m.past
			m = started
		} else {
			m.e.SetRules(newSet)
		}
		defer func() { m.e.Close() }()
		if rapid.Bool().Draw(t, "reload again") { // while it was being filled
			var items []*engine.Item
			for _, r := range rows[:rapid.IntRange(0, at).Draw(t, "filled")] {
				items = append(items, m.item(r))
			}
			m.e.Fill(items)
			more := rapid.IntRange(at, len(rows)).Draw(t, "reload again at")
			m.epoch(rows[at:more], func(*event.Decision) {})
			at = more
			m.e.SetRules(newSet)
		}
		journal := maps.Clone(m.past)
		if streams, derived := m.e.Filling(); some && (len(streams) != 2 || !derived) {
			t.Fatalf("filling %v %v", streams, derived)
		}
		// What is left of the rows is decided while the new series are filled.
		live, again := slices.Collect(slices.Chunk(rows[at:], chunk)), slices.Collect(slices.Chunk(rapid.Permutation(rows[:at]).Draw(t, "again"), chunk))
		byRow := map[string]engine.Decided{}
		for it, p := range journal {
			byRow[fmt.Sprint(it.Stream, it.Event.ID())] = p
		}
		for len(live)+len(again) > 0 {
			if len(live) > 0 && (len(again) == 0 || rapid.Bool().Draw(t, "live")) {
				m.epoch(live[0], func(*event.Decision) {})
				live = live[1:]
				continue
			}
			var items []*engine.Item
			for _, r := range again[0] {
				items = append(items, m.item(r))
			}
			again = again[1:]
			m.e.Fill(items)
			for _, it := range items {
				if p, ok := byRow[fmt.Sprint(it.Stream, it.Event.ID())]; ok && it.Fate == engine.Fresh {
					m.e.FillDecided(it, p)
				}
			}
		}
		m.e.Filled(nil, -1<<63)
		if streams, _ := m.e.Filling(); len(streams) != 0 {
			t.Fatalf("still filling %v", streams)
		}

		// Another engine has had the new set from the start, and the journal.
		other := newMachine(t, schema, newSet, 2, exact)
		defer other.e.Close()
		var all []*engine.Item
		for _, r := range rows {
			all = append(all, other.item(r))
		}
		other.e.Apply(all)
		byID := map[string]engine.Decided{}
		for it, p := range m.past {
			byID[fmt.Sprint(it.Stream, it.Event.ID())] = p
		}
		for _, it := range all {
			if p, ok := byID[fmt.Sprint(it.Stream, it.Event.ID())]; ok && it.Fate == engine.Fresh {
				other.e.Recall(it, p)
				if it.Stream == 1 {
					other.e.Settle(it, p.Outcome)
				}
			}
		}
		var probes []row
		for i := range 12 {
			probes = append(probes, row{refund: true, id: 90 + i, minute: 40 * i, cents: 100, customer: i % 4, device: (i / 4) % 4, original: 1})
		}
		for _, p := range probes {
			var got, want string
			show := func(d *event.Decision) string { return fmt.Sprint(d.Outcome, d.Score, d.Features, d.Warming, d.Errors) }
			m.epoch([]row{p}, func(d *event.Decision) { got = show(d) })
			other.epoch([]row{p}, func(d *event.Decision) { want = show(d) })
			if got != want {
				t.Fatalf("probe at %d: %s\nfrom the start: %s", p.minute, got, want)
			}
		}
	})
}

// Expressions that stay keep their history whatever is added beside them, by a
// reload, a start with other rules, or a start before what a reload added is
// filled.
func TestAReloadKeepsWhatItHas(t *testing.T) {
	schema := event.Builtin()
	rule := func(id, when string) string {
		return fmt.Sprintf("  - {id: %s, score: 1, on_missing: skip, when: '%s'}\n", id, when)
	}
	const count, sum, long, short = `refunds.by(customer_id).within("1h").count() > 5`, `refunds.by(customer_id).within("1h").sum(amount) > 5`,
		`refunds.by(customer_id).within("2d").count() > 5`, `refunds.by(customer_id).within("30m").count() > 5`
	for _, c := range []struct {
		name, from, to string
		warming        int
	}{
		{"the same", rule("a", count), rule("b", count), 0},
		{"less", rule("a", count) + rule("b", sum), rule("b", sum), 0},
		{"a shorter window, which needs finer buckets", rule("a", count), rule("b", short), 1},
		{"another column", rule("a", count), rule("a", count) + rule("b", sum), 1},
		{"a longer window", rule("a", count), rule("a", count) + rule("b", long), 1},
		{"another series", rule("a", count), rule("a", count) + rule("b", `refunds.by(device_id).within("1h").count() > 5`), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := loadSet(t, schema, "rules:\n"+c.from), loadSet(t, schema, "rules:\n"+c.to)
			rapid.Check(t, func(t *rapid.T) {
				m := newMachine(t, schema, from, 2, 0)
				m.e.Track()
				defer func() { m.e.Close() }()
				n := 0
				decide := func(minute int) (d *event.Decision) {
					n++
					m.epoch([]row{{refund: true, id: n, minute: minute, cents: 100, customer: 1, device: 1}}, func(got *event.Decision) { d = got })
					return d
				}
				decide(0)
				decide(1)
				restart := func() {
					d := &disk{parts: map[string][][]byte{}}
					sv := m.e.StartSave(noExpiry)
					copied, _ := m.e.CopySome(sv, 1<<20)
					d.save(sv, copied)
					m.e.Close()
					m.e = newMachine(t, schema, to, 3, 0).e
					if err := m.e.Restore(d.head, noExpiry, d); err != nil {
						t.Fatal(err)
					}
				}
				switch rapid.SampledFrom([]string{"reload", "start", "reload, start"}).Draw(t, "how") {
				case "reload":
					m.e.SetRules(to)
				case "start":
					restart()
				default:
					m.e.SetRules(to)
					restart()
				}
				d := decide(2)
				if len(d.Warming) != c.warming {
					t.Fatalf("warming %q", d.Warming)
				}
				for _, f := range d.Features {
					if !slices.Contains(d.Warming, f.Name) && f.Num != 2 && f.Num != 20000 {
						t.Errorf("%s: %d", f.Name, f.Num)
					}
				}
				if d := decide(2 * 24 * 60); len(d.Warming) != 0 && c.name != "a longer window" {
					t.Errorf("later: %q", d.Warming)
				}
				if d := decide(3 * 24 * 60); len(d.Warming) != 0 {
					t.Errorf("after every window: %q", d.Warming)
				}
			})
		})
	}
}
