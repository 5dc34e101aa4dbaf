package event_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
)

// everything is a stream with a field of each type, some of them nested.
func everything(t testing.TB) *event.Stream {
	t.Helper()
	s := event.Builtin()
	err := s.Extend(map[string]event.StreamConfig{"things": {ID: "thing_id", Fields: map[string]event.FieldConfig{
		"thing_id":    {From: "id"},
		"occurred_at": {From: "at"},
		"amount":      {Type: "money"},
		"currency":    {Type: "currency"},
		"colour":      {Type: "enum", Values: []string{"red", "green"}},
		"size":        {Type: "enum", Values: []string{"small", "large"}, Strict: true},
		"done":        {Type: "bool"},
		"pieces":      {Type: "int"},
		"weight":      {Type: "number"},
		"note":        {Type: "string"},
		"owner_id":    {Type: "id", From: "owner.id"},
		"owner_since": {Type: "time", From: "owner.since"},
		"owner_city":  {Type: "string", From: "owner.address.city"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return s.Stream("things")
}

// show writes an event, field by field.
func show(ev *event.Event) string {
	var parts []string
	for slot := range ev.Stream.Fields {
		f := &ev.Stream.Fields[slot]
		if !ev.Has(slot) {
			continue
		}
		v := ev.Vals[slot]
		text := strconv.Quote(v.Str)
		switch f.Type {
		case event.TypeMoney, event.TypeNumber:
			text = event.Money(v.Num).String()
		case event.TypeTime:
			text = string(event.AppendTime(nil, v.Num))
		case event.TypeInt, event.TypeBool:
			text = strconv.FormatInt(v.Num, 10)
		case event.TypeEnum:
			text += fmt.Sprintf("#%d", v.Num)
		}
		parts = append(parts, f.Name+"="+text)
	}
	return strings.Join(parts, " ")
}

// TestDecodeTranscript reads testdata/decode.txt: records, each after "> " (as it
// is) or "$ " (as a quoted Go string), and under each what becomes of it.
func TestDecodeTranscript(t *testing.T) {
	const file = "testdata/decode.txt"
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := event.NewDecoder(everything(t), event.Limits{MaxBytes: 600, MaxDepth: 4, MaxFieldBytes: 300})
	var ev event.Event
	var got bytes.Buffer
	for line := range strings.Lines(string(script)) {
		line = strings.TrimSuffix(line, "\n")
		record := strings.TrimPrefix(line, "> ")
		switch {
		case strings.HasPrefix(line, "$ "):
			if record, err = strconv.Unquote(line[2:]); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		case !strings.HasPrefix(line, "> "):
			if line == "" || strings.HasPrefix(line, "#") {
				got.WriteString(line + "\n")
			}
			continue
		}
		fmt.Fprintln(&got, line)
		if err := d.Decode([]byte(record), &ev); err != nil {
			fmt.Fprintf(&got, "  %s at %d: %s\n", err.Code, err.Offset, err)
		} else {
			fmt.Fprintf(&got, "  %s\n", show(&ev))
		}
	}
	golden(t, file, got.Bytes())
}

// golden compares with a file, or rewrites it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update rewrites it); got:\n%s", file, got)
	}
}

func TestDecodeBuiltin(t *testing.T) {
	ev := decode(t, "transactions", payment)
	if ev.ID() != "tx_20240501_00048213" || ev.Time != 1714566896789 || ev.Present != 1<<13-1 {
		t.Errorf("id %q, time %d, present %b", ev.ID(), ev.Time, ev.Present)
	}
	amount := ev.Vals[ev.Stream.Slot("amount")]
	if amount.Num != 129_9000 {
		t.Errorf("amount = %d", amount.Num)
	}
	if got := ev.Str(ev.Stream.Slot("country")); got != "DE" {
		t.Errorf("country = %q", got)
	}
	if got := ev.Str(ev.Stream.Slot("nonsense")); got != "" {
		t.Errorf("a slot that doesn't exist = %q", got)
	}
}

// TestDecodeReuses decodes different records into one event: nothing of an
// earlier one may stay, whatever their order of members.
func TestDecodeReuses(t *testing.T) {
	d := event.NewDecoder(everything(t), event.Limits{})
	var ev event.Event
	records := []struct{ record, want string }{
		{`{"id":"1","at":1714566896789,"note":"a\nb","done":true}`, `thing_id="1" occurred_at=2024-05-01T12:34:56.789Z done=1 note="a\nb"`},
		{`{"at":1714566896789,"id":"2"}`, `thing_id="2" occurred_at=2024-05-01T12:34:56.789Z`},
		{`{"x":1,"done":false,"id":"3","note":"c","at":1714566896789}`, `thing_id="3" occurred_at=2024-05-01T12:34:56.789Z done=0 note="c"`},
	}
	for range 3 {
		for _, r := range records {
			if err := d.Decode([]byte(r.record), &ev); err != nil {
				t.Fatal(err)
			}
			if got := show(&ev); got != r.want {
				t.Errorf("%s\ngot  %s\nwant %s", r.record, got, r.want)
			}
		}
	}
}

// TestDecodeKeepsRead: a refused record still says whose it was, if that came
// before the fault.
func TestDecodeKeepsRead(t *testing.T) {
	var ev event.Event
	err := event.NewDecoder(event.Builtin().Stream("refunds"), event.Limits{}).
		Decode([]byte(`{"refund_id":"ref_1","customer_id":"cus_1","amount":-5}`), &ev)
	if err == nil || ev.ID() != "ref_1" || ev.Str(ev.Stream.Slot("customer_id")) != "cus_1" || ev.Has(ev.Stream.Slot("amount")) {
		t.Errorf("after %v: %s", err, show(&ev))
	}
}

// TestMessagesShowLittle: an error may be logged, so it holds little of a
// record, however long.
func TestMessagesShowLittle(t *testing.T) {
	long := strings.Repeat("é", 200)
	d := event.NewDecoder(everything(t), event.Limits{})
	var ev event.Event
	for _, record := range []string{
		`{"id":"1","at":"` + long + `"}`, `{"id":"1","at":` + strings.Repeat("9", 300) + `}`, `{"id":"1","size":"` + long + `"}`,
		`{"id":"1"} ` + long, `{` + long, long, `{"id":"1","note":` + long, `{"id":"1","amount":"` + long + `"}`,
	} {
		err := d.Decode([]byte(record), &ev)
		if err == nil {
			t.Errorf("%s was accepted", record)
			continue
		}
		if n := strings.Count(err.Error(), "é") * len("é"); n > 64 || strings.Contains(err.Error(), strings.Repeat("9", 65)) {
			t.Errorf("%d bytes of the record in %q", n, err)
		}
	}
}

// TestEscapedStringsStay: unescaped strings must survive later records.
func TestEscapedStringsStay(t *testing.T) {
	s := everything(t)
	d := event.NewDecoder(s, event.Limits{})
	note := s.Slot("note")
	kept := make([]string, 3000)
	for i := range kept {
		var ev event.Event
		record := fmt.Sprintf(`{"id":"%d","at":1714566896789,"note":"%s\n%d"}`, i, strings.Repeat(`\u00e9`, 30), i)
		if err := d.Decode([]byte(record), &ev); err != nil {
			t.Fatal(err)
		}
		kept[i] = ev.Str(note)
	}
	for i, got := range kept {
		if want := strings.Repeat("é", 30) + "\n" + strconv.Itoa(i); got != want {
			t.Fatalf("note %d became %q", i, got)
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	for name, record := range map[string]string{
		"plain":          payment,
		"unknown fields": payment[:len(payment)-1] + `,"x":{"y":[1,2.5e3,true,null,"z\n"]}}`,
	} {
		d := event.NewDecoder(event.Builtin().Stream("transactions"), event.Limits{})
		data := []byte(record)
		var ev event.Event
		if allocs := testing.AllocsPerRun(100, func() {
			if err := d.Decode(data, &ev); err != nil {
				t.Fatal(err)
			}
		}); allocs != 0 {
			t.Errorf("%s: %v allocations, want none", name, allocs)
		}
	}
	// Escaped strings share pieces of 64 KiB.
	d := event.NewDecoder(everything(t), event.Limits{})
	data := []byte(`{"id":"a\/b","at":1714566896789,"note":"line\nline"}`)
	var ev event.Event
	if allocs := testing.AllocsPerRun(1000, func() {
		if err := d.Decode(data, &ev); err != nil {
			t.Fatal(err)
		}
	}); allocs > 0.01 {
		t.Errorf("escaped: %v allocations a record", allocs)
	}
}

func TestDecodeOneMegabyte(t *testing.T) {
	d := event.NewDecoder(everything(t), event.Limits{})
	var ev event.Event
	for _, bomb := range []string{strings.Repeat(`{"a":`, 12000), strings.Repeat("[", 60000), `{"x":` + strings.Repeat("[", 60000), strings.Repeat("{}", 30000)} {
		if err := d.Decode([]byte(bomb), &ev); err == nil {
			t.Errorf("%.20s… was accepted", bomb)
		}
	}
	if err := d.Decode(make([]byte, 64<<10+1), &ev); err == nil || err.Code != event.CodeTooLarge {
		t.Errorf("64 KiB and a byte: %v", err)
	}
}
