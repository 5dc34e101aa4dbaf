package shop_test

import (
	"testing"

	"github.com/refundguard/refundguard/cmd/refundguard/shop"
	"github.com/refundguard/refundguard/rules/event"
)

// Every record must be good to refundguard's own decoder, fill every built-in
// field now and then, and use only values that the schema knows.
func TestRecordsDecode(t *testing.T) {
	t.Parallel()
	s, err := shop.New(shop.Config{Seed: 9, Transactions: 3000, Attacks: true})
	if err != nil {
		t.Fatal(err)
	}
	schema := event.Builtin()
	type reader struct {
		stream *event.Stream
		dec    *event.Decoder
		ev     event.Event
		seen   uint64
	}
	readers := map[string]*reader{}
	for _, name := range []string{shop.Transactions, shop.Refunds} {
		st := schema.Stream(name)
		readers[name] = &reader{stream: st, dec: event.NewDecoder(st, event.DefaultLimits()), ev: event.Event{Vals: make([]event.Value, len(st.Fields))}}
	}
	for r, ok := s.Next(); ok; r, ok = s.Next() {
		rd := readers[r.Stream]
		if rd == nil {
			continue
		}
		if err := rd.dec.Decode(r.Value, &rd.ev); err != nil {
			t.Fatalf("%s: %v", r.Value, err)
		}
		if rd.ev.Time != r.Time {
			t.Fatalf("%s: time %d, the record says %d", r.Value, rd.ev.Time, r.Time)
		}
		rd.seen |= rd.ev.Present
		for i, f := range rd.stream.Fields {
			if f.Type == event.TypeEnum && rd.ev.Has(i) && rd.ev.Vals[i].Num < 0 {
				t.Fatalf("%s: unknown %s", r.Value, f.Name)
			}
		}
	}
	for name, rd := range readers {
		for i, f := range rd.stream.Fields {
			if rd.seen&(1<<i) == 0 {
				t.Errorf("no record of %s has %s", name, f.Name)
			}
		}
	}
}
