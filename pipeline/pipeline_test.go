package pipeline_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

func TestEveryRefundHasOneOutcomeAndItsRecords(t *testing.T) {
	w := newWorld(t, 2, testRules)
	w.send("transactions", 0, tx("t1", "ann", "100.00", 0))
	w.send("transactions", 1, tx("t2", "bob", "900", 0))
	approved := w.send("refunds", 0, refund("r1", "t1", "ann", "60.00", time.Hour))
	w.send("refunds", 1, refund("r2", "t2", "bob", "901", time.Hour))     // over, and large
	w.send("refunds", 0, refund("r3", "t1", "ann", "40.00", 2*time.Hour)) // exactly the rest
	w.send("refunds", 0, refund("r4", "t1", "ann", "0.01", 3*time.Hour))  // a cent over
	w.sendRaw("refunds", 0, string(approved.Value))                       // duplicate
	conflict := w.send("refunds", 0, refund("r1", "t1", "ann", "61.00", time.Hour))
	broken := w.sendRaw("refunds", 1, `{"refund_id":"r5","amount":NaN}`)
	for i := range 3 {
		w.send("refunds", 1, refund(fmt.Sprint("v", i), "", "cat", "5", time.Duration(i)*time.Minute))
	}
	held := w.send("refunds", 1, refund("v3", "", "cat", "5", 3*time.Minute))
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}

	in := w.start()
	if got, want := w.passed(in, 11), (pipeline.Balance{Read: 11, Approved: 5, InReview: 1, Rejected: 2, DeadLettered: 2, Duplicates: 1}); got != want {
		t.Errorf("balance %+v, want %+v", got, want)
	}
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	want := "r1 approve, r2 reject, r3 approve, r4 reject, v0 approve, v1 approve, v2 approve, v3 review"
	if got := w.outcomes(); got != want {
		t.Fatalf("outcomes: %s\nwant:     %s", got, want)
	}

	var releases []*kgo.Record
	for _, r := range w.cluster.ReadCommitted("refunds-approved") {
		if strings.Contains(string(r.Value), `"r1"`) {
			releases = append(releases, r)
		}
	}
	if len(releases) != 1 {
		t.Fatalf("r1 was released %d times", len(releases))
	}
	r, d := releases[0], w.decisions()["r1"]
	if string(r.Value) != string(approved.Value) || string(r.Key) != "some key" || len(r.Headers) != 4 ||
		r.Headers[0].Key != "trace" || string(r.Headers[1].Value) != "b" {
		t.Errorf("the approved record is not the request: %s %s %v", r.Key, r.Value, r.Headers)
	}
	if header(r, event.HeaderDecisionID) != d.DecisionID || header(r, event.HeaderRuleset) != d.Ruleset || !strings.HasPrefix(d.Ruleset, "sha256:") {
		t.Errorf("headers %v of decision %s under %s", r.Headers, d.DecisionID, d.Ruleset)
	}
	if d.Original == nil || d.Original.TransactionID != "t1" || d.Source != (event.Source{Topic: "refunds", Partition: 0, Offset: 0}) {
		t.Errorf("decision %+v", d)
	}

	codes := map[string]string{}
	for _, r := range w.cluster.ReadCommitted("dead-letters") {
		codes[string(r.Value)] = header(r, event.HeaderCode)
		if header(r, "__connect.errors.topic") != "refunds" {
			t.Errorf("headers of a dead letter: %v", r.Headers)
		}
	}
	if len(codes) != 2 || codes[string(conflict.Value)] != "DUPLICATE_CONFLICT" || codes[string(broken.Value)] != "INVALID_JSON" {
		t.Errorf("dead letters: %v", codes)
	}
	alerts := map[string]string{}
	for _, r := range w.cluster.ReadCommitted("alerts") {
		a, err := event.ParseAlert(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		alerts[a.Rule] += a.RefundID + a.Severity
	}
	if alerts["watch"] != "r2low" || alerts["dead-letter:DUPLICATE_CONFLICT"] != "r1critical" || alerts["dead-letter:INVALID_JSON"] != "high" {
		t.Errorf("alerts: %v", alerts)
	}
	cases := w.cluster.ReadCommitted("refundguard-cases")
	if len(cases) != 8 {
		t.Errorf("%d cases, want one per decision", len(cases))
	}
	cases = slices.DeleteFunc(cases, func(r *kgo.Record) bool { return header(r, "refundguard-state") != "in_review" })
	if len(cases) != 1 || string(cases[0].Key) != "v3" || string(cases[0].Value) != string(held.Value) || header(cases[0], "refundguard-request-key") != "some key" {
		t.Errorf("cases: %v", cases)
	}
	if n := len(w.cluster.ReadCommitted("refund-status")); n != 8 {
		t.Errorf("%d statuses, want one per decision", n)
	}
}

