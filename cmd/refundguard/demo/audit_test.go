package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// world is topics made by hand: what a service that works would write.
type world struct {
	t       *testing.T
	cluster *kafkatest.Cluster
	client  *kgo.Client
}

func newWorld(t *testing.T) *world {
	c := kafkatest.Start(t)
	c.CreateTopics(4, nil, topicRefunds, topicApproved, topicDecisions, topicStatus, topicAlerts, topicDeadLetters, topicLabels, topicCases)
	c.CreateTopics(1, nil, topicProgress)
	return &world{t: t, cluster: c, client: c.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("world"))}
}

// write commits records, or aborts them.
func (w *world) write(commit bool, records ...*kgo.Record) {
	w.t.Helper()
	ctx := context.Background()
	if err := w.client.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	if err := connect.EndTransaction(ctx, w.client, kgo.TransactionEndTry(commit), records...); err != nil {
		w.t.Fatal(err)
	}
}

func asked(id string, partition int32) *kgo.Record {
	return &kgo.Record{Topic: topicRefunds, Partition: partition, Key: []byte("cus_1"),
		Value: []byte(`{"refund_id":"` + id + `"}`), Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte(id)}}}
}

func decidedAs(q *kgo.Record, id, outcome string) *kgo.Record {
	value := fmt.Sprintf(`{"decision_id":"d-%s","refund_id":"%s","outcome":"%s","decided_by":"engine","hits":[{"rule":"r1","mode":"live"},{"rule":"r2","mode":"shadow"}],
		"source":{"topic":"refunds","partition":%d,"offset":%d}}`, id, id, outcome, q.Partition, q.Offset)
	return &kgo.Record{Topic: topicDecisions, Key: []byte(id), Value: []byte(value)}
}

func letGo(q *kgo.Record, id string) *kgo.Record {
	headers := append(append([]kgo.RecordHeader{}, q.Headers...),
		kgo.RecordHeader{Key: "refundguard-decision-id", Value: []byte("d-" + id)}, kgo.RecordHeader{Key: "refundguard-ruleset", Value: []byte("sha256:1")})
	return &kgo.Record{Topic: topicApproved, Partition: q.Partition, Key: q.Key, Value: q.Value, Headers: headers}
}

func toldOf(id, status string) *kgo.Record {
	return &kgo.Record{Topic: topicStatus, Key: []byte(id), Value: []byte(`{"refund_id":"` + id + `","status":"` + status + `"}`)}
}

func buried(q *kgo.Record) *kgo.Record {
	return &kgo.Record{Topic: topicDeadLetters, Key: q.Key, Value: q.Value, Headers: []kgo.RecordHeader{
		{Key: "__connect.errors.topic", Value: []byte(topicRefunds)},
		{Key: "__connect.errors.partition", Value: []byte(strconv.Itoa(int(q.Partition)))},
		{Key: "__connect.errors.offset", Value: []byte(strconv.FormatInt(q.Offset, 10))}}}
}

func (w *world) progress(b Balance) *kgo.Record {
	value, err := json.Marshal(map[string]any{"balance": b})
	if err != nil {
		w.t.Fatal(err)
	}
	return &kgo.Record{Topic: topicProgress, Key: []byte("refundguard"), Value: value}
}

// good is a small life: approved, held and rejected refunds, a repeat, a dead
// letter, and a transaction that was aborted.
func (w *world) good() (requests map[string]*kgo.Record, outputs []*kgo.Record) {
	requests = map[string]*kgo.Record{}
	for i, id := range []string{"a", "b", "c", "held", "refused", "bad"} {
		requests[id] = asked(id, int32(i%4))
		w.write(true, requests[id])
	}
	again := asked("a", 0)
	w.write(false, asked("never", 1))
	w.write(true, again)
	for id, outcome := range map[string]string{"a": "approve", "b": "approve", "c": "approve", "held": "review", "refused": "reject"} {
		outputs = append(outputs, decidedAs(requests[id], id, outcome))
		if outcome == "approve" {
			outputs = append(outputs, letGo(requests[id], id))
		}
	}
	outputs = append(outputs, toldOf("a", "approved"), toldOf("a", "executed"), toldOf("b", "approved"))
	outputs = append(outputs, buried(requests["bad"]),
		w.progress(Balance{Read: 7, Approved: 3, InReview: 1, Rejected: 1, DeadLettered: 1, Duplicates: 1}))
	return requests, outputs
}

