// Package bench measures the service. Most of it is on one job, the gate: ten
// rules over six past-events expressions, the original and the sum of earlier
// refunds, on a stream of which 5 % are refunds. The same seed gives the same events and, whatever runs them, the same
// outcomes.
package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// gateRules are the rules of the gate.
const gateRules = `rules:
  - {id: customer-velocity, score: 30, reason: R1, when: 'refunds.by(customer_id).within("7d").count() >= 5'}
  - {id: customer-sum, score: 25, reason: R2, when: 'refunds.by(customer_id).within("30d").sum(amount) > 1000'}
  - {id: device-ring, score: 40, reason: R3, when: 'refunds.by(device_id).within("7d").distinct(customer_id) >= 3'}
  - {id: new-customer, score: 10, reason: R4, when: 'transactions.by(customer_id).within("1d").count() == 0 and transactions.by(customer_id).within("30d").sum(amount) < 50'}
  - {id: refund-share, score: 20, reason: R5, when: 'transactions.by(customer_id).within("30d").sum(amount) > 0 and 2 * refunds.by(customer_id).within("30d").sum(amount) > transactions.by(customer_id).within("30d").sum(amount)'}
  - {id: merchant-spike, score: 15, reason: R6, when: 'refunds.by(merchant_id).within("1h").count() >= 50'}
  - {id: orphan, score: 50, reason: R7, when: 'original == nil'}
  - {id: over-refund, score: 60, reason: R8, on_missing: skip, when: 'original != nil and refunded + amount > original.amount'}
  - {id: other-instrument, score: 35, reason: R9, on_missing: skip, when: 'original != nil and instrument_id != original.instrument_id'}
  - {id: large-without-mfa, score: 20, reason: R10, on_missing: skip, when: 'amount > 500 and not mfa'}
policy: {review_at: 40, reject_at: 80}
`

const (
	gateCustomers = 1_000_000
	gateMerchants = 20_000
	gateShared    = 5_000 // devices that many customers use
)

// gateEvent is one record of the gate.
type gateEvent struct {
	refund     bool
	number     uint64 // of a refund
	key, value []byte
}

// payment is what a later refund needs to know of a transaction.
type payment struct {
	number, customer, merchant, cents uint64
	instrument, shared                uint64
}

// gate generates the job's events in event-time order: 5 % refunds over 30
// days, customers and merchants by Zipf's law.
type gate struct {
	rand     *rand.Rand
	n, i     int
	step     float64 // milliseconds between events
	customer *rand.Zipf
	merchant *rand.Zipf
	device   *rand.Zipf
	recent   []payment // a ring of what may be refunded
	made     uint64
	refunds  uint64
	repeat   payment // refunded last
	hot      float64 // share of all events that one more merchant has
}

func newGate(n int, seed uint64, hot float64) *gate {
	r := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	return &gate{rand: r, n: n, step: float64(30*24*time.Hour/time.Millisecond) / float64(n),
		customer: rand.NewZipf(r, 1.1, 1, gateCustomers-1), merchant: rand.NewZipf(r, 1.2, 1, gateMerchants-1),
		device: rand.NewZipf(r, 1.1, 1, gateShared-1), recent: make([]payment, max(1000, n/6)), hot: hot}
}

// next returns the next event; ok is false after the last.
func (g *gate) next() (e gateEvent, ok bool) {
	if g.i == g.n {
		return gateEvent{}, false
	}
	at := g.time()
	g.i++
	if g.made < 100 || g.rand.Float64() >= 0.05 {
		return g.payment(at), true
	}
	return g.refund(at), true
}

// time is that of the next event.
func (g *gate) time() time.Time {
	return gateStart.Add(time.Duration((float64(g.i) + g.rand.Float64()*0.99) * g.step * float64(time.Millisecond)))
}

// rest are all events from the next one on.
func (g *gate) rest() []gateEvent {
	all := make([]gateEvent, 0, g.n-g.i)
	for e, ok := g.next(); ok; e, ok = g.next() {
		all = append(all, e)
	}
	return all
}

