package pipeline

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafka"
)

// Balance counts what became of every record of the refunds topic. After every
// commit Read is the sum of the others.
type Balance struct {
	Read         int64 `json:"read"`
	Approved     int64 `json:"approved"`
	InReview     int64 `json:"in_review"`
	Rejected     int64 `json:"rejected"`
	DeadLettered int64 `json:"dead_lettered"`
	Duplicates   int64 `json:"duplicates"`
	History      int64 `json:"history"`
}

// OK reports whether the balance holds.
func (b Balance) OK() bool {
	return b.Read == b.Approved+b.InReview+b.Rejected+b.DeadLettered+b.Duplicates+b.History
}

// progress is the record that is committed with each epoch. Its key is the
// transactional.id.
type progress struct {
	Version         int              `json:"version"`
	TransactionalID string           `json:"transactional_id"`
	ClusterID       string           `json:"cluster_id"`
	Writer          writerID         `json:"writer"`
	Epoch           int64            `json:"epoch"`
	At              int64            `json:"at"` // Unix milliseconds
	Ruleset         string           `json:"ruleset"`
	Balance         Balance          `json:"balance"`
	Streams         []streamProgress `json:"streams"`

	Outputs map[string]string `json:"outputs,omitempty"` // topic ids by name
}

// writerID tells who wrote a progress record: one process, and which of its
// sessions.
type writerID struct {
	Instance string `json:"instance"` // random, one per process
	Session  int64  `json:"session"`
}

type streamProgress struct {
	Stream     string              `json:"stream"`
	Topic      string              `json:"topic"`
	TopicID    string              `json:"topic_id"`
	Decides    bool                `json:"decides,omitempty"` // transactions: rules were on them, Decided says how far
	Partitions []partitionProgress `json:"partitions"`
}

// partitionProgress holds the next offset to apply and, for refunds and for
// transactions that rules are on, the next to decide and the first that is not
// history.
type partitionProgress struct {
	Applied    int64 `json:"applied"`
	Decided    int64 `json:"decided,omitempty"`
	DecideFrom int64 `json:"decide_from,omitempty"`

	LeaderEpoch *int32 `json:"leader_epoch,omitempty"` // of what was read last; nil: unknown
}

const progressVersion = 1

func (p *progress) stream(name string) *streamProgress {
	for i := range p.Streams {
		if p.Streams[i].Stream == name {
			return &p.Streams[i]
		}
	}
	return nil
}

// snapshot is the progress as of now.
func (s *session) snapshot(at int64) *progress {
	p := &progress{Version: progressVersion, TransactionalID: s.txnID, ClusterID: s.clusterID, Writer: s.cfg.writer, Epoch: s.epochs,
		At: at, Ruleset: s.set.Version, Balance: s.balance, Outputs: s.outputs}
	for _, in := range s.inputs {
		sp := streamProgress{Stream: in.stream.Name, Topic: in.stream.Topic, TopicID: hex.EncodeToString(in.topicID[:])}
		sp.Decides = in.decides && in != s.refunds
		for _, part := range in.partitions {
			pp := partitionProgress{Applied: part.applied, LeaderEpoch: part.leaderEpoch()}
			if in.decides {
				pp.Decided, pp.DecideFrom = part.decided(), part.decideFrom
			}
			sp.Partitions = append(sp.Partitions, pp)
		}
		p.Streams = append(p.Streams, sp)
	}
	return p
}

func (p *progress) record(topic string) *kgo.Record {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // no such type in it
	}
	return &kgo.Record{Topic: topic, Key: []byte(p.TransactionalID), Value: b, Partition: 0}
}

// lastProgress reads the newest committed progress record; nil if there is
// none. It looks at the end of the topic, further and further back.
func lastProgress(ctx context.Context, adm *kadm.Client, opts []kgo.Opt, topic string) (*progress, error) {
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking where %s begins: %w", topic, err)
	}
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking where %s ends: %w", topic, err)
	}
	first, ok1 := starts.Lookup(topic, 0)
	end, ok2 := ends.Lookup(topic, 0)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("asking for the offsets of %s: %w", topic, firstError(starts.Error(), ends.Error(), errNoAnswer))
	}
	if first.Err != nil || end.Err != nil {
		return nil, fmt.Errorf("asking for the offsets of %s: %w", topic, firstError(first.Err, end.Err))
	}
	for back := int64(16); ; back *= 8 {
		from := max(first.Offset, end.Offset-back)
		var last *kgo.Record
		err := kafka.ReadRanges(ctx, opts, topic, map[int32]kafka.Span{0: {From: from, To: end.Offset}}, func(r *kgo.Record) error {
			last = r
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading the progress: %w", err)
		}
		if last != nil {
			p := new(progress)
			if err := json.Unmarshal(last.Value, p); err != nil || p.Version != progressVersion {
				return nil, fatalf("the progress record at offset %d of %s is not one that this version wrote (version %d, %v): name another topic as topics.progress, or run the version that wrote it",
					last.Offset, topic, p.Version, err)
			}
			return p, nil
		}
		if from == first.Offset {
			return nil, nil
		}
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
