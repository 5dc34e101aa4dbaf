package pipeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/event"
)

// alerted is how often alerts of a rule that names no refund were written.
func (r *held) alerted(rule string) (n int) {
	r.t.Helper()
	for _, rec := range r.read("alerts") {
		a, err := event.ParseAlert(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if a.Rule == rule && a.Severity == "critical" {
			n++
		}
	}
	return n
}

// A topic that is deleted, and perhaps created anew, is noticed, running or not:
// without the input or the journal nothing is decided, other outputs are told of.
func TestTopicsThatAreDeleted(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until topics are believed to be gone")
	}
	for _, c := range []struct {
		topic, deleted, anew string // what it stops with; "": it goes on
	}{
		{"refunds", "topic refunds was deleted", "topic refunds (id "},
		{"transactions", "topic transactions was deleted", "topic transactions (id "},
		{"refund-decisions", "topic refund-decisions was deleted", "topic refund-decisions was deleted and created anew"},
		{"refundguard-progress", "refundguard-progress", "refundguard-progress"},
		{"refunds-approved", "", ""},
		{"alerts", "", ""},
	} {
		for _, anew := range []bool{false, true} {
			for _, running := range []bool{false, true} {
				what, stops := "deleted", c.deleted
				if anew {
					what, stops = "anew", c.anew
				}
				t.Run(fmt.Sprintf("topic-%s-%s/running=%v", what, c.topic, running), func(t *testing.T) {
					t.Parallel()
					r := newHeld(t, 1, 1)
					in := r.run()
					r.send("refunds", 0, refund("before", "", "ann", "1", 0))
					r.passed(in, 1)
					if !running {
						if err := in.end(); err != nil {
							t.Fatal(err)
						}
					}
					r.remove(c.topic, anew)
					if !running {
						in = r.run()
					}
					if stops != "" {
						if err := in.wait(); err == nil || !strings.Contains(err.Error(), stops) {
							t.Errorf("ended with %v, want %q", err, stops)
						}
						return
					}
					r.until("it is told", func() bool { return r.alerted("topic-created-anew") > 0 })
					r.send("refunds", 0, refund("after", "", "ann", "1", 0))
					r.passed(in, 2)
					if d := r.decided(); len(d) != 2 || len(d["before"]) != 1 || len(d["after"]) != 1 {
						t.Errorf("decided %v", d)
					}
				})
			}
		}
	}
}

func (r *held) remove(topic string, anew bool) {
	r.t.Helper()
	if _, err := r.adm.DeleteTopic(context.Background(), topic); err != nil {
		r.t.Fatal(err)
	}
	if anew {
		if _, err := r.adm.CreateTopic(context.Background(), 1, 1, nil, topic); err != nil {
			r.t.Fatal(err)
		}
	}
}

// An output that gets more partitions goes on being written and read back.
func TestOutputsWithMorePartitions(t *testing.T) {
	r := newHeld(t, 1, 1)
	in := r.run()
	r.send("refunds", 0, refund("before", "", "ann", "1", 0))
	r.passed(in, 1)
	if _, err := r.adm.CreatePartitions(context.Background(), 3, "refund-decisions", "refunds-approved"); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		r.send("refunds", 0, refund(fmt.Sprint("r", i), "", fmt.Sprint(i), "1", time.Minute))
	}
	r.passed(in, 21)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.whole(r.run(), 21)
}

