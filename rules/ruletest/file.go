package ruletest

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// test is one test as its file says it.
type test struct {
	name     string
	at       place
	settings settings
	todo     bool
	why      string // of todo
	events   []*draft
}

// settings are what a file says for all its tests, and a test for itself.
type settings struct {
	start    int64
	currency string
	defaults map[int][]field // by stream
	about    map[string]bool // rules that hits is about; nil: all
}

// field is one field of an event as written.
type field struct {
	slot  int
	value scalar
}

// draft is an event as written; with repeat it stands for many.
type draft struct {
	at     place
	stream int
	id     string
	time   int64 // of the first
	repeat int
	every  int64
	fields []field
	raw    *scalar // the record's bytes, instead of fields
	expect *expect
}

// reader reads the tests of one file against a schema and a rule set.
type reader struct {
	*source
	schema *event.Schema
	set    *rules.Set
	byID   map[string]*rules.Rule
	kinds  map[string]int // what an event can be called -> its stream
	names  []string       // of kinds, as hints show them
	probes *probes
}

var (
	fileKeys = []string{"start", "currency", "defaults", "rules", "tests"}
	testKeys = []string{"name", "start", "currency", "defaults", "rules", "todo", "events"}
)

// kindsOf names events: refund, refunds; ledger_result, ledger_results, result.
func kindsOf(schema *event.Schema) (kinds map[string]int, names []string) {
	kinds = map[string]int{}
	for i, s := range schema.Streams {
		names = append(names, strings.TrimSuffix(s.Name, "s"))
		for _, name := range []string{s.Name, strings.TrimSuffix(s.Name, "s"), strings.TrimSuffix(s.Fields[0].Name, "_id")} {
			if _, ok := kinds[name]; !ok {
				kinds[name] = i
			}
		}
	}
	return kinds, names
}

// read gives the file's tests; faults are in r.errs.
func (r *reader) read(text string) []*test {
	if !utf8.ValidString(text) {
		r.fail(place{}, "it is not UTF-8 text", "")
		return nil
	}
	node := r.parse(text)
	if node == nil {
		if len(r.errs) == 0 {
			r.fail(place{}, "there are no tests", "write tests:, and below it - name: …")
		}
		return nil
	}
	pairs := r.mapping(node, "a test file")
	all := r.settings(pairs, settings{start: defaultStart, currency: "USD"})
	var tests []*test
	names := map[string]place{}
	for _, p := range pairs {
		switch p.key {
		case "start", "currency", "defaults", "rules":
		case "tests":
			for _, n := range r.sequence(p.value, "tests") {
				t := r.test(n, all)
				if first, ok := names[t.name]; ok && t.name != "" {
					r.fail(t.at, fmt.Sprintf("a second test called %q: the first is in line %d", t.name, first.line), "give each its own name")
				}
				names[t.name] = t.at
				tests = append(tests, t)
			}
		default:
			r.unknown(p, "a test file", fileKeys)
		}
	}
	if len(tests) == 0 && len(r.errs) == 0 {
		r.fail(place{}, "there are no tests", "write tests:, and below it - name: …")
	}
	return tests
}

// settings reads the keys that files and tests share. They come first, whatever
// their place: events depend on them.
func (r *reader) settings(pairs []pair, s settings) settings {
	for _, p := range pairs {
		switch p.key {
		case "start":
			if v, ok := r.word(p.value, "start"); ok {
				if s.start, ok = parseTime(v.text); !ok {
					r.fail(v.at, fmt.Sprintf("start can't be %q", v.text), "write a time with its zone, such as 2026-01-05T12:00:00Z")
				}
			}
		case "currency":
			if v, ok := r.word(p.value, "currency"); ok {
				if _, known := event.ParseCurrency(v.text); !known {
					r.fail(v.at, fmt.Sprintf("currency can't be %q", v.text), "it is an upper-case code of ISO 4217, such as USD")
				}
				s.currency = v.text
			}
		case "rules":
			if list, ok := r.words(p.value, "rules"); ok {
				s.about = map[string]bool{}
				for _, w := range list {
					r.rule(w, "")
					s.about[w.text] = true
				}
			}
		case "defaults":
			s.defaults = r.defaults(p.value, s.defaults)
		}
	}
	return s
}

func (r *reader) defaults(n ast.Node, outer map[int][]field) map[int][]field {
	merged := map[int][]field{}
	for i, fields := range outer {
		merged[i] = fields
	}
	for _, p := range r.mapping(n, "defaults") {
		i, ok := r.kinds[p.key]
		if !ok {
			r.fail(p.at, "unknown stream "+p.key, meant(p.key, r.names, "streams are "+strings.Join(r.names, ", ")))
			continue
		}
		fields := append([]field{}, merged[i]...)
		for _, q := range r.mapping(p.value, "defaults of "+p.key) {
			if f, ok := r.field(q, i, nil); ok {
				fields = append(fields, f)
			}
		}
		merged[i] = fields
	}
	return merged
}

