// Package shop writes the life of a shop that never was: purchases, what
// becomes of them, and refunds, in refundguard's stream formats, in event-time
// order, shaped as the measured years of a real shop. Frauds can be mixed in,
// and are labelled apart.
//
// The same Config gives the same bytes on every machine.
package shop

import (
	"errors"
	"fmt"
	"time"
)

// The streams that records belong to. Labels is not an input of refundguard:
// it says which of the refunds are frauds.
const (
	Transactions = "transactions"
	Refunds      = "refunds"
	Labels       = "labels"
)

// The kinds of attacks, as labels name them.
const (
	Ring            = "device_ring"      // many customers' refunds from one device within days
	OverRefund      = "over_refund"      // refunds that exceed the payment, at once or in parts
	OtherInstrument = "other_instrument" // refunds to another instrument than the one that paid
)

// Config says which shop. The zero value of a number stands for its default.
type Config struct {
	Seed         uint64
	End          time.Time // midnight UTC; default 2026-01-01. Records are before it.
	Days         int       // default 365
	Transactions int       // purchases; default 50,000
	Customers    int       // default: one for 4.7 purchases
	Attacks      bool
	Bad          int // malformed, repeated and conflicting records to a million good ones
}

// Record is one record of a stream. Its bytes are valid until the next call of
// Next.
type Record struct {
	Stream string
	Key    []byte // customer_id; nil for a guest's
	Value  []byte // one JSON object, no newline
	Time   int64  // event time, Unix milliseconds; never less than the one before
}

// Shop is an iterator over the records of one shop. Its memory is bounded by
// the refunds that are on their way at one time, not by the horizon.
type Shop struct {
	cfg        Config
	start, end int64
	rng        rng
	salt       uint64
	cal        *calendar
	queue      queue
	attacks    *attacks

	unseen       uint64   // business done before start
	warm, number uint64   // purchases before start; the next purchase
	all          uint64   // purchases, those before start included
	next         purchase // valid if number < all
	refunds      uint64   // refunds scheduled

	enc   encoder
	label []byte // to be returned next, if not empty
	rec   Record
}

// warmup is how long before its start the shop is run unseen, so that the
// first days see refunds of purchases made before them.
const warmup = 180

// maxWarmup bounds the purchases of that time: two seconds' worth.
const maxWarmup = 5_000_000

// New is the shop of a configuration, or an error that names what is wrong
// with it.
func New(cfg Config) (*Shop, error) {
	if cfg.End.IsZero() {
		cfg.End = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if cfg.Days == 0 {
		cfg.Days = 365
	}
	if cfg.Transactions == 0 {
		cfg.Transactions = 50_000
	}
	if cfg.Customers == 0 {
		cfg.Customers = max(1, int(int64(cfg.Transactions)*10/47))
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Shop{cfg: cfg, rng: newRNG(cfg.Seed), salt: mix(cfg.Seed ^ 0x5bd1e995)}
	s.end = cfg.End.UnixMilli()
	s.start = s.end - int64(cfg.Days)*day
	before := min(warmup, cfg.Days)
	s.cal = newCalendar(s.start-int64(before)*day, 24*(before+cfg.Days))
	s.unseen = s.cal.before(s.start)
	s.warm = muldiv(uint64(cfg.Transactions), s.unseen, s.cal.total()-s.unseen)
	s.all = s.warm + uint64(cfg.Transactions)
	s.number = s.warm - min(s.warm, maxWarmup)
	if cfg.Attacks {
		s.attacks = newAttacks(s)
	}
	s.look()
	return s, nil
}

func (c Config) validate() error {
	var faults []error
	check := func(name string, value, least, most int) {
		if value < least || value > most {
			faults = append(faults, fmt.Errorf("%s is %d: it must be %d to %d", name, value, least, most))
		}
	}
	check("days", c.Days, 1, 10_000)
	check("transactions", c.Transactions, 1, 2_000_000_000)
	check("customers", c.Customers, 1, 1_000_000_000)
	check("bad records to a million", c.Bad, 0, 500_000)
	if ms := c.End.UnixMilli(); ms%day != 0 || ms < 10_200*day || ms > 1_000_000*day {
		faults = append(faults, fmt.Errorf("end is %s: it must be a midnight in UTC, and not before 1998", c.End.Format(time.RFC3339)))
	}
	return errors.Join(faults...)
}

// Next is the next record; false when the shop's time is over.
func (s *Shop) Next() (Record, bool) {
	if len(s.label) > 0 {
		s.rec = Record{Stream: Labels, Value: s.label, Time: s.rec.Time}
		s.label = s.label[:0]
		return s.rec, true
	}
	for {
		more := s.number < s.all
		if len(s.queue.items) > 0 && (!more || s.queue.items[0].at <= s.next.at) {
			p := s.queue.pop()
			s.happen(&p)
		} else if more {
			p := s.next
			s.number++
			s.look()
			s.schedule(&p)
			if p.at < s.start {
				continue
			}
			s.transaction(&p, p.at, p.status)
		} else {
			return Record{}, false
		}
		s.spoil()
		return s.rec, true
	}
}

// happen makes the record of something that was scheduled.
func (s *Shop) happen(p *pending) {
	switch p.kind {
	case kindUpdate:
		s.transaction(&p.of, p.at, p.status)
	case kindRefund:
		s.rec = Record{Stream: Refunds, Time: p.at}
		s.rec.Key, s.rec.Value = s.enc.refund(s, p)
		if p.attack != "" {
			s.label = s.enc.label(s.label[:0], p)
		}
	case kindRaw:
		s.rec = Record{Stream: p.raw.Stream, Key: p.raw.Key, Value: p.raw.Value, Time: p.at}
	}
}

func (s *Shop) transaction(p *purchase, at int64, status uint8) {
	s.rec = Record{Stream: Transactions, Time: at}
	s.rec.Key, s.rec.Value = s.enc.transaction(s, p, at, status)
}

// later schedules; what would come after the end never does.
func (s *Shop) later(p pending) {
	if p.at >= s.start && p.at < s.end {
		s.queue.push(p)
	}
}

// Progress is how many purchases were made, of how many.
func (s *Shop) Progress() (done, all int64) {
	return int64(s.number - min(s.number, s.warm)), int64(s.all - s.warm)
}
