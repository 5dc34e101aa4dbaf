package engine_test

import (
	"testing"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// A past event on which where(…) fails neither counts nor is passed over: which
// of the two would be right isn't known, so what asks for it fails, for as long
// as it is in the window.
func TestAFailingWhereFailsTheRule(t *testing.T) {
	schema := event.Builtin()
	e := engine.New(engine.Config{Schema: schema, Workers: 2, ReadAhead: 3_600_000}, loadSet(t, schema, `
rules:
  - {id: many, action: review, on_missing: skip, when: 'refunds.by(customer_id).where(amount * 100000 > 5).within("1h").count() > 5'}
  - {id: sum, action: review, on_missing: skip, when: 'refunds.by(customer_id).where(device_id == "9").within("1h").sum(amount) > 5'}
`))
	defer e.Close()
	d := event.NewDecoder(schema.Stream("refunds"), event.DefaultLimits())
	for i, c := range []struct {
		row
		want   event.Outcome
		errors int
	}{
		{row{minute: 0, cents: 1_000_000_000_000_000, customer: 1}, event.Approve, 0}, // 10^13: the product doesn't fit
		{row{minute: 1, cents: 100, customer: 1}, event.Review, 1},
		{row{minute: 1, cents: 100, customer: 2}, event.Approve, 0},
		{row{minute: 59, cents: 100, customer: 1}, event.Review, 1},
		{row{minute: 60, cents: 100, customer: 1}, event.Approve, 0},
	} {
		c.refund, c.id = true, i
		it := &engine.Item{Stream: 1}
		if err := d.Decode([]byte(c.json()), &it.Event); err != nil {
			t.Fatal(err)
		}
		it.Prepare([]byte(c.json()))
		e.Apply([]*engine.Item{it})
		e.Decide([]*engine.Item{it}, func(_, _ int, got *event.Decision, _ *rules.Result) {
			if got.Outcome != c.want || len(got.Errors) != c.errors {
				t.Errorf("%s: %v with %v, want %v with %d errors", c.json(), got.Outcome, got.Errors, c.want, c.errors)
			}
		})
	}
}
