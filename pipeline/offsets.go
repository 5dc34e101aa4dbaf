package pipeline

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Topics that no longer hold what the progress is of.

// offsetsStill takes back the progress of partitions whose log was cut before
// it: by an unclean leader election, or since it is a copy that came too late.
// Offsets are given a second time there, perhaps all of them already; only the
// epoch of the leader tells (KIP-320). Nothing is decided a second time: the
// journal knows the ids.
func (s *session) offsetsStill(ctx context.Context, last *progress) error {
	return s.eachCut(ctx, last, func(p *partition, pp *partitionProgress, end int64) {
		topic := p.in.stream.Topic
		s.tell("topic-cut", fmt.Sprintf("%s/%d/%d/%d", topic, p.id, end, pp.Applied),
			fmt.Sprintf("topic %s partition %d was read up to offset %d, and the cluster lost its records from %d on (an unclean leader election, or a late copy). What comes under these offsets now is read; what was decided stays decided",
				topic, p.id, pp.Applied, end))
		pp.Applied, pp.Decided, pp.DecideFrom = end, min(pp.Decided, end), min(pp.DecideFrom, end)
	})
}

// eachCut calls f for the partitions whose log was cut before a progress, with
// where it was.
func (s *session) eachCut(ctx context.Context, last *progress, f func(p *partition, pp *partitionProgress, end int64)) error {
	var req kadm.OffsetForLeaderEpochRequest
	read := map[*partition]*partitionProgress{}
	for _, in := range s.inputs {
		sp := last.stream(in.stream.Name)
		if sp == nil || sp.Topic != in.stream.Topic || sp.TopicID != hex.EncodeToString(in.topicID[:]) {
			continue // another topic's, which resumeFrom refuses
		}
		for i := range min(len(sp.Partitions), len(in.partitions)) {
			if pp := &sp.Partitions[i]; pp.LeaderEpoch != nil {
				req.Add(sp.Topic, int32(i), *pp.LeaderEpoch)
				read[in.partitions[i]] = pp
			}
		}
	}
	if len(read) == 0 {
		return nil
	}
	ends, err := s.adm.OffsetForLeaderEpoch(ctx, req)
	if err != nil {
		return fmt.Errorf("asking whether topics were cut: %w", err)
	}
	for _, in := range s.inputs {
		for _, p := range in.partitions {
			pp := read[p]
			if pp == nil {
				continue
			}
			answer, ok := ends[in.stream.Topic][p.id]
			if !ok || answer.Err != nil {
				return fmt.Errorf("asking whether %s partition %d was cut: %w", in.stream.Topic, p.id, firstError(answer.Err, errNoAnswer))
			}
			end := answer.EndOffset
			if end < 0 { // no such epoch is known any more
				end = p.end
			}
			if end < pp.Applied {
				f(p, pp, end)
			}
		}
	}
	return nil
}

// tellDeleted tells of refunds that nobody can decide any more.
func (s *session) tellDeleted(p *partition, from int64) {
	topic := s.refunds.stream.Topic
	s.metrics.refundsDeleted.Add(float64(p.start - from))
	s.tell("refunds-deleted", fmt.Sprintf("%s/%d/%d/%d", topic, p.id, from, p.start),
		fmt.Sprintf("records %d to %d of topic %s partition %d were deleted before they were decided: keep the topic longer, and send these refunds again", from, p.start-1, topic, p.id))
}
