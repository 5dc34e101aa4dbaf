package pipeline

import (
	"context"
	"time"

	"github.com/refundguard/refundguard/pipeline/kafka"
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
	settings, err := kafka.TopicSettings(ctx, s.adm, names...)
	if err != nil {
		s.log.Debug("asking for the settings of topics failed", "error", err)
	}
	for topic, set := range settings {
		switch topic {
		case s.topics.Decisions:
			s.checkRetention(topic, set)
		case s.topics.Progress:
			s.checkCompacted(topic, set)
		default:
			s.checkTimestamps(topic, set)
		}
	}
}

// checkRetention warns where the journal forgets refunds sooner than the state.
func (s *session) checkRetention(topic string, set kafka.Settings) {
	kept, told := set.Retention()
	if !told {
		return
	}
	short := kept < s.cfg.State.Retention
	s.metrics.shortRetention.WithLabelValues(topic).Set(oneIf(short))
	if short {
		s.log.Warn("the journal is kept shorter than state.retention: raise its retention.ms", "topic", topic,
			"retention", kept, "state.retention", s.cfg.State.Retention)
	}
}

// checkCompacted warns where the progress could be deleted by age.
func (s *session) checkCompacted(topic string, set kafka.Settings) {
	if _, deletes := set.Policy(); deletes {
		s.log.Warn("the progress topic is not compacted: after a long stop its last record would be gone, and with it all that is known of what was decided. Set cleanup.policy=compact",
			"topic", topic, "cleanup.policy", set["cleanup.policy"])
	}
}

// mostAhead is Kafka's own default of message.timestamp.after.max.ms.
const mostAhead = time.Hour

// checkTimestamps warns where producers may write any time: a record whose times
// are both in the future says that its partition has come that far, and refunds
// no longer wait for what is behind it.
func (s *session) checkTimestamps(topic string, set kafka.Settings) {
	ahead, told := set.Millis("message.timestamp.after.max.ms")
	if !told {
		ahead, told = set.Millis("message.timestamp.difference.max.ms") // before Kafka 3.6
	}
	if !told {
		return
	}
	loose := set["message.timestamp.type"] != "LogAppendTime" && ahead > mostAhead
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
