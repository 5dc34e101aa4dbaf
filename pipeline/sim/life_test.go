package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/calendar"
	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/rules/event"
)

// people are those of the model, and who puts controls in force.
type people struct {
	*model.People
	s      *sim
	rng    *rand.Rand
	n      int       // controls
	inHold []string  // controls in force
	held   time.Time // everything is on hold since; zero: no
}

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
	p.People = model.NewPeople(s.world.Strange, s.partitions, p.rng)
	return p
}

// speak has them say something.
func (p *people) speak(cl *kgo.Client) error {
	step := p.Speak()
	if p.oneIn(12) {
		step = append(step, p.control())
	}
	return cl.ProduceSync(context.Background(), step...).FirstErr()
}

func (p *people) oneIn(n int) bool              { return p.rng.IntN(n) == 0 }
func (p *people) oneOf(values ...string) string { return values[p.rng.IntN(len(values))] }

func (p *people) lives() *model.Lives { return p.s.world.Strange.World.Lives }

// control puts something in force, or ends it.
func (p *people) control() *kgo.Record {
	if n := len(p.inHold); n > 0 && p.oneIn(2) {
		at := p.rng.IntN(n)
		id := p.inHold[at]
		p.inHold = append(p.inHold[:at], p.inHold[at+1:]...)
		return &kgo.Record{Topic: "refundguard-controls", Key: []byte(id)}
	}
	p.n++
	id, now := fmt.Sprint("control_", p.n), time.Now()
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
