package event_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

// members reads one object with encoding/json, and refuses names that are there
// twice, if the schema reads them.
func members(data []byte, reads map[string]bool) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	if all == nil {
		return nil, fmt.Errorf("null")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		if seen[name.(string)] && reads[name.(string)] {
			return nil, fmt.Errorf("%q twice", name)
		}
		seen[name.(string)] = true
	}
	return all, nil
}

// reference is what Decode should do, written slowly and plainly: known is false
// where it doesn't say.
func reference(s *event.Stream, data []byte) (vals map[string]event.Value, known bool, err error) {
	reads := map[string]map[string]bool{}
	for _, f := range s.Fields {
		path := pathOf(&f)
		for i, name := range path {
			at := strings.Join(path[:i], ".")
			if reads[at] == nil {
				reads[at] = map[string]bool{}
			}
			reads[at][name] = true
		}
	}
	vals = map[string]event.Value{}
	for i := range s.Fields {
		f := &s.Fields[i]
		object, err := members(data, reads[""])
		if err != nil {
			return nil, true, err
		}
		path := pathOf(f)
		for n := 1; n < len(path) && object != nil; n++ {
			inner := object[path[n-1]]
			object = nil
			if inner != nil && string(inner) != "null" {
				if object, err = members(inner, reads[strings.Join(path[:n], ".")]); err != nil {
					return nil, true, err
				}
			}
		}
		raw := object[path[len(path)-1]]
		if raw == nil || string(raw) == "null" {
			if f.Required {
				return nil, true, fmt.Errorf("%s is missing", f.Name)
			}
			continue
		}
		v, known, err := referenceValue(f, raw)
		if err != nil || !known {
			return nil, known, err
		}
		vals[f.Name] = v
	}
	return vals, true, nil
}

func pathOf(f *event.Field) []string {
	if len(f.From) > 0 {
		return f.From
	}
	return []string{f.Name}
}

func referenceValue(f *event.Field, raw json.RawMessage) (v event.Value, known bool, err error) {
	refused := fmt.Errorf("%s: %.40s", f.Name, raw)
	var text string
	quoted := raw[0] == '"'
	if quoted {
		if err := json.Unmarshal(raw, &text); err != nil {
			return v, true, err
		}
	}
	number := string(raw)
	if quoted {
		number = text
	}
	switch f.Type {
	case event.TypeString:
		if !quoted || f.ID && (text == "" || len(text) > 256) {
			return v, true, refused
		}
		v.Str = text
	case event.TypeEnum:
		v.Str, v.Num = text, -1
		for i, known := range f.Values {
			if known == text {
				v.Num = int64(i)
			}
		}
		if !quoted || v.Num < 0 && f.Strict {
			return v, true, refused
		}
	case event.TypeCurrency:
		c, ok := event.ParseCurrency(text)
		if !quoted || !ok {
			return v, true, refused
		}
		v.Str, v.Num = text, int64(c)
	case event.TypeBool:
		switch string(raw) {
		case "true":
			v.Num = 1
		case "false":
		default:
			return v, true, refused
		}
	case event.TypeMoney, event.TypeNumber:
		m, ok, known := exactMoney(number)
		if !known {
			return v, false, nil
		}
		if !ok || m <= 0 && f.Type == event.TypeMoney {
			return v, true, refused
		}
		v.Num = int64(m)
	case event.TypeInt:
		r, ok, known := rational(number)
		if !known {
			return v, false, nil
		}
		if !ok || !r.IsInt() || !r.Num().IsInt64() {
			return v, true, refused
		}
		v.Num = r.Num().Int64()
	case event.TypeTime:
		if ms, ok := referenceTime(text); quoted && ok {
			v.Num = ms
			return v, true, nil
		}
		r, ok, known := rational(number)
		if !known {
			return v, false, nil
		}
		if !ok || r.Cmp(big.NewRat(1e11, 1)) < 0 || r.Cmp(big.NewRat(1e14, 1)) >= 0 {
			return v, true, refused
		}
		v.Num = new(big.Int).Div(r.Num(), r.Denom()).Int64() // rounds down
	}
	return v, true, nil
}

// rational is the value of a JSON number; one with a large exponent is not
// known.
func rational(text string) (r *big.Rat, ok, known bool) {
	if _, _, known := exactMoney(text); !known {
		return nil, false, false
	}
	if !jsonNumber.MatchString(text) {
		return nil, false, true
	}
	r, ok = new(big.Rat).SetString(text)
	return r, ok, true
}

var rfc3339 = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

func referenceTime(text string) (ms int64, ok bool) {
	for _, c := range text {
		if c > 127 {
			return 0, false // ToUpper makes ASCII of some
		}
	}
	text = strings.ToUpper(text)
	if !rfc3339.MatchString(text) {
		return 0, false
	}
	leap := text[17:19] == "60"
	if leap {
		text = text[:17] + "59" + text[19:]
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, false
	}
	at = at.UTC()
	if leap {
		if at.Hour() != 23 || at.Minute() != 59 {
			return 0, false
		}
		at = at.Truncate(time.Second).Add(999 * time.Millisecond)
	}
	return at.UnixMilli(), at.Year() >= 1 && at.Year() <= 9999
}

