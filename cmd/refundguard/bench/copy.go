package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
)

// Copy reads a deployment's transactions and refunds and copies the refunds to
// its decisions, exactly once, until the context ends. Transactions are as long
// as the service's, by default: what the service takes longer, or spends more, is
// what deciding costs.
func Copy(ctx context.Context, brokers []string, prefix string) error {
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(brokers...), kgo.ConsumerGroup(prefix+"copy"), kgo.TransactionalID(prefix+"copy"),
		kgo.ConsumeTopics(prefix+"transactions", prefix+"refunds"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		return err
	}
	defer func() {
		s.Close()
		forgetGroup(ctx, brokers, prefix+"copy")
	}()
	interval := pipeline.DefaultConfig().Engine.CommitInterval
	for ctx.Err() == nil {
		fetches := s.PollFetches(ctx)
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := s.Begin(); err != nil {
			return fmt.Errorf("beginning a transaction: %w", err)
		}
		window, cancel := context.WithTimeout(ctx, interval)
		produced := kgo.AbortingFirstErrPromise(s.Client())
		for { // what was fetched last is copied, too
			fetches.EachRecord(func(rec *kgo.Record) {
				if rec.Topic == prefix+"refunds" {
					s.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: prefix + "decisions", Key: refundID(rec.Value), Value: rec.Value}, produced.Promise())
				}
			})
			if window.Err() != nil {
				break
			}
			fetches = s.PollFetches(window)
		}
		cancel()
		err := s.Client().Flush(context.WithoutCancel(ctx))
		how := kgo.TransactionEndTry(err == nil && produced.Err() == nil)
		if _, err := s.End(context.WithoutCancel(ctx), how); err != nil {
			return fmt.Errorf("ending a transaction: %w", errors.Join(err, produced.Err()))
		}
	}
	return nil
}

// refundID is what stands first in the generator's refunds.
func refundID(value []byte) []byte {
	const from, to = len(`{"refund_id":"`), len(`{"refund_id":"rfd_000000001`)
	if len(value) < to {
		return nil
	}
	return value[from:to]
}

func forgetGroup(ctx context.Context, brokers []string, group string) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, _ = kadm.NewClient(cl).DeleteGroups(ctx, group)
}
