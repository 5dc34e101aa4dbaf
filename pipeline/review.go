package pipeline

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/calendar"
	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// What people who review refunds need to know of a deployment, from its topics.

// Turns is how far a deployment is with the records that it takes one after the
// other.
type Turns struct {
	Life string // see CaseState

	streams []streamProgress
}

// ReadTurns asks for what a deployment has committed last; nil if it never did.
func ReadTurns(ctx context.Context, cfg Config, options []kgo.Opt) (*Turns, error) {
	cl, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	p, err := committedProgress(ctx, adm, cfg.Names().Progress, options)
	if err != nil || p == nil {
		return nil, err
	}
	var names []string
	for _, st := range p.Streams {
		names = append(names, st.Topic)
	}
	details, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("asking which topics there are: %w", err)
	}
	p.Streams = slices.DeleteFunc(p.Streams, func(st streamProgress) bool {
		d, ok := details[st.Topic] // one that was created anew isn't read yet
		return ok && d.Err == nil && hex.EncodeToString(d.ID[:]) != st.TopicID
	})
	return &Turns{Life: p.Began, streams: p.Streams}, nil
}

// Reads reports whether a topic is one of those whose records take turns.
func (t *Turns) Reads(topic string) bool { return t.of(topic) != nil }

// Passed reports whether a record had its turn: what follows from it is
// committed, or that it was refused.
func (t *Turns) Passed(topic string, partition int32, offset int64) bool {
	st := t.of(topic)
	return st != nil && int(partition) < len(st.Partitions) && offset < st.Partitions[partition].Decided
}

func (t *Turns) of(topic string) *streamProgress {
	for i := range t.streams {
		if st := &t.streams[i]; st.Topic == topic && st.Decides {
			return st
		}
	}
	return nil
}

// CaseState is the state that a record of the topic of cases says its case is in;
// "" where it is of another life than Turns': all began anew since, and the case
// is nobody's.
func CaseState(r *kgo.Record, life string) (state string) {
	if !ofLife(r, life) {
		return ""
	}
	for _, h := range r.Headers {
		if h.Key == headerState {
			state = string(h.Value)
		}
	}
	return state
}

func ofLife(r *kgo.Record, life string) bool {
	return slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == headerLife && string(h.Value) == life })
}

// TryVerdict has a verdict happen to a case that nobody else sees, as a service
// of this configuration would; a refusal leaves the case as it was.
func TryVerdict(cfg Config, c *cases.Case, verdict cases.Kind, analyst string, now time.Time) (*cases.Refusal, error) {
	cal, err := calendar.New(cfg.Review.Calendar)
	if err != nil {
		return nil, fmt.Errorf("review.calendar.%w", err)
	}
	p := trial{cfg: cfg.Review, calendar: cal, secondAbove: cfg.Review.secondAbove()}
	_, refused := cases.Step(c, cases.Event{Kind: verdict, By: analyst, Now: now.UnixMilli()}, p)
	return refused, nil
}

// trial is the policy of a verdict that is only tried. When the ledger is to have
// paid isn't known here: that depends on which topics there are.
type trial struct {
	cfg         ReviewConfig
	calendar    *calendar.Calendar
	secondAbove event.Money
}

func (t trial) ReviewBy(severity rules.Severity, now int64) int64 {
	return t.calendar.After(time.UnixMilli(now), t.cfg.slaOf(severity)).UnixMilli()
}

func (trial) PaidBy(string, int64) int64 { return 0 }

func (trial) OnDeadline(*cases.Case) cases.Kind { return cases.Escalate }

func (t trial) NeedsTwo(c *cases.Case) bool { return needsTwo(c, t.secondAbove) }
