package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// open connects, fences whoever had the transactional.id before, and makes
// sure that the topics are there.
func (s *session) open(ctx context.Context) (err error) {
	// A topic that was just created must not be remembered as unknown.
	base, err := kgo.NewClient(append(slices.Clone(s.cfg.options), kgo.MetadataMinAge(100*time.Millisecond))...)
	if err != nil {
		return fatalf("kafka client: %w", err)
	}
	s.adm = kadm.NewClient(base)
	if s.producer, err = s.newProducer(); err != nil {
		s.adm.Close()
		return err
	}
	defer func() {
		if err != nil {
			s.producer.Close()
			s.adm.Close()
		}
	}()
	if err := s.notReplaced(ctx); err != nil {
		return err
	}
	// Initialising the producer aborts a transaction that a predecessor left
	// open, and makes all it still sends fail (KIP-98).
	if _, _, err := s.producer.ProducerID(ctx); err != nil {
		return fmt.Errorf("taking the transactional.id %q: %w", s.txnID, producerError(err))
	}
	meta, err := s.adm.BrokerMetadata(ctx)
	if err != nil {
		return fmt.Errorf("asking for the cluster: %w", err)
	}
	s.clusterID = meta.Cluster
	if err := s.sameCluster(); err != nil {
		return err
	}
	details, err := s.ensureTopics(ctx)
	if err != nil {
		return err
	}
	s.identify(details)
	if err := s.measure(ctx); err != nil {
		return err
	}
	s.checkRetention(ctx)
	return s.openInputs(ctx, details)
}

// openInputs makes the buffers of every input whose topic exists.
func (s *session) openInputs(ctx context.Context, details kadm.TopicDetails) error {
	for i, st := range s.schema.Streams {
		d, ok := details[st.Topic]
		if !ok || d.Err != nil || len(d.Partitions) == 0 {
			continue // an empty stream
		}
		starts, err := s.adm.ListStartOffsets(ctx, st.Topic)
		if err != nil {
			return fmt.Errorf("asking where %s begins: %w", st.Topic, err)
		}
		ends, err := s.adm.ListCommittedOffsets(ctx, st.Topic)
		if err != nil {
			return fmt.Errorf("asking where %s ends: %w", st.Topic, err)
		}
		in := &input{stream: st, index: i, topicID: d.ID}
		for slot, f := range st.Fields {
			if f.Type == event.TypeEnum {
				in.enums = append(in.enums, slot)
			}
		}
		for id := range len(d.Partitions) {
			o, ok := starts.Lookup(st.Topic, int32(id))
			if !ok || o.Err != nil {
				return fmt.Errorf("asking where %s partition %d begins: %w", st.Topic, id, firstError(o.Err, errNoAnswer))
			}
			in.partitions = append(in.partitions, &partition{in: in, id: int32(id), start: o.Offset, applied: o.Offset, position: o.Offset,
				stop: o.Offset, epoch: -1, watermark: math.MinInt64, cut: o.Offset > 0, moved: time.Now(), waitSince: time.Now()})
			end, ok := ends.Lookup(st.Topic, int32(id))
			if !ok || end.Err != nil {
				return fmt.Errorf("asking where %s partition %d ends: %w", st.Topic, id, firstError(end.Err, errNoAnswer))
			}
			in.partitions[id].end = end.Offset
			if o.Offset > 0 && end.Offset <= o.Offset {
				// All that it held is gone, and no record says until when.
				s.engine.Incomplete(i, time.Now().UnixMilli())
			}
		}
		s.inputs = append(s.inputs, in)
		if st.Name == "refunds" {
			s.refunds = in
		}
		if st.Name == "transactions" {
			s.payments = in
		}
	}
	s.markRequired()
	return nil
}

// recover rebuilds the state up to the committed progress: input is read and
// applied again, outcomes come from the journal, nothing is decided twice.
// Refunds that were applied and not decided are left in their buffers, to be
// applied with what follows.
func (s *session) recover(ctx, work context.Context) error {
	began := time.Now()
	last, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress)
	if err != nil {
		return err
	}
	if last != nil {
		if err := s.offsetsStill(ctx, last); err != nil {
			return err
		}
		if err := s.resumeFrom(last); err != nil {
			return err
		}
		if err := s.claim(ctx, last); err != nil {
			return err
		}
	}
	past, err := s.readJournal(ctx, s.wanted())
	if err != nil {
		return err
	}
	if last == nil {
		if err := s.begin(ctx, past); err != nil {
			return err
		}
	}
	if err := s.startReader(work); err != nil {
		return err
	}
	read := int64(0)
	for tick := time.Now(); !s.caughtUp(); {
		if err := ctx.Err(); err != nil {
			return err // there may be more to apply for minutes
		}
		if time.Since(tick) > 5*time.Second {
			tick = time.Now()
			s.log.Info("recovering", "records", read, "behind", s.behind())
		}
		if s.collect(everything) {
			read += int64(len(s.chunk))
			s.restore(past)
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.reader.fail:
			return err
		case <-s.reader.wake:
		case <-time.After(50 * time.Millisecond):
		}
	}
	if past.derived != nil {
		s.engine.IncompleteDerived(past.derived.since)
	}
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			p.applied = max(p.applied, p.stop)
			p.stop, p.passed, p.waitSince = -1, 0, time.Now()
		}
	}
	s.restoreRest(past)
	s.metrics.recovery.Set(time.Since(began).Seconds())
	s.log.Info("live", "records", read, "epoch", s.epochs, "took", time.Since(began).Round(time.Millisecond), "ruleset", s.set.Version)
	return nil
}

