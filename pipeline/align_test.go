package pipeline_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
	"github.com/refundguard/refundguard/rules/event"
)

// A partition that says it has more and brings nothing is left out after
// align_timeout; what is decided without it is degraded, and held.
func TestASilentPartitionIsLeftOutAndDecisionsAreHeld(t *testing.T) {
	kafkatest.InProcess(t)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "transactions"), kfake.SeedTopics(1, "refunds"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var silent atomic.Bool
	silent.Store(true)
	c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		r := req.(*kmsg.ListOffsetsRequest)
		asks := slices.ContainsFunc(r.Topics, func(t kmsg.ListOffsetsRequestTopic) bool { return t.Topic == "transactions" })
		if !silent.Load() || r.IsolationLevel != 1 || !asks {
			return nil, nil, false
		}
		// All partitions are at their end, but for one that claims to be
		// far ahead of what it brings.
		resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, topic := range r.Topics {
			st := kmsg.NewListOffsetsResponseTopic()
			st.Topic = topic.Topic
			for _, p := range topic.Partitions {
				sp := kmsg.NewListOffsetsResponseTopicPartition()
				sp.Partition, sp.Offset, sp.LeaderEpoch = p.Partition, 1, -1
				if topic.Topic == "transactions" {
					sp.Offset = int64(1000 * p.Partition)
				} else if topic.Topic != "refunds" {
					sp.Offset = 0
				}
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	w := &world{t: t, cfg: pipeline.DefaultConfig()}
	w.cfg.Rules.Dir, w.cfg.Engine.AlignTimeout, w.cfg.Engine.Workers = t.TempDir(), 300*time.Millisecond, 1
	w.cfg.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	w.writeRules(testRules)
	w.client, err = kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer w.client.Close()
	w.send("refunds", 0, refund("r1", "", "ann", "1", 0))

	p, err := pipeline.New(w.cfg, pipeline.Deps{Options: []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}, TransactionalID: "rg", CreateTopics: true,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	w.until("the refund is decided", func() bool { return p.Balance().Read == 1 })
	if b := p.Balance(); b.InReview != 1 {
		t.Errorf("balance %+v, want the refund held", b)
	}
	silent.Store(false)
	w.send("transactions", 1, tx("t1", "ann", "1", time.Hour)) // it moves again
	w.send("transactions", 0, tx("t2", "ann", "1", time.Hour))
	w.send("refunds", 0, refund("r2", "", "ann", "1", time.Minute))
	w.until("the second is decided", func() bool { return p.Balance().Read == 2 })
	if b := p.Balance(); b.Approved != 1 {
		t.Errorf("balance %+v, want the second approved", b)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("refund-decisions"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	got := map[string]*event.Decision{}
	w.until("both decisions are read", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			d, err := event.ParseDecision(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			got[d.RefundID] = d
		})
		return len(got) == 2
	})
	if !got["r1"].Degraded || got["r1"].Reason != "DEGRADED" || got["r2"].Degraded {
		t.Errorf("r1 %+v\nr2 %+v", got["r1"], got["r2"])
	}
}

// Of two refunds of one transaction the earlier one is decided first, also where
// it is read when the ends of the partitions have been asked for, and the later
// one before.
func TestAnEarlierRefundThatIsReadLater(t *testing.T) {
	r := newHeld(t, 2, 1)
	var in *instance
	asked := make(chan struct{}, 1) // once: to answer only when X is applied
	r.c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.c.KeepControl()
		q := req.(*kmsg.ListOffsetsRequest)
		ends := slices.ContainsFunc(q.Topics, func(topic kmsg.ListOffsetsRequestTopic) bool {
			return topic.Topic == "refunds" && topic.Partitions[0].Timestamp == -1
		})
		if q.IsolationLevel != 1 || !ends {
			return nil, nil, false
		}
		select {
		case <-asked:
			r.c.SleepControl(func() {
				applied := in.metric("refundguard_records_applied_total")
				r.send("refunds", 0, refund("X", "t1", "ann", "60", time.Hour))
				r.until("X is applied", func() bool { return in.metric("refundguard_records_applied_total") > applied })
			})
		default:
		}
		return nil, nil, false
	})
	r.send("transactions", 0, tx("t1", "ann", "100", 0))
	in = r.run()
	r.until("live", func() bool { return in.Ready() == nil })
	r.hold.Store(true) // nothing is at its end
	r.send("refunds", 1, refund("Y", "t1", "ann", "60", 2*time.Hour))
	r.until("Y is applied", func() bool { return in.metric("refundguard_records_applied_total") >= 2 })
	asked <- struct{}{}
	r.hold.Store(false)
	r.until("both are decided", func() bool { return in.Balance().Read == 2 })
	if b := in.Balance(); b.Approved != 1 || b.Rejected != 1 {
		t.Errorf("balance %+v", b)
	}
	if d := r.decided(); !strings.HasPrefix(d["X"][0], "approve") || !strings.HasPrefix(d["Y"][0], "reject") {
		t.Errorf("decided: %v", d)
	}
}
