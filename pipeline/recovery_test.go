package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
	"github.com/refundguard/refundguard/rules/event"
)

// offsetsAnswer answers a question for offsets as a broker would whose partitions
// end there.
func offsetsAnswer(q *kmsg.ListOffsetsRequest, end func(topic string, partition int32) int64) *kmsg.ListOffsetsResponse {
	resp := q.ResponseKind().(*kmsg.ListOffsetsResponse)
	for _, topic := range q.Topics {
		st := kmsg.NewListOffsetsResponseTopic()
		st.Topic = topic.Topic
		for _, p := range topic.Partitions {
			sp := kmsg.NewListOffsetsResponseTopicPartition()
			sp.Partition, sp.Offset, sp.LeaderEpoch = p.Partition, end(topic.Topic, p.Partition), -1
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}

// held is a world on kfake whose transactions can claim to go on for ever, so
// that refunds later than what was read of them wait.
type held struct {
	*world
	c    *kfake.Cluster
	hold atomic.Bool
	ends [4]atomic.Int64 // of refunds
	adm  *kadm.Client
	opts []kgo.Opt // of the pipeline's clients

	files vfs.FS           // nil: this machine's disks
	now   func() time.Time // nil: this machine's

	login []kgo.Opt // of the test's own clients
}

func newHeld(t *testing.T, refundParts, txParts int32, opts ...kfake.Opt) *held {
	return newHeldAs(t, nil, refundParts, txParts, opts...)
}

// newHeldAs is newHeld whose own clients log in with login.
func newHeldAs(t *testing.T, login []kgo.Opt, refundParts, txParts int32, opts ...kfake.Opt) *held {
	t.Helper()
	kafkatest.InProcess(t)
	opts = append([]kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID(fmt.Sprintf("cluster-%x", rand.Uint64())), kfake.SeedTopics(txParts, "transactions"), kfake.SeedTopics(refundParts, "refunds")}, opts...)
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r := &held{c: c, login: login}
	c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		q := req.(*kmsg.ListOffsetsRequest)
		ask := false
		for _, topic := range q.Topics {
			ask = ask || topic.Topic == "transactions" && topic.Partitions[0].Timestamp == -1
		}
		if !r.hold.Load() || q.IsolationLevel != 1 || !ask {
			return nil, nil, false
		}
		return offsetsAnswer(q, func(topic string, partition int32) int64 {
			switch topic {
			case "transactions":
				return 1000000
			case "refunds":
				return r.ends[partition].Load()
			}
			return 0
		}), nil, true
	})
	w := &world{t: t, cfg: pipeline.DefaultConfig()}
	w.cfg.Rules.Dir, w.cfg.Engine.AlignTimeout, w.cfg.Engine.Workers, w.cfg.Engine.TakeoverAfter = t.TempDir(), time.Hour, 2, 0
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	w.writeRules(testRules)
	r.world = w
	w.client = r.connect()
	r.adm = kadm.NewClient(w.client)
	return r
}

