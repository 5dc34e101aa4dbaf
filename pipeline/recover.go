package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// open connects, and makes sure that the topics are there.
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
	s.checkSettings(ctx)
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
		in := &input{stream: st, index: i, topicID: d.ID,
			applied: s.metrics.applied.WithLabelValues(st.Name), duplicates: s.metrics.duplicates.WithLabelValues(st.Name)}
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
			in.partitions = append(in.partitions, &partition{in: in, id: int32(id), start: o.Offset, from: o.Offset, applied: o.Offset, position: o.Offset,
				stop: o.Offset, epoch: -1, watermark: math.MinInt64, cut: o.Offset > 0, moved: time.Now(), waitSince: time.Now()})
			end, ok := ends.Lookup(st.Topic, int32(id))
			if !ok || end.Err != nil {
				return fmt.Errorf("asking where %s partition %d ends: %w", st.Topic, id, firstError(end.Err, errNoAnswer))
			}
			in.partitions[id].end = end.Offset
			if o.Offset > 0 && end.Offset <= o.Offset {
				// All that it held is gone, and no record says until when.
				in.partitions[id].gone = true
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
// applied with what follows. While another instance works, it follows that.
func (s *session) recover(ctx, work context.Context) error {
	began := time.Now()
	r := &recovery{}
	if err := s.standBy(ctx, work, r); err != nil {
		return err
	}
	if err := s.fence(ctx); err != nil {
		return err
	}
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
	} else if last, err = s.begin(ctx); err != nil {
		return err
	}
	if err := s.restart(ctx, work, last, r); err != nil {
		return err
	}
	if err := s.readJournal(ctx, r.past); err != nil {
		return err
	}
	if err := s.readCases(ctx, r.past); err != nil {
		return err
	}
	s.journalAt, s.alertsAt, s.casesAt = r.past.ends, r.past.alertEnds, r.past.caseEnds
	s.loseRefunds(r.past)
	if err := s.catchUp(ctx, r, last); err != nil {
		return err
	}
	s.toTheEnd(last)
	if err := s.catchUp(ctx, r, nil); err != nil {
		return err
	}
	if r.past.derived != nil {
		s.engine.IncompleteDerived(r.past.derived.since)
	}
	s.engine.KeepExpired(false)
	if err := s.restoreRest(r.past, true); err != nil {
		return err
	}
	if err := s.settleRest(); err != nil {
		return err
	}
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			p.stop, p.passed, p.waitSince = -1, 0, time.Now()
		}
	}
	s.rejoined()
	s.breaker.resume(last.Breaker)
	if err := s.readControls(ctx, work, last.Controls); err != nil {
		return err
	}
	s.putGuards()
	s.tellLoss(s.cfg.now())
	s.tellLostCases()
	s.saved = time.Now()
	s.metrics.leader.Set(1)
	s.metrics.recovery.Set(time.Since(began).Seconds())
	s.log.Info("live", "records", r.read, "epoch", s.epochs, "took", time.Since(began).Round(time.Millisecond), "ruleset", s.set.Version)
	return nil
}

// recovery is how far one is.
type recovery struct {
	state *savedState
	past  *journal
	from  mark  // the state had this of the journal when it began
	read  int64 // records
	least int64 // bytes that the state took since the last save began
	told  time.Time
}

// fence makes all that a predecessor still sends fail, and aborts a transaction
// that it left open (KIP-98). A predecessor that came after this process's last
// session is left alone.
func (s *session) fence(ctx context.Context) error {
	if s.cfg.succeeded != nil {
		s.seen = *s.cfg.succeeded
		if err := s.stillOurs(ctx, nil); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) { // see nothingGone
			return err
		}
	}
	if _, _, err := s.producer.ProducerID(ctx); err != nil {
		return fmt.Errorf("taking the transactional.id %q: %w", s.txnID, producerError(err))
	}
	return nil
}

// restart takes the saved state back and begins to read what came since, if that
// hasn't happened yet.
func (s *session) restart(ctx, work context.Context, last *progress, r *recovery) (err error) {
	if r.past != nil {
		return nil
	}
	if r.state, err = s.openState(ctx, last); err != nil {
		return err
	}
	if r.state != nil {
		s.planFill(r.state)
	}
	s.engine.KeepExpired(true)
	s.forgotten()
	r.past = newJournal(s.wanted(), r.state)
	r.from = r.past.mark(0)
	return s.startReader(work)
}

// begin is the first start: which refunds are to be decided is resolved to
// offsets and committed before anything is read.
func (s *session) begin(ctx context.Context) (*progress, error) {
	if s.cfg.epoch > 0 {
		return nil, fatalf("topic %s lost the progress that this process wrote there: to begin anew would pay refunds again. Restore the topic, or begin anew as pipeline/README.md says", s.topics.Progress)
	}
	past := newJournal(nil, nil)
	if err := s.readJournal(ctx, past); err != nil {
		return nil, err
	}
	if n := len(past.decided); n > 0 {
		// Another instance may have begun since the progress was looked for.
		if last, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress); err != nil || last != nil {
			return nil, firstError(err, errors.New("the first progress was written while it was looked for: starting over"))
		}
		return nil, fatalf("topic %s holds no progress, but %s holds %d decisions of records of %s: to begin anew would pay them again. Restore the progress topic, or begin anew as pipeline/README.md says",
			s.topics.Progress, s.topics.Decisions, n, s.refunds.stream.Topic)
	}
	df, err := parseDecideFrom(s.cfg.Streams["refunds"].DecideFrom)
	if err != nil {
		return nil, &fatalError{err}
	}
	from, err := df.resolve(ctx, s.adm, s.refunds.stream.Topic, len(s.refunds.partitions))
	if err != nil {
		return nil, err
	}
	for i, p := range s.refunds.partitions {
		p.decideFrom = from[i]
	}
	if err := s.beginOthers(ctx, df); err != nil {
		return nil, err
	}
	s.log.Info("first start", "decide_from", from, "topic", s.refunds.stream.Topic)
	s.began = fmt.Sprintf("%016x", rand.Uint64())
	if err := s.beginMoved(); err != nil {
		return nil, err
	}
	p := s.snapshot(s.cfg.now().UnixMilli())
	if err := s.transact(ctx, []*kgo.Record{p.record(s.topics.Progress)}, &tally{}); err != nil {
		return nil, err
	}
	if err := s.shown(ctx, p); err != nil {
		return nil, fmt.Errorf("the first progress: %w", err)
	}
	s.cfg.claimed(writerID{})
	s.cfg.committed(p)
	return p, nil
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
			if i >= len(in.partitions) && s.follows {
				return fmt.Errorf("topic %s has more partitions now: starting over", in.stream.Topic)
			}
			if i >= len(in.partitions) {
				return fatalf("topic %s has %d partitions, the progress in %s is of %d", in.stream.Topic, len(in.partitions), s.topics.Progress, len(sp.Partitions))
			}
			p := in.partitions[i]
			if pp.Decided < p.start && in == s.refunds && !s.follows {
				s.tellDeleted(p, pp.Decided)
			}
			p.passed, p.decideFrom = pp.Decided, pp.DecideFrom
			if in != s.refunds && !sp.Decides {
				p.passed, p.decideFrom = pp.Applied, 0
			}
			p.stop = max(p.stop, p.start, p.passed)
		}
	}
	s.balance, s.epochs, s.began, s.moved = last.Balance, last.Epoch, last.Began, last.Moved
	s.metrics.setBalance(last.Balance)
	return nil
}