// forge changes the last progress, as if the topics had gone on further than
// they have now.
func (r *held) forge(ahead int64) {
	r.t.Helper()
	all := r.read("refundguard-progress")
	last := all[len(all)-1]
	var p map[string]any
	if err := json.Unmarshal(last.Value, &p); err != nil {
		r.t.Fatal(err)
	}
	for _, s := range p["streams"].([]any) {
		for _, pp := range s.(map[string]any)["partitions"].([]any) {
			f := pp.(map[string]any)
			if f["applied"].(float64) == 0 {
				continue // nothing was ever there
			}
			f["applied"] = f["applied"].(float64) + float64(ahead)
			if d, ok := f["decided"].(float64); ok {
				f["decided"] = d + float64(ahead)
			}
		}
	}
	value, err := json.Marshal(p)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.client.ProduceSync(context.Background(), &kgo.Record{Topic: last.Topic, Key: last.Key, Value: value}).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

// A log that ends before the progress doesn't make recovery wait for ever, nor
// what comes under the lost offsets pass undecided.
func TestALogThatWasCut(t *testing.T) {
	slow(t)
	for _, refilled := range []int{0, 2, 9} {
		t.Run(fmt.Sprint("refilled=", refilled), func(t *testing.T) { logThatWasCut(t, refilled) })
	}
}

func logThatWasCut(t *testing.T, refilled int) {
	r := newHeld(t, 1, 1)
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	x := r.send("refunds", 0, refund("x", "t1", "ann", "60", time.Minute))
	in := r.run()
	r.passed(in, 1)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.forge(5)
	for _, topic := range []string{"refunds", "transactions"} { // as an election does
		if err := r.c.MoveTopicPartition(topic, 0, r.c.LeaderFor(topic, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range refilled { // under the lost offsets, before anybody looks
		r.send("refunds", 0, refund(fmt.Sprint("refill", i), "", fmt.Sprint(i), "1", time.Hour))
		r.send("transactions", 0, tx(fmt.Sprint("refill", i), fmt.Sprint(i), "1", time.Hour))
	}
	in = r.run()
	r.send("refunds", 0, refund("y", "", "bob", "1", time.Hour))
	r.send("refunds", 0, refund("over", "t1", "ann", "60", time.Hour))
	r.passed(in, int64(3+refilled))
	r.sendRaw("refunds", 0, string(x.Value))
	b := r.passed(in, int64(4+refilled))
	if b.Approved != int64(2+refilled) || b.Rejected != 1 || b.Duplicates != 1 {
		t.Errorf("balance %+v", b)
	}
	if n := r.alerted("topic-cut"); n != 2 {
		t.Errorf("%d alerts of cut partitions, want one each of refunds and transactions", n)
	}
	decided := r.decided()
	if len(decided) != 3+refilled {
		t.Errorf("%d refunds are decided", len(decided))
	}
	for id, d := range decided {
		if len(d) != 1 {
			t.Errorf("%s was decided %d times", id, len(d))
		}
	}
}

// Refunds that are deleted before they are decided are told of, once, and stop
// no other.
func TestRefundsDeletedBeforeTheyAreDecided(t *testing.T) {
	r := newHeld(t, 1, 1)
	in := r.run()
	r.send("refunds", 0, refund("before", "", "ann", "1", 0))
	r.passed(in, 1)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		r.send("refunds", 0, refund(fmt.Sprint("r", i), "", "bob", "1", time.Minute))
	}
	var o kadm.Offsets
	o.AddOffset("refunds", 0, 3, -1)
	if _, err := r.adm.DeleteRecords(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	in = r.run()
	r.passed(in, 2)
	if n := in.metric("refundguard_refunds_deleted_total"); n != 2 {
		t.Errorf("the metric counts %v, want 2", n)
	}
	r.whole(in, 2)
	if n := r.alerted("refunds-deleted"); n != 1 {
		t.Errorf("%d alerts", n)
	}
}

// Another cluster at the same address is not worked with, whatever it holds;
// moving to it, as README.md says, keeps what was decided.
func TestMovingToAnotherCluster(t *testing.T) {
	slow(t)
	r := newHeld(t, 1, 1, kfake.ClusterID("first"))
	in := r.run()
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	r.send("refunds", 0, refund("x", "t1", "ann", "60", time.Minute))
	r.passed(in, 1)
	inputs := append(r.read("transactions"), r.read("refunds")...)
	_, port, _ := net.SplitHostPort(r.c.ListenAddrs()[0])
	number, _ := strconv.Atoi(port)
	r.c.Close()

	second, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(number), kfake.ClusterID("second"),
		kfake.SeedTopics(1, "transactions"), kfake.SeedTopics(1, "refunds"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	r.c = second
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), `cluster "second"`) {
		t.Fatalf("ended with %v", err)
	}
	if topics, err := r.adm.ListTopics(context.Background()); err != nil || topics.Has("refundguard-progress") {
		t.Errorf("topics were created on the other cluster: %v, %v", topics.Names(), err)
	}

	r.client = r.connect() // clients keep to the topics that they know
	for _, rec := range inputs {
		copied := &kgo.Record{Topic: rec.Topic, Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Headers: rec.Headers, Timestamp: rec.Timestamp}
		if err := r.client.ProduceSync(context.Background(), copied).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "latest"}
	in = r.run()
	r.passed(in, 1)
	r.sendRaw("refunds", 0, string(inputs[1].Value))
	r.send("refunds", 0, refund("over", "t1", "ann", "60", time.Hour))
	r.send("refunds", 0, refund("y", "", "ann", "1", time.Hour))
	want := pipeline.Balance{Read: 4, Approved: 1, Rejected: 1, Duplicates: 1, History: 1}
	if b := r.passed(in, 4); b != want {
		t.Errorf("balance %+v, want %+v", b, want)
	}
}

// Beginning anew, as README.md says, pays nothing twice: what is on the refunds
// topic is history.
func TestBeginningAnew(t *testing.T) {
	r := newHeld(t, 1, 1)
	in := r.run()
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	x := r.send("refunds", 0, refund("x", "t1", "ann", "60", time.Minute))
	r.passed(in, 1)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.remove("refund-decisions", true)
	if err := r.run().wait(); err == nil || !strings.Contains(err.Error(), "begin anew") {
		t.Fatalf("ended with %v", err)
	}
	r.cfg.Topics.Decisions, r.cfg.Topics.Progress = "refund-decisions-2", "refundguard-progress-2"
	r.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "latest"}
	in = r.run()
	r.passed(in, 1)
	r.sendRaw("refunds", 0, string(x.Value))
	r.send("refunds", 0, refund("over", "t1", "ann", "60", time.Hour))
	r.send("refunds", 0, refund("y", "t1", "ann", "40", time.Hour+time.Minute))
	want := pipeline.Balance{Read: 4, Approved: 1, Rejected: 1, Duplicates: 1, History: 1}
	if b := r.passed(in, 4); b != want {
		t.Errorf("balance %+v, want %+v", b, want)
	}
	if n := len(r.read("refunds-approved")); n != 2 {
		t.Errorf("%d approved records, want x and y once each", n)
	}
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	// The next start goes on from there, without decide_from.
	r.cfg.Streams["refunds"] = pipeline.StreamConfig{}
	r.passed(r.run(), 4)
}

// A state from before a log was cut is none of what the topic holds now, however
// far that has come since.
func TestReviewAStateFromBeforeALogWasCut(t *testing.T) {
	r := newStateful(t, time.Millisecond)
	r.send("refunds", 0, refund("x", "", "ann", "60", time.Minute))
	r.send("refunds", 0, refund("y", "", "ann", "60", time.Minute))
	r.through(2)
	old := filepath.Join(t.TempDir(), "old")
	r.keep(old)
	if err := r.c.MoveTopicPartition("refunds", 0, r.c.LeaderFor("refunds", 0)); err != nil { // an election
		t.Fatal(err)
	}
	r.send("refunds", 0, refund("z", "", "ann", "60", time.Minute))
	r.through(3)
	r.setBack(old)
	// The log of the first leader is said to have ended before y.
	r.c.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.c.KeepControl()
		q := req.(*kmsg.OffsetForLeaderEpochRequest)
		resp := q.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, topic := range q.Topics {
			st := kmsg.NewOffsetForLeaderEpochResponseTopic()
			st.Topic = topic.Topic
			for _, p := range topic.Partitions {
				sp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				if sp.Partition, sp.LeaderEpoch, sp.EndOffset = p.Partition, p.LeaderEpoch, 100; topic.Topic == "refunds" && p.LeaderEpoch == 0 {
					sp.EndOffset = 1
				}
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	r.through(3)
	if found, err := filepath.Glob(filepath.Join(r.cfg.State.Dir, "set-aside-1")); err != nil || len(found) != 1 {
		t.Errorf("set aside: %v, %v", found, err)
	}
	if n := r.alerted("topic-cut"); n != 0 {
		t.Errorf("%d alerts: the progress is later than the cut", n)
	}
	r.send("refunds", 0, refund("y", "", "ann", "60", time.Minute))
	r.through(4)
	if d := r.decided(); len(d["x"]) != 1 || len(d["y"]) != 1 || len(d["z"]) != 1 {
		t.Errorf("decided: %v", d)
	}
}
