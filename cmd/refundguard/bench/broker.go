package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	Keep    bool     // leave what was generated for the next gate of the same events

	// SaveEvery is how often the state is saved to a folder and copied to
	// another as a checkpoint meanwhile; 0: never.
	SaveEvery time.Duration

	// Sinks has ClickHouse and a receiver of alerts run beside it; what is
	// measured ends when all is stored.
	Sinks bool
	Raw   bool // with Sinks: ClickHouse gets transactions and refunds as they were sent, too
}

// gateRun is a gate's topics and folder.
type gateRun struct {
	brokers []string
	cfg     pipeline.Config
	prefix  string
	client  *kgo.Client
	adm     *kadm.Client
	sinks   *gateSinks // nil: none
	events  []string   // topics of the generated events: transactions, refunds
	filled  int        // refunds that an earlier gate left there; 0: none has
	closes  []func()
}

// Run fills the topics unless they are, drains them with the pipeline, reads what
// was decided, and deletes them.
func (g Gate) Run(ctx context.Context, o Options) (r Result, err error) {
	run, err := g.prepare(ctx, o)
	defer run.close()
	if err != nil {
		return r, err
	}
	refunds := run.filled
	if refunds == 0 {
		if refunds, err = fill(ctx, run.client, newGate(o.Events, o.Seed, o.Hot), run.events); err != nil {
			return r, fmt.Errorf("filling the topics: %w", err)
		}
	}
	if r, err = run.drain(ctx, o, g.name(), refunds); err != nil {
		return r, err
	}
	decisions := 0
	if r.Digest, decisions, err = committedDigest(ctx, run.adm, run.brokers, run.cfg.Topics.Decisions); err != nil {
		return r, err
	}
	if decisions != refunds {
		return r, fmt.Errorf("%d decisions are committed on %d refunds", decisions, refunds)
	}
	if g.SaveEvery > 0 && r.Checkpoints == 0 {
		return r, fmt.Errorf("no checkpoint was made in the %.1f s that it took: take more events, or save more often", r.Seconds)
	}
	return r, nil
}

func (g Gate) name() string {
	name := "gate, embedded Kafka"
	if len(g.Brokers) > 0 {
		name = "gate, Kafka"
	}
	if g.SaveEvery > 0 {
		name += fmt.Sprintf(", state saved every %v", g.SaveEvery)
	}
	if g.Sinks {
		name += ", until stored in ClickHouse"
		if g.Raw {
			name += " with all that was sent"
		}
	}
	return name
}

// prepare makes the topics; what it made is to be closed after an error, too.
func (g Gate) prepare(ctx context.Context, o Options) (run *gateRun, err error) {
	run = &gateRun{brokers: g.Brokers, cfg: pipeline.DefaultConfig(), prefix: fmt.Sprintf("refundguard-bench-%d-", time.Now().UnixNano())}
	if len(g.Brokers) == 0 {
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			return run, fmt.Errorf("embedded Kafka: %w", err)
		}
		run.closes = append(run.closes, c.Close)
		run.brokers = c.ListenAddrs()
	}
	cfg := &run.cfg
	dir, err := os.MkdirTemp("", "refundguard-bench-")
	if err != nil {
		return run, err
	}
	run.closes = append(run.closes, func() { _ = os.RemoveAll(dir) })
	content := gateRules
	if g.Sinks {
		content, cfg.Alerts.MinSeverity = alerting, "high"
	}
	cfg.Rules.Dir, cfg.Rules.Reload = filepath.Join(dir, "rules"), 0
	cfg.Engine.AlignTimeout = 10 * time.Minute // a slow machine must not have refunds held: the digest would differ
	if err := errors.Join(os.Mkdir(cfg.Rules.Dir, 0o700), os.WriteFile(filepath.Join(cfg.Rules.Dir, "gate.yaml"), []byte(content), 0o600)); err != nil {
		return run, err
	}
	if g.SaveEvery > 0 {
		s := &cfg.State
		s.Dir, s.SaveInterval = filepath.Join(dir, "state"), g.SaveEvery
		s.Checkpoint, s.CheckpointInterval, s.CheckpointKeep = filepath.Join(dir, "bucket"), g.SaveEvery, 1_000_000 // they are counted in the end
	}
	run.client, err = kgo.NewClient(kgo.SeedBrokers(run.brokers...), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(100_000),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		return run, err
	}
	run.closes = append(run.closes, run.client.Close)
	run.adm = kadm.NewClient(run.client)
	if err := run.makeTopics(ctx, g.Keep, o); err != nil {
		return run, err
	}
	if g.Sinks {
		return run, run.addSinks(ctx, dir, g.Raw)
	}
	return run, nil
}

func (run *gateRun) close() {
	for _, f := range slices.Backward(run.closes) {
		f()
	}
}

// drain has the pipeline decide all refunds.
func (run *gateRun) drain(ctx context.Context, o Options, name string, refunds int) (r Result, err error) {
	registry := prometheus.NewRegistry()
	p, err := pipeline.New(run.cfg, pipeline.Deps{Options: []kgo.Opt{kgo.SeedBrokers(run.brokers...)}, TransactionalID: run.prefix + "gate", CreateTopics: true,
		Logger: slog.New(slog.DiscardHandler), Registerer: registry})
	if err != nil {
		return r, err
	}
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	watch := o.start()
	go func() { ended <- p.Run(runCtx) }()
	if run.sinks != nil {
		run.sinks.start(runCtx)
		defer run.sinks.running.Wait()
		defer stop()
	}
	for p.Balance().Read < int64(refunds) {
		select {
		case err := <-ended:
			return r, fmt.Errorf("the pipeline ended early: %w", errors.Join(err, ctx.Err()))
		case <-time.After(time.Millisecond):
		}
	}
	decided := spent().wall - watch.since.wall
	if run.sinks != nil {
		if err := run.stored(ctx); err != nil {
			return r, err
		}
	}
	r = watch.stop().result(name, o.Events, refunds)
	if run.sinks != nil {
		if r.Sinks, err = run.count(ctx, refunds); err != nil {
			return r, err
		}
		r.Sinks.Decided = decided.Seconds()
	}
	if run.cfg.State.Dir != "" {
		if r.Saves, r.Checkpoints, err = run.saved(ctx, registry); err != nil {
			return r, err
		}
	}
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

// saved counts saves of the state that came to their end, and checkpoints.
func (run *gateRun) saved(ctx context.Context, registry *prometheus.Registry) (saves, checkpoints int, err error) {
	families, err := registry.Gather()
	if err != nil {
		return 0, 0, err
	}
	for _, f := range families {
		if f.GetName() == "refundguard_state_save_seconds" {
			for _, m := range f.GetMetric() {
				saves += int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	bucket, err := pipeline.OpenCheckpoints(run.cfg, run.prefix+"gate", "")
	if err != nil {
		return 0, 0, err
	}
	defer bucket.Close()
	all, _, err := bucket.List(ctx)
	return saves, len(all), err
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