func TestTwoRefundsOfOnePaymentNeverBothPass(t *testing.T) {
	w := newWorld(t, 4, testRules)
	w.send("transactions", 3, tx("t1", "ann", "100", 0))
	const pairs = 25
	for i := range pairs {
		id := fmt.Sprint("p", i)
		w.send("transactions", int32(i%4), tx(id, "c"+id, "100", time.Minute))
		w.send("refunds", int32(i%4), refund(id+"a", id, "x"+id, "60", time.Hour))
		w.send("refunds", int32((i+1)%4), refund(id+"b", id, "y"+id, "60", time.Hour))
	}
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	in := w.start()
	if got := w.passed(in, 2*pairs); got.Approved != pairs || got.Rejected != pairs {
		t.Errorf("balance %+v, want %d of each pair approved", got, pairs)
	}
	all := w.decisions()
	for i := range pairs {
		a, b := all[fmt.Sprint("p", i, "a")], all[fmt.Sprint("p", i, "b")]
		if a.Outcome != event.Approve || b.Outcome != event.Reject {
			t.Errorf("pair %d: %v and %v; of two at the same time the smaller id comes first", i, a.Outcome, b.Outcome)
		}
	}
}

func TestARefundWaitsForWhatHappenedBeforeIt(t *testing.T) {
	// The refund comes in before its transaction, which is still on its way in
	// another partition: as long as that partition isn't read to its end or
	// past the refund's time, nothing is decided.
	w := newWorld(t, 2, testRules)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	for i := range 2000 {
		w.send("transactions", 0, tx(fmt.Sprint("n", i), "x", "1", time.Duration(i)*time.Second))
	}
	w.send("transactions", 0, tx("t1", "ann", "10", 40*time.Minute))
	w.send("refunds", 1, refund("r1", "t1", "ann", "20", time.Hour))
	in := w.start()
	w.passed(in, 1)
	if got := w.outcomes(); got != "r1 reject" {
		t.Error(got)
	}
}

func TestRestartsDecideNothingTwiceAndForgetNothing(t *testing.T) {
	w := newWorld(t, 3, testRules)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	w.send("transactions", 0, tx("t1", "ann", "100", 0))
	n := int64(0)
	for round := range 4 {
		for i := range 10 {
			w.send("refunds", int32(n%3), refund(fmt.Sprintf("r%02d", n), "t1", fmt.Sprint("c", round, i), "6", time.Duration(n+1)*time.Minute))
			n++
		}
		in := w.start()
		w.passed(in, n)
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
	}
	b := w.passed(w.start(), n)
	// 16 refunds of 6 fit into 100: the sum is known again after each start.
	if b.Approved != 16 || b.Rejected != 24 {
		t.Errorf("balance %+v, want 16 approved", b)
	}
	if got := len(w.decisions()); got != int(n) {
		t.Errorf("%d decisions, want %d", got, n)
	}
}

func TestASecondInstanceFencesTheFirst(t *testing.T) {
	w := newWorld(t, 1, testRules)
	w.send("refunds", 0, refund("r1", "", "ann", "1", 0))
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	first := w.start()
	w.passed(first, 1)
	second := w.start()
	if err := first.wait(); !errors.Is(err, pipeline.ErrFenced) {
		t.Errorf("the first instance ended with %v, want ErrFenced", err)
	}
	if first.Ready() == nil {
		t.Error("the first instance still says that it is ready")
	}
	w.send("refunds", 0, refund("r2", "", "ann", "1", time.Second))
	w.passed(second, 2)
	if got := w.outcomes(); got != "r1 approve, r2 approve" {
		t.Error(got)
	}
}

func TestOldRefundsAreNotDecidedByDefault(t *testing.T) {
	w := newWorld(t, 2, testRules)
	w.send("transactions", 0, tx("t1", "ann", "100", 0))
	w.send("refunds", 0, refund("old", "t1", "ann", "60", time.Minute))
	err := w.start().wait()
	if err == nil || !strings.Contains(err.Error(), "decide_from") {
		t.Fatalf("started on a topic with refunds: %v", err)
	}

	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "latest"}
	in := w.start()
	w.passed(in, 1)
	w.send("refunds", 1, refund("new", "t1", "ann", "60", time.Hour)) // with the old one, too much
	if b := w.passed(in, 2); b.History != 1 || b.Rejected != 1 {
		t.Errorf("balance %+v", b)
	}
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	w.send("refunds", 0, refund("newer", "t1", "ann", "40", 2*time.Hour))
	if b := w.passed(w.start(), 3); b.History != 1 || b.Approved != 1 {
		t.Errorf("balance after a restart %+v", b)
	}
	if got := w.outcomes(); got != "new reject, newer approve" {
		t.Error(got)
	}
}

