package ruletest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// record is one event as the service would read it.
type record struct {
	draft *draft
	n     int // its number among the repeats, from 1
	item  engine.Item
	err   *event.RecordError // it would be dead-lettered
}

// name says which record it is, in failures.
func (r *record) name(schema *event.Schema, start int64) string {
	kind := strings.TrimSuffix(schema.Streams[r.draft.stream].Name, "s")
	return fmt.Sprintf("%s %s at %s", kind, r.draft.idOf(r.n), showOffset(r.item.Event.Time-start))
}

// number stands for the number of a repeat in texts.
const number = "{n}"

func (d *draft) idOf(n int) string {
	switch {
	case strings.Contains(d.id, number):
		return strings.ReplaceAll(d.id, number, strconv.Itoa(n))
	case d.repeat > 1:
		return d.id + "-" + strconv.Itoa(n)
	}
	return d.id
}

// writer makes records of a test's events.
type writer struct {
	schema   *event.Schema
	settings *settings
	base     [][][]byte          // by stream: what its fields are by default
	payments map[string][][]byte // by id: the fields of the payment so far
	decoders []*event.Decoder    // by stream
	vals     []event.Value       // room for events' values
	data     []byte              // room for records
}

func newWriter(schema *event.Schema, s *settings) *writer {
	w := &writer{schema: schema, settings: s, payments: map[string][][]byte{}}
	for i, st := range schema.Streams {
		w.base = append(w.base, w.defaults(i, st))
		w.decoders = append(w.decoders, event.NewDecoder(st, event.DefaultLimits()))
	}
	return w
}

// defaults are the values of fields that an event needs and that its author
// doesn't care for. An id of something else has none: it must be written.
func (w *writer) defaults(stream int, s *event.Stream) [][]byte {
	vals := make([][]byte, len(s.Fields))
	for i := range s.Fields {
		f := &s.Fields[i]
		if !f.Required || i == 0 || i == s.TimeSlot() {
			continue
		}
		switch f.Type {
		case event.TypeMoney, event.TypeNumber, event.TypeInt:
			vals[i] = []byte("10")
		case event.TypeCurrency:
			vals[i] = quoted(w.settings.currency)
		case event.TypeBool:
			vals[i] = []byte("true")
		case event.TypeTime:
			vals[i] = quoted(string(appendTime(nil, w.settings.start)))
		case event.TypeEnum:
			v := f.Values[0]
			if slices.Contains(f.Values, "other") {
				v = "other"
			}
			vals[i] = quoted(v)
		case event.TypeString:
			if !w.isIdentity(f.Name) {
				vals[i] = quoted(f.Name)
			}
		}
	}
	for _, f := range w.settings.defaults[stream] {
		vals[f.slot] = w.value(s, &f, 1)
	}
	return vals
}

// isIdentity says that a field of this name identifies events of some stream.
func (w *writer) isIdentity(name string) bool {
	for _, s := range w.schema.Streams {
		if s.Fields[0].Name == name {
			return true
		}
	}
	return false
}

