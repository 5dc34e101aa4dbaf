package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules"
)

func (d *doctor) checkKafka(ctx context.Context) {
	options, err := d.Kafka.Options(slog.New(slog.DiscardHandler))
	if !d.ok("kafka: settings", err) {
		return
	}
	usable, err := kafka.Check(ctx, options)
	switch {
	case !usable:
		if err == nil {
			err = errors.New("no broker answered")
		}
		d.ok("kafka: brokers", err)
		return
	case err != nil:
		d.add("kafka: brokers", "warning", err.Error())
	default:
		d.ok("kafka: brokers", nil)
	}
	cl, err := kgo.NewClient(options...)
	if !d.ok("kafka: client", err) {
		return
	}
	defer cl.Close()
	d.checkTopics(ctx, kadm.NewClient(cl))
	d.add("kafka: readers of "+d.Pipeline.Names().Approved, "note", "must read with isolation.level=read_committed, and can drop repeats by the header refundguard-decision-id")
}

func (d *doctor) checkTopics(ctx context.Context, adm *kadm.Client) {
	schema, err := d.Pipeline.Schema()
	if !d.ok("streams", err) {
		return
	}
	windows := map[string]*rules.Series{} // by topic; nil: it must be there, and no window looks into it
	for _, st := range schema.Streams {
		series, read := longestWindow(d.rules, st.Name)
		if read || st.Name == "refunds" || st.Name == "transactions" {
			windows[st.Topic] = series
		}
	}
	names := slices.Collect(maps.Keys(windows))
	for _, name := range d.Pipeline.Names().ByKey() {
		names = append(names, name)
	}
	slices.Sort(names)
	cluster, err := adm.Metadata(ctx, names...)
	if !d.ok("kafka: topics", err) {
		return
	}
	var there []string
	for _, name := range names {
		one, known := cluster.Topics[name]
		switch {
		case known && one.Err == nil:
			there = append(there, name)
		case d.Kafka.CreateTopics:
			d.add("topic "+name, "note", "is missing; run creates it")
		default:
			d.ok("topic "+name, errors.New("is missing: create it, or set kafka.create_topics: true"))
		}
	}
	if len(there) == 0 {
		return
	}
	all, err := kafka.TopicSettings(ctx, adm, there...)
	if err != nil {
		d.add("kafka: settings of topics", "warning", "can't be asked for: "+err.Error())
	}
	for _, name := range there {
		if set, told := all[name]; told {
			d.checkTopic(topic{name, set, replicas(cluster.Topics[name]), len(cluster.Brokers), windows[name]})
		}
	}
}

// topic is one that is there.
type topic struct {
	name              string
	settings          kafka.Settings
	replicas, brokers int
	window            *rules.Series // what looks back the furthest into it; nil: nothing
}

// topicChecks find what is wrong with a topic, and what to do about it.
var topicChecks = []struct {
	result string
	fault  func(*doctor, topic) error
}{
	{"problem", (*doctor).forgetting},
	{"warning", (*doctor).shorterThanWindow},
	{"warning", (*doctor).onOneBroker},
}

func (d *doctor) checkTopic(t topic) {
	fine := true
	for _, c := range topicChecks {
		if err := c.fault(d, t); err != nil {
			d.add("topic "+t.name, c.result, err.Error())
			fine = false
		}
	}
	if fine {
		d.add("topic "+t.name, "ok", "")
	}
}

// forgetting is what a topic would lose of what run writes there.
func (d *doctor) forgetting(t topic) error {
	compacts, deletes := t.settings.Policy()
	switch ours, need := d.Pipeline.Names(), d.Pipeline.State.Retention; t.name {
	case ours.Cases: // those that are finished go with age
		if deletes && !compacts {
			return fmt.Errorf("is not compacted (cleanup.policy=%s), and what is open would be forgotten: set cleanup.policy=compact", t.settings["cleanup.policy"])
		}
	case ours.Progress, ours.Controls: // the last of a key counts however old it is
		if deletes {
			return fmt.Errorf("is not only compacted (cleanup.policy=%s), and what counts would be forgotten with age: set cleanup.policy=compact", t.settings["cleanup.policy"])
		}
	case ours.Decisions:
		if kept, told := t.settings.Retention(); told && kept < need {
			return fmt.Errorf("keeps %v, less than state.retention (%v), and the journal forgets refunds that are known: set retention.ms=%d", kept, need, need.Milliseconds())
		}
	}
	return nil
}

// shorterThanWindow is only a warning: in a state that was saved, windows have what
// a topic has lost since.
func (d *doctor) shorterThanWindow(t topic) error {
	kept, told := t.settings.Retention()
	_, deletes := t.settings.Policy()
	need := lookback(t.window)
	if !told || !deletes || kept >= need {
		return nil
	}
	return fmt.Errorf("keeps %s, and %s looks back %s: where a start finds no saved state, such expressions are warming for so long; set retention.ms=%d",
		settings.FormatDuration(kept), t.window.Name, settings.FormatDuration(need), need.Milliseconds())
}

func (d *doctor) onOneBroker(t topic) error {
	if t.brokers < 2 || t.replicas != 1 {
		return nil
	}
	return fmt.Errorf("has partitions with a single replica on a cluster of %d brokers: without that broker nothing is decided, and its disk is the only copy; raise the replication factor to %d", t.brokers, min(t.brokers, 3))
}

// replicas is how many copies there are of the partition that has the fewest.
func replicas(t kadm.TopicDetail) int {
	fewest := math.MaxInt
	for _, p := range t.Partitions {
		fewest = min(fewest, len(p.Replicas))
	}
	return fewest
}

// longestWindow is what looks back the furthest into a stream, ever() aside, which
// takes what there is; nil: nothing does. read is whether rules read it.
func longestWindow(set *rules.Set, stream string) (longest *rules.Series, read bool) {
	if set == nil {
		return nil, false
	}
	for i := range set.Series {
		s := &set.Series[i]
		if s.Source != stream && !(s.Source == "updates" && stream == "transactions") {
			continue
		}
		read = true
		if lookback(s) > lookback(longest) {
			longest = s
		}
	}
	return longest, read
}

// lookback is how far back a series' windows reach.
func lookback(s *rules.Series) time.Duration {
	if s == nil {
		return 0
	}
	ms := s.Horizon
	if n := len(s.Windows); ms == 0 && n > 0 { // there is an ever() beside them
		ms = s.Windows[n-1]
	}
	return time.Duration(ms) * time.Millisecond
}
