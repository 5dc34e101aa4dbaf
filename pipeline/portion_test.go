package pipeline_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
)

// Decisions of 170 kB each don't fill one epoch with all that is due; those that
// wait for the next ones keep their order over partitions.
func TestLargeDecisions(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("rules:\n  - {id: over-refund, severity: critical, action: reject, reason: OVER_REFUND, on_missing: skip, when: 'original != nil and refunded + amount > original.amount'}\n")
	for i := range 40 {
		fmt.Fprintf(&rules, "  - {id: s%d, score: 1, on_missing: skip, when: 'amount > 0', message: '{{channel}}'}\n", i)
	}
	w := newWorld(t, 2, rules.String())
	channel := strings.Repeat("c", 4000)
	const pairs = 200
	var records []*kgo.Record
	add := func(topic string, partition int32, f fields) {
		f["channel"] = channel
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: b})
	}
	for i := range pairs {
		at, id := time.Duration(i)*time.Second, fmt.Sprint("t", i)
		add("transactions", 0, tx(id, "ann", "100", at))
		// Partition 0 has three times as many: it is behind at the same time.
		add("refunds", 0, refund(fmt.Sprint("x", i), "", "ann", "1", at+time.Millisecond))
		add("refunds", 0, refund(fmt.Sprint("y", i), "", "ann", "1", at+2*time.Millisecond))
		add("refunds", 0, refund("first-"+id, id, "ann", "60", at+3*time.Millisecond))
		add("refunds", 1, refund("second-"+id, id, "ann", "60", at+4*time.Millisecond))
	}
	if err := w.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.cfg.Streams = map[string]pipeline.StreamConfig{"refunds": streamFrom("earliest")}
	in := w.start()
	w.passed(in, 4*pairs)
	for id, d := range w.decisions() {
		want := "approve"
		if strings.HasPrefix(id, "second-") {
			want = "reject"
		}
		if d.Outcome.String() != want {
			t.Errorf("%s: %s, want %s", id, d.Outcome, want)
		}
	}
	most, last := int64(0), int64(0)
	for _, r := range w.cluster.ReadCommitted("refundguard-progress") {
		var p struct{ Balance struct{ Read int64 } }
		if err := json.Unmarshal(r.Value, &p); err != nil {
			t.Fatal(err)
		}
		most, last = max(most, p.Balance.Read-last), p.Balance.Read
	}
	if most > 2*pairs+pairs/2 {
		t.Errorf("one epoch decided %d refunds of 170 kB", most)
	}
}
