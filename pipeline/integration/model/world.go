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
	if r.Timestamp.IsZero() {
		// Kafka has it a moment later. What happened long ago is read like that
		// from a topic that was kept.
		r.Timestamp = time.UnixMilli(event.at + 250)
	}
	if event.at > r.Timestamp.UnixMilli()+5*60_000 {
		event.at, event.held = r.Timestamp.UnixMilli(), true
		s.At = event.at
	}
	switch fate {
	case IsEvent:
		w.Model.add(r.Topic, event)
	case IsUpdate:
		w.Model.add("updates", event)
	}
	w.Sent = append(w.Sent, s)
}
