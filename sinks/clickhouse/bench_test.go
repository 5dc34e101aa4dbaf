package clickhouse_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafkatest"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/privacy"
)

// BenchmarkSink copies decisions, from Kafka's side to ClickHouse's acknowledgement:
// each with two hits, or one in ten, which is what most rule sets come to.
func BenchmarkSink(b *testing.B) {
	b.Run("hits=2", func(b *testing.B) { benchmarkSink(b, 1, nil) })
	b.Run("hits=0.2", func(b *testing.B) { benchmarkSink(b, 10, nil) })
}

// BenchmarkPseudonymizingSink does so with what privacy.pseudonymize names replaced.
func BenchmarkPseudonymizingSink(b *testing.B) { benchmarkSink(b, 1, pseudonymizer(b)) }

func benchmarkSink(b *testing.B, every int, p *privacy.Pseudonymizer) {
	kafka := kafkatest.Start(b)
	kafka.CreateTopics(8, nil, topicNames()...)
	w := worldOf(b, server(b), kafka.Brokers())
	w.privacy = p
	w.cfg.BatchInterval = time.Second
	w.step = 100 // ms of event time between decisions
	client, err := kgo.NewClient(w.options...)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	bytes := 0
	for i := range b.N {
		rec := w.decision(i)
		if i%every != 0 {
			rec = without(b, rec)
		}
		bytes += len(rec.Value)
		client.Produce(context.Background(), rec, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(bytes / b.N))
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	s, stop := w.start()
	w.drain(s)
	b.StopTimer()
	stop()
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	w.exec("DROP DATABASE " + w.cfg.Database + " SYNC") // its merges are not the next one's
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/1000/float64(b.N), "cpu-us/decision") // of this process: the engine's is another
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}

// without is a decision without hits.
func without(b *testing.B, rec *kgo.Record) *kgo.Record {
	d, err := event.ParseDecision(rec.Value)
	if err != nil {
		b.Fatal(err)
	}
	d.Hits, d.Outcome, d.Score = nil, event.Approve, 0
	return &kgo.Record{Topic: rec.Topic, Key: rec.Key, Value: d.Append(nil)}
}
