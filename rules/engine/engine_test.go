package engine_test

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

const modelRules = `
rules:
  - {id: over, action: reject, on_missing: skip, when: 'original != nil and refunded + amount > original.amount'}
  - {id: failed, action: review, on_missing: skip, when: 'original.status == "failed"'}
  - {id: a, score: 1, on_missing: skip, when: 'refunds.by(customer_id).within("1h").count() >= 2'}
  - {id: b, score: 2, on_missing: skip, when: 'refunds.by(device_id).within("2h").distinct(customer_id) >= 2'}
  - {id: c, score: 4, on_missing: skip, when: 'transactions.by(customer_id).within("3h").delayed("1h").sum(amount) > 100'}
  - {id: d, score: 8, on_missing: skip, when: 'updates.by(customer_id).ever().count() > 0'}
  - {id: e, score: 16, on_missing: skip, when: 'refunds.by({instrument_id: original.instrument_id}).within("1d").count() > 0'}
  - {id: f, score: 32, on_missing: skip, when: 'refunds.by(customer_id, device_id).where(amount > 5).within("1d").sum(amount) >= 50'}
  - {id: g, mode: shadow, on_missing: skip, score: 1, when: 'transactions.by(customer_id).within("3h").min(amount) + transactions.by(customer_id).within("3h").max(amount) > 0'}
  - {id: i, mode: shadow, on_missing: skip, score: 1, when: 'transactions.by(customer_id).within("3h").stddev(amount) > 0'}
  - {id: j, mode: shadow, on_missing: skip, score: 1, when: 'transactions.by(customer_id).within("3h").first(device_id) == transactions.by(customer_id).within("3h").last(device_id)'}
  - {id: l, mode: shadow, on_missing: skip, score: 1, when: 'transactions.by(customer_id).within("3h").since_last() > 0'}
policy: {review_at: 40}
`

