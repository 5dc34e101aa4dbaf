package model

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// World is everything that is written to the input topics, and the model of
// what must come of it.
type World struct {
	Sent  []Sent // in event-time order
	Model *Model
	Rules string // the rule file

	// Clock gives the Kafka timestamp of the n-th event that is added, by its
	// event time; nil: that of the record, or a moment later than the event.
	Clock func(n int, at int64) int64

	// Latest is the latest that the machine's clock shows, and showed to the end;
	// zero: no deadline of a review is near.
	Latest time.Time

	paid map[string]bool // transactions that are events

	// Lives is what goes on after decisions; nil: nothing does.
	Lives *Lives

	// Degrades says that partitions may have been left out: what a decision then
	// says isn't known, but that it is degraded and doesn't approve.
	Degrades bool
}

// Sent is one record for an input topic.
type Sent struct {
	Record *kgo.Record
	At     int64 // event time
	Fate   string
}

// The fates, beside the codes of dead letters.
const (
	IsEvent     = "event"
	IsDuplicate = "duplicate"
	IsUpdate    = "update" // of a transaction's status
)

// Count is how many records of the topic have this fate; every fate for "".
func (w *World) Count(topic, fate string) (n int) {
	for _, s := range w.Sent {
		if s.Record.Topic == topic && (fate == "" || s.Fate == fate) {
			n++
		}
	}
	return n
}

// Add enters a good record into the world and into the model.
func (w *World) Add(t testing.TB, r *kgo.Record, fate string) {
	t.Helper()
	event := parseRecord(t, r.Value)
	s := Sent{Record: r, At: event.at, Fate: fate}
	if w.Clock != nil {
		r.Timestamp = time.UnixMilli(w.Clock(len(w.Sent), event.at))
	}
	if r.Timestamp.IsZero() {
		// Kafka has it a moment later. What happened long ago is read like that
		// from a topic that was kept.
		r.Timestamp = time.UnixMilli(event.at + 250)
	}
	if event.at > r.Timestamp.UnixMilli()+5*60_000 {
		event.at, event.held = r.Timestamp.UnixMilli(), true
		if s.At = event.at; r.Topic != "refunds" {
			s.Fate = "EVENT_IN_FUTURE"
		}
	}
	if r.Topic == "transactions" && s.Fate != "EVENT_IN_FUTURE" {
		if w.paid == nil {
			w.paid = make(map[string]bool)
		}
		if id := event.text["transaction_id"]; !w.paid[id] {
			w.paid[id], s.Fate = true, IsEvent // the first that was not refused
		}
	}
	switch s.Fate {
	case IsEvent:
		w.Model.add(r.Topic, event)
	case IsUpdate:
		w.Model.add("updates", event)
	}
	w.Sent = append(w.Sent, s)
}