func (r *reader) test(n ast.Node, all settings) *test {
	t := &test{at: at(n)}
	pairs := r.mapping(n, "a test")
	t.settings = r.settings(pairs, all)
	for _, p := range pairs {
		switch p.key {
		case "start", "currency", "defaults", "rules":
		case "name":
			if v, ok := r.word(p.value, "name"); ok {
				t.name, t.at = v.text, v.at
			}
		case "todo":
			if v, ok := r.word(p.value, "todo"); ok {
				t.todo = v.kind != scalarBool || v.text == "true"
				if v.kind != scalarBool {
					t.why = v.text
				}
			}
		case "events":
		default:
			r.unknown(p, "a test", testKeys)
		}
	}
	if t.name == "" {
		r.fail(t.at, "the test has no name", "add name: what must happen")
	}
	for _, p := range pairs {
		if p.key == "events" {
			r.events(t, p)
		}
	}
	if len(t.events) == 0 && len(r.errs) == 0 {
		r.fail(t.at, "the test has no events", "add events:, and below it - {at: 0s, refund: r1, amount: 60, expect: {outcome: approve}}")
	}
	return t
}

func (r *reader) events(t *test, p pair) {
	last, total := t.settings.start, 0
	expects := false
	for _, n := range r.sequence(p.value, "events") {
		d := r.event(n, t, last)
		if d == nil {
			continue
		}
		last, total = d.time, total+d.repeat
		expects = expects || d.expect != nil
		t.events = append(t.events, d)
		if total > maxEvents {
			r.fail(d.at, fmt.Sprintf("more than %d events in one test", maxEvents), "repeat less")
			return
		}
	}
	if !expects && len(t.events) > 0 && len(r.errs) == 0 {
		r.fail(t.at, "the test expects nothing", "add expect: {outcome: approve} to a refund")
	}
}

var eventKeys = []string{"at", "repeat", "every", "raw", "expect", "expect_alerts"}

// event reads one event; nil where it is not clear what it is.
func (r *reader) event(n ast.Node, t *test, last int64) *draft {
	pairs := r.mapping(n, "an event")
	kind := -1
	for i, p := range pairs {
		if _, ok := r.kinds[p.key]; ok {
			kind = i
			break
		}
	}
	if kind < 0 {
		if len(pairs) > 0 {
			hint := "say what it is: " + strings.Join(r.names, ", ") + ", with its id"
			for _, p := range pairs {
				if known := meant(p.key, r.names, ""); known != "" && r.isNoKey(p.key) {
					hint = known
					break
				}
			}
			r.fail(at(n), "the event names no stream", hint)
		}
		return nil
	}
	d := &draft{at: pairs[kind].at, stream: r.kinds[pairs[kind].key], time: last, repeat: 1}
	if v, ok := r.word(pairs[kind].value, "the id of the "+pairs[kind].key); ok {
		d.id = v.text
	}
	for i, p := range pairs {
		if i != kind {
			r.eventKey(p, d, t)
		}
	}
	if d.raw != nil && len(d.fields) > 0 {
		r.fail(d.raw.at, "raw stands beside fields", "raw is the whole record: write its fields in it")
	}
	return d
}

// isNoKey says that a key is none that events of some stream have.
func (r *reader) isNoKey(key string) bool {
	for _, k := range eventKeys {
		if k == key {
			return false
		}
	}
	for _, s := range r.schema.Streams {
		if s.Slot(key) >= 0 {
			return false
		}
	}
	return true
}

func (r *reader) eventKey(p pair, d *draft, t *test) {
	switch p.key {
	case "at":
		if v, ok := r.word(p.value, "at"); ok {
			if d.time, ok = parseMoment(v.text, t.settings.start); !ok {
				r.fail(v.at, fmt.Sprintf("at can't be %q", v.text), "write the time after the test's start, such as 0s, +5m, +1d12h, or a time with its zone")
			}
		}
	case "repeat":
		if v, ok := r.word(p.value, "repeat"); ok {
			n, err := strconv.Atoi(v.text)
			if err != nil || n < 1 || n > maxEvents {
				r.fail(v.at, fmt.Sprintf("repeat can't be %q", v.text), fmt.Sprintf("it is how many events this is, from 1 to %d", maxEvents))
				n = 1
			}
			d.repeat = n
		}
	case "every":
		if v, ok := r.word(p.value, "every"); ok {
			ms, ok := parseOffset(v.text)
			if !ok || ms < 0 || ms > maxEvery {
				r.fail(v.at, fmt.Sprintf("every can't be %q", v.text), "it is the time between repeats, such as 5m")
			}
			d.every = ms
		}
	case "raw":
		if v, ok := r.scalar(p.value, "raw"); ok {
			d.raw = &v
		}
	case "expect":
		d.expect = r.expect(p, d)
	case "expect_alerts":
		if d.expect == nil {
			d.expect = &expect{at: p.at, on: r.schema.Streams[d.stream].Name}
		}
		if r.fits(d.expect, pair{key: "alerts", at: p.at}, 1) {
			d.expect.alerts = r.rules(p, d.expect.on)
		}
		if d.expect.deadLetter != nil || d.expect.duplicate {
			r.fail(p.at, "a record that is refused or dropped raises no alert", "remove expect_alerts")
		}
	default:
		if f, ok := r.field(p, d.stream, eventKeys); ok {
			d.fields = append(d.fields, f)
		}
	}
}

// field reads one field of an event of a stream. keys are what the event could
// have besides fields.
func (r *reader) field(p pair, stream int, keys []string) (field, bool) {
	s := r.schema.Streams[stream]
	slot := s.Slot(p.key)
	if slot < 0 {
		names := append([]string{}, keys...)
		for i := range s.Fields {
			names = append(names, s.Fields[i].Name)
		}
		r.fail(p.at, s.Name+" has no field "+p.key, meant(p.key, names, "its fields are "+strings.Join(names[len(keys):], ", ")))
		return field{}, false
	}
	v, ok := r.scalar(p.value, p.key)
	return field{slot, v}, ok
}
