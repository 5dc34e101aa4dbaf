package integration

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// BenchmarkVerdictToRelease measures from the Kafka timestamp of a verdict until
// a read_committed reader has the request that it releases, with the settings
// that are the default: one verdict each 10 ms in the mean and nothing else, and
// beside 1,000 refunds a second.
func BenchmarkVerdictToRelease(b *testing.B) {
	for name, refunds := range map[string]int{"quiet": 0, "beside-1000-refunds-a-second": 1000} {
		b.Run(name, func(b *testing.B) { benchmarkRelease(b, refunds) })
	}
}

// warmUp are verdicts that aren't measured: a broker that was just started is slow.
const warmUp = 500

func benchmarkRelease(b *testing.B, load int) {
	cluster := kafkatest.Start(b)
	cluster.CreateTopics(4, nil, "refunds", "transactions", "reviews")
	dir := filepath.Join(b.TempDir(), "rules")
	rules := "rules:\n  - {id: large, when: amount > 50, action: review}\n"
	if err := os.MkdirAll(dir, 0o700); err == nil {
		err = os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(rules), 0o600)
		if err != nil {
			b.Fatal(err)
		}
	}
	connection := kafka.DefaultConfig()
	connection.SeedBrokers = cluster.Brokers()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	options, err := connection.Options(log)
	if err != nil {
		b.Fatal(err)
	}
	config := pipeline.DefaultConfig()
	config.Rules.Dir, config.State.Dir, config.Limits.MaxHoldShare = dir, b.TempDir(), 0
	config.Streams["refunds"] = pipeline.StreamConfig{DecideFrom: "earliest"}
	p, err := pipeline.New(config, pipeline.Deps{Options: options, TransactionalID: connection.TransactionalID, CreateTopics: true,
		Logger: log, Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()

	cl := cluster.Client(kgo.ProducerLinger(0))
	refund := func(id, amount string) *kgo.Record {
		return &kgo.Record{Topic: "refunds", Key: []byte(id), Value: fmt.Appendf(nil, `{"refund_id":%q,"customer_id":%[1]q,"amount":%q,"currency":"USD","occurred_at":%d}`,
			id, amount, time.Now().UnixMilli())}
	}
	total := b.N + warmUp
	held := make([]*kgo.Record, total)
	for i := range held {
		held[i] = refund(fmt.Sprint("held", i), "100")
	}
	if err := cl.ProduceSync(ctx, held...).FirstErr(); err != nil {
		b.Fatal(err)
	}
	for p.Balance().InReview < int64(total) {
		select {
		case err := <-ended:
			b.Fatalf("the service ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	arrived := make(chan map[string]time.Time, 1)
	reader := cluster.Client(kgo.ConsumeTopics("refunds-approved"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	go func() {
		all := make(map[string]time.Time)
		for len(all) < total && ctx.Err() == nil {
			fetches := reader.PollFetches(ctx)
			now := time.Now()
			fetches.EachRecord(func(r *kgo.Record) {
				if id := string(r.Key); id[:4] == "held" {
					all[id] = now
				}
			})
		}
		arrived <- all
	}()

	quiet := make(chan struct{})
	var beside sync.WaitGroup
	if load > 0 {
		beside.Go(func() {
			each := time.NewTicker(time.Second / time.Duration(load))
			defer each.Stop()
			for n := 0; ; n++ {
				select {
				case <-quiet:
					return
				case <-each.C:
					cl.Produce(ctx, refund(fmt.Sprint("beside", n), "10"), nil)
				}
			}
		})
	}
	b.ResetTimer()
	rng, sent := rand.New(rand.NewPCG(1, 1)), make([]*kgo.Record, total)
	for i := range sent {
		id := fmt.Sprint("held", i)
		sent[i] = &kgo.Record{Topic: "reviews", Key: []byte(id), Value: fmt.Appendf(nil,
			`{"review_id":"rev%d","refund_id":%q,"verdict":"approve","analyst":"ada","occurred_at":%d}`, i, id, time.Now().UnixMilli())}
		cl.Produce(ctx, sent[i], func(_ *kgo.Record, err error) {
			if err != nil && ctx.Err() == nil {
				b.Error(err)
			}
		})
		time.Sleep(time.Duration(rng.ExpFloat64() * float64(10*time.Millisecond))) // the rate, not a wait for anything
	}
	var all map[string]time.Time
	select {
	case all = <-arrived:
	case err := <-ended:
		b.Fatalf("the service ended: %v", err)
	case <-time.After(patience):
		b.Fatalf("not all of %d verdicts released their refund within %s", total, patience)
	}
	b.StopTimer()
	close(quiet)
	beside.Wait()
	took := make([]float64, b.N)
	for i, r := range sent[warmUp:] {
		took[i] = float64(all[fmt.Sprint("held", warmUp+i)].Sub(r.Timestamp).Microseconds()) / 1000
	}
	slices.Sort(took)
	b.ReportMetric(took[b.N/2], "p50-ms")
	b.ReportMetric(took[b.N*99/100], "p99-ms")
	b.ReportMetric(took[b.N-1], "max-ms")
	stop()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}