// begin is the first start: which refunds are to be decided is resolved to
// offsets and committed before anything is read.
func (s *session) begin(ctx context.Context, past *journal) error {
	if s.cfg.epoch > 0 {
		return fatalf("topic %s lost the progress that this process wrote there: to begin anew would pay refunds again. Restore the topic, or begin anew as pipeline/README.md says", s.topics.Progress)
	}
	if n := len(past.decided); n > 0 {
		// Another instance may have begun since the progress was looked for.
		if last, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress); err != nil || last != nil {
			return firstError(err, errors.New("the first progress was written while it was looked for: starting over"))
		}
		return fatalf("topic %s holds no progress, but %s holds %d decisions of records of %s: to begin anew would pay them again. Restore the progress topic, or begin anew as pipeline/README.md says",
			s.topics.Progress, s.topics.Decisions, n, s.refunds.stream.Topic)
	}
	df, err := parseDecideFrom(s.cfg.Streams["refunds"].DecideFrom)
	if err != nil {
		return &fatalError{err}
	}
	from, err := df.resolve(ctx, s.adm, s.refunds.stream.Topic, len(s.refunds.partitions))
	if err != nil {
		return err
	}
	for i, p := range s.refunds.partitions {
		p.decideFrom = from[i]
	}
	if err := s.beginPayments(ctx, df); err != nil {
		return err
	}
	s.log.Info("first start", "decide_from", from, "topic", s.refunds.stream.Topic)
	p := s.snapshot(time.Now().UnixMilli())
	if err := s.transact(ctx, []*kgo.Record{p.record(s.topics.Progress)}); err != nil {
		return err
	}
	s.cfg.claimed(writerID{})
	s.cfg.committed(p)
	return nil
}

// resumeFrom takes the committed progress, and refuses one that isn't ours.
func (s *session) resumeFrom(last *progress) error {
	if err := s.ofUs(last); err != nil {
		return err
	}
	if err := s.sameOutputs(last); err != nil {
		return err
	}
	for _, in := range s.inputs {
		sp := last.stream(in.stream.Name)
		if sp == nil {
			continue
		}
		if id := fmt.Sprintf("%x", in.topicID[:]); sp.Topic != in.stream.Topic || sp.TopicID != id {
			return fatalf("the progress in %s is of topic %s (id %s), but stream %s is topic %s (id %s): it was renamed or created anew. Its offsets mean nothing here: restore the topic, or begin anew as pipeline/README.md says",
				s.topics.Progress, sp.Topic, sp.TopicID, in.stream.Name, in.stream.Topic, id)
		}
		for i, pp := range sp.Partitions {
			if i >= len(in.partitions) {
				return fatalf("topic %s has %d partitions, the progress in %s is of %d", in.stream.Topic, len(in.partitions), s.topics.Progress, len(sp.Partitions))
			}
			p := in.partitions[i]
			if pp.Decided < p.start && in == s.refunds {
				s.tellDeleted(p, pp.Decided)
			}
			p.stop, p.decideFrom = max(p.start, pp.Applied), pp.DecideFrom
			if in == s.refunds {
				p.stop = max(p.start, pp.Decided)
			}
			if p.passed = pp.Decided; in != s.refunds && (!sp.Decides || !in.decides) {
				p.passed, p.decideFrom = pp.Applied, 0
			}
		}
	}
	s.balance, s.epochs = last.Balance, last.Epoch
	s.metrics.setBalance(last.Balance)
	return nil
}

// caughtUp reports whether everything up to the committed progress is applied.
func (s *session) caughtUp() bool { return s.behind() == 0 }

// behind is how many offsets recovery still has to go.
func (s *session) behind() int64 {
	var n int64
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			if p.stop < 0 || p.applied >= p.stop {
				continue
			}
			// Control records at the end of what was applied are passed too.
			if p.drained(); p.applied >= p.stop {
				continue
			}
			if r := p.peek(); r != nil && r.Offset >= p.stop {
				continue
			}
			p.mu.Lock()
			over := len(p.queue) == 0 && p.position >= p.stop
			p.mu.Unlock()
			if !over {
				n += p.stop - p.applied
			}
		}
	}
	return n
}

func (s *session) startReader(ctx context.Context) error {
	offsets := map[string]map[int32]kgo.Offset{}
	byTopic := map[string]*input{}
	for _, in := range s.inputs {
		byTopic[in.stream.Topic] = in
		offsets[in.stream.Topic] = map[int32]kgo.Offset{}
		for _, p := range in.partitions {
			offsets[in.stream.Topic][p.id] = kgo.NewOffset().At(p.start)
		}
	}
	cl, err := kgo.NewClient(append(slices.Clone(s.cfg.options),
		kgo.ConsumePartitions(offsets),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // position at the end of a partition counts them
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(16<<20), kgo.FetchMaxPartitionBytes(2<<20), kgo.MaxDecompressBatchBytes(maxDecompressed),
		kgo.FetchMaxWait(100*time.Millisecond))...)
	if err != nil {
		return fatalf("kafka client: %w", err)
	}
	workers := s.cfg.Engine.Workers
	s.reader = &reader{client: cl, inputs: byTopic, maxDelay: s.cfg.Limits.MaxEventDelay.Milliseconds(), largest: s.room.refund, capacity: s.capacity, unknown: s.metrics.unknownValues,
		limits: event.Limits{MaxBytes: s.cfg.Limits.MaxRecordBytes, MaxDepth: s.cfg.Limits.MaxDepth, MaxFieldBytes: s.cfg.Limits.MaxFieldBytes},
		wake:   make(chan struct{}, 1), fail: make(chan error, 1), work: make(chan *batch, 2*workers)}
	s.reader.start(ctx, workers)
	return nil
}
