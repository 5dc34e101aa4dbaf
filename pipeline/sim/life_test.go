package sim

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/calendar"
	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/rules/event"
)

// people are analysts, customers and a ledger that do as they like: what they say
// is right, wrong, late, twice or nonsense, for the model knows what must come of
// it. They write what they write at once, so that it has no order among itself.
type people struct {
	s      *sim
	rng    *rand.Rand
	n      int
	asked  []asked       // refunds that were written, and what only looks like one
	said   []*kgo.Record // by them
	inHold []string      // controls in force
	held   time.Time     // everything is on hold since; zero: no
}

type asked struct{ id, currency, amount string }

var lifeTopics = []string{"reviews", "confirmations", "ledger-results"}

// newPeople draws what the service is told of reviews and payments.
func (s *sim) newPeople(seed uint64) *people {
	p := &people{s: s, rng: newRand(seed, 12)}
	l := &model.Lives{Ledger: true, Controls: map[string]model.Control{}, SLA: map[string]time.Duration{}, OnDeadline: map[string]string{}, ETA: map[string]time.Duration{}}
	short := p.oneIn(2)
	c := &s.cfg
	for n, severity := range []string{"low", "medium", "high", "critical"} {
		if l.SLA[severity] = c.Review.SLA[severity]; short {
			l.SLA[severity] = []time.Duration{2 * time.Second, 3 * time.Second, 7 * time.Second, 40 * time.Second}[n] + time.Duration(p.rng.IntN(5000))*time.Millisecond
		}
		c.Review.SLA[severity] = l.SLA[severity]
		l.OnDeadline[severity] = []string{"escalate", "escalate", "approve", "reject"}[p.rng.IntN(4)]
		c.Review.OnDeadline[severity] = l.OnDeadline[severity]
	}
	for method, eta := range map[string]time.Duration{"original": 120 * time.Hour, "balance": time.Hour, "bank_transfer": 72 * time.Hour, "other": 72 * time.Hour} {
		if l.ETA[method] = eta; p.oneIn(2) {
			l.ETA[method] = time.Duration(2000+p.rng.IntN(20000)) * time.Millisecond
		}
	}
	for _, method := range []string{"original", "balance", "bank_transfer", "other"} {
		c.ETA[method] = l.ETA[method].String()
	}
	if p.oneIn(2) {
		l.SecondAbove, c.Review.SecondAbove = 60_0000, "60"
	}
	if p.oneIn(4) { // nobody works in the second minute
		c.Review.Calendar = calendar.Config{Timezone: "UTC", Hours: map[string]string{"mon-sun": "00:00-00:01, 00:02-24:00"}}
		l.Working = func(from int64, takes time.Duration) int64 {
			const minute, day = 60_000, 24 * 60 * 60_000
			left := takes.Milliseconds()
			for at := from; ; {
				switch second := at - at%day + minute; {
				case at < second && at+left <= second, at >= second+minute && at+left <= second+day:
					return at + left
				case at < second:
					left, at = left-(second-at), second+minute
				case at < second+minute:
					at = second + minute
				default:
					left, at = left-(second+day-at), second+day+minute
				}
			}
		}
	}
	if p.oneIn(3) {
		c.Holdout = pipeline.HoldoutConfig{Share: 30_0000, MaxAmount: "80"}
	}
	s.world.Strange.World.Lives = l
	return p
}

func (p *people) oneIn(n int) bool               { return p.rng.IntN(n) == 0 }
func (p *people) oneOf(values ...string) string  { return values[p.rng.IntN(len(values))] }
func (p *people) lives() *model.Lives            { return p.s.world.Strange.World.Lives }
func (p *people) id(prefix string) (name string) { p.n++; return fmt.Sprint(prefix, p.n) }

var askedText = regexp.MustCompile(`"(refund_id|currency|amount)":"?([^",}]*)`)

// see takes note of what was written.
func (p *people) see(records []*kgo.Record) {
	for _, r := range records {
		if r.Topic != "refunds" {
			continue
		}
		var a asked
		for _, m := range askedText.FindAllSubmatch(r.Value, -1) {
			switch string(m[1]) {
			case "refund_id":
				a.id = string(m[2])
			case "currency":
				a.currency = string(m[2])
			case "amount":
				a.amount = string(m[2])
			}
		}
		switch {
		case strings.HasPrefix(a.id, "bad_"): // which was refused
			p.asked = append(p.asked, asked{a.id, "USD", "5"})
		case a.id != "":
			p.asked = append(p.asked, a)
		}
	}
}

// speak has them say something.
func (p *people) speak(cl *kgo.Client) error {
	var step []*kgo.Record
	for range p.rng.IntN(4) {
		if len(p.asked) == 0 {
			break
		}
		about := p.asked[len(p.asked)-1-p.rng.IntN(min(25, len(p.asked)))]
		if p.oneIn(25) {
			about = asked{p.id("nobodys_"), "USD", "5"}
		}
		for range 1 + p.rng.IntN(3) {
			step = append(step, p.about(about))
		}
	}
	p.said = append(p.said, step...)
	if len(p.said) > 0 && p.oneIn(6) {
		step = append(step, p.again(p.said[p.rng.IntN(len(p.said))]))
	}
	if p.oneIn(12) {
		step = append(step, p.control())
	}
	// One for one, for what is said twice must come in order.
	return cl.ProduceSync(context.Background(), step...).FirstErr()
}

