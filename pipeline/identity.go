package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/refundguard/refundguard/rules/event"
)

// Offsets and ids mean something on the cluster and in the topics that they
// were written for. A name says nothing of that: topics are deleted and created
// anew under theirs, and another cluster may answer at the same address.

// patience is how long a topic that looks deleted is looked for: a broker that
// just started doesn't know all topics yet.
const patience = 20 * time.Second

// ofUs refuses the progress of another deployment or cluster.
func (s *session) ofUs(last *progress) error {
	switch {
	case last.TransactionalID != s.txnID:
		return fatalf("topic %s holds the progress of another deployment (transactional_id %q, ours is %q): give each deployment its own topics.progress", s.topics.Progress, last.TransactionalID, s.txnID)
	case last.ClusterID != s.clusterID:
		return fatalf("the progress in %s was written on cluster %q, this is %q: offsets mean nothing here. Go back to that cluster, or move to this one as pipeline/README.md says", s.topics.Progress, last.ClusterID, s.clusterID)
	}
	return nil
}

// sameCluster refuses another cluster than the one that this process worked
// with: its topics may hold no progress at all, and everything would begin anew.
func (s *session) sameCluster() error {
	if s.cfg.cluster != "" && s.cfg.cluster != s.clusterID {
		return fatalf("the brokers are of cluster %q now, and were of %q: go back to that cluster, or move to this one as pipeline/README.md says", s.clusterID, s.cfg.cluster)
	}
	return nil
}

// nothingGone refuses to work where a topic is gone that the progress is of:
// creating it would hide that. It comes before any topic is created, and gives
// the progress, nil if there is none.
func (s *session) nothingGone(ctx context.Context, details kadm.TopicDetails) (*progress, error) {
	if gone(details, s.topics.Progress) {
		if s.cfg.succeeded == nil {
			return nil, nil // a first start, or one that begin refuses
		}
		return nil, s.confirmGone(ctx, s.topics.Progress)
	}
	last, err := lastProgress(ctx, s.adm, s.cfg.options, s.topics.Progress)
	if err != nil || last == nil {
		return nil, err
	}
	if err := s.ofUs(last); err != nil {
		return nil, err
	}
	for _, sp := range last.Streams {
		if st := s.schema.Stream(sp.Stream); st != nil && st.Topic == sp.Topic && s.mustExist(sp.Stream) && gone(details, sp.Topic) {
			return nil, s.confirmGone(ctx, sp.Topic)
		}
	}
	if last.Outputs[s.topics.Decisions] != "" && gone(details, s.topics.Decisions) {
		return nil, s.confirmGone(ctx, s.topics.Decisions)
	}
	return last, nil
}

// mustExist reports whether a stream's topic is created where it is missing.
func (s *session) mustExist(stream string) bool {
	return stream == "refunds" || stream == "transactions" || readsStream(s.set, stream)
}

// wants reports whether it is created where it is missing and wasn't there before,
// though it may be missing: without verdicts, what is held ends by deadlines only.
func (s *session) wants(stream string, last *progress) bool {
	return stream == reviewsStream && s.cfg.createTopics && !s.cfg.Observe &&
		(last == nil || !slices.ContainsFunc(last.Streams, func(sp streamProgress) bool { return sp.Stream == stream }))
}

func gone(details kadm.TopicDetails, topic string) bool {
	d, known := details[topic]
	return !known || errors.Is(d.Err, kerr.UnknownTopicOrPartition)
}

func (s *session) confirmGone(ctx context.Context, topic string) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if details, err := s.adm.ListTopics(ctx, topic); err == nil && !gone(details, topic) {
			return fmt.Errorf("topic %s was unknown for a moment: starting over", topic)
		}
		if err := sleep(ctx, patience/20); err != nil {
			return err
		}
	}
	return fatalf("topic %s was deleted: what was decided, and up to where, can't be told without it. Restore it, or begin anew as pipeline/README.md says", topic)
}

// identify remembers which outputs these are.
func (s *session) identify(details kadm.TopicDetails) {
	s.outputs = map[string]string{}
	for _, p := range s.outputTopics() {
		if id := details[p.name].ID; id != (kadm.TopicID{}) {
			s.outputs[p.name] = hex.EncodeToString(id[:])
		}
	}
}

// sameOutputs refuses another journal under its name. Of other outputs that
// were created anew it tells: what nobody had read of them is lost.
func (s *session) sameOutputs(last *progress) error {
	for _, topic := range slices.Sorted(maps.Keys(last.Outputs)) {
		was, is := last.Outputs[topic], s.outputs[topic]
		switch {
		case is == "" || is == was: // an empty one is not written any more
		case s.follows && topic != s.topics.Decisions: // whoever works has told
		case topic == s.topics.Decisions:
			return fatalf("topic %s was deleted and created anew (id %s, was %s): without the decisions that it held, refunds could be paid again. Restore it, or begin anew as pipeline/README.md says", topic, is, was)
		default:
			s.tell("topic-created-anew", is, fmt.Sprintf("topic %s was deleted and created anew: what it held and nobody had read is lost. Compare with %s what was not passed on", topic, s.topics.Decisions))
		}
	}
	return nil
}

// tell logs what a person has to look at, and alerts. The alert is committed
// with the progress that makes it history.
func (s *session) tell(rule, about, message string) {
	s.log.Error(message)
	s.alert(&event.Alert{AlertID: event.AlertID(rule, s.clusterID, about), Rule: rule, Severity: "critical", Message: message, At: time.Now().UnixMilli()})
}

// lookEvery is how often topics are compared with what they were at the
// session's start.
const lookEvery = 5 * time.Second

// watchTopics ends the session when the cluster or a topic isn't the one that
// the session began with. The client says nothing of that: it waits for the
// topic to come back.
func (s *session) watchTopics(ctx context.Context) {
	was := maps.Clone(s.outputs)
	for _, in := range s.inputs {
		was[in.stream.Topic] = hex.EncodeToString(in.topicID[:])
	}
	for _, st := range s.schema.Streams {
		if _, read := was[st.Topic]; !read {
			was[st.Topic] = ""
		}
	}
	names := slices.Sorted(maps.Keys(was))
	missed := ""
	for sleep(ctx, lookEvery) == nil {
		meta, err := s.adm.Metadata(ctx, names...)
		if err != nil {
			continue
		}
		changed := ""
		if meta.Cluster != s.clusterID {
			changed = fmt.Sprintf("the brokers are of cluster %q now", meta.Cluster)
		}
		missing := ""
		for _, name := range names {
			d := meta.Topics[name]
			switch id := hex.EncodeToString(d.ID[:]); {
			case was[name] == "" && gone(meta.Topics, name):
			case was[name] == "" && d.Err == nil:
				changed = fmt.Sprintf("topic %s is there now, and wasn't read", name)
			case gone(meta.Topics, name):
				missing = name
			case d.Err == nil && id != was[name]:
				changed = fmt.Sprintf("topic %s was deleted and created anew", name)
			}
		}
		if missing != "" && missing == missed {
			changed = fmt.Sprintf("topic %s is gone", missing)
		}
		missed = missing
		if changed != "" {
			s.reader.end(fmt.Errorf("%w: %s", errWorldChanged, changed))
			return
		}
	}
}
