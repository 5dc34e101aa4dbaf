package kafka_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// Where a transaction is open, the end isn't known until it has ended; then it is
// behind all of it.
func TestSettled(t *testing.T) {
	kafkatest.InProcess(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	options := []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}
	if _, err := kafka.Settled(t.Context(), options, "nope"); !errors.Is(err, kafka.ErrNoTopic) {
		t.Errorf("no topic: %v", err)
	}
	if ends, err := kafka.Settled(t.Context(), options, "t"); err != nil || len(ends) != 2 || ends[0] != 0 || ends[1] != 0 {
		t.Errorf("an empty topic: %v, %v", ends, err)
	}
	cl, err := kgo.NewClient(append(options, kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: 1, Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if ends, err := kafka.Settled(short, options, "t"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while a transaction is open: %v, %v", ends, err)
	}
	settled := make(chan map[int32]int64, 1)
	go func() {
		ends, err := kafka.Settled(t.Context(), options, "t")
		if err != nil {
			t.Error(err)
		}
		settled <- ends
	}()
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if ends := <-settled; ends[0] != 0 || ends[1] < 1 {
		t.Errorf("after it: %v", ends)
	}
}
