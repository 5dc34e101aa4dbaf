package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// An epoch whose commit failed is sent again as it is, byte for byte, until it
// is committed: what the rules or the clock would say by now plays no part, and
// state needs no recovery. Only what the same bytes can't mend starts over.

// maxBackoff is the longest time between two tries.
const maxBackoff = 15 * time.Second

// commit writes an epoch until it is committed. p is its progress, the last of
// records. It runs beside the session's goroutine.
func (s *session) commit(ctx context.Context, records []*kgo.Record, p *progress, t *tally) error {
	if n, most := len(records[len(records)-1].Value), s.cfg.sizes.of(s.topics.Progress)-framing; n > most {
		return fatalf("the progress takes %d bytes, and topic %s takes %d: raise its max.message.bytes", n, s.topics.Progress, most)
	}
	said, backoff := "", time.Duration(0)
	var began time.Time
	err := s.transact(ctx, records, t)
	for tries := 1; err != nil; tries++ {
		if ctx.Err() != nil {
			return err
		}
		s.metrics.aborts.Inc()
		failed := err
		s.commitTrouble.Store(&failed)
		if startsOver(err) {
			return err
		}
		if text := err.Error(); text != said {
			if said == "" {
				began = time.Now()
			}
			said = text
			s.log.Error("an epoch is not committed: trying again with the same bytes", "epoch", p.Epoch, "error", err)
		}
		backoff = min(max(2*backoff, 100*time.Millisecond), maxBackoff)
		if sleep(ctx, backoff/2+rand.N(backoff/2)) != nil {
			return err
		}
		if err = s.tryAgain(ctx, records, p, t, err); err == nil {
			s.log.Info("the epoch is committed", "epoch", p.Epoch, "tries", tries+1, "after", time.Since(began).Round(time.Millisecond))
		}
	}
	s.commitTrouble.Store(nil)
	return nil
}

// tryAgain writes an epoch anew if what is committed says that it is needed.
func (s *session) tryAgain(ctx context.Context, records []*kgo.Record, p *progress, t *tally, failed error) error {
	if contested(failed) {
		if err := s.contest(ctx, failed); isFatal(err) {
			return err
		}
	}
	if err := s.stillOurs(ctx, failed); err != nil {
		return err
	}
	// The client's own view of the transaction may be wrong by now. A new one
	// gets a new producer epoch: whatever was under way is committed or aborted
	// when it has that, and for readers, too.
	if err := s.renewProducer(ctx); err != nil {
		return err
	}
	last, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress)
	switch {
	case err != nil:
		return err
	case last == nil:
		return fmt.Errorf("%w: topic %s holds no progress any more", errWorldChanged, s.topics.Progress)
	case last.Writer != s.cfg.writer:
		return replacedBy(last.Writer, failed)
	case last.Epoch == p.Epoch:
		return nil // only the answer was lost
	case last.Epoch != p.Epoch-1:
		// The one before was answered as committed, and isn't. What it held must
		// not be left out.
		return fmt.Errorf("%w: epoch %d is the last that is committed, and %d was taken for it", errWorldChanged, last.Epoch, p.Epoch-1)
	}
	for _, r := range records {
		r.Context = nil // the client's, of the try before
	}
	if err := s.transact(ctx, records, t); err != nil {
		return err
	}
	return s.shown(ctx, p)
}

// renewProducer replaces the client that has the transactional.id. Its
// InitProducerID ends the transaction of the one before.
func (s *session) renewProducer(ctx context.Context) error {
	fresh, err := s.newProducer()
	if err != nil {
		return err
	}
	s.producer.Close()
	s.producer = fresh
	if _, _, err := s.producer.ProducerID(ctx); err != nil {
		return fmt.Errorf("taking the transactional.id %q again: %w", s.txnID, producerError(err))
	}
	return nil
}

// errWorldChanged is why a session starts over though nothing is out of order
// with what it sends.
var errWorldChanged = errors.New("the topics are not what they were")

// startsOver reports whether the same bytes can't be committed by waiting: the
// topics have to be looked at again first, or a person is needed.
func startsOver(err error) bool {
	return isFatal(err) || slices.ContainsFunc([]error{errWorldChanged, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID,
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidTimestamp}, func(kind error) bool { return errors.Is(err, kind) })
}

// A broker that has not yet ended the transaction before on a partition answers
// CONCURRENT_TRANSACTIONS (KIP-890). The client sends such a batch again after its
// next metadata request, which by default it makes 5 s after the last. So it is
// asked to be quicker; but a broker that has just started, and doesn't know a topic
// yet, gets as long as by default before the session starts over.
const (
	metadataAge  = 20 * time.Millisecond
	topicUnknown = 20 * time.Second
)

func (s *session) newProducer() (*kgo.Client, error) {
	client, err := kgo.NewClient(append(slices.Clone(s.cfg.options),
		kgo.TransactionalID(s.txnID),
		kgo.TransactionTimeout(60*time.Second),
		kgo.ProducerLinger(0),
		kgo.MetadataMinAge(metadataAge),
		kgo.UnknownTopicRetries(int(topicUnknown/metadataAge)),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 { return int32(s.cfg.sizes.of(topic)) }),
		kgo.MaxBufferedRecords(maxEpochRecords),
		kgo.MaxBufferedBytes(4*maxEpochBytes))...)
	if err != nil {
		return nil, fatalf("kafka client: %w", err)
	}
	return client, nil
}
