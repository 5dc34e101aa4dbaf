package pipeline_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

const stateRules = `
rules:
  - {id: over-refund, severity: critical, action: reject, reason: OVER_REFUND, on_missing: skip, when: 'original != nil and refunded + amount > original.amount'}
  - {id: velocity, severity: high, score: 20, on_missing: skip, when: 'refunds.by(customer_id).within("7d").count() >= 3'}
  - {id: devices, score: 10, on_missing: skip, when: 'transactions.by(customer_id).within("2h").distinct(instrument_id) >= 2'}
  - {id: sum, score: 5, on_missing: skip, when: 'transactions.by(customer_id).ever().sum(amount) > 300'}
  - {id: last, score: 5, on_missing: skip, when: 'transactions.by(customer_id).within("1h").last(instrument_id) == "pm_ann"'}
  - {id: settled, score: 1, on_missing: skip, when: 'updates.by(customer_id).within("1d").count() > 1'}
  - {id: busy, on: transactions, action: alert, severity: low, on_missing: skip, when: 'transactions.by(customer_id).within("30m").count() >= 3'}
policy: {review_at: 30}
`

// script is what happens in a test: the same for a pipeline that runs once and
// for one that is stopped, and its state folder mistreated, all the time.
type script struct {
	r      *rand.Rand
	n      int
	minute int
}

// batch makes some records: transactions up to a time, and refunds up to a later
// one, so that some wait.
func (s *script) batch() (records []*kgo.Record) {
	add := func(topic string, partition int32, at int, f fields) {
		text := fmt.Sprint(f["raw"])
		if f["raw"] == nil {
			var b strings.Builder
			b.WriteString("{")
			for i, k := range slices.Sorted(maps.Keys(f)) {
				if i > 0 {
					b.WriteString(",")
				}
				fmt.Fprintf(&b, "%q:%q", k, f[k])
			}
			text = b.String() + "}"
		}
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(text), Timestamp: base.Add(time.Duration(at) * time.Minute)})
	}
	customers := []string{"ann", "bob", "cy"}
	for range 10 + s.r.IntN(30) {
		s.n++
		s.minute += s.r.IntN(3)
		c := s.r.IntN(3)
		f := tx(fmt.Sprint("t", s.n), customers[c], fmt.Sprint(20+s.r.IntN(100)), time.Duration(s.minute)*time.Minute)
		f["instrument_id"] = "pm_" + customers[s.r.IntN(3)]
		add("transactions", int32(c%2), s.minute, f)
		if s.r.IntN(6) == 0 {
			f = maps.Clone(f)
			f["status"] = "settled"
			add("transactions", int32(c%2), s.minute, f)
		}
		if s.r.IntN(9) == 0 {
			add("transactions", int32(c%2), s.minute, fields{"raw": "no json"})
		}
	}
	for m := s.minute - 20; m < s.minute+15; m += 1 + s.r.IntN(8) {
		s.n++
		c := s.r.IntN(3)
		id := fmt.Sprint("r", s.n)
		f := refund(id, fmt.Sprint("t", 1+s.r.IntN(s.n)), customers[c], fmt.Sprint(1+s.r.IntN(60)), time.Duration(m)*time.Minute)
		add("refunds", int32(c%2), m, f)
		switch s.r.IntN(6) {
		case 0: // the same again, in the other partition
			add("refunds", int32((c+1)%2), m, f)
		case 1: // with another amount
			f = maps.Clone(f)
			f["amount"] = "1000"
			add("refunds", int32(c%2), m, f)
		case 2:
			add("refunds", int32(c%2), m, fields{"raw": `{"refund_id":"x"}`})
		}
	}
	s.minute += 40
	return records
}

func (r *held) produce(records []*kgo.Record) {
	r.t.Helper()
	for _, rec := range records {
		c := *rec
		if err := r.client.ProduceSync(context.Background(), &c).FirstErr(); err != nil {
			r.t.Fatal(err)
		}
		if rec.Topic == "refunds" {
			r.ends[rec.Partition].Add(1)
		}
	}
}

var varying = regexp.MustCompile(`"(decided_at|source)":("[^"]*"|\{[^}]*\})`)

// results are all decisions, without what may differ, and all alerts of
// transactions.
func (r *held) results() map[string]string {
	r.t.Helper()
	all := map[string]string{}
	for _, rec := range r.read("refund-decisions") {
		d, err := event.ParseDecision(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, twice := all[d.RefundID]; twice {
			r.t.Errorf("refund %s was decided twice", d.RefundID)
		}
		all[d.RefundID] = varying.ReplaceAllString(string(rec.Value), "")
	}
	for _, rec := range r.read("alerts") {
		a, err := event.ParseAlert(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if a.TransactionID == "" {
			continue
		}
		if _, twice := all[a.AlertID]; twice {
			r.t.Errorf("the alert of transaction %s was written twice", a.TransactionID)
		}
		all[a.AlertID] = a.TransactionID + " " + a.Rule
	}
	return all
}

func (r *held) compare(want map[string]string) {
	r.t.Helper()
	got := r.results()
	for id, w := range want {
		if got[id] != w {
			r.t.Errorf("%s:\n%s\nwithout a crash:\n%s", id, got[id], w)
		}
	}
	for id, g := range got {
		if _, ok := want[id]; !ok {
			r.t.Errorf("only with crashes: %s", g)
		}
	}
}

func newStateWorld(t *testing.T) *held {
	r := newHeld(t, 2, 2)
	r.writeRules(stateRules)
	r.hold.Store(true)
	return r
}

// decidedOnce is what comes of batches where nothing happens to the pipeline.
func decidedOnce(t *testing.T, batches ...[]*kgo.Record) map[string]string {
	t.Helper()
	r := newStateWorld(t)
	for _, b := range batches {
		r.produce(b)
	}
	r.hold.Store(false)
	in := r.run()
	r.drained()
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	return r.results()
}

// settle waits until what can be decided is decided and committed.
func (r *held) settle(in *instance) {
	last, since := pipeline.Balance{}, time.Now()
	r.until("live", func() bool { return in.Ready() == nil })
	for time.Since(since) < 300*time.Millisecond {
		if b := in.Balance(); b != last {
			last, since = b, time.Now()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// drained waits until all that the topics hold is decided and committed.
func (r *held) drained() {
	r.t.Helper()
	r.until("all is decided", func() bool {
		st, err := pipeline.ReadStatus(context.Background(), r.cfg, "refundguard", []kgo.Opt{kgo.SeedBrokers(r.c.ListenAddrs()...)})
		if err != nil || len(st.Streams) == 0 {
			return false
		}
		for _, s := range st.Streams {
			if s.Lag+s.Undecided > 0 {
				return false
			}
		}
		return true
	})
}
