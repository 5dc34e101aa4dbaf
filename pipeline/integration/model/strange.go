package model

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Strange writes the streams of a place where everything happens often:
// partial refunds until more than was paid is asked for, guests, customers who
// share devices, two currencies, ties in time, repeats, conflicts, broken
// records, and clocks that are wrong.
type Strange struct {
	World     *World
	Step      time.Duration // events are up to this apart
	Customers int
	Devices   int
	NoTies    bool  // each event has a time of its own
	Now       int64 // event time, Unix milliseconds

	// Lag is by how much Kafka's timestamp is later than an event; nil: 250 ms.
	// Below -5 minutes it makes another event.
	Lag func() time.Duration

	t    testing.TB
	rng  *rand.Rand
	n    int
	paid []payment
}

type payment struct{ id, customer, currency, instrument, amount string }

// NewStrange is a small and crowded place under the rules of strange.yaml; the
// same seed gives the same events.
func NewStrange(t testing.TB, ruleFile string, seed uint64) *Strange {
	t.Helper()
	return &Strange{
		World: &World{Model: newModel(t, ruleFile, strangeRules, strangePolicy), Rules: ruleFile},
		Step:  90 * time.Minute, Customers: 25, Devices: 5,
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), Now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli(),
	}
}

// Next adds an event to the world; now and then it is none.
func (s *Strange) Next() {
	switch {
	case s.NoTies:
		s.Now += 1 + s.rng.Int64N(s.Step.Milliseconds())
	case s.rng.IntN(4) > 0: // else: at the same time as the one before
		s.Now += s.rng.Int64N(s.Step.Milliseconds())
	}
	switch s.rng.IntN(20) {
	case 0:
		s.repeat()
	case 1:
		s.broken()
	case 2:
		s.update()
	case 3, 4, 5, 6, 7, 8, 9:
		s.refund()
	default:
		s.transaction()
	}
}

func (s *Strange) oneOf(values ...string) string { return values[s.rng.IntN(len(values))] }
func (s *Strange) percent(p int) bool            { return s.rng.IntN(100) < p }

// fields is a JSON object in the making; fields that are "" are left out.
type fields struct{ text bytes.Buffer }

func (f *fields) raw(name, value string) {
	if value == "" {
		return
	}
	separator := ","
	if f.text.Len() == 0 {
		separator = "{"
	}
	fmt.Fprintf(&f.text, "%s%q:%s", separator, name, value)
}

func (f *fields) str(name, value string) {
	if value != "" {
		f.raw(name, `"`+value+`"`)
	}
}

func (f *fields) object() []byte { return append(f.text.Bytes(), '}') }

// money is an amount in one of the forms that are accepted.
func (s *Strange) money(cents int64) string {
	whole := fmt.Sprintf("%d.%02d", cents/100, cents%100)
	switch s.rng.IntN(5) {
	case 0:
		return whole // a number
	case 1:
		return fmt.Sprintf("%de-2", cents)
	case 2:
		return `"` + whole + `00"`
	}
	return `"` + whole + `"`
}

// time is an event time in one of the forms that are accepted.
func (s *Strange) time(ms int64) string {
	at := time.UnixMilli(ms).UTC()
	switch s.rng.IntN(3) {
	case 0:
		return fmt.Sprint(ms)
	case 1:
		return `"` + at.In(time.FixedZone("", 5*3600+1800)).Format("2006-01-02T15:04:05.000Z07:00") + `"`
	}
	return `"` + at.Format("2006-01-02T15:04:05.000Z") + `"`
}

func (s *Strange) customer() string {
	if s.percent(5) {
		return ""
	}
	return fmt.Sprintf("cus_%d", s.rng.IntN(s.Customers))
}

func (s *Strange) device() string {
	if n := s.rng.IntN(s.Devices + 1); n > 0 {
		return fmt.Sprintf("dev_%d", n)
	}
	return ""
}

func (s *Strange) emit(topic, key string, value []byte, fate string) *kgo.Record {
	r := &kgo.Record{Topic: topic, Value: value}
	if key != "" {
		r.Key = []byte(key)
	}
	if s.percent(30) {
		r.Headers = []kgo.RecordHeader{{Key: "trace", Value: fmt.Appendf(nil, "%d", s.n)}, {Key: "trace", Value: nil}}
	}
	if s.Lag != nil {
		r.Timestamp = time.UnixMilli(s.Now).Add(s.Lag())
	}
	s.World.Add(s.t, r, fate)
	return r
}

func (s *Strange) transaction() {
	s.n++
	p := payment{
		id: fmt.Sprintf("txn_%d", s.n), customer: s.customer(), currency: "USD",
		instrument: s.oneOf("pm_1", "pm_2", ""), amount: s.money(100 + s.rng.Int64N(20_000)),
	}
	if s.percent(4) {
		p.currency = "EUR"
	}
	s.paid = append(s.paid, p)
	s.emit("transactions", p.customer, s.payment(p, s.oneOf("captured", "captured", "settled", "")), IsEvent)
}

func (s *Strange) payment(p payment, status string) []byte {
	var f fields
	f.str("transaction_id", p.id)
	f.str("customer_id", p.customer)
	f.raw("amount", p.amount)
	f.str("currency", p.currency)
	f.str("instrument_id", p.instrument)
	f.str("status", status)
	f.raw("occurred_at", s.time(s.Now))
	f.raw("unknown", `{"deep":[1,{"a":null}]}`)
	return f.object()
}

// update is a later record of a known transaction.
func (s *Strange) update() {
	if len(s.paid) == 0 {
		return
	}
	p := s.paid[len(s.paid)-1-s.rng.IntN(min(30, len(s.paid)))]
	s.Now++ // two records of one transaction at one time would leave open which is the later
	s.emit("transactions", p.customer, s.payment(p, s.oneOf("settled", "charged_back", "failed", "no_such_status")), IsUpdate)
}

