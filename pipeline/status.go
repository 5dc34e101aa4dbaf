package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Status is what a deployment has committed last.
type Status struct {
	State           string         `json:"state"` // working, silent, stopped, never started
	TransactionalID string         `json:"transactional_id"`
	ClusterID       string         `json:"cluster_id,omitempty"`
	Leader          string         `json:"leader,omitempty"` // host:pid
	Instance        string         `json:"instance,omitempty"`
	Epoch           int64          `json:"epoch"`
	CommittedAt     time.Time      `json:"committed_at,omitzero"`
	SavedEpoch      int64          `json:"saved_epoch,omitempty"` // of the state on the leader's disk
	SavedAt         time.Time      `json:"saved_at,omitzero"`
	LostAt          time.Time      `json:"lost_at,omitzero"` // state was lost then, and refunds that need it are held
	Ruleset         string         `json:"ruleset,omitempty"`
	Tripped         []string       `json:"tripped,omitempty"` // rules whose breaker is
	Holds           []string       `json:"holds,omitempty"`   // ids of those that were told of
	Balance         Balance        `json:"balance"`
	Streams         []StreamStatus `json:"streams"`
}

// StreamStatus is how far a stream is. Lag counts offsets to the end of its
// topic, those of transaction markers included.
type StreamStatus struct {
	Stream     string `json:"stream"`
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Lag        int64  `json:"lag"`                   // not applied
	Undecided  int64  `json:"undecided,omitempty"`   // not decided: refunds, and transactions that rules are on
	Behind     int32  `json:"behind_most,omitempty"` // the partition with the most of it
}

// The states of a deployment.
const (
	Working      = "working"
	Silent       = "silent"
	Stopped      = "stopped"
	NeverStarted = "never started"
)

// silentAfter is well above the second after which an idle instance commits.
const silentAfter = 5 * time.Second

// ReadStatus asks the cluster what a deployment has committed last. It changes
// nothing, and needs the right to read the topics only.
func ReadStatus(ctx context.Context, cfg Config, transactionalID string, options []kgo.Opt) (*Status, error) {
	if cfg.Observe {
		transactionalID += "-observe"
	}
	cl, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	st := &Status{State: NeverStarted, TransactionalID: transactionalID, Streams: []StreamStatus{}}
	p, err := committedProgress(ctx, adm, cfg.Names().Progress, options)
	if err != nil || p == nil {
		return st, err
	}
	at := func(ms int64) time.Time {
		if ms == 0 {
			return time.Time{}
		}
		return time.UnixMilli(ms).UTC()
	}
	st.State, st.TransactionalID, st.ClusterID, st.Leader, st.Instance = Working, p.TransactionalID, p.ClusterID, p.Host, p.Writer.Instance
	st.Epoch, st.CommittedAt, st.Ruleset, st.Balance = p.Epoch, at(p.At), p.Ruleset, p.Balance
	st.SavedEpoch, st.SavedAt, st.LostAt = p.SavedEpoch, at(p.SavedAt), at(max(p.Lost, p.LostRefunds))
	st.Tripped, st.Holds = p.guards()
	switch {
	case p.Left:
		st.State = Stopped
	case time.Since(st.CommittedAt) > silentAfter:
		st.State = Silent
	}
	for _, sp := range p.Streams {
		one, err := sp.status(ctx, adm)
		if err != nil {
			return nil, err
		}
		st.Streams = append(st.Streams, one)
	}
	return st, nil
}

// committedProgress is the last of a topic that may not exist; nil: there is none.
func committedProgress(ctx context.Context, adm *kadm.Client, topic string, options []kgo.Opt) (*progress, error) {
	if details, err := adm.ListTopics(ctx, topic); err != nil {
		return nil, fmt.Errorf("asking for the topic %s: %w", topic, err)
	} else if !details.Has(topic) {
		return nil, nil
	}
	return lastProgress(ctx, adm, options, topic)
}

// guards are the rules that are tripped, and the holds that were told of.
func (p *progress) guards() (tripped, holds []string) {
	if p.Breaker != nil {
		for _, r := range p.Breaker.Rules {
			if r.Tripped != nil {
				tripped = append(tripped, r.Rule)
			}
		}
	}
	if p.Controls != nil {
		for _, h := range p.Controls.Holds {
			holds = append(holds, h.ID)
		}
	}
	return tripped, holds
}

func (sp *streamProgress) status(ctx context.Context, adm *kadm.Client) (StreamStatus, error) {
	st := StreamStatus{Stream: sp.Stream, Topic: sp.Topic}
	ends, err := adm.ListCommittedOffsets(ctx, sp.Topic)
	if err != nil {
		return st, fmt.Errorf("asking where %s ends: %w", sp.Topic, err)
	}
	most := int64(0)
	for id, end := range ends[sp.Topic] {
		if end.Err != nil {
			return st, fmt.Errorf("asking where %s partition %d ends: %w", sp.Topic, id, end.Err)
		}
		st.Partitions++
		pp := partitionProgress{} // of one that was added since: nothing
		if int(id) < len(sp.Partitions) {
			pp = sp.Partitions[id]
		}
		lag, undecided := max(0, end.Offset-pp.Applied), int64(0)
		if sp.Stream == "refunds" || sp.Decides {
			undecided = max(0, end.Offset-pp.Decided)
		}
		st.Lag += lag
		st.Undecided += undecided
		if n := max(lag, undecided); n > most {
			most, st.Behind = n, id
		}
	}
	return st, nil
}
