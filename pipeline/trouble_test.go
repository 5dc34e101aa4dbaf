package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/pipeline"
)

// trouble is one thing that can go wrong between the pipeline and its cluster.
// Its name is what README.md calls the test of that condition.
type trouble struct {
	name  string
	begin func(*held) (heal func())
	shows string // what Ready says while it lasts; "": it passes too soon for that
	stops string // what Run ends with; "": the pipeline goes on by itself
}

// lasting makes requests fail until it is healed. What concerns no topic is the
// answer as a whole.
func lasting(err *kerr.Error, topic string, keys ...kmsg.Key) func(*held) func() {
	return faulty(-1, err, topic, keys...)
}

// once makes one request fail.
func once(err *kerr.Error, topic string, keys ...kmsg.Key) func(*held) func() {
	return faulty(1, err, topic, keys...)
}

func faulty(count int, err *kerr.Error, topic string, keys ...kmsg.Key) func(*held) func() {
	return func(r *held) func() {
		f := r.c.Fault(kfake.Fault{Keys: keys, Topic: topic, Err: err, Count: count, TopLevel: topic == "" && !slices.Contains(keys, kmsg.ListOffsets)})
		return func() {
			r.until("the fault was met", func() bool { return f.Hits() > 0 })
			f.Remove()
		}
	}
}

const decisions = "refund-decisions"

var troubles = []trouble{
	{name: "replicas-missing", begin: lasting(kerr.NotEnoughReplicas, decisions, kmsg.Produce), shows: "an epoch has been committing"},
	{name: "replicas-missing-after-append", begin: once(kerr.NotEnoughReplicasAfterAppend, decisions, kmsg.Produce)},
	{name: "disk-failed", begin: lasting(kerr.KafkaStorageError, decisions, kmsg.Produce), shows: "an epoch has been committing"},
	{name: "write-fails", begin: faulty(3, kerr.UnknownServerError, decisions, kmsg.Produce)},
	{name: "write-policy", begin: lasting(kerr.PolicyViolation, decisions, kmsg.Produce), shows: "POLICY_VIOLATION"},
	{name: "write-record", begin: lasting(kerr.InvalidRecord, decisions, kmsg.Produce), shows: "INVALID_RECORD"},
	{name: "write-order", begin: lasting(kerr.OutOfOrderSequenceNumber, decisions, kmsg.Produce), shows: "OUT_OF_ORDER_SEQUENCE_NUMBER"},
	{name: "write-epoch", begin: once(kerr.InvalidProducerEpoch, decisions, kmsg.Produce)},
	{name: "write-fenced", begin: once(kerr.ProducerFenced, decisions, kmsg.Produce)},
	{name: "write-mapping", begin: once(kerr.InvalidProducerIDMapping, decisions, kmsg.Produce)},
	{name: "write-unknown-topic", begin: lasting(kerr.UnknownTopicOrPartition, decisions, kmsg.Produce), shows: "an epoch has been committing"},
	{name: "write-unauthorized", begin: lasting(kerr.TopicAuthorizationFailed, decisions, kmsg.Produce), shows: "grant WRITE"},

	{name: "commit-unknown", begin: once(kerr.UnknownServerError, "", kmsg.EndTxn)},
	{name: "commit-fails", begin: lasting(kerr.UnknownServerError, "", kmsg.EndTxn), shows: "UNKNOWN_SERVER_ERROR"},
	{name: "commit-timed-out", begin: once(kerr.RequestTimedOut, "", kmsg.EndTxn)},
	{name: "commit-epoch", begin: once(kerr.InvalidProducerEpoch, "", kmsg.EndTxn)},
	{name: "commit-fenced", begin: once(kerr.ProducerFenced, "", kmsg.EndTxn)},
	{name: "commit-state", begin: once(kerr.InvalidTxnState, "", kmsg.EndTxn)},
	{name: "commit-mapping", begin: once(kerr.InvalidProducerIDMapping, "", kmsg.EndTxn)},
	{name: "commit-abortable", begin: once(kerr.TransactionAbortable, "", kmsg.EndTxn)},
	{name: "commit-concurrent", begin: lasting(kerr.ConcurrentTransactions, "", kmsg.EndTxn), shows: "an epoch has been committing"},
	{name: "commit-unauthorized", begin: lasting(kerr.TransactionalIDAuthorizationFailed, "", kmsg.EndTxn), shows: "grant WRITE and DESCRIBE"},

	{name: "coordinator-loading", begin: lasting(kerr.CoordinatorLoadInProgress, "", kmsg.EndTxn, kmsg.InitProducerID), shows: "an epoch has been committing"},
	{name: "coordinator-away", begin: lasting(kerr.CoordinatorNotAvailable, "", kmsg.EndTxn, kmsg.FindCoordinator), shows: "an epoch has been committing"},
	{name: "coordinator-moved", begin: once(kerr.NotCoordinator, "", kmsg.EndTxn)},

	{name: "read-unauthorized", begin: lasting(kerr.TopicAuthorizationFailed, "refunds", kmsg.Fetch), shows: "grant READ"},
	{name: "read-fails", begin: lasting(kerr.UnknownServerError, "refunds", kmsg.Fetch), shows: "reading refunds partition 0"},
	{name: "read-range", begin: once(kerr.OffsetOutOfRange, "refunds", kmsg.Fetch)},
	{name: "read-no-leader", begin: lasting(kerr.NotLeaderForPartition, "refunds", kmsg.Fetch), shows: "has brought nothing"},
	{name: "read-disk-failed", begin: lasting(kerr.KafkaStorageError, "refunds", kmsg.Fetch), shows: "has brought nothing"},
	{name: "read-corrupt", begin: lasting(kerr.CorruptMessage, "refunds", kmsg.Fetch), shows: "has brought nothing"},
	{name: "read-unknown-topic", begin: lasting(kerr.UnknownTopicOrPartition, "refunds", kmsg.Fetch), shows: "has brought nothing"},
	{name: "ends-unknown", begin: lasting(kerr.NotLeaderForPartition, "", kmsg.ListOffsets), shows: "where the topics end"},
	{name: "ends-unknown-of-refunds", begin: lasting(kerr.NotLeaderForPartition, "refunds", kmsg.ListOffsets), shows: "has brought nothing"},
}

