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

// hundredRules are 100 rules over 40 distinct past-events expressions: eight of
// each of five keys, counts most often, as rules have them. Hardly any refund
// hits.
func hundredRules() string {
	past := []string{`within("1d").count() > 500`, `within("3d").count() > 500`, `within("7d").count() > 500`, `within("7d").sum(amount) > 500000`,
		`within("7d").avg(amount) > 5000`, `within("7d").stddev(amount) > 5000`, `within("7d").distinct(ip) > 500`, `within("7d").since_last() < 0`}
	keys := []string{"customer_id", "device_id", "merchant_id", "instrument_id", "customer_id, merchant_id"}
	own := []string{"amount > 500 and not mfa", "original != nil and instrument_id != original.instrument_id", "device_id in lists.bad",
		"in_cidr(ip, lists.nets)", `hour(occurred_at, "Europe/Berlin") > 23`}
	var b strings.Builder
	b.WriteString("lists: {bad: [x, y], nets: [10.0.0.0/8, '2001:db8::/32']}\nrules:\n")
	for i := range 100 {
		fmt.Fprintf(&b, "  - {id: r%d, score: 1, on_missing: skip, when: '%s or amount > 5 and %s', message: '{{customer_id}}: {{amount}}'}\n",
			i, fmt.Sprintf("refunds.by(%s).%s", keys[i%40/8], past[i%8]), own[i%5])
	}
	return b.String()
}

const (
	hundredKeys = 256                  // of each kind, with 64 refunds a week
	hundredWarm = 2 * 64 * hundredKeys // refunds that are entered: two weeks
	hundredDue  = 4096                 // the latest of them are decided, again and again
)

// hundredRefund is the i-th refund.
func hundredRefund(r *rand.Rand, i int) []byte {
	at := gateStart.Add(time.Duration(i) * 7 * 24 * time.Hour / (64 * hundredKeys))
	return fmt.Appendf(nil, `{"refund_id":"rfd_%09d","customer_id":"cus_%07d","merchant_id":"mer_%05d","amount":"%d.%02d","currency":"USD","instrument_id":"pm_%07d","device_id":"dev_%07d","ip":"203.0.113.%d","country":"US","channel":"app","mfa":true,"occurred_at":"%s"}`,
		i, r.IntN(hundredKeys), r.IntN(hundredKeys), 6+r.IntN(100), r.IntN(100), r.IntN(hundredKeys), r.IntN(hundredKeys), r.IntN(64), at.Format("2006-01-02T15:04:05.000Z"))
}

// Hundred measures deciding refunds by 100 rules over 40 past-events
// expressions over warm state: the longest window of a key holds 64 refunds
// (of a pair of keys hardly any). Entering them is not measured.
func Hundred(ctx context.Context, o Options, workers int) (Result, error) {
	schema := event.Builtin()
	set, err := load(schema, hundredRules())
	if err != nil {
		return Result{}, err
	}
	eng := engine.New(engine.Config{Schema: schema, Workers: workers}, set)
	defer eng.Close()
	random := rand.New(rand.NewPCG(o.Seed, 100))
	all := make([]gateEvent, hundredWarm)
	for i := range all {
		all[i] = gateEvent{refund: true, value: hundredRefund(random, i)}
	}
	var due []*engine.Item
	for items := range decodeAhead(ctx, schema, all, workers) {
		eng.Apply(items)
		due = append(due, items...)
	}
	due = due[len(due)-hundredDue:]
	outcomes := make([][4]int64, workers)
	watch := o.start()
	for left := o.Events; left > 0 && ctx.Err() == nil; left -= hundredDue {
		n := min(hundredDue, left)
		eng.Decide(due[:n], func(w, _ int, d *event.Decision, _ *rules.Result) { outcomes[w][d.Outcome]++ })
	}
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	r := watch.result(fmt.Sprintf("rules, %d of %d processors", workers, runtime.NumCPU()), o.Events, o.Events)
	r.count(outcomes)
	return r, nil
}