func (s *Strange) refund() {
	s.n++
	var f fields
	f.str("refund_id", fmt.Sprintf("rfd_%d", s.n))
	customer, currency, cents := s.customer(), "USD", 100+s.rng.Int64N(12_000)
	switch {
	case len(s.paid) > 0 && s.percent(75):
		p := s.paid[len(s.paid)-1-s.rng.IntN(min(40, len(s.paid)))]
		f.str("transaction_id", p.id)
		currency = p.currency
		if s.percent(90) {
			customer = p.customer
		}
	case s.percent(50):
		f.str("transaction_id", fmt.Sprintf("txn_%d", s.n+s.rng.IntN(20))) // of the future, if at all
	}
	if s.percent(3) {
		currency = s.oneOf("EUR", "JPY")
	}
	f.str("customer_id", customer)
	f.raw("amount", s.money(cents))
	f.str("currency", currency)
	f.str("merchant_id", s.oneOf("mer_1", "mer_2", "mer_3", ""))
	f.str("device_id", s.device())
	f.str("instrument_id", s.oneOf("pm_1", "pm_1", "pm_2", ""))
	f.str("reason", s.oneOf("not_received", "defective", "a_new_reason", ""))
	f.raw("mfa", s.oneOf("true", "false", ""))
	f.str("method", []string{"", "original", "balance", "card"}[s.n%4])
	if s.n%5 == 0 {
		f.str("agent_id", "ann")
	}
	if s.percent(3) { // a clock that is ahead: decided as of Kafka's time, and held
		f.raw("occurred_at", s.time(s.Now+10*60_000))
		r := &kgo.Record{Topic: "refunds", Value: f.object(), Timestamp: time.UnixMilli(s.Now)}
		if customer != "" {
			r.Key = []byte(customer)
		}
		s.World.Add(s.t, r, IsEvent)
		return
	}
	f.raw("occurred_at", s.time(s.Now))
	s.emit("refunds", customer, f.object(), IsEvent)
}

// repeat sends a record of before once more, or a refund with another content.
func (s *Strange) repeat() {
	if len(s.World.Sent) == 0 {
		return
	}
	old := s.World.Sent[s.rng.IntN(len(s.World.Sent))]
	if old.Fate != IsEvent || old.Record.Key == nil { // without a key it could come before the first
		return
	}
	again := &kgo.Record{
		Topic: old.Record.Topic, Key: old.Record.Key, Value: old.Record.Value, Headers: old.Record.Headers,
		Timestamp: old.Record.Timestamp,
	}
	fate := IsDuplicate
	if again.Topic == "refunds" && s.percent(40) {
		again.Value = bytes.Replace(again.Value, []byte(`"refund_id"`), []byte(` "refund_id"`), 1)
		fate = "DUPLICATE_CONFLICT"
	}
	s.World.Sent = append(s.World.Sent, Sent{Record: again, At: s.Now, Fate: fate})
}

// broken sends something that is no record of its stream.
func (s *Strange) broken() {
	s.n++
	topic := s.oneOf("refunds", "refunds", "transactions")
	good := strings.ReplaceAll(`{"X_id":"bad_N","customer_id":"cus_1","amount":"5.00","currency":"USD","occurred_at":"T"}`, "N", fmt.Sprint(s.n))
	good = strings.Replace(good, "X", strings.TrimSuffix(topic, "s"), 1)
	good = strings.Replace(good, "T", time.UnixMilli(s.Now).UTC().Format(time.RFC3339), 1)
	kinds := []struct{ old, by, code string }{
		{good, "", "EMPTY_RECORD"},
		{good, good[:len(good)-5], "INVALID_JSON"},
		{good, good + "{}", "INVALID_JSON"},
		{good, "[" + good + "]", "WRONG_TYPE"},
		{`"cus_1"`, "\"\xff\"", "INVALID_UTF8"},
		{`"amount":"5.00",`, "", "MISSING_FIELD"},
		{`"5.00"`, "null", "MISSING_FIELD"},
		{`"5.00"`, "true", "WRONG_TYPE"},
		{`"5.00"`, `"0"`, "INVALID_VALUE"},
		{`"5.00"`, `"5.00001"`, "INVALID_VALUE"},
		{`"5.00"`, `"1e14"`, "INVALID_VALUE"},
		{`"USD"`, `"usd"`, "INVALID_VALUE"},
		{`"5.00"`, `"5.00","amount":"6.00"`, "DUPLICATE_KEY"},
		{`"cus_1"`, `"` + strings.Repeat("c", 70_000) + `"`, "TOO_LARGE"},
		{`"cus_1"`, `"cus_1","deep":` + strings.Repeat("[", 100) + strings.Repeat("]", 100), "TOO_DEEP"},
	}
	if topic == "transactions" {
		kinds = append(kinds, struct{ old, by, code string }{
			time.UnixMilli(s.Now).UTC().Format(time.RFC3339), time.UnixMilli(s.Now + 3600_000).UTC().Format(time.RFC3339), "EVENT_IN_FUTURE"})
	}
	kind := kinds[s.rng.IntN(len(kinds))]
	value := []byte(strings.Replace(good, kind.old, kind.by, 1))
	if kind.code == "EMPTY_RECORD" && s.percent(50) {
		value = nil
	}
	s.World.Sent = append(s.World.Sent, Sent{
		Record: &kgo.Record{Topic: topic, Key: []byte("cus_1"), Value: value, Timestamp: time.UnixMilli(s.Now)},
		At:     s.Now, Fate: kind.code,
	})
}
