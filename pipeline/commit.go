package pipeline

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/connect"
)

// epoch is what one Kafka transaction writes.
type epoch struct {
	records []*kgo.Record
	bytes   int
}

func (e *epoch) add(r *kgo.Record) {
	e.records = append(e.records, r)
	e.bytes += len(r.Key) + len(r.Value) + headerBytes(r.Headers) + 64
}

// An epoch that is this large waits for its commit before more is decided.
const (
	maxEpochRecords = 100_000
	maxEpochBytes   = 64 << 20
)

func (e *epoch) full() bool { return len(e.records) >= maxEpochRecords || e.bytes >= maxEpochBytes }

// committed is the end of a commit.
type committed struct {
	progress *progress
	records  []*kgo.Record
	tally    tally
	took     time.Duration
	err      error
}

// startCommit closes the epoch: its records and the progress go out in one
// transaction, in the background, while the next epoch is worked on. The last
// one of a session is saved whenever the one before was.
func (s *session) startCommit(ctx context.Context, last bool) {
	e := s.epoch
	s.epochs++
	s.engine.Derive()
	if s.failed = s.stateErr(); s.failed != nil {
		return
	}
	p := s.snapshot(s.cfg.now().UnixMilli())
	p.Left = last
	if !p.Balance.OK() {
		// A fault in this program: better to stop than to pay on a wrong count.
		s.metrics.setBalance(p.Balance)
		s.failed = fatalf("the balance does not hold: %+v. Nothing of this epoch was written; please report it", p.Balance)
		return
	}
	records := append(e.records, p.record(s.topics.Progress))
	s.startSave(p, last)
	s.epoch = &epoch{records: make([]*kgo.Record, 0, len(records))}
	s.committing, s.commitStart = true, time.Now()
	t := s.takeTally()
	if s.nextRules != nil {
		s.reload(*s.nextRules)
		s.nextRules = nil
	}
	s.takeControls()
	s.putGuards()
	s.commitWork.Go(func() {
		start := time.Now()
		err := s.commit(ctx, records, p, &t)
		s.commits <- committed{progress: p, records: records, tally: t, took: time.Since(start), err: err}
	})
}

// transact writes records in one transaction. An error leaves the outcome to
// what is committed: see commit.
func (s *session) transact(ctx context.Context, records []*kgo.Record, t *tally) error {
	start := time.Now()
	if err := s.producer.BeginTransaction(); err != nil {
		return fmt.Errorf("beginning a transaction: %w", producerError(err))
	}
	var promise kgo.FirstErrPromise
	var tooLarge sync.Map
	for _, r := range records {
		s.producer.Produce(ctx, r, noteSize(&tooLarge, promise.Promise()))
	}
	defer tooLarge.Range(func(topic, _ any) bool {
		s.cfg.sizes.refused(topic.(string))
		return true
	})
	if err := s.producer.Flush(ctx); err != nil {
		return fmt.Errorf("writing an epoch: %w", producerError(err))
	}
	if err := promise.Err(); err != nil {
		return fmt.Errorf("writing an epoch: %w", producerError(err))
	}
	start = t.took(stepWrite, start)
	if err := connect.EndTransaction(ctx, s.producer, kgo.TryCommit, records...); err != nil {
		return fmt.Errorf("committing an epoch: %w", producerError(err))
	}
	t.took(stepCommit, start)
	return nil
}