// audit reads everything and verifies.
func (w *world) audit() (Balance, []string, Tally) {
	w.t.Helper()
	a := NewAudit()
	a.Label("held", "device_ring")
	a.Label("a", "device_ring")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opts := []kgo.Opt{kgo.SeedBrokers(w.cluster.Brokers()...)}
	f, err := follow(opts, audited(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.close()
	if err := f.catchUp(ctx); err != nil {
		w.t.Fatal(err)
	}
	b, faults := a.Verify()
	return b, faults, a.Tally()
}

func TestAuditOfAGoodLife(t *testing.T) {
	w := newWorld(t)
	_, out := w.good()
	w.write(true, out...)
	b, faults, tally := w.audit()
	want := Balance{Read: 7, Approved: 3, InReview: 1, Rejected: 1, DeadLettered: 1, Duplicates: 1, OK: true}
	if b != want || len(faults) > 0 {
		t.Errorf("balance %+v, want %+v; faults %q", b, want, faults)
	}
	if tally.Rules["r1"] != 5 || tally.Rules["r2 (shadow)"] != 5 || tally.Hits != 10 {
		t.Errorf("rules %v, %d hits", tally.Rules, tally.Hits)
	}
	if c := tally.Labels["device_ring"]; c != (Caught{1, 2}) {
		t.Errorf("caught %+v, want 1 of 2", c)
	}
	if tally.Honest != (Caught{1, 3}) {
		t.Errorf("honest %+v, want 1 of 3 held", tally.Honest)
	}
	if tally.Topics[topicRefunds] != 7 || tally.Topics[topicApproved] != 3 {
		t.Errorf("topics %v", tally.Topics)
	}
}

// Each way to break the promise must be found.
func TestAuditFindsFaults(t *testing.T) {
	without := func(out []*kgo.Record, topic string) []*kgo.Record {
		for i, r := range out {
			if r.Topic == topic {
				return append(out[:i:i], out[i+1:]...)
			}
		}
		return out
	}
	cases := map[string]struct {
		change func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record
		fault  string
	}{
		"a missing approval": {func(w *world, _ map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			return without(out, topicApproved)
		}, "is approved, and not in refunds-approved"},
		"a doubled approval": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			return append(out, letGo(q["a"], "a"))
		}, "lets refund a go once more"},
		"altered bytes": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			for _, r := range out {
				if r.Topic == topicApproved {
					r.Value = append(append([]byte{}, r.Value...), ' ')
					break
				}
			}
			return out
		}, "differs from its request"},
		"a lost key": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			for _, r := range out {
				if r.Topic == topicApproved {
					r.Key = nil
					break
				}
			}
			return out
		}, "differs from its request"},
		"a lost header": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			for _, r := range out {
				if r.Topic == topicApproved {
					r.Headers = r.Headers[1:]
					break
				}
			}
			return out
		}, "differs from its request"},
		"a lost decision": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			return without(without(out, topicDecisions), topicApproved)
		}, "is lost"},
		"a lost dead letter": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			return without(out, topicDeadLetters)
		}, "is lost"},
		"an altered dead letter": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			for _, r := range out {
				if r.Topic == topicDeadLetters {
					r.Value = []byte("{}")
				}
			}
			return out
		}, "has other bytes than it"},
		"decided twice": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			return append(out, decidedAs(q["held"], "held", "approve"))
		}, "is decided again"},
		"decided and dead-lettered": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			return append(out, buried(q["held"]))
		}, "is decided and dead-lettered"},
		"a held refund let go": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			return append(out, letGo(q["held"], "held"))
		}, "lets refund held go, which has the outcome review"},
		"an approval out of nowhere": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			return append(out, letGo(q["a"], "nobody"))
		}, "which there is none of"},
		"a status told twice": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			return append(out, toldOf("a", "approved"))
		}, "refund a is said to be approved once more"},
		"a service that counts wrong": {func(w *world, q map[string]*kgo.Record, out []*kgo.Record) []*kgo.Record {
			return append(out, w.progress(Balance{Read: 7, Approved: 4, InReview: 1, Rejected: 1, Duplicates: 1}))
		}, "the service counts"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			q, out := w.good()
			w.write(true, c.change(w, q, out)...)
			b, faults, _ := w.audit()
			if b.OK || !strings.Contains(strings.Join(faults, "\n"), c.fault) {
				t.Errorf("ok is %v, faults are %q: want one with %q", b.OK, faults, c.fault)
			}
		})
	}
}

// What was aborted never happened, whatever it says.
func TestAuditReadsCommittedOnly(t *testing.T) {
	w := newWorld(t)
	q, out := w.good()
	w.write(true, out...)
	w.write(false, letGo(q["a"], "a"), decidedAs(q["a"], "a", "reject"))
	if b, faults, _ := w.audit(); !b.OK {
		t.Errorf("faults %q", faults)
	}
}