// checkDecode compares Decode with the reference.
func checkDecode(t interface {
	Fatalf(string, ...any)
}, s *event.Stream, d *event.Decoder, data []byte) {
	var ev event.Event
	rerr := d.Decode(data, &ev)
	if rerr == nil && !json.Valid(data) {
		t.Fatalf("accepted, but not JSON: %q", data)
	}
	if rerr != nil {
		switch rerr.Code {
		case event.CodeTooLarge, event.CodeTooDeep, event.CodeInvalidUTF8:
			return // encoding/json doesn't mind these
		}
	}
	want, known, err := reference(s, data)
	if !known {
		return
	}
	if (rerr == nil) != (err == nil) {
		t.Fatalf("%q\nDecode:    %v\nreference: %v", data, rerr, err)
	}
	if rerr != nil {
		if utf8.ValidString(rerr.Message) && rerr.Offset >= 0 && rerr.Offset <= len(data) && len(rerr.Message) > 0 {
			return
		}
		t.Fatalf("%q: a bad error: %#v", data, rerr)
	}
	for slot := range s.Fields {
		f := &s.Fields[slot]
		v, ok := want[f.Name]
		if ok != ev.Has(slot) || ok && v != ev.Vals[slot] {
			t.Fatalf("%q: %s is %+v (present: %v), want %+v (%v)", data, f.Name, ev.Vals[slot], ev.Has(slot), v, ok)
		}
	}
	if ev.Time != want["occurred_at"].Num {
		t.Fatalf("%q: Time is %d", data, ev.Time)
	}
	checkCopies(t, &ev)
}

func FuzzDecode(f *testing.F) {
	s := everything(f)
	d := event.NewDecoder(s, event.Limits{MaxBytes: 1 << 12, MaxFieldBytes: 300})
	f.Add([]byte(payment))
	for _, record := range seeds {
		f.Add([]byte(record))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkDecode(t, s, d, data) })
}

var seeds = []string{
	`{"id":"1","at":"2024-05-01T12:00:00.5+01:00","amount":129.9,"currency":"USD","colour":"green","size":"small","done":true,"pieces":12,"weight":-0.5,"note":"h\u00e9\n"}`,
	`{"id":"1","at":1714566896789,"owner":{"id":"o1","since":"2024-05-01T12:00:00Z","address":{"city":"Köln","zip":50667}}}`,
	`{"\u0069d":"1","at":1.714566896789e12,"x":[1,{"y":[]},null,true,"\ud800"],"owner":null}`,
	`{"id":"1","at":"2016-12-31T23:59:60Z","amount":"1.50E1","pieces":"-9223372036854775808","weight":"1e-4","colour":"x"}`,
	` {"id" : "1" , "at" : 1714566896789.5 , "note" : "\ud83d\ude00" } `,
}

// TestDecodeLikeReference makes records of likely pieces, so that many are
// nearly right.
func TestDecodeLikeReference(t *testing.T) {
	s := everything(t)
	d := event.NewDecoder(s, event.Limits{})
	names := []string{"id", "at", "amount", "currency", "colour", "size", "done", "pieces", "weight", "note", "owner", "x", "", "ID", `\u0069d`, "occurred_at", "since", "address", "city"}
	plain := []string{`"1"`, `""`, `"USD"`, `"red"`, `"small"`, `"a\tb"`, `"\u00e9\ud83d\ude00"`, `"\ud800"`, "true", "false", "null", "1", "-1", "0", "129.90", `"129.90"`,
		"1e2", "1.5", "1714566896789", `"1714566896789"`, `"2024-05-01T12:00:00Z"`, `"2024-02-30T12:00:00Z"`, `"2016-12-31T23:59:60Z"`, "[]", "[1,2]", "{}", "01", "nul", "1.", `"é"`, "\"\xff\""}
	var object func(t *rapid.T, depth int) string
	object = func(t *rapid.T, depth int) string {
		space := rapid.SampledFrom([]string{"", "", "", " ", "\n\t"})
		var b strings.Builder
		b.WriteString("{")
		if depth == 0 && rapid.IntRange(0, 9).Draw(t, "head") > 0 {
			b.WriteString(`"id":"1","at":1714566896789,`)
		}
		for i := range rapid.IntRange(0, 5).Draw(t, "members") {
			if i > 0 {
				b.WriteString("," + space.Draw(t, "space"))
			}
			b.WriteString(`"` + rapid.SampledFrom(names).Draw(t, "name") + `"` + space.Draw(t, "space") + ":" + space.Draw(t, "space"))
			if depth < 3 && rapid.IntRange(0, 3).Draw(t, "nest") == 0 {
				b.WriteString(object(t, depth+1))
			} else {
				b.WriteString(rapid.SampledFrom(plain).Draw(t, "value"))
			}
			b.WriteString(space.Draw(t, "space"))
		}
		b.WriteString("}")
		return strings.Replace(b.String(), ",}", "}", 1)
	}
	rapid.Check(t, func(t *rapid.T) { checkDecode(t, s, d, []byte(object(t, 0))) })
}

func FuzzTime(f *testing.F) {
	s := everything(f)
	d := event.NewDecoder(s, event.Limits{})
	for _, text := range []string{"2024-05-01T12:00:00Z", "2016-12-31t23:59:60.999z", "0016-12-31t23:59:60.999z", "1969-12-31T23:59:59.9999+00:01", "0001-01-01T00:00:00-23:59", "1714566896789.5"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		checkDecode(t, s, d, []byte(`{"id":"1","at":`+string(quoted)+`}`))
	})
}
