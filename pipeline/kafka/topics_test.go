package kafka_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// What a topic was made with is read back; one that isn't there takes nothing from
// those that are.
func TestTopicSettings(t *testing.T) {
	cluster := kafkatest.Start(t)
	type want struct {
		kept              time.Duration
		compacts, deletes bool
	}
	topics := map[string]want{}
	for policy, w := range map[string]want{
		"compact": {compacts: true}, "delete": {deletes: true}, "compact,delete": {compacts: true, deletes: true},
	} {
		for ms, kept := range map[string]time.Duration{"-1": math.MaxInt64, "604800000": 7 * 24 * time.Hour} {
			name := "kept" + ms + "." + map[string]string{"compact": "c", "delete": "d", "compact,delete": "cd"}[policy]
			cluster.CreateTopics(1, map[string]string{"cleanup.policy": policy, "retention.ms": ms}, name)
			topics[name] = want{kept, w.compacts, w.deletes}
		}
	}
	asked := []string{"nope"}
	for name := range topics {
		asked = append(asked, name)
	}
	settings, err := kafka.TopicSettings(t.Context(), kadm.NewClient(cluster.Client()), asked...)
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("a topic that isn't there: %v", err)
	}
	if _, told := settings["nope"]; told || len(settings) != len(topics) {
		t.Errorf("settings of %d topics, want %d: %v", len(settings), len(topics), settings)
	}
	for name, want := range topics {
		kept, told := settings[name].Retention()
		compacts, deletes := settings[name].Policy()
		if !told || kept != want.kept || compacts != want.compacts || deletes != want.deletes {
			t.Errorf("%s: kept %v (told: %v), compacts %v, deletes %v, want %+v", name, kept, told, compacts, deletes, want)
		}
	}
}

func TestMillis(t *testing.T) {
	for text, want := range map[string]struct {
		d    time.Duration
		told bool
	}{
		"0": {0, true}, "1": {time.Millisecond, true}, "-1": {-time.Millisecond, true},
		"9223372036854775807":  {9223372036854 * time.Millisecond, true}, // Kafka's "no limit"
		"-9223372036854775808": {-9223372036854 * time.Millisecond, true},
		"":                     {}, "1.5": {}, "soon": {},
	} {
		d, told := kafka.Settings{"key": text}.Millis("key")
		if told != want.told || told && d != want.d {
			t.Errorf("%q: %v, %v, want %+v", text, d, told, want)
		}
	}
	if _, told := (kafka.Settings{}).Millis("key"); told {
		t.Error("a setting that isn't there is told")
	}
}