// Whatever goes wrong, it shows, it is lived through or ended with a reason,
// and in the end each refund has one decision.
func TestTroubles(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until troubles show")
	}
	for _, tr := range troubles {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			r := newHeld(t, 1, 1)
			r.cfg.Engine.AlignTimeout = pipeline.DefaultConfig().Engine.AlignTimeout
			r.trouble(tr)
		})
	}
}

func (r *held) trouble(tr trouble) {
	r.t.Helper()
	in := r.run()
	r.send("refunds", 0, refund("before", "", "ann", "1", 0))
	r.passed(in, 1)
	heal := tr.begin(r)
	for i := range 3 {
		r.send("refunds", 0, refund(fmt.Sprint("meanwhile", i), "", fmt.Sprint(i), "1", time.Minute))
	}
	if tr.shows != "" {
		r.shown(in, tr.shows)
	}
	if tr.stops != "" {
		if err := in.wait(); err == nil || !strings.Contains(err.Error(), tr.stops) {
			r.t.Fatalf("ended with %v, want %q", err, tr.stops)
		}
	}
	heal()
	if tr.stops != "" {
		in = r.run()
	}
	r.whole(in, 4)
}

// shown waits until the pipeline isn't ready, for a reason that says what.
func (r *held) shown(in *instance, what string) {
	r.t.Helper()
	var err error
	defer func() {
		if r.t.Failed() {
			r.t.Logf("Ready said %v", err)
		}
	}()
	r.until("Ready says "+what, func() bool {
		err = in.Ready()
		return err != nil && strings.Contains(err.Error(), what)
	})
	if in.metric("refundguard_ready") != 0 {
		r.t.Error("the metric says ready")
	}
}

// whole waits until n refunds have passed, sends one more, and counts: each
// refund has one decision, each approved one its record.
func (r *held) whole(in *instance, n int64) {
	r.t.Helper()
	r.passed(in, n)
	r.send("refunds", 0, refund("after", "", "bob", "1", time.Hour))
	b := r.passed(in, n+1)
	r.until("it is ready", func() bool { return in.Ready() == nil })
	if err := in.end(); err != nil {
		r.t.Errorf("ended with %v", err)
	}
	decided := r.decided()
	for id, d := range decided {
		if len(d) != 1 {
			r.t.Errorf("%s was decided %d times: %v", id, len(d), d)
		}
	}
	if got := int64(len(decided)); got != b.Approved+b.InReview+b.Rejected || b.Duplicates > 0 {
		r.t.Errorf("%d refunds are decided, the balance is %+v", got, b)
	}
	paid := map[string]int{}
	for _, rec := range r.read("refunds-approved") {
		paid[string(rec.Value)]++
	}
	for request, times := range paid {
		if times != 1 {
			r.t.Errorf("approved %d times: %s", times, request)
		}
	}
	if int64(len(paid)) != b.Approved {
		r.t.Errorf("%d approved requests, the balance is %+v", len(paid), b)
	}
}

// metric is the sum of a metric's series.
func (in *instance) metric(name string) (sum float64) {
	in.t.Helper()
	families, err := in.registry.Gather()
	if err != nil {
		in.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}
