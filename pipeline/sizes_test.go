package pipeline_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/rules/event"
)

// noise is text that doesn't compress to less than its bound.
func noise(n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{})
	r.Read(b)
	return base64.StdEncoding.EncodeToString(b)[:n]
}

// take sets what a topic takes at once, and makes it if it isn't there.
func (r *held) take(topic string, bytes int) {
	r.t.Helper()
	ctx, value := context.Background(), fmt.Sprint(bytes)
	if _, err := r.adm.CreateTopic(ctx, 1, 1, nil, topic); err != nil && !strings.Contains(err.Error(), kerr.TopicAlreadyExists.Message) {
		r.t.Fatal(err)
	}
	set, err := r.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &value}}, topic)
	if err != nil || len(set) != 1 || set[0].Err != nil {
		r.t.Fatal(set, err)
	}
}

// One refund that is too large for where it would go is refused, and stops no
// other, however that becomes known.
func TestARefundThatItsTopicDoesNotTake(t *testing.T) {
	slow(t)
	for _, c := range []struct {
		name, topic   string
		before, while func(*held)
	}{
		{"topic-takes-less", "refunds-approved", func(r *held) { r.take("refunds-approved", 40_000) }, func(*held) {}},
		{"topic-takes-less-cases", "refundguard-cases", func(r *held) { r.take("refundguard-cases", 40_000) }, func(*held) {}},
		{"topic-takes-less-by-now", "refunds-approved", func(*held) {}, func(r *held) { r.take("refunds-approved", 40_000) }},
		{"topic-takes-less-unknown", "refunds-approved", func(r *held) {
			r.take("refunds-approved", 40_000)
			r.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		}, func(*held) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newHeld(t, 1, 1)
			c.before(r)
			in := r.run()
			r.send("refunds", 0, refund("before", "", "ann", "1", 0))
			r.passed(in, 1)
			c.while(r)
			large := refund("large", "", "ann", "1", time.Minute)
			large["pad"] = noise(50_000)
			sent := r.send("refunds", 0, large)
			for i := range 40 { // whose batches would be too large, too
				f := refund(fmt.Sprint("small", i), "", fmt.Sprint(i), "1", 2*time.Minute)
				f["pad"] = noise(2000)
				r.send("refunds", 0, f)
			}
			r.whole(in, 42)
			if b := in.Balance(); b.DeadLettered != 1 || b.Approved != 42 {
				t.Errorf("balance %+v", b)
			}
			dead := r.read("dead-letters")
			if len(dead) != 1 || header(dead[0], event.HeaderCode) != event.CodeTooLarge || string(dead[0].Value) != string(sent.Value) {
				t.Errorf("dead letters: %v", dead)
			}
		})
	}
}

// A request of whatever size either has a case that its topic takes, or is refused:
// what a case repeats of it is not forgotten.
func TestARequestWhoseCaseIsLargerThanIt(t *testing.T) {
	const takes = 40_000
	r := newHeld(t, 1, 1)
	r.take("refundguard-cases", takes)
	in := r.run()
	n := int64(0)
	for size := takes - 25_000; size < takes; size += 400 {
		f := refund(strings.Repeat("i", 240)+fmt.Sprint(n), strings.Repeat("t", 250), strings.Repeat("c", 250), "1", 0)
		f["merchant_id"], f["agent_id"], f["method"] = strings.Repeat("m", 250), strings.Repeat("a", 250), strings.Repeat("x", 3000)
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		f["pad"] = noise(size - len(text) - 10)
		r.send("refunds", 0, f)
		n++
	}
	r.until("all are decided or refused", func() bool { return in.Balance().Read == n })
	if b := in.Balance(); b.DeadLettered == 0 || b.DeadLettered == n || !b.OK() {
		t.Errorf("%+v", b)
	}
}

// A decision that is too large to be written says less, and approves nothing;
// what goes with it is shortened, too.
func TestADecisionThatItsTopicDoesNotTake(t *testing.T) {
	r := newHeld(t, 1, 1)
	var rules strings.Builder
	rules.WriteString("rules:\n")
	for i := range 12 {
		fmt.Fprintf(&rules, "  - {id: r%d, action: alert, when: 'amount > 50 and refunds.by(customer_id).within(\"%dd\").count() >= 0', on_missing: skip, message: '{{channel}}{{channel}}'}\n",
			i, i+1)
	}
	r.writeRules(rules.String())
	for _, topic := range []string{"refund-decisions", "refund-status", "alerts", "dead-letters"} {
		r.take(topic, 33_000)
	}
	in := r.run()
	r.send("refunds", 0, refund("small", "", "ann", "1", 0))
	large := refund("large", "", "ann", "60", time.Minute)
	large["channel"] = strings.Repeat("\x01", 4000) // each takes six bytes in JSON
	r.send("refunds", 0, large)
	r.sendRaw("refunds", 0, `{"refund_id":"`+noise(40_000))
	r.whole(in, 3)
	if b := in.Balance(); b.InReview != 1 || b.Approved != 2 || b.DeadLettered != 1 {
		t.Errorf("balance %+v", b)
	}
	for _, rec := range r.read(decisions) {
		d, err := event.ParseDecision(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		if d.RefundID == "large" && (d.Outcome != event.Review || d.Reason != "DECISION_TOO_LARGE" || len(d.Hits) != 12 || d.Hits[0].Message != "") {
			t.Errorf("decided %+v", d)
		}
	}
	cases := slices.DeleteFunc(r.read("refundguard-cases"), func(r *kgo.Record) bool { return header(r, "refundguard-state") != "in_review" })
	if len(cases) != 1 || string(cases[0].Key) != "large" {
		t.Errorf("cases: %v", cases)
	}
	if n := len(r.read("alerts")); n != 12+1 {
		t.Errorf("%d alerts, want one of each rule and one of the dead letter", n)
	}
	if n := len(r.read("refund-status")); n != 3 {
		t.Errorf("%d statuses", n)
	}
	if d := r.read("dead-letters"); len(d) != 1 || header(d[0], "refundguard-omitted-bytes") == "" {
		t.Errorf("dead letters: %v", d)
	}
}

// A topic that takes next to nothing can't be worked with.
func TestATopicThatTakesNextToNothing(t *testing.T) {
	r := newHeld(t, 1, 1)
	r.take("refund-status", 2000)
	if err := r.run().wait(); err == nil || !strings.Contains(err.Error(), "refund-status takes no more than 2000 bytes") {
		t.Errorf("ended with %v", err)
	}
}