// record has their words where all of a refund are.
func (p *people) record(topic, refund, value string) *kgo.Record {
	h := fnv.New32a()
	h.Write([]byte(refund))
	return &kgo.Record{Topic: topic, Partition: int32(h.Sum32() % uint32(p.s.partitions)), Key: []byte(refund), Value: []byte(value),
		Timestamp: time.UnixMilli(p.s.world.Strange.Now + 250)}
}

func (p *people) about(a asked) *kgo.Record {
	at := p.s.world.Strange.Now + 1
	kind, expect := p.rng.IntN(20), ""
	if p.oneIn(40) {
		at, expect = at+10*60_000, `,"expect":"EVENT_IN_FUTURE"`
	}
	switch {
	case kind < 9:
		verdict, analyst, label := p.oneOf("approve", "approve", "approve", "reject", "escalate", "escalate"), p.oneOf("ann", "bob", "carl"), ""
		if p.oneIn(3) {
			label = fmt.Sprintf(`,"label":%q`, p.oneOf("fraud", "legit"))
		}
		if expect == "" && p.oneIn(40) {
			verdict, expect = "maybe", `,"expect":"INVALID_VALUE"`
		}
		return p.record("reviews", a.id, fmt.Sprintf(`{"review_id":%q,"refund_id":%q,"verdict":%q,"analyst":%q,"note":"n","occurred_at":%d%s%s}`,
			p.id("rev_"), a.id, verdict, analyst, at, label, expect))
	case kind < 12:
		confirmed := fmt.Sprintf(`,"confirmed":%v,"satisfied":true`, !p.oneIn(3))
		if expect == "" && p.oneIn(20) {
			confirmed, expect = "", `,"expect":"MISSING_FIELD"`
		}
		return p.record("confirmations", a.id, fmt.Sprintf(`{"confirmation_id":%q,"refund_id":%q,"occurred_at":%d%s%s}`, p.id("con_"), a.id, at, confirmed, expect))
	}
	amount := ""
	switch p.rng.IntN(10) {
	case 0:
		amount = `,"amount":"77.77","currency":` + fmt.Sprintf("%q", a.currency)
	case 1:
		amount = fmt.Sprintf(`,"amount":%q,"currency":"CHF"`, a.amount)
	case 2, 3:
	default:
		amount = fmt.Sprintf(`,"amount":%q,"currency":%q`, a.amount, a.currency)
	}
	return p.record("ledger-results", a.id, fmt.Sprintf(`{"result_id":%q,"refund_id":%q,"status":%q,"occurred_at":%d%s%s}`,
		p.id("res_"), a.id, p.oneOf("executed", "executed", "executed", "failed"), at, amount, expect))
}

// again says something once more, or something else under its id.
func (p *people) again(old *kgo.Record) *kgo.Record {
	r := &kgo.Record{Topic: old.Topic, Partition: old.Partition, Key: old.Key, Value: old.Value, Timestamp: old.Timestamp}
	if field(string(old.Value), "expect") == "" && p.oneIn(2) {
		r.Value = append([]byte(" "), old.Value...)
	}
	return r
}

// control puts something in force, or ends it.
func (p *people) control() *kgo.Record {
	if n := len(p.inHold); n > 0 && p.oneIn(2) {
		at := p.rng.IntN(n)
		id := p.inHold[at]
		p.inHold = append(p.inHold[:at], p.inHold[at+1:]...)
		return &kgo.Record{Topic: "refundguard-controls", Key: []byte(id)}
	}
	id, now := p.id("control_"), time.Now()
	c := event.Control{Kind: event.ControlHold, Reason: "r", By: "b", At: now.UnixMilli()}
	known := model.Control{}
	switch p.rng.IntN(4) {
	case 0:
		known.Rule, known.Customer = p.oneOf("velocity", "much", "other-instrument", "device-ring"), fmt.Sprint("cus_", p.rng.IntN(p.s.world.Strange.Customers))
		c.Kind, c.Rule, c.CustomerID, c.Until = event.ControlSnooze, known.Rule, known.Customer, now.Add(time.Duration(1+p.rng.IntN(60))*time.Second).UnixMilli()
	case 1:
		c.All = true
	default:
		known.Merchant = p.oneOf("mer_1", "mer_2", "mer_3")
		c.MerchantID = known.Merchant
	}
	p.lives().Controls[id] = known
	p.inHold = append(p.inHold, id)
	return &kgo.Record{Topic: "refundguard-controls", Key: []byte(id), Value: c.Append(nil)}
}

// holdAll puts everything on hold. Whoever starts after it must know.
func (p *people) holdAll() {
	c := event.Control{Kind: event.ControlHold, All: true, Reason: "the end", By: "b", At: time.Now().UnixMilli()}
	p.lives().Controls["everything"] = model.Control{}
	p.s.write(&kgo.Record{Topic: "refundguard-controls", Key: []byte("everything"), Value: c.Append(nil)})
	p.held = time.Now()
}
