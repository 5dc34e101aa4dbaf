package clickhouse_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkSink copies decisions of two hits each, from Kafka's side to
// ClickHouse's acknowledgement.
func BenchmarkSink(b *testing.B) {
	w := newWorld(b, server(b))
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
	b.ResetTimer()
	s, stop := w.start()
	w.drain(s)
	b.StopTimer()
	stop()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}
