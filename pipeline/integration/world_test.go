package integration

import (
	"cmp"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// world is everything that is written to the input topics, and the model of
// what must come of it.
type world struct {
	sent  []sent // in event-time order
	model *model
	rules string // folder
}

// sent is one record for an input topic.
type sent struct {
	record *kgo.Record
	at     int64 // event time
	fate   string
}

// The fates, beside the codes of dead letters.
const (
	isEvent     = "event"
	isDuplicate = "duplicate"
	isUpdate    = "update" // of a transaction's status
)

// count is how many records of the topic have this fate; every fate for "".
func (w *world) count(topic, fate string) (n int) {
	for _, s := range w.sent {
		if s.record.Topic == topic && (fate == "" || s.fate == fate) {
			n++
		}
	}
	return n
}

// add enters a good record into the world and into the model.
func (w *world) add(t testing.TB, r *kgo.Record, fate string) {
	t.Helper()
	event := parseRecord(t, r.Value)
	s := sent{record: r, at: event.at, fate: fate}
	if r.Timestamp.IsZero() {
		// Kafka has it a moment later. What happened long ago is read like that
		// from a topic that was kept.
		r.Timestamp = time.UnixMilli(event.at + 250)
	}
	if event.at > r.Timestamp.UnixMilli()+5*60_000 {
		event.at, event.held = r.Timestamp.UnixMilli(), true
		s.at = event.at
	}
	switch fate {
	case isEvent:
		w.model.add(r.Topic, event)
	case isUpdate:
		w.model.add("updates", event)
	}
	w.sent = append(w.sent, s)
}

// retailWorld is the real shop's year.
func retailWorld(t testing.TB) *world {
	t.Helper()
	w := &world{model: newModel(t, retailRuleFile, retailRules, retailPolicy), rules: retailRuleFile}
	for _, topic := range []string{"transactions", "refunds"} {
		for _, r := range kafkatest.Lines(t, topic, "customer_id", filepath.Join(retailDir(t), topic+".jsonl")) {
			w.add(t, r, isEvent)
		}
	}
	slices.SortStableFunc(w.sent, func(a, b sent) int { return cmp.Compare(a.at, b.at) })
	return w
}
