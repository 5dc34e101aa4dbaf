package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// BenchmarkReload is how long decisions pause where 1,000 rules over 100
// expressions change to others, which add an expression or lose it, above state
// of 100,000 refunds. Reading and checking the files is done before, beside the
// decisions.
func BenchmarkReload(b *testing.B) {
	text := func(extra string) string {
		var t strings.Builder
		t.WriteString("rules:\n" + extra)
		for i := range 1000 {
			fmt.Fprintf(&t, "  - {id: r%d, score: 1, on_missing: skip, when: 'refunds.by(customer_id).within(\"%dh\").count() > %d and amount > 5', message: '{{customer_id}} {{amount}}'}\n", i, 1+i%100, i)
		}
		return t.String()
	}
	schema := event.Builtin()
	short := loadSet(b, schema, text(""))
	long := loadSet(b, schema, text("  - {id: another, score: 1, on_missing: skip, when: 'refunds.by(device_id, customer_id).within(\"30d\").sum(amount) > 5'}\n"))
	e := engine.New(engine.Config{Schema: schema, Workers: 4}, short)
	defer e.Close()
	d := event.NewDecoder(schema.Stream("refunds"), event.DefaultLimits())
	items := make([]*engine.Item, 100_000)
	for i := range items {
		items[i] = &engine.Item{Stream: 1}
		data := []byte(row{refund: true, id: i, minute: i, cents: 100, customer: 1 + i%5000, device: 1 + i%7000}.json())
		if err := d.Decode(data, &items[i].Event); err != nil {
			b.Fatal(err)
		}
		items[i].Prepare(data)
	}
	e.Apply(items)
	for b.Loop() {
		e.SetRules(long)
		e.SetRules(short)
	}
}
