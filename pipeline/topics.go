package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

var errNoAnswer = errors.New("the cluster gave no answer")

// topicPlan is how a topic is created where it is missing.
type topicPlan struct {
	name       string
	partitions int32
	config     map[string]*string
}

// ensureTopics creates what is missing of the inputs and outputs that must
// exist, and returns the details of every topic that is there.
func (s *session) ensureTopics(ctx context.Context) (kadm.TopicDetails, error) {
	var names []string
	for _, st := range s.schema.Streams {
		names = append(names, st.Topic)
	}
	plans := s.outputTopics()
	for _, p := range plans {
		names = append(names, p.name)
	}
	details, err := s.adm.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("asking which topics there are: %w", readError(err))
	}
	last, err := s.nothingGone(ctx, details)
	if err != nil {
		return nil, err
	}
	var inputs []topicPlan
	for _, st := range s.schema.Streams {
		switch {
		case s.mustExist(st.Name):
			inputs = append(inputs, topicPlan{name: st.Topic, partitions: -1})
		case s.wants(st.Name, last):
			plans = append(plans, topicPlan{name: st.Topic})
		}
	}
	plans = append(inputs, plans...) // outputs are as wide as the refunds topic
	if err := s.createMissing(ctx, plans, len(inputs), details); err != nil {
		return nil, err
	}
	return s.awaitTopics(ctx, plans, names)
}

// createMissing creates what there is not. The first inputs of plans are not ours
// to write.
func (s *session) createMissing(ctx context.Context, plans []topicPlan, inputs int, details kadm.TopicDetails) error {
	var missing []string
	for i := range plans {
		p := &plans[i]
		d := details[p.name]
		if d.Err == nil && len(d.Partitions) > 0 {
			continue
		}
		if d.Err != nil && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("asking for topic %s: %w", p.name, readError(d.Err))
		}
		if !s.cfg.createTopics {
			missing = append(missing, p.name)
			continue
		}
		if p.partitions == 0 {
			p.partitions = s.outputPartitions(details)
		}
		resp, err := s.adm.CreateTopic(ctx, p.partitions, -1, p.config, p.name)
		if err = firstError(err, resp.Err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) {
				return fatalf("topic %s is missing, and this user may not create it (%v): create it, or grant CREATE", p.name, err)
			}
			return fmt.Errorf("creating topic %s: %w", p.name, err)
		}
		if resp.Err != nil {
			continue // it was there: the broker that was asked before had just started
		}
		level := slog.LevelInfo
		if i < inputs {
			level = slog.LevelWarn // somebody should be writing there
		}
		s.log.Log(ctx, level, "topic created", "topic", p.name, "partitions", resp.NumPartitions)
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		return fatalf("missing topics: %s. Create them, or set kafka.create_topics: true", strings.Join(missing, ", "))
	}
	return nil
}

// awaitTopics waits until the cluster knows what was just created everywhere, which
// takes a moment.
func (s *session) awaitTopics(ctx context.Context, plans []topicPlan, names []string) (kadm.TopicDetails, error) {
	for deadline := time.Now().Add(30 * time.Second); ; {
		details, err := s.adm.ListTopics(ctx, names...)
		if err != nil {
			return nil, fmt.Errorf("asking which topics there are: %w", err)
		}
		waiting := ""
		for _, p := range plans {
			if d := details[p.name]; d.Err != nil || len(d.Partitions) == 0 {
				waiting = p.name
			}
		}
		if waiting == "" {
			// A progress record in another partition would not be found
			// again, and everything decided from the start.
			return details, firstError(onePartition(details, s.topics.Progress, "progress"), onePartition(details, s.topics.Controls, "controls"))
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("topic %s was created and is still unknown after 30 s", waiting)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// outputPartitions is how many partitions a new output gets: as many as the
// refunds topic has.
func (s *session) outputPartitions(details kadm.TopicDetails) int32 {
	if n := len(details[s.schema.Stream("refunds").Topic].Partitions); n > 0 {
		return int32(n)
	}
	return -1
}

func (s *session) outputTopics() []topicPlan {
	retention := strconv.FormatInt(s.cfg.State.Retention.Milliseconds(), 10)
	compact, month := "compact", strconv.FormatInt((30*24*time.Hour).Milliseconds(), 10)
	kept := map[string]*string{"retention.ms": &retention}
	monthly := map[string]*string{"retention.ms": &month}
	compacted := map[string]*string{"cleanup.policy": &compact}
	both := "compact,delete" // what is finished goes at last
	keptCompacted := map[string]*string{"cleanup.policy": &both, "retention.ms": &retention}
	t := s.topics
	plans := []topicPlan{
		{name: t.Decisions, config: kept}, {name: t.DeadLetters, config: kept}, {name: t.Labels, config: kept},
		{name: t.Status, config: monthly}, {name: t.Alerts, config: monthly},
		{name: t.Cases, config: keptCompacted}, {name: t.Progress, partitions: 1, config: compacted},
		{name: t.Controls, partitions: 1, config: compacted},
	}
	if !s.cfg.Observe {
		plans = append(plans, topicPlan{name: t.Approved, config: kept})
	}
	return plans
}

// sleep waits, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