// records gives all the events of a test, in order of event time.
func (w *writer) records(t *test) []*record {
	var out []*record
	for _, d := range t.events {
		for n := 1; n <= d.repeat; n++ {
			out = append(out, w.record(d, n, int64(len(out))))
		}
	}
	slices.SortStableFunc(out, func(a, b *record) int {
		switch x, y := a.item.Event.Time, b.item.Event.Time; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return out
}

func (w *writer) record(d *draft, n int, offset int64) *record {
	r := &record{draft: d, n: n}
	time := d.time + int64(n-1)*d.every
	data := w.bytes(d, n, time)
	s := w.schema.Streams[d.stream]
	if need := len(s.Fields); cap(w.vals)-len(w.vals) < need {
		w.vals = make([]event.Value, 0, max(need, 4096))
	}
	at := len(w.vals)
	w.vals = w.vals[:at+len(s.Fields)]
	it := &r.item
	it.Event.Vals = w.vals[at : at : at+len(s.Fields)]
	it.Stream, it.Offset = d.stream, offset
	if r.err = w.decoders[d.stream].Decode(data, &it.Event); r.err != nil {
		it.Event.Time = time
		return r
	}
	it.Received, it.Sent = it.Event.Time, it.Event.Time
	it.Prepare(data)
	return r
}

// bytes writes the record.
func (w *writer) bytes(d *draft, n int, time int64) []byte {
	if d.raw != nil {
		return []byte(strings.ReplaceAll(d.raw.text, number, strconv.Itoa(n)))
	}
	s := w.schema.Streams[d.stream]
	id := d.idOf(n)
	vals := slices.Clone(w.base[d.stream])
	payment := s.Name == "transactions"
	if payment {
		if before, ok := w.payments[id]; ok { // a later record repeats what it doesn't say
			copy(vals, before)
		}
	}
	vals[0] = quoted(id)
	vals[s.TimeSlot()] = quoted(string(appendTime(nil, time)))
	for i := range d.fields {
		vals[d.fields[i].slot] = w.value(s, &d.fields[i], n)
	}
	if payment {
		w.payments[id] = vals
	}
	if cap(w.data)-len(w.data) < 1024 {
		w.data = make([]byte, 0, 64<<10)
	}
	start := len(w.data)
	w.data = appendRecord(w.data, s, vals)
	return w.data[start:len(w.data):len(w.data)]
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// value is a field's JSON; nil: the record doesn't have it. What is a text in
// the schema is a text in the record, however YAML takes it: customer_id: 42.
func (w *writer) value(s *event.Stream, f *field, n int) []byte {
	v, typ := &f.value, s.Fields[f.slot].Type
	texts := typ == event.TypeString || typ == event.TypeEnum || typ == event.TypeCurrency
	switch {
	case v.kind == scalarNull:
		return nil
	case v.kind == scalarBool && !texts:
		return []byte(strings.ToLower(v.text))
	case v.kind == scalarNumber && !texts && jsonNumber.MatchString(v.text):
		return []byte(v.text)
	}
	text := v.text
	if strings.Contains(text, number) {
		text = strings.ReplaceAll(text, number, strconv.Itoa(n))
		if !texts && !v.quoted && jsonNumber.MatchString(text) {
			return []byte(text)
		}
	}
	if typ == event.TypeTime {
		if ms, ok := parseMoment(text, w.settings.start); ok {
			text = string(appendTime(nil, ms))
		}
	}
	return quoted(text)
}

func quoted(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		return []byte(`""`) // a string can always be written
	}
	return b
}

// appendRecord writes one JSON object with each field where its stream reads it.
func appendRecord(dst []byte, s *event.Stream, vals [][]byte) []byte {
	nested := false
	dst = append(dst, '{')
	for i, v := range vals {
		f := &s.Fields[i]
		if v == nil || len(f.From) > 1 {
			nested = nested || v != nil
			continue
		}
		name := f.Name
		if len(f.From) == 1 {
			name = f.From[0]
		}
		dst = appendMember(dst, name, v)
	}
	if nested {
		dst = appendNested(dst, s, vals, nil)
	}
	return append(dst, '}')
}

func appendMember(dst []byte, name string, v []byte) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, quoted(name)...)
	dst = append(dst, ':')
	return append(dst, v...)
}

// appendNested writes the members below a path whose fields lie deeper.
func appendNested(dst []byte, s *event.Stream, vals [][]byte, above []string) []byte {
	depth := len(above)
	var done []string
	for i, v := range vals {
		from := s.Fields[i].From
		if v == nil || len(from) < 2 || len(from) <= depth || !slices.Equal(from[:depth], above) || slices.Contains(done, from[depth]) {
			continue
		}
		if len(from) == depth+1 {
			dst = appendMember(dst, from[depth], v)
			continue
		}
		done = append(done, from[depth])
		dst = appendMember(dst, from[depth], []byte{'{'})
		dst = appendNested(dst, s, vals, from[:depth+1])
		dst = append(dst, '}')
	}
	return dst
}
