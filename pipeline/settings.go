package pipeline

import (
	"cmp"
	"context"
	"strconv"
	"time"
)

// checkSettings warns of settings of topics under which what the program says of
// itself doesn't hold. That they can't be asked for is no fault.
func (s *session) checkSettings(ctx context.Context) {
	names := []string{s.topics.Decisions, s.topics.Progress}
	for _, st := range s.schema.Streams {
		if s.mustExist(st.Name) {
			names = append(names, st.Topic)
		}
	}
	configs, err := s.adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		s.log.Debug("asking for the settings of topics failed", "error", err)
		return
	}
	for _, rc := range configs {
		set := map[string]string{}
		for _, c := range rc.Configs {
			set[c.Key] = c.MaybeValue()
		}
		switch rc.Name {
		case s.topics.Decisions:
			s.checkRetention(rc.Name, set)
		case s.topics.Progress:
			s.checkCompacted(rc.Name, set)
		default:
			s.checkTimestamps(rc.Name, set)
		}
	}
}

// checkRetention warns where the journal forgets refunds sooner than the state.
func (s *session) checkRetention(topic string, set map[string]string) {
	ms, err := strconv.ParseInt(set["retention.ms"], 10, 64)
	if err != nil {
		return
	}
	short := ms >= 0 && ms < s.cfg.State.Retention.Milliseconds()
	s.metrics.shortRetention.WithLabelValues(topic).Set(oneIf(short))
	if short {
		s.log.Warn("the journal is kept shorter than state.retention: raise its retention.ms", "topic", topic,
			"retention", time.Duration(ms)*time.Millisecond, "state.retention", s.cfg.State.Retention)
	}
}

// checkCompacted warns where the progress could be deleted by age.
func (s *session) checkCompacted(topic string, set map[string]string) {
	if policy, told := set["cleanup.policy"]; told && policy != "compact" {
		s.log.Warn("the progress topic is not compacted: after a long stop its last record would be gone, and with it all that is known of what was decided. Set cleanup.policy=compact",
			"topic", topic, "cleanup.policy", policy)
	}
}

// mostAhead is Kafka's own default of message.timestamp.after.max.ms.
const mostAhead = time.Hour

// checkTimestamps warns where producers may write any time: a record whose times
// are both in the future says that its partition has come that far, and refunds
// no longer wait for what is behind it.
func (s *session) checkTimestamps(topic string, set map[string]string) {
	ms, err := strconv.ParseInt(cmp.Or(set["message.timestamp.after.max.ms"], set["message.timestamp.difference.max.ms"]), 10, 64) // the latter before Kafka 3.6
	if err != nil {
		return
	}
	loose := set["message.timestamp.type"] != "LogAppendTime" && ms > mostAhead.Milliseconds()
	s.metrics.looseTimestamps.WithLabelValues(topic).Set(oneIf(loose))
	if loose {
		s.log.Warn("producers of this topic may write timestamps of the far future, and refunds then don't wait for what is behind them: set message.timestamp.type=LogAppendTime, or message.timestamp.after.max.ms to an hour at most",
			"topic", topic)
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
