package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
)

const gatePartitions = 8

// Gate measures the whole pipeline, from topics that are filled before to
// decisions that are committed.
type Gate struct {
	Brokers []string // none: an embedded broker in this process, whose CPU time counts too
}

// Run fills the topics, drains them with the pipeline, and deletes them.
func (g Gate) Run(ctx context.Context, o Options) (r Result, err error) {
	name := "gate, embedded Kafka"
	brokers := g.Brokers
	if len(brokers) == 0 {
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			return r, fmt.Errorf("embedded Kafka: %w", err)
		}
		defer c.Close()
		brokers = c.ListenAddrs()
	} else {
		name = "gate, Kafka"
	}
	prefix := fmt.Sprintf("refundguard-bench-%d-", time.Now().UnixNano())
	cfg := pipeline.DefaultConfig()
	cfg.Streams["transactions"] = streamTopic(prefix+"transactions", "")
	cfg.Streams["refunds"] = streamTopic(prefix+"refunds", "earliest")
	for _, name := range []string{"complaints", "confirmations", "reviews", "ledger_results"} {
		cfg.Streams[name] = streamTopic(prefix+name, "")
	}
	cfg.Topics = cfg.Topics.WithPrefix(prefix)
	dir, err := os.MkdirTemp("", "refundguard-bench-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "gate.yaml"), []byte(gateRules), 0o600); err != nil {
		return r, err
	}
	cfg.Rules.Dir, cfg.Rules.Reload = dir, 0

	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(100_000),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		return r, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	topics := []string{cfg.Streams["transactions"].Topic, cfg.Streams["refunds"].Topic}
	if resp, err := adm.CreateTopics(ctx, gatePartitions, 1, nil, topics...); err != nil || resp.Error() != nil {
		return r, fmt.Errorf("creating the topics: %w", errors.Join(err, resp.Error()))
	}
	defer func() {
		all := slices.AppendSeq(topics, maps.Values(cfg.Topics.ByKey()))
		_, _ = adm.DeleteTopics(context.WithoutCancel(ctx), all...)
	}()
	refunds, err := fill(ctx, cl, newGate(o.Events, o.Seed, o.Hot), topics)
	if err != nil {
		return r, fmt.Errorf("filling the topics: %w", err)
	}

	p, err := pipeline.New(cfg, pipeline.Deps{Options: []kgo.Opt{kgo.SeedBrokers(brokers...)}, TransactionalID: prefix + "gate", CreateTopics: true,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Registerer: prometheus.NewRegistry()})
	if err != nil {
		return r, err
	}
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	watch := o.start()
	go func() { ended <- p.Run(runCtx) }()
	for p.Balance().Read < int64(refunds) {
		select {
		case err := <-ended:
			return r, fmt.Errorf("the pipeline ended early: %w", errors.Join(err, ctx.Err()))
		case <-time.After(time.Millisecond):
		}
	}
	r = watch.result(name, o.Events, refunds)
	stop()
	b := p.Balance()
	r.Outcomes = map[string]int64{"approve": b.Approved, "review": b.InReview, "reject": b.Rejected}
	if err := <-ended; err != nil {
		return r, err
	}
	if !b.OK() || b.Read != b.Approved+b.InReview+b.Rejected {
		return r, fmt.Errorf("the balance is off: %+v", b)
	}
	return r, nil
}

func streamTopic(topic, from string) pipeline.StreamConfig {
	s := pipeline.StreamConfig{DecideFrom: from}
	s.Topic = topic
	return s
}

// fill produces the events, in order per partition.
func fill(ctx context.Context, cl *kgo.Client, g *gate, topics []string) (refunds int, err error) {
	var failed sendError
	for {
		e, ok := g.next()
		if !ok {
			break
		}
		topic := topics[0]
		if e.refund {
			topic = topics[1]
			refunds++
		}
		cl.Produce(ctx, &kgo.Record{Topic: topic, Key: e.key, Value: e.value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.set(err)
			}
		})
	}
	return refunds, errors.Join(cl.Flush(ctx), failed.get())
}