func loadSet(t interface {
	Fatal(...any)
	TempDir() string
}, schema *event.Schema, text string) *rules.Set {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load(dir, rules.Options{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// row is an event as the model sees it: small numbers instead of texts, 0 for
// a missing field.
type row struct {
	refund                                 bool
	id, minute, cents                      int
	customer, device, instrument, original int
	status                                 string
	update                                 bool // a later record of the transaction with this id
}

func (r row) json() string {
	var b strings.Builder
	kind, name := "transaction_id", "t"
	if r.refund {
		kind, name = "refund_id", "r"
	}
	fmt.Fprintf(&b, `{"%s":"%s%02d","amount":"%d.%02d","currency":"USD","occurred_at":%d`, kind, name, r.id, r.cents/100, r.cents%100, minuteMS(r.minute))
	for _, f := range []struct {
		name  string
		value int
	}{{"customer_id", r.customer}, {"device_id", r.device}, {"instrument_id", r.instrument}} {
		if f.value > 0 {
			fmt.Fprintf(&b, `,"%s":"%d"`, f.name, f.value)
		}
	}
	if r.original > 0 {
		fmt.Fprintf(&b, `,"transaction_id":"t%02d"`, r.original)
	}
	if r.status != "" {
		fmt.Fprintf(&b, `,"status":%q`, r.status)
	}
	return b.String() + "}"
}

func minuteMS(m int) int64 { return 1767600000000 + int64(m)*60_000 }

func genRows(t *rapid.T) []row {
	n := rapid.IntRange(1, 60).Draw(t, "n")
	var rows []row
	seen := map[string]bool{}
	small := func(most int, what string) int { return rapid.IntRange(0, most).Draw(t, what) }
	for range n {
		r := row{refund: rapid.Bool().Draw(t, "refund"), id: len(rows) + 1, minute: small(360, "minute"), cents: 1 + small(9000, "cents"),
			customer: small(3, "customer"), device: small(3, "device"), instrument: small(2, "instrument")}
		if r.refund {
			r.original = small(n, "original")
		} else {
			r.status = rapid.SampledFrom([]string{"", "captured", "failed"}).Draw(t, "status")
		}
		rows = append(rows, r)
		if !r.refund && small(3, "update") == 0 {
			u := r
			u.update, u.minute, u.status = true, r.minute+1+small(60, "later"), rapid.SampledFrom([]string{"settled", "failed"}).Draw(t, "status")
			rows = append(rows, u)
		}
	}
	return slices.DeleteFunc(rows, func(r row) bool { // two records of one id at the same minute: the tie is by hash
		k := fmt.Sprint(r.refund, r.id, r.minute)
		defer func() { seen[k] = true }()
		return seen[k]
	})
}

// model computes a refund's decision from all events, the obvious way.
type model struct {
	rows     []row
	refunded map[int]int // by transaction, cents
}

func (m *model) decide(r row) string {
	past := func(f func(p row) bool, from, to int) (rows []row) {
		for _, p := range m.rows {
			if p.minute > from && p.minute <= to && p != r && f(p) {
				rows = append(rows, p)
			}
		}
		return rows
	}
	var orig *row
	status := ""
	if r.original > 0 {
		for _, p := range m.rows {
			if !p.refund && p.id == r.original && !p.update && p.minute <= r.minute {
				orig = &p
			}
		}
		if orig != nil {
			last := -1
			for _, p := range m.rows {
				if !p.refund && p.id == r.original && p.minute <= r.minute && p.minute > last {
					last, status = p.minute, p.status
				}
			}
		}
	}
	const none = "null"
	count := func(key bool, f func(p row) bool, from, to int) string {
		if !key {
			return none
		}
		return fmt.Sprint(len(past(f, from, to)))
	}
	sum := func(key bool, f func(p row) bool, from, to int) string {
		if !key {
			return none
		}
		total := 0
		for _, p := range past(f, from, to) {
			total += p.cents
		}
		return fmt.Sprint(total)
	}
	features := map[string]string{
		"a": count(r.customer > 0, func(p row) bool { return p.refund && p.customer == r.customer }, r.minute-60, r.minute),
		"c": sum(r.customer > 0, func(p row) bool { return !p.refund && !p.update && p.customer == r.customer }, r.minute-240, r.minute-60),
		"d": count(r.customer > 0, func(p row) bool { return !p.refund && p.update && p.customer == r.customer }, -1, r.minute),
		"e": count(orig != nil && orig.instrument > 0, func(p row) bool { return p.refund && p.instrument == orig.instrument }, r.minute-1440, r.minute),
		"f": sum(r.customer > 0 && r.device > 0, func(p row) bool {
			return p.refund && p.customer == r.customer && p.device == r.device && p.cents > 500
		}, r.minute-1440, r.minute),
	}
	features["b"] = none
	if r.device > 0 {
		customers := map[int]bool{}
		for _, p := range past(func(p row) bool { return p.refund && p.device == r.device && p.customer > 0 }, r.minute-120, r.minute) {
			customers[p.customer] = true
		}
		features["b"] = fmt.Sprint(len(customers))
	}
	ofCustomer := past(func(p row) bool { return !p.refund && !p.update && p.customer == r.customer && r.customer > 0 }, r.minute-180, r.minute)
	slices.SortFunc(ofCustomer, func(a, b row) int { return cmp.Or(cmp.Compare(a.minute, b.minute), cmp.Compare(a.id, b.id)) })
	for _, letter := range []string{"g", "h", "i", "j", "k", "l"} {
		features[letter] = none
	}
	if n := len(ofCustomer); n > 0 {
		least, greatest, total, squares := 1<<40, 0, 0, 0
		for _, p := range ofCustomer {
			least, greatest, total, squares = min(least, p.cents), max(greatest, p.cents), total+p.cents, squares+p.cents*p.cents
			if p.device > 0 {
				if features["k"] = fmt.Sprint(p.device); features["j"] == none {
					features["j"] = fmt.Sprint(p.device)
				}
			}
		}
		features["g"], features["h"] = fmt.Sprint(least), fmt.Sprint(greatest)
		features["i"] = fmt.Sprintf("%.6f", math.Sqrt(float64(n*squares-total*total))/float64(n)/100)
		features["l"] = fmt.Sprint(60 * (r.minute - ofCustomer[n-1].minute))
	}
	score := 0
	for i, rule := range []struct {
		feature string
		least   int
	}{{"a", 2}, {"b", 2}, {"c", 10001}, {"d", 1}, {"e", 1}, {"f", 5000}} {
		var v int
		if _, err := fmt.Sscan(features[rule.feature], &v); err == nil && v >= rule.least {
			score += 1 << i
		}
	}
	outcome := "approve"
	switch {
	case orig != nil && m.refunded[r.original]+r.cents > orig.cents:
		outcome = "reject"
	case status == "failed", score >= 40:
		outcome = "review"
	}
	if outcome != "reject" && r.original > 0 {
		m.refunded[r.original] += r.cents
	}
	return fmt.Sprint(outcome, " ", score, " ", features)
}

// describe prints a decision as the model does.
func describe(d *event.Decision) string {
	features := map[string]string{}
	for _, f := range d.Features {
		letter := map[string]string{
			`refunds.by(customer_id).within("1h").count()`:                                  "a",
			`refunds.by(device_id).within("2h").distinct(customer_id)`:                      "b",
			`transactions.by(customer_id).within("3h").delayed("1h").sum(amount)`:           "c",
			`updates.by(customer_id).ever().count()`:                                        "d",
			`refunds.by({instrument_id: original.instrument_id}).within("1d").count()`:      "e",
			`refunds.by(customer_id, device_id).where(amount > 5).within("1d").sum(amount)`: "f",
			`transactions.by(customer_id).within("3h").min(amount)`:                         "g",
			`transactions.by(customer_id).within("3h").max(amount)`:                         "h",
			`transactions.by(customer_id).within("3h").stddev(amount)`:                      "i",
			`transactions.by(customer_id).within("3h").first(device_id)`:                    "j",
			`transactions.by(customer_id).within("3h").last(device_id)`:                     "k",
			`transactions.by(customer_id).within("3h").since_last()`:                        "l",
		}[f.Name]
		switch f.Kind {
		case event.FeatureNil:
			features[letter] = "null"
		case event.FeatureMoney:
			features[letter] = fmt.Sprint(f.Num / 100)
		case event.FeatureFloat:
			features[letter] = fmt.Sprintf("%.6f", f.Float)
			if letter == "l" {
				features[letter] = fmt.Sprint(f.Float)
			}
		case event.FeatureString:
			features[letter] = f.Str
		default:
			features[letter] = fmt.Sprint(f.Num)
		}
	}
	return fmt.Sprint(d.Outcome, " ", d.Score, " ", features)
}

// run applies the rows in some order and chunks, and decides all refunds.
func run(t *rapid.T, schema *event.Schema, set *rules.Set, workers, chunk int, order []row) map[string]string {
	e := engine.New(engine.Config{Schema: schema, Workers: workers, ReadAhead: 6 * 3600_000}, set)
	defer e.Close()
	decoders := []*event.Decoder{event.NewDecoder(schema.Stream("transactions"), event.DefaultLimits()), event.NewDecoder(schema.Stream("refunds"), event.DefaultLimits())}
	var items, due []*engine.Item
	flush := func() {
		e.Apply(items)
		items = nil
	}
	for _, r := range order {
		stream := 0
		if r.refund {
			stream = 1
		}
		it := &engine.Item{Stream: stream}
		it.Event.Vals = make([]event.Value, 0, event.MaxFields)
		data := []byte(r.json())
		if err := decoders[stream].Decode(data, &it.Event); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		it.Prepare(data)
		items = append(items, it)
		if r.refund {
			due = append(due, it)
		}
		if len(items) >= chunk {
			flush()
		}
	}
	flush()
	out := map[string]string{}
	got := make([]string, len(due))
	e.Decide(due, func(_, i int, d *event.Decision, _ *rules.Result) { got[i] = describe(d) })
	for i, it := range due {
		if it.Fate == engine.Fresh {
			out[it.Event.ID()] = got[i]
		}
	}
	return out
}

func TestDecisionsEqualTheObviousModelInAnyOrder(t *testing.T) {
	schema := event.Builtin()
	set := loadSet(t, schema, modelRules)
	if len(set.Features) != 12 {
		t.Fatalf("%d features", len(set.Features))
	}
	rapid.Check(t, func(t *rapid.T) {
		rows := genRows(t)
		m := &model{rows: rows, refunded: map[int]int{}}
		refunds := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !r.refund })
		slices.SortFunc(refunds, func(a, b row) int { return cmp.Or(cmp.Compare(a.minute, b.minute), cmp.Compare(a.id, b.id)) })
		want := map[string]string{}
		for _, r := range refunds {
			want[fmt.Sprintf("r%02d", r.id)] = m.decide(r)
		}
		// A transaction's updates come after it, everything else in any order:
		// of several records of one id, the first applied is the event.
		order := rapid.Permutation(rows).Draw(t, "order")
		slices.SortStableFunc(order, func(a, b row) int {
			return cmp.Compare(map[bool]int{false: 0, true: 1}[a.update], map[bool]int{false: 0, true: 1}[b.update])
		})
		got := run(t, schema, set, rapid.IntRange(1, 5).Draw(t, "workers"), rapid.IntRange(1, 80).Draw(t, "chunk"), order)
		for id, w := range want {
			if got[id] != w {
				t.Errorf("%s: %s\nmodel: %s", id, got[id], w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d decisions, want %d", len(got), len(want))
		}
	})
}

func TestFates(t *testing.T) {
	schema := event.Builtin()
	e := engine.New(engine.Config{Schema: schema, Workers: 2}, loadSet(t, schema, modelRules))
	defer e.Close()
	decoders := []*event.Decoder{event.NewDecoder(schema.Stream("transactions"), event.DefaultLimits()), event.NewDecoder(schema.Stream("refunds"), event.DefaultLimits())}
	base := row{id: 1, cents: 100, customer: 1, status: "captured"}
	for _, c := range []struct {
		name   string
		stream int
		change func(*row)
		want   engine.Fate
	}{
		{"a transaction", 0, func(*row) {}, engine.Fresh},
		{"the same bytes", 0, func(*row) {}, engine.Duplicate},
		{"other bytes", 0, func(r *row) { r.status = "settled" }, engine.Update},
		{"the update's bytes", 0, func(r *row) { r.status = "settled" }, engine.Duplicate},
		{"the first bytes again", 0, func(*row) {}, engine.Duplicate},
		{"a refund", 1, func(r *row) { r.refund, r.status = true, "" }, engine.Fresh},
		{"its bytes", 1, func(r *row) { r.refund, r.status = true, "" }, engine.Duplicate},
		{"another amount", 1, func(r *row) { r.refund, r.status, r.cents = true, "", 200 }, engine.Conflict},
	} {
		r := base
		c.change(&r)
		it := &engine.Item{Stream: c.stream}
		it.Event.Vals = make([]event.Value, 0, event.MaxFields)
		if err := decoders[c.stream].Decode([]byte(r.json()), &it.Event); err != nil {
			t.Fatal(err)
		}
		it.Prepare([]byte(r.json()))
		e.Apply([]*engine.Item{it})
		if it.Fate != c.want {
			t.Errorf("%s: fate %d, want %d", c.name, it.Fate, c.want)
		}
	}
}

func TestANewSeriesIsWarmingUntilItsWindowHasPassed(t *testing.T) {
	schema := event.Builtin()
	const one = "rules:\n  - {id: a, score: 1, on_missing: skip, when: 'refunds.by(customer_id).within(\"1h\").count() > 5'}\n"
	const two = one + "  - {id: b, score: 1, on_missing: skip, when: 'refunds.by(device_id).within(\"1h\").count() > 5'}\n"
	e := engine.New(engine.Config{Schema: schema, Workers: 1}, loadSet(t, schema, one))
	defer e.Close()
	d := event.NewDecoder(schema.Stream("refunds"), event.DefaultLimits())
	decide := func(id, minute int) (warming []string, count int64) {
		r := row{refund: true, id: id, cents: 1, minute: minute, customer: 1, device: 1}
		it := &engine.Item{Stream: 1}
		it.Event.Vals = make([]event.Value, 0, event.MaxFields)
		if err := d.Decode([]byte(r.json()), &it.Event); err != nil {
			t.Fatal(err)
		}
		it.Prepare([]byte(r.json()))
		e.Apply([]*engine.Item{it})
		e.Decide([]*engine.Item{it}, func(_, _ int, d *event.Decision, _ *rules.Result) {
			warming, count = slices.Clone(d.Warming), d.Features[0].Num
		})
		return warming, count
	}
	if w, n := decide(1, 0); len(w) != 0 || n != 0 {
		t.Errorf("first: warming %v, count %d", w, n)
	}
	e.SetRules(loadSet(t, schema, two))
	if w, n := decide(2, 30); len(w) != 1 || !strings.Contains(w[0], "device_id") || n != 1 {
		t.Errorf("after the reload: warming %v, count %d; want the new series only, and the old one's history", w, n)
	}
	if w, _ := decide(3, 60); len(w) != 0 {
		t.Errorf("after a full window: warming %v", w)
	}
}

func TestUpdatesOfOneMillisecondAndOfACutTopic(t *testing.T) {
	schema := event.Builtin()
	set := loadSet(t, schema, "rules:\n  - {id: a, score: 1, on_missing: skip, when: 'updates.by(customer_id).within(\"1h\").count() > 5'}\n")
	e := engine.New(engine.Config{Schema: schema, Workers: 1}, set)
	defer e.Close()
	add := func(stream int, r row) *engine.Item {
		d := event.NewDecoder(schema.Streams[stream], event.DefaultLimits())
		it := &engine.Item{Stream: stream}
		it.Event.Vals = make([]event.Value, 0, event.MaxFields)
		if err := d.Decode([]byte(r.json()), &it.Event); err != nil {
			t.Fatal(err)
		}
		it.Prepare([]byte(r.json()))
		e.Apply([]*engine.Item{it})
		return it
	}
	e.Incomplete(0, minuteMS(0)) // transactions before are gone
	add(0, row{id: 1, cents: 1, customer: 1, status: "authorized"})
	add(0, row{id: 1, cents: 1, customer: 1, status: "captured", minute: 1})
	add(0, row{id: 1, cents: 1, customer: 1, status: "settled", minute: 1}) // same millisecond
	it := add(1, row{refund: true, id: 9, cents: 1, customer: 1, minute: 2})
	e.Decide([]*engine.Item{it}, func(_, _ int, d *event.Decision, _ *rules.Result) {
		if d.Features[0].Num != 2 {
			t.Errorf("updates counted: %d, want 2", d.Features[0].Num)
		}
		if len(d.Warming) != 1 {
			t.Errorf("warming %v, want the updates window", d.Warming)
		}
	})
}
