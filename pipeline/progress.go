package pipeline

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/cases"
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

// of is the term that a state counts in: approved includes what became of it.
func (b *Balance) of(state cases.State) *int64 {
	switch state {
	case cases.InReview:
		return &b.InReview
	case cases.Rejected:
		return &b.Rejected
	}
	return &b.Approved
}

// move counts a refund elsewhere.
func (b *Balance) move(from, to cases.State) {
	*b.of(from)--
	*b.of(to)++
}

// progress is the record that is committed with each epoch. Its key is the
// transactional.id.
type progress struct {
	Version         int              `json:"version"`
	TransactionalID string           `json:"transactional_id"`
	ClusterID       string           `json:"cluster_id"`
	Writer          writerID         `json:"writer"`
	Host            string           `json:"host,omitempty"` // the writer's, and its process id
	Left            bool             `json:"left,omitempty"` // the writer has stopped: nobody needs to wait for it
	Epoch           int64            `json:"epoch"`
	At              int64            `json:"at"` // Unix milliseconds
	Ruleset         string           `json:"ruleset"`
	Balance         Balance          `json:"balance"`
	Began           string           `json:"began,omitempty"`        // random, the same since the first start
	Saved           bool             `json:"saved,omitempty"`        // the state may hold more than the topics
	Lost            int64            `json:"lost,omitempty"`         // Unix milliseconds: when a state was lost that the topics no longer held
	LostRefunds     int64            `json:"lost_refunds,omitempty"` // likewise, and refunds with it that no decision tells of
	Moved           int64            `json:"moved,omitempty"`        // likewise: when it began with a state from another cluster, which no topic of this one tells of
	SavedEpoch      int64            `json:"saved_epoch,omitempty"`  // the state on the writer's disk
	SavedAt         int64            `json:"saved_at,omitempty"`     // likewise, Unix milliseconds
	Streams         []streamProgress `json:"streams"`
	Breaker         *breakerProgress `json:"breaker,omitempty"` // as the decisions up to here leave it

	Controls *controlsProgress `json:"controls,omitempty"`

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

	// From is the first offset that the state has something of.
	From int64 `json:"from,omitempty"`

	// Cut: records before From are gone, and none was read yet that says since when.
	Cut bool `json:"cut,omitempty"`

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
	p := &progress{Version: progressVersion, TransactionalID: s.txnID, ClusterID: s.clusterID, Writer: s.cfg.writer, Host: s.cfg.host, Epoch: s.epochs,
		At: at, Ruleset: s.set.Version, Balance: s.balance, Began: s.began, Saved: s.kept, Lost: s.lost, LostRefunds: s.lostRefunds, Moved: s.moved, SavedEpoch: s.savedEpoch, SavedAt: s.savedAt, Outputs: s.outputs, Breaker: s.breaker.progress(), Controls: s.controlsProgress()}
	for _, in := range s.inputs {
		sp := streamProgress{Stream: in.stream.Name, Topic: in.stream.Topic, TopicID: hex.EncodeToString(in.topicID[:])}
		sp.Decides = in.decides && in != s.refunds
		for _, part := range in.partitions {
			pp := partitionProgress{Applied: part.applied, From: part.from, Cut: part.cut, LeaderEpoch: part.leaderEpoch()}
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

// parseProgress reads what record wrote. What can't be the progress of any
// deployment is refused: going on from it would decide again, or never.
func parseProgress(value []byte) (*progress, error) {
	p := new(progress)
	if err := json.Unmarshal(value, p); err != nil {
		return nil, err
	}
	if p.Version != progressVersion {
		return nil, fmt.Errorf("it is of version %d", p.Version)
	}
	b := p.Balance
	if min(b.Read, b.Approved, b.InReview, b.Rejected, b.DeadLettered, b.Duplicates, b.History, p.Epoch) < 0 || !b.OK() {
		return nil, fmt.Errorf("its balance does not hold: %+v", b)
	}
	for _, st := range p.Streams {
		for i, pp := range st.Partitions {
			if min(pp.Applied, pp.Decided, pp.DecideFrom) < 0 || pp.Decided > pp.Applied {
				return nil, fmt.Errorf("partition %d of stream %s is applied to %d and decided to %d", i, st.Stream, pp.Applied, pp.Decided)
			}
		}
	}
	return p, nil
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
			p, err := parseProgress(last.Value)
			if err != nil {
				return nil, fatalf("the progress record at offset %d of %s is not one that this version wrote (%w): name another topic as topics.progress, or run the version that wrote it",
					last.Offset, topic, err)
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
