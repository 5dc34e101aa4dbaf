package model

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// People are analysts, customers and a ledger that do as they like: what they say
// of refunds is right, wrong, late, twice or nonsense, and mostly at once, so that
// it has no order among itself. Compare finds one in which it can have happened.
type People struct {
	strange    *Strange
	partitions int32
	rng        *rand.Rand
	n          int
	asked      []asked // refunds that were written, and what only looks like one
	said       []*kgo.Record
}

type asked struct{ id, currency, amount string }

// LifeTopics are those that they write to.
var LifeTopics = []string{"reviews", "confirmations", "ledger-results"}

// NewPeople speak of what is written of a world.
func NewPeople(s *Strange, partitions int32, rng *rand.Rand) *People {
	return &People{strange: s, partitions: partitions, rng: rng}
}

func (p *People) oneIn(n int) bool               { return p.rng.IntN(n) == 0 }
func (p *People) oneOf(values ...string) string  { return values[p.rng.IntN(len(values))] }
func (p *People) id(prefix string) (name string) { p.n++; return fmt.Sprint(prefix, p.n) }

var askedText = regexp.MustCompile(`"(refund_id|currency|amount)":"?([^",}]*)`)

// See takes note of what was written.
func (p *People) See(records []*kgo.Record) {
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

// Speak gives what they say next, to be written at once, each record to its
// partition; nothing, now and then.
func (p *People) Speak() (step []*kgo.Record) {
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
		step = append(step, p.again(p.said[len(p.said)-1-p.rng.IntN(min(500, len(p.said)))]))
	}
	return step
}

// record has their words where all of a refund are.
func (p *People) record(topic, refund, value string) *kgo.Record {
	h := fnv.New32a()
	h.Write([]byte(refund))
	return &kgo.Record{Topic: topic, Partition: int32(h.Sum32() % uint32(p.partitions)), Key: []byte(refund), Value: []byte(value),
		Timestamp: time.UnixMilli(p.strange.Now + 250)}
}

func (p *People) about(a asked) *kgo.Record {
	at := p.strange.Now + 1
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
func (p *People) again(old *kgo.Record) *kgo.Record {
	r := &kgo.Record{Topic: old.Topic, Partition: old.Partition, Key: old.Key, Value: old.Value, Timestamp: old.Timestamp}
	if !strings.Contains(string(old.Value), `"expect"`) && p.oneIn(2) {
		r.Value = append([]byte(" "), old.Value...)
	}
	return r
}