// connect makes a client that writes where it is told.
func (r *held) connect(opts ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	cl, err := kgo.NewClient(slices.Concat([]kgo.Opt{kgo.SeedBrokers(r.c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(50 << 20), kgo.MaxBufferedRecords(100000)}, r.login, opts)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cl.Close)
	return cl
}

func (r *held) refund(p int32, f fields) { r.send("refunds", p, f); r.ends[p].Add(1) }

func (r *held) run() *instance {
	registry := prometheus.NewRegistry()
	p, err := pipeline.New(r.cfg, pipeline.Deps{Options: append([]kgo.Opt{kgo.SeedBrokers(r.c.ListenAddrs()...)}, r.opts...), TransactionalID: "refundguard",
		CreateTopics: true, Logger: slog.New(slog.NewTextHandler(r.t.Output(), nil)), Registerer: registry, Files: r.files, Now: r.now})
	if err != nil {
		r.t.Fatal(err)
	}
	in := &instance{Pipeline: p, t: r.t, done: make(chan error, 1), registry: registry}
	ctx, cancel := context.WithCancel(context.Background())
	in.stop = cancel
	go func() { in.done <- in.Run(ctx) }()
	r.t.Cleanup(in.leave)
	return in
}

func (r *held) read(topic string) (records []*kgo.Record) {
	r.t.Helper()
	err := kafka.Read(context.Background(), append([]kgo.Opt{kgo.SeedBrokers(r.c.ListenAddrs()...)}, r.login...), topic, time.Time{}, func(rec *kgo.Record) error {
		records = append(records, rec)
		return nil
	})
	if err != nil && !errors.Is(err, kafka.ErrNoTopic) {
		r.t.Fatal(err)
	}
	return records
}

func (r *held) decided() map[string][]string {
	out := map[string][]string{}
	for _, rec := range r.read("refund-decisions") {
		d, err := event.ParseDecision(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		out[d.RefundID] = append(out[d.RefundID], fmt.Sprint(d.Outcome, "@", d.Source.Partition, ":", d.Source.Offset, " ", d.Reason))
	}
	return out
}

// A duplicate that waits behind an undecided refund is still one after a restart,
// whichever partition is read first.
func TestADuplicateIsNotDecidedAfterARestart(t *testing.T) {
	slow(t)
	r := newHeld(t, 2, 1)
	r.hold.Store(true)
	r.send("transactions", 0, tx("t9", "z", "1", 90*time.Minute))
	x := refund("X", "", "ann", "50", time.Hour)
	r.refund(1, x)
	in := r.run()
	r.until("X is decided", func() bool { return in.Balance().Read == 1 })
	r.refund(0, refund("Y", "", "bob", "5", 2*time.Hour)) // not due: transactions are not past 2h
	r.refund(0, x)
	time.Sleep(2500 * time.Millisecond)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.hold.Store(false)
	in = r.run()
	r.until("all passed", func() bool { return in.Balance().Read == 3 })
	if d := r.decided(); len(d["X"]) != 1 {
		t.Errorf("X: %v; approved topic has %d", d["X"], len(r.read("refunds-approved")))
	}
}

// So is a repeat of a refund that was history.
func TestARepeatOfHistoryIsNotDecidedAfterARestart(t *testing.T) {
	slow(t)
	r := newHeld(t, 2, 1)
	r.send("transactions", 0, tx("t9", "z", "1", 90*time.Minute))
	x := refund("X", "", "ann", "50", time.Hour)
	r.refund(1, x)
	r.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "latest"}
	r.hold.Store(true)
	in := r.run()
	r.until("X is history", func() bool { return in.Balance().History == 1 })
	r.refund(0, refund("Y", "", "bob", "5", 2*time.Hour))
	r.refund(0, x)
	time.Sleep(2500 * time.Millisecond)
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.hold.Store(false)
	in = r.run()
	r.until("all passed", func() bool { return in.Balance().Read == 3 })
	if d := r.decided(); len(d["X"]) != 0 {
		t.Errorf("X: %v, %+v", d["X"], in.Balance())
	}
}

// A refund that waits is decided after a restart, though a duplicate of it has
// passed already.
func TestARefundThatWaitsIsNotLostToItsDuplicate(t *testing.T) {
	slow(t)
	r := newHeld(t, 2, 1)
	r.hold.Store(true)
	r.send("transactions", 0, tx("t9", "z", "1", 90*time.Minute))
	x := refund("X", "", "ann", "50", 2*time.Hour)
	r.refund(1, x)
	in := r.run()
	time.Sleep(1500 * time.Millisecond)
	r.refund(0, x)
	r.until("dup passed", func() bool { return in.Balance().Duplicates == 1 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.hold.Store(false)
	in = r.run()
	r.until("all passed", func() bool { return in.Balance().Read == 2 })
	if d := r.decided(); len(d["X"]) != 1 {
		t.Errorf("X has decisions %v; balance %+v", d["X"], in.Balance())
	}
}

// Ids and sums of decided refunds outlive their records.
func TestIDsAndSumsOutliveTheRefundsTopic(t *testing.T) {
	r := newHeld(t, 1, 1)
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	x := refund("X", "t1", "ann", "60", time.Hour)
	r.send("refunds", 0, x)
	in := r.run()
	r.until("X is decided", func() bool { return in.Balance().Read == 1 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	var o kadm.Offsets
	o.AddOffset("refunds", 0, 1, -1)
	if _, err := r.adm.DeleteRecords(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	in = r.run()
	r.send("refunds", 0, x)                                           // a duplicate, within state.retention
	r.send("refunds", 0, refund("Z", "t1", "ann", "60", 2*time.Hour)) // over the original with X
	r.until("passed", func() bool { return in.Balance().Read == 3 })
	d := r.decided()
	if len(d["X"]) != 1 || !strings.HasPrefix(d["Z"][0], "reject") {
		t.Errorf("%v, balance %+v, approved records %d", d, in.Balance(), len(r.read("refunds-approved")))
	}
}

// More refunds at one time than a buffer holds don't stop each other.
func TestManyRefundsAtOneTime(t *testing.T) {
	for _, first := range []int{120, 200} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			r := newHeld(t, 1, 1)
			r.cfg.Engine.BufferRecords = 256
			r.cfg.Engine.AlignTimeout = 2 * time.Second
			const n = 6000
			for i := range n {
				at := 2 * time.Second
				if i < first {
					at = time.Second
				}
				r.client.Produce(context.Background(), &kgo.Record{Topic: "refunds", Value: []byte(fmt.Sprintf(`{"refund_id":"r%04d","customer_id":"c%04d","amount":1,"currency":"USD","occurred_at":%d}`, i, i, base.Add(at).UnixMilli()))}, nil)
				if i%37 == 0 {
					r.client.Flush(context.Background())
				}
			}
			r.client.Flush(context.Background())
			r.send("transactions", 0, tx("t1", "ann", "100", time.Hour))
			in := r.run()
			start := time.Now()
			r.until("passed", func() bool { return in.Balance().Read == n })
			if b := in.Balance(); b.Approved != n {
				t.Errorf("after %v: %+v", time.Since(start), b)
			}
		})
	}
}

// One record that is larger than what can be written stops nothing.
func TestARecordTooLargeToCopyStopsNothing(t *testing.T) {
	r := newHeld(t, 1, 1)
	in := r.run()
	// compresses to a few kB on the wire
	big := `{"refund_id":"` + strings.Repeat("x", 1_200_000) + `"}`
	r.sendRaw("transactions", 0, big)
	r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
	for i := 0; i < 150 && in.Balance().Read == 0; i++ {
		time.Sleep(100 * time.Millisecond)
	}
	if in.Balance().Read != 1 {
		t.Errorf("15 s later nothing is decided; ready: %v", in.Ready())
	}
}

// Partitions that are added are read.
func TestPartitionsAddedWhileRunning(t *testing.T) {
	r := newHeld(t, 1, 1)
	in := r.run()
	r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
	r.until("passed", func() bool { return in.Balance().Read == 1 })
	if _, err := r.adm.CreatePartitions(context.Background(), 1, "refunds"); err != nil {
		t.Fatal(err)
	}
	r.client.ForceMetadataRefresh()
	time.Sleep(time.Second)
	r.send("refunds", 1, refund("Y", "", "ann", "60", time.Hour))
	for i := 0; i < 100 && in.Balance().Read == 1; i++ {
		time.Sleep(100 * time.Millisecond)
	}
	if in.Balance().Read != 2 {
		t.Errorf("the refund in the new partition is not read; ready: %v", in.Ready())
	}
}

// A refused refund can be sent again once limits allow it.
func TestARefusedRefundCanBeSentAgain(t *testing.T) {
	r := newHeld(t, 1, 1)
	r.cfg.Limits.MaxRecordBytes = 1024
	raw := `{"refund_id":"X","customer_id":"a","amount":1,"currency":"USD","occurred_at":"2026-01-05T10:00:00Z","pad":"` + strings.Repeat("x", 2000) + `"}`
	r.sendRaw("refunds", 0, raw)
	in := r.run()
	r.until("passed", func() bool { return in.Balance().DeadLettered == 1 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	r.cfg.Limits.MaxRecordBytes = 64 << 10
	in = r.run()
	r.sendRaw("refunds", 0, raw)
	r.until("passed", func() bool { return in.Balance().Read == 2 })
	if b := in.Balance(); b.Approved != 1 {
		t.Errorf("balance %+v: %v", b, r.decided())
	}
}

// A commit that is slow is not another instance.
func TestASlowCommitIsNotATakeOver(t *testing.T) {
	slow(t)
	r := newHeld(t, 1, 1)
	in := r.run()
	r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
	r.until("passed", func() bool { return in.Balance().Read == 1 })
	r.c.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.c.SleepControl(func() { time.Sleep(5 * time.Second) })
		return nil, nil, false
	})
	r.send("refunds", 0, refund("Y", "", "ann", "60", time.Hour))
	for i := 0; i < 150 && in.Balance().Read == 1; i++ {
		select {
		case err := <-in.done:
			t.Fatalf("ended with %v", err)
		default:
		}
		time.Sleep(100 * time.Millisecond)
	}
	if in.Balance().Read != 2 {
		t.Error("the second refund is not decided")
	}
}

// It says that it isn't ready while nothing can be committed.
func TestNotReadyWhileTheBrokerIsAway(t *testing.T) {
	slow(t)
	w := newWorld(t, 2, testRules)
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	in := w.start()
	w.send("refunds", 0, refund("r1", "", "ann", "1", 0))
	w.passed(in, 1)
	w.cluster.Stop()
	start := time.Now()
	for time.Since(start) < 15*time.Second && in.Ready() == nil {
		time.Sleep(100 * time.Millisecond)
	}
	if time.Since(start) > 10*time.Second {
		t.Errorf("ready for %v without a broker", time.Since(start))
	}
	w.cluster.Restart()
	w.send("refunds", 1, refund("r2", "", "ann", "1", time.Second))
	w.passed(in, 2)
}

// A progress record in another partition than the one that is read back would
// begin everything anew.
func TestAProgressTopicOfSeveralPartitionsIsRefused(t *testing.T) {
	r := newHeld(t, 1, 1)
	if _, err := r.adm.CreateTopic(context.Background(), 5, 1, nil, "refundguard-progress"); err != nil {
		t.Fatal(err)
	}
	if err := r.run().wait(); err == nil || !strings.Contains(err.Error(), "5 partitions") {
		t.Errorf("ended with %v", err)
	}
}

// So would a progress topic that was lost, while the journal says what was
// paid.
func TestALostProgressTopicIsNotAFirstStart(t *testing.T) {
	r := newHeld(t, 1, 1)
	r.cfg.State.Dir = filepath.Join(t.TempDir(), "state")
	r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
	in := r.run()
	r.until("X is decided", func() bool { return in.Balance().Read == 1 })
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.adm.DeleteTopic(context.Background(), "refundguard-progress"); err != nil {
		t.Fatal(err)
	}
	if err := r.run().wait(); err == nil || !strings.Contains(err.Error(), "pay them again") {
		t.Errorf("ended with %v", err)
	}
	if found, err := filepath.Glob(filepath.Join(r.cfg.State.Dir, "*aside*")); err != nil || len(found) > 0 {
		t.Errorf("set aside: %v, %v", found, err)
	}
}