func TestStampedInTheFuture(t *testing.T) {
	w := newWorld(t, 1, testRules)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	f := refund("r1", "", "ann", "1", 0)
	f["occurred_at"] = time.Now().Add(time.Hour).Format(time.RFC3339)
	w.send("refunds", 0, f)
	p := tx("t1", "ann", "1", 0)
	p["occurred_at"] = f["occurred_at"]
	w.send("transactions", 0, p)
	in := w.start()
	w.passed(in, 1)
	d := w.decisions()["r1"]
	if d.Outcome != event.Review || d.Reason != "EVENT_IN_FUTURE" || d.OccurredAt < time.Now().Add(50*time.Minute).UnixMilli() {
		t.Errorf("decision %+v", d)
	}
	w.until("the transaction is dead-lettered", func() bool { return len(w.cluster.ReadCommitted("dead-letters")) == 1 })
	if dl := w.cluster.ReadCommitted("dead-letters")[0]; header(dl, event.HeaderCode) != "EVENT_IN_FUTURE" || header(dl, event.HeaderField) != "occurred_at" {
		t.Errorf("headers %v", dl.Headers)
	}
}

func TestRulesAreReloadedBetweenEpochsOrRefused(t *testing.T) {
	w := newWorld(t, 1, testRules)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	in := w.start()
	w.send("refunds", 0, refund("r1", "", "ann", "70", 0))
	w.passed(in, 1)
	w.writeRules("rules:\n  - {id: all, action: review, when: 'amuont > 1'}\n")
	w.until("the refusal alerts", func() bool { return len(w.cluster.ReadCommitted("alerts")) == 1 })
	if a, err := event.ParseAlert(w.cluster.ReadCommitted("alerts")[0].Value); err != nil || a.Rule != "ruleset-refused" || !strings.Contains(a.Message, "amount") {
		t.Errorf("alert %+v, %v", a, err)
	}
	w.send("refunds", 0, refund("r2", "", "ann", "70", time.Second))
	w.passed(in, 2)
	w.writeRules("rules:\n  - {id: all, action: review, when: 'amount > 1 and refunds.by(customer_id).within(\"7d\").count() >= 2'}\n")
	n := int64(2)
	w.until("the new rules decide", func() bool {
		n++
		w.send("refunds", 0, refund(fmt.Sprint("s", n), "", "ann", "70", time.Duration(n)*time.Second))
		return w.passed(in, n).InReview > 0
	})
	// The series that both sets have keeps its history.
	for id, d := range w.decisions() {
		if d.Outcome == event.Review && (len(d.Warming) != 0 || d.Features[0].Num < 2) {
			t.Errorf("%s: %+v", id, d)
		}
	}
	if d := w.decisions(); d["r1"].Ruleset != d["r2"].Ruleset {
		t.Error("a refused rule set decided")
	}
}

func TestTheBrokerGoesAwayAndComesBack(t *testing.T) {
	slow(t)
	w := newWorld(t, 2, testRules)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	in := w.start()
	w.send("refunds", 0, refund("r1", "", "ann", "1", 0))
	w.passed(in, 1)
	w.cluster.Stop()
	time.Sleep(300 * time.Millisecond)
	w.cluster.Restart()
	w.send("refunds", 1, refund("r2", "", "ann", "1", time.Second))
	w.passed(in, 2)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	for id, d := range w.decisions() {
		if d.Degraded || d.Outcome != event.Approve {
			t.Errorf("%s: %+v", id, d)
		}
	}
}

func TestObservePaysNothing(t *testing.T) {
	w := newWorld(t, 1, testRules)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	w.send("refunds", 0, refund("r1", "", "ann", "1", 0))
	live := w.start()
	w.passed(live, 1)
	w.cfg.Observe = true
	w.passed(w.start(), 1)
	if n := len(w.cluster.ReadCommitted("refund-decisions-observe")); n != 1 {
		t.Errorf("%d observed decisions", n)
	}
	if n := len(w.cluster.ReadCommitted("refunds-approved")); n != 1 {
		t.Errorf("%d approved records, want the live one", n)
	}
	if err := live.Ready(); err != nil {
		t.Errorf("the live instance was disturbed: %v", err)
	}
}
