package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// manyRules are n rules over at most 40 distinct past-events expressions, which
// from the 41st on they share, as rules do: eight of each of five keys, counts
// most often. Hardly any refund hits.
func manyRules(n int) string {
	past := []string{`within("1d").count() > 500`, `within("3d").count() > 500`, `within("7d").count() > 500`, `within("7d").sum(amount) > 500000`,
		`within("7d").avg(amount) > 5000`, `within("7d").stddev(amount) > 5000`, `within("7d").distinct(ip) > 500`, `within("7d").since_last() < 0`}
	keys := []string{"customer_id", "device_id", "merchant_id", "instrument_id", "customer_id, merchant_id"}
	own := []string{"amount > 500 and not mfa", "original != nil and instrument_id != original.instrument_id", "device_id in lists.bad",
		"in_cidr(ip, lists.nets)", `hour(occurred_at, "Europe/Berlin") > 23`}
	var b strings.Builder
	b.WriteString("lists: {bad: [x, y], nets: [10.0.0.0/8, '2001:db8::/32']}\nrules:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {id: r%d, score: 1, on_missing: skip, when: '%s or amount > 5 and %s', message: '{{customer_id}}: {{amount}}'}\n",
			i, fmt.Sprintf("refunds.by(%s).%s", keys[i%40/8], past[i%8]), own[i%5])
	}
	return b.String()
}

const (
	warmKeys    = 256               // of each kind, with 64 refunds a week
	warmRefunds = 2 * 64 * warmKeys // refunds that are entered: two weeks
	dueRefunds  = 4096              // the latest of them are decided, again and again
)

// warmRefund is the i-th refund.
func warmRefund(r *rand.Rand, i int) []byte {
	at := gateStart.Add(time.Duration(i) * 7 * 24 * time.Hour / (64 * warmKeys))
	return fmt.Appendf(nil, `{"refund_id":"rfd_%09d","customer_id":"cus_%07d","merchant_id":"mer_%05d","amount":"%d.%02d","currency":"USD","instrument_id":"pm_%07d","device_id":"dev_%07d","ip":"203.0.113.%d","country":"US","channel":"app","mfa":true,"occurred_at":"%s"}`,
		i, r.IntN(warmKeys), r.IntN(warmKeys), 6+r.IntN(100), r.IntN(100), r.IntN(warmKeys), r.IntN(warmKeys), r.IntN(64), at.Format("2006-01-02T15:04:05.000Z"))
}

// Rules measures deciding refunds by so many rules over warm state: the longest
// window of a key holds 64 refunds (of a pair of keys hardly any). Entering them
// is not measured. An event is a refund; there are as many of them as make
// o.Events*10 evaluations.
func Rules(ctx context.Context, o Options, count int) (Result, error) {
	if o.CPUs > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(o.CPUs))
	}
	workers := runtime.GOMAXPROCS(0)
	schema := event.Builtin()
	set, err := load(schema, manyRules(count))
	if err != nil {
		return Result{}, err
	}
	eng := engine.New(engine.Config{Schema: schema, Workers: workers}, set)
	defer eng.Close()
	random := rand.New(rand.NewPCG(o.Seed, 100))
	all := make([]gateEvent, warmRefunds)
	for i := range all {
		all[i] = gateEvent{refund: true, value: warmRefund(random, i)}
	}
	var due []*engine.Item
	for items := range decodeAhead(ctx, schema, all, workers, true) {
		eng.Apply(items)
		due = append(due, items...)
	}
	due = due[len(due)-dueRefunds:]
	refunds := min(max(o.Events*10/count, 1000), o.Events)
	d := newDecider(eng, workers)
	emit := func(w, _ int, dec *event.Decision, _ *rules.Result) {
		d.workers[w].outcomes[dec.Outcome]++
		d.workers[w].digest.add(dec.RefundID, dec.Outcome.String(), dec.Score, dec.Hits)
	}
	watch := o.start()
	for left := refunds; left > 0 && ctx.Err() == nil; left -= dueRefunds {
		eng.Decide(due[:min(dueRefunds, left)], emit)
	}
	r := watch.stop().result(fmt.Sprintf("%d rules, %d of %d processors", count, workers, runtime.NumCPU()), refunds, refunds)
	r.Rules, r.Evaluations = count, r.EventsPerSecond*float64(count)
	d.tell(&r)
	return r, ctx.Err()
}
