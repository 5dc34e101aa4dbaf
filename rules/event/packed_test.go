package event_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/refundguard/refundguard/rules/event"
)

// visible is what can be seen of an event.
func visible(ev *event.Event) map[string]event.Value {
	vals := map[string]event.Value{"": {Num: ev.Time}}
	for slot := range ev.Stream.Fields {
		if ev.Has(slot) {
			vals[ev.Stream.Fields[slot].Name] = ev.Vals[slot]
		}
	}
	return vals
}

// checkCopies packs and clones an event.
func checkCopies(t interface{ Fatalf(string, ...any) }, ev *event.Event) {
	want := visible(ev)
	if diff := cmp.Diff(want, visible(ev.Clone())); diff != "" {
		t.Fatalf("clone differs:\n%s", diff)
	}
	packed := event.AppendPacked([]byte("x"), ev)[1:]
	var got event.Event
	if err := event.Unpack(ev.Stream, packed, &got); err != nil {
		t.Fatalf("%s: %v", show(ev), err)
	}
	if diff := cmp.Diff(want, visible(&got)); diff != "" {
		t.Fatalf("unpacked event differs:\n%s", diff)
	}
	if err := event.Unpack(ev.Stream, packed[:len(packed)-1], &got); err == nil {
		t.Fatalf("%s: unpacked without its last byte", show(ev))
	}
	if err := event.Unpack(ev.Stream, append(packed, 0), &got); err == nil {
		t.Fatalf("%s: unpacked with a byte more", show(ev))
	}
}

func TestPacked(t *testing.T) {
	ev := decode(t, "transactions", payment)
	checkCopies(t, ev)
	ev.Time -= 1e9 // decided as of another time than was sent
	checkCopies(t, ev)

	checkCopies(t, decode(t, "refunds", `{"refund_id":"r","amount":"0.0001","currency":"CLF","occurred_at":"0001-01-01T00:00:00Z","mfa":false,"reason":"new"}`))
	checkCopies(t, &event.Event{Stream: ev.Stream, Vals: make([]event.Value, len(ev.Stream.Fields))})

	if packed := event.AppendPacked(nil, ev); len(packed) > 130 {
		t.Errorf("a payment takes %d bytes", len(packed))
	}
}

func TestPackedRefusesOtherSchema(t *testing.T) {
	packed := event.AppendPacked(nil, decode(t, "transactions", payment))
	var ev event.Event
	if err := event.Unpack(event.Builtin().Stream("confirmations"), packed, &ev); err == nil {
		t.Error("a payment was unpacked as a confirmation")
	}
}

func TestPackedAllocatesNothing(t *testing.T) {
	ev := decode(t, "transactions", payment)
	buf := event.AppendPacked(nil, ev)
	var got event.Event
	if allocs := testing.AllocsPerRun(100, func() {
		buf = event.AppendPacked(buf[:0], ev)
		if err := event.Unpack(ev.Stream, buf, &got); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}

// TestCloneIsDeep: neither the record nor the event may show through.
func TestCloneIsDeep(t *testing.T) {
	s := event.Builtin().Stream("transactions")
	record := []byte(payment)
	var ev event.Event
	if err := event.NewDecoder(s, event.Limits{}).Decode(record, &ev); err != nil {
		t.Fatal(err)
	}
	clone := ev.Clone()
	for i := range record {
		record[i] = 'x'
	}
	clear(ev.Vals)
	if diff := cmp.Diff(decode(t, "transactions", payment), clone, cmpopts.IgnoreFields(event.Event{}, "Stream")); diff != "" {
		t.Error(diff)
	}
}

func FuzzUnpack(f *testing.F) {
	s := everything(f)
	d := event.NewDecoder(s, event.Limits{})
	for _, record := range seeds {
		var ev event.Event
		if err := d.Decode([]byte(record), &ev); err == nil {
			f.Add(event.AppendPacked(nil, &ev))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var ev event.Event
		if event.Unpack(s, data, &ev) != nil {
			return
		}
		if again := event.AppendPacked(nil, &ev); !bytes.Equal(again, data) {
			t.Fatalf("%x was unpacked, and packed as %x", data, again)
		}
	})
}