// ahead generates on a processor of its own, some thousand events before they
// are asked for.
func (g *gate) ahead(ctx context.Context) <-chan []gateEvent {
	out := make(chan []gateEvent, 8)
	go func() {
		defer close(out)
		for ctx.Err() == nil {
			some := make([]gateEvent, 0, 1000)
			for len(some) < cap(some) {
				e, ok := g.next()
				if !ok {
					break
				}
				some = append(some, e)
			}
			if len(some) == 0 {
				return
			}
			select {
			case out <- some:
			case <-ctx.Done():
			}
		}
	}()
	return out
}

var gateStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (g *gate) payment(at time.Time) gateEvent {
	p := payment{number: g.made + 1, customer: g.customer.Uint64() * 7919 % gateCustomers, merchant: g.merchant.Uint64() * 7919 % gateMerchants,
		cents: uint64(math.Round(100 * min(5000, max(1, math.Exp(3.5+g.rand.NormFloat64()))))), instrument: 1}
	if g.hot > 0 && g.rand.Float64() < g.hot {
		p.merchant = gateMerchants
	}
	if g.rand.Float64() < 0.2 {
		p.instrument = 2
	}
	if g.rand.Float64() < 0.1 {
		p.shared = g.device.Uint64() + 1
	}
	g.recent[g.made%uint64(len(g.recent))] = p
	g.made++
	return g.transaction(make([]byte, 0, 384), p, at)
}

// transaction writes its record over what is in b.
func (g *gate) transaction(b []byte, p payment, at time.Time) gateEvent {
	b = fmt.Appendf(b[:0], `{"transaction_id":"txn_%09d","customer_id":"cus_%07d","merchant_id":"mer_%05d","amount":"%d.%02d","currency":"USD","status":"captured","method":"card","instrument_id":"pm_%07d_%d"`,
		p.number, p.customer, p.merchant, p.cents/100, p.cents%100, p.customer, p.instrument)
	return g.event(false, p, g.place(b, p, "web", at))
}

func (g *gate) refund(at time.Time) gateEvent {
	p := g.recent[g.rand.Uint64N(min(g.made, uint64(len(g.recent))))]
	if g.rand.Float64() < 0.01 && g.repeat.number > 0 {
		p = g.repeat
	}
	g.repeat = p
	g.refunds++
	cents := p.cents
	switch x := g.rand.Float64(); {
	case x < 0.01:
		cents += 1 + g.rand.Uint64N(5000)
	case x < 0.31:
		cents = max(1, cents/2)
	}
	return g.refundOf(make([]byte, 0, 448), p, cents, at)
}

// refundOf writes the refund of a payment over what is in b.
func (g *gate) refundOf(b []byte, p payment, cents uint64, at time.Time) gateEvent {
	b = fmt.Appendf(b[:0], `{"refund_id":"rfd_%09d"`, g.refunds)
	if g.rand.Float64() >= 0.02 {
		b = fmt.Appendf(b, `,"transaction_id":"txn_%09d"`, p.number)
	}
	instrument := p.instrument
	if g.rand.Float64() < 0.02 {
		instrument = 9
	}
	b = fmt.Appendf(b, `,"customer_id":"cus_%07d","merchant_id":"mer_%05d","amount":"%d.%02d","currency":"USD","reason":"not_received","method":"original","instrument_id":"pm_%07d_%d","requested_by":"customer","mfa":%s`,
		p.customer, p.merchant, cents/100, cents%100, p.customer, instrument, strconv.FormatBool(g.rand.Float64() < 0.7))
	return g.event(true, p, g.place(b, p, "app", at))
}

// place adds what both kinds of records end with.
func (g *gate) place(b []byte, p payment, channel string, at time.Time) []byte {
	device := p.customer
	if p.shared > 0 {
		device = 9_000_000 + p.shared
	}
	return fmt.Appendf(b, `,"device_id":"dev_%07d","ip":"203.0.113.%d","country":"US","channel":%q,"occurred_at":"%s"}`,
		device, p.customer%256, channel, at.Format("2006-01-02T15:04:05.000Z"))
}

func (g *gate) event(refund bool, p payment, value []byte) gateEvent {
	number := uint64(0)
	if refund {
		number = g.refunds
	}
	return gateEvent{refund: refund, number: number, key: fmt.Appendf(nil, "cus_%07d", p.customer), value: value}
}
