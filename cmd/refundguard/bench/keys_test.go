package bench

import (
	"context"
	"encoding/json"
	"regexp"
	"runtime"
	"testing"

	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// There are as many customers as there should be, and each has as many events;
// refunds are of what their own customer has paid before.
func TestKeysAreSpread(t *testing.T) {
	for _, customers := range []int{1000, 1001, 1024} {
		const perKey = 4
		events, refunds := map[string]int{}, 0
		paid, last := map[string]string{}, ""
		for _, e := range newUniform(customers, perKey, 3).fill(nil, customers*perKey) {
			var v struct {
				Customer    string `json:"customer_id"`
				Transaction string `json:"transaction_id"`
				At          string `json:"occurred_at"`
			}
			if err := json.Unmarshal(e.value, &v); err != nil {
				t.Fatal(err)
			}
			events[v.Customer]++
			switch by, known := paid[v.Transaction]; {
			case e.refund && v.Transaction != "" && (!known || by != v.Customer): // some name none
				t.Fatalf("%s is of a transaction that is not its customer's: %q", e.value, by)
			case !e.refund && known:
				t.Fatalf("%s for a second time", e.value)
			case !e.refund:
				paid[v.Transaction] = v.Customer
			default:
				refunds++
			}
			if v.At < last {
				t.Fatalf("%s after %s", v.At, last)
			}
			last = v.At
		}
		if len(events) != customers {
			t.Errorf("%d customers, not %d", len(events), customers)
		}
		for c, n := range events {
			if n != perKey {
				t.Fatalf("%s has %d events", c, n)
			}
		}
		if share := float64(refunds) / float64(customers*perKey); share < 0.03 || share > 0.07 {
			t.Errorf("%.3f of all are refunds", share)
		}
	}
}

// What is written over others' memory is decided as what has its own.
func TestKeysAreMeasuredOnTheEventsThatTheyMake(t *testing.T) {
	const customers, perKey = 9000, 10 // more than a portion
	k := Keys{PerKey: perKey, Seed: 2}
	got, err := k.Here(context.Background(), customers)
	if err != nil {
		t.Fatal(err)
	}
	schema := event.Builtin()
	set, err := load(schema, gateRules)
	if err != nil {
		t.Fatal(err)
	}
	eng := engine.New(engine.Config{Schema: schema, Workers: runtime.GOMAXPROCS(0)}, set)
	defer eng.Close()
	d := newDecider(eng, runtime.GOMAXPROCS(0))
	d.run(context.Background(), schema, newUniform(customers, perKey, 2).fill(nil, customers*perKey))
	want := Result{Outcomes: map[string]int64{}}
	d.tell(&want)
	if got.Digest != want.Digest || got.Events != customers*perKey || got.Outcomes["approve"]+got.Outcomes["review"]+got.Outcomes["reject"] != int64(got.Refunds) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got.Keys < int64(customers*perKey) || got.State <= 0 || got.State > got.Heap || got.Heap > got.RSS {
		t.Errorf("%+v: ids alone are as many keys as events, and the state is of the heap", got)
	}
}

// So many rules are as many, over 40 expressions at most, and those of fewer are
// among those of more.
func TestRulesShareExpressions(t *testing.T) {
	past := regexp.MustCompile(`refunds\.by\([a-z_, ]*\)\.within\("\dd"\)\.\w+\(\w*\)`)
	for _, n := range []int{1, 40, 100, 1000} {
		text := manyRules(n)
		set, err := load(event.Builtin(), text)
		if err != nil {
			t.Fatal(err)
		}
		distinct := map[string]bool{}
		for _, e := range past.FindAllString(text, -1) {
			distinct[e] = true
		}
		if got := len(set.Rules); got != n || len(distinct) != min(n, 40) {
			t.Errorf("%d rules: %d, over %d expressions", n, got, len(distinct))
		}
		if manyRules(1000)[:len(text)] != text {
			t.Errorf("%d rules are not the first of 1000", n)
		}
	}
}
