package pipeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

// stamped is a record that Kafka has got at one time and that says another.
type stamped struct {
	topic string
	id    string
	sent  time.Time // occurred_at
	kafka time.Time
	want  string // outcome and reason, or the code of the dead letter
}

// sendStamped sends a record of a customer of its own.
func (w *world) sendStamped(partition int32, s stamped) {
	w.t.Helper()
	w.sendAt(s.kafka, s.topic, partition, fields{strings.TrimSuffix(s.topic, "s") + "_id": s.id, "customer_id": "of " + s.id,
		"amount": 1, "currency": "USD", "occurred_at": s.sent.Format("2006-01-02T15:04:05.000Z07:00")})
}

// sendAt sends a record with a Kafka timestamp.
func (w *world) sendAt(at time.Time, topic string, partition int32, f fields) {
	w.t.Helper()
	value, err := json.Marshal(f)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &kgo.Record{Topic: topic, Partition: partition, Value: value, Timestamp: at}
	if err := w.client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// TestEventsOfAnyTime: events of the year 1, of 1970, of an hour ago and of the
// future become what the contract says, and change nothing for others.
func TestEventsOfAnyTime(t *testing.T) {
	at := func(after time.Duration) time.Time { return base.Add(after) }
	year := func(y int) time.Time { return time.Date(y, 12, 31, 23, 59, 59, 999e6, time.UTC) }
	ms := time.UnixMilli
	const never = math.MinInt64
	strange := []stamped{
		{"refunds", "an hour ago", at(-time.Hour), base, "approve"},
		{"refunds", "a moment more than an hour ago", at(-time.Hour), at(time.Millisecond), "approve EVENT_TOO_OLD"},
		{"refunds", "1970", ms(0), base, "approve EVENT_TOO_OLD"},
		{"refunds", "1750", year(1750), base, "approve EVENT_TOO_OLD"},
		{"refunds", "5 minutes ahead", at(5 * time.Minute), base, "approve"},
		{"refunds", "a moment more", at(5*time.Minute + time.Millisecond), base, "review EVENT_IN_FUTURE"},
		{"refunds", "an hour ahead", at(time.Hour), base, "review EVENT_IN_FUTURE"},
		{"refunds", "2200", year(2200), base, "review EVENT_IN_FUTURE"},
		{"refunds", "9999", year(9999), base, "review EVENT_IN_FUTURE"},
		{"refunds", "Kafka in 1970", base, ms(0), "review EVENT_IN_FUTURE"},
		{"refunds", "Kafka before all time", base, ms(never), "review EVENT_IN_FUTURE"},
		{"refunds", "Kafka in 2261", base, year(2261), "approve EVENT_TOO_OLD"},
		{"transactions", "t1970", ms(0), base, ""},
		{"transactions", "t 5 minutes ahead", at(5 * time.Minute), base, ""},
		{"transactions", "t an hour ahead", at(time.Hour), base, "EVENT_IN_FUTURE"},
		{"transactions", "t9999", year(9999), base, "EVENT_IN_FUTURE"},
		{"transactions", "t Kafka before all time", base, ms(never), "EVENT_IN_FUTURE"},
		{"transactions", "t Kafka in 2261", base, year(2261), ""},
	}
	run := func(strange []stamped, maxDelay time.Duration) (decided map[string]string, refused map[string]string) {
		w := newWorld(t, 2, testRules)
		w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
		w.cfg.Limits.MaxEventDelay = maxDelay
		n := int64(0)
		for i := range 24 {
			p := int32(i % 2)
			id, after := fmt.Sprint("n", i), time.Duration(i)*time.Minute
			w.sendAt(at(after), "transactions", p, tx(id, fmt.Sprint("c", i%4), "10", after))
			if i < len(strange) {
				if w.sendStamped(p, strange[i]); strange[i].topic == "refunds" {
					n++
				}
			}
			w.sendAt(at(after+time.Second), "refunds", 1-p, refund(id, id, fmt.Sprint("c", i%4), fmt.Sprint(7+i%5), after+time.Second))
			n++
		}
		in := w.start()
		w.passed(in, n)
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		decided, refused = map[string]string{}, map[string]string{}
		for id, d := range w.decisions() {
			d.DecidedAt, d.ReceivedAt, d.Source = 0, 0, event.Source{}
			decided[id] = string(d.Append(nil))
			for _, s := range strange {
				if s.id != id {
					continue
				}
				if decided[id] = d.Outcome.String(); d.Reason != "" {
					decided[id] += " " + d.Reason
				}
				if d.OccurredAt != s.sent.UnixMilli() {
					t.Errorf("%s: the decision shows %v", id, time.UnixMilli(d.OccurredAt).UTC())
				}
			}
		}
		for _, r := range w.cluster.ReadCommitted("dead-letters") {
			for _, s := range strange {
				if strings.Contains(string(r.Value), fmt.Sprintf("%q", s.id)) {
					refused[s.id] = header(r, event.HeaderCode)
				}
			}
		}
		return decided, refused
	}
	ordinary, _ := run(nil, 0)
	for _, maxDelay := range []time.Duration{0, time.Hour} {
		decided, refused := run(strange, maxDelay)
		for _, s := range strange {
			got := decided[s.id] + refused[s.id]
			delete(decided, s.id)
			want := s.want
			if before, tooOld := strings.CutSuffix(want, " EVENT_TOO_OLD"); tooOld && maxDelay == 0 {
				want = before
			} else if tooOld {
				want = "review EVENT_TOO_OLD"
			}
			if got != want {
				t.Errorf("max_event_delay %v, %s: %q, want %q", maxDelay, s.id, got, want)
			}
		}
		if !maps.Equal(decided, ordinary) {
			t.Errorf("max_event_delay %v: ordinary refunds are decided in another way beside strange ones:\n%v\n%v", maxDelay, decided, ordinary)
		}
	}
}
