package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Settings are a topic's, as the cluster tells them, by key. What it doesn't tell
// is missing.
type Settings map[string]string

// TopicSettings asks for the settings of topics. The error says of which they
// can't be had; those of the others are returned with it.
func TopicSettings(ctx context.Context, adm *kadm.Client, topics ...string) (map[string]Settings, error) {
	configs, err := adm.DescribeTopicConfigs(ctx, topics...)
	all, faults := make(map[string]Settings, len(configs)), []error{err}
	for _, rc := range configs {
		if rc.Err != nil {
			faults = append(faults, fmt.Errorf("topic %s: %w", rc.Name, rc.Err))
			continue
		}
		all[rc.Name] = make(Settings, len(rc.Configs))
		for _, c := range rc.Configs {
			all[rc.Name][c.Key] = c.MaybeValue()
		}
	}
	return all, errors.Join(faults...)
}

// Millis is a setting that is a number of milliseconds; told is false where there
// is no such number. Those that a Duration can't hold are cut to it.
func (s Settings) Millis(key string) (d time.Duration, told bool) {
	ms, err := strconv.ParseInt(s[key], 10, 64)
	const most = math.MaxInt64 / int64(time.Millisecond)
	return time.Duration(min(max(ms, -most), most)) * time.Millisecond, err == nil
}

// Retention is how old records become at least (retention.ms).
func (s Settings) Retention() (d time.Duration, told bool) {
	if d, told = s.Millis("retention.ms"); d < 0 { // -1: for ever
		d = math.MaxInt64
	}
	return d, told
}

// Policy is cleanup.policy: whether records go when there is a newer one of their
// key, and whether the last one, too, goes with age.
func (s Settings) Policy() (compacts, deletes bool) {
	policy := s["cleanup.policy"]
	return strings.Contains(policy, "compact"), strings.Contains(policy, "delete")
}
