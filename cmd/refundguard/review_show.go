package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/event"
)

func newReviewShowCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ID", Short: "Shows all that is known of one refund",
		Long: `Shows a refund's case; its request as it was read; its decisions, with the rules
that hit and the values that they saw; what the customer was told; alerts; the
verdicts, the customer's answers and the ledger's results, with the codes of
those that were refused; and complaints that name the refund, or its customer in
the 90 days before it.`,
		Example: "  refundguard review show ref_1 -c refundguard.yaml\n  refundguard review show ref_1 -o json",
		Args:    cobra.ExactArgs(1),
	}
	reader, output := newTopicReader(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		t, err := openReview(cmd, reader)
		if err != nil {
			return err
		}
		s, err := t.story(args[0])
		if err != nil {
			return err
		}
		if *output == "json" {
			return writeJSON(cmd, s)
		}
		return printPlain(cmd.OutOrStdout(), func(out io.Writer) { s.print(out, time.Now()) })
	}
	return cmd
}

// story is all that is known of a refund. What is in our topics is as it is
// there.
type story struct {
	Case          caseJSON          `json:"case"`
	Source        event.Source      `json:"source"`
	Request       *requestJSON      `json:"request"` // null: its topic doesn't hold it any more
	Decisions     []json.RawMessage `json:"decisions"`
	Statuses      []json.RawMessage `json:"statuses"`
	Alerts        []json.RawMessage `json:"alerts"`
	Reviews       []said            `json:"reviews"`
	Confirmations []said            `json:"confirmations"`
	LedgerResults []said            `json:"ledger_results"`
	Complaints    []said            `json:"complaints"`

	of        *cases.Case
	decisions []*event.Decision
}

// requestJSON is the refund's record.
type requestJSON struct {
	Key     *string      `json:"key"`
	Value   string       `json:"value"`
	Headers []headerJSON `json:"headers"`
}

type headerJSON struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

// said is a record of somebody else that is about a refund.
type said struct {
	Place   string          `json:"place"`
	At      time.Time       `json:"at"` // Kafka's
	Record  json.RawMessage `json:"record"`
	Refused string          `json:"refused,omitempty"` // code
	Why     string          `json:"why,omitempty"`

	event event.Event
}

const (
	// early is how much sooner than its refund's a record's timestamp may be that
	// is about it, since clocks differ.
	early = 24 * time.Hour
	// complainedBefore is how far back a customer's complaints are shown.
	complainedBefore = 90 * 24 * time.Hour
)

func (t *reviewTopics) story(id string) (*story, error) {
	var last *kgo.Record
	found, err := t.cases(func(r *kgo.Record, _ string) bool {
		if string(r.Key) == id {
			last = r
		}
		return string(r.Key) == id
	})
	if err != nil {
		return nil, err
	}
	if found[id] == nil {
		return nil, fmt.Errorf("refund %q has no case: it was never asked for, isn't decided yet, or was refused: see refundguard dlq list --topic %s, and refundguard status for how far the service is", id, t.topicOf("refunds"))
	}
	c, err := pipeline.ParseCase(last) // with its request
	if err != nil {
		return nil, err
	}
	s := &story{Case: jsonOf(c, time.Now()), Source: c.Source, of: c, Decisions: []json.RawMessage{}, Statuses: []json.RawMessage{}, Alerts: []json.RawMessage{},
		Reviews: []said{}, Confirmations: []said{}, LedgerResults: []said{}, Complaints: []said{}}
	for _, read := range []func(*story) error{t.request, t.written, t.answers} {
		if err := read(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// topicOf is that of a stream.
func (t *reviewTopics) topicOf(stream string) string {
	schema, err := t.config.Pipeline.Schema()
	if err != nil {
		return stream
	}
	return schema.Stream(stream).Topic
}

// request reads what was asked for: of what isn't in review any more, from where
// it was read at first.
func (t *reviewTopics) request(s *story) error {
	q, at := s.of.Request, s.of.Source
	if q == nil {
		spans, err := kafka.Spans(t.cmd.Context(), t.options, at.Topic, time.Time{})
		if held := spans[at.Partition]; err != nil || at.Offset < held.From || at.Offset >= held.To {
			return nil // it is gone, which print tells
		}
		err = kafka.ReadRanges(t.cmd.Context(), t.options, at.Topic, map[int32]kafka.Span{at.Partition: {From: at.Offset, To: at.Offset + 1}}, func(r *kgo.Record) error {
			q = &cases.Request{Key: r.Key, Value: r.Value, Headers: headersOf(r)}
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading the request at %s partition %d offset %d: %w", at.Topic, at.Partition, at.Offset, err)
		}
	}
	if q == nil {
		return nil
	}
	text := func(b []byte) *string {
		if b == nil {
			return nil
		}
		s := string(b)
		return &s
	}
	s.Request = &requestJSON{Key: text(q.Key), Value: string(q.Value), Headers: []headerJSON{}}
	for _, h := range q.Headers {
		s.Request.Headers = append(s.Request.Headers, headerJSON{h.Key, text(h.Value)})
	}
	return nil
}

// from is since when records may be about a refund.
func (s *story) from() time.Time {
	return time.UnixMilli(min(s.of.Received, s.of.Since)).Add(-early)
}

// written reads our own topics.
func (t *reviewTopics) written(s *story) error {
	names, id := t.config.Pipeline.Names(), s.of.RefundID
	err := t.scan(names.Decisions, s.from(), func(r *kgo.Record) {
		if string(r.Key) != id {
			return
		}
		if d, err := event.ParseDecision(r.Value); err == nil {
			s.Decisions, s.decisions = append(s.Decisions, r.Value), append(s.decisions, d)
		}
	})
	if err != nil {
		return err
	}
	err = t.scan(names.Status, s.from(), func(r *kgo.Record) {
		if _, err := event.ParseStatus(r.Value); err == nil && string(r.Key) == id {
			s.Statuses = append(s.Statuses, r.Value)
		}
	})
	if err != nil {
		return err
	}
	return t.scan(names.Alerts, s.from(), func(r *kgo.Record) {
		if a, err := event.ParseAlert(r.Value); err == nil && a.RefundID == id {
			s.Alerts = append(s.Alerts, r.Value)
		}
	})
}

// answers reads what others said of it.
func (t *reviewTopics) answers(s *story) error {
	refused := map[string]*event.DeadLetter{}
	err := t.scan(t.config.Pipeline.Names().DeadLetters, s.from(), func(r *kgo.Record) {
		if d, err := event.ParseDeadLetter(headersOf(r)); err == nil {
			refused[d.Topic+" "+place(d.Partition, d.Offset)] = d
		}
	})
	if err != nil {
		return err
	}
	schema, err := t.config.Pipeline.Schema()
	if err != nil {
		return err
	}
	for _, of := range []struct {
		stream string
		to     *[]said
		from   time.Time
	}{
		{reviewsStream, &s.Reviews, s.from()}, {"confirmations", &s.Confirmations, s.from()}, {"ledger_results", &s.LedgerResults, s.from()},
		{"complaints", &s.Complaints, s.from().Add(-complainedBefore)},
	} {
		stream := schema.Stream(of.stream)
		refund, customer, decoder := stream.Slot("refund_id"), -1, t.decoder(stream)
		if of.stream == "complaints" {
			customer = stream.Slot("customer_id")
		}
		e := &event.Event{}
		err := t.scan(stream.Topic, of.from, func(r *kgo.Record) {
			if decoder.Decode(r.Value, e) != nil {
				return // nobody knows which refund it is about
			}
			if e.Str(refund) != s.of.RefundID && (e.Str(customer) == "" || e.Str(customer) != s.of.CustomerID) {
				return
			}
			one := said{Place: place(r.Partition, r.Offset), At: r.Timestamp.UTC(), Record: r.Value, event: *e}
			e = &event.Event{} // the other's is kept
			if d := refused[r.Topic+" "+one.Place]; d != nil {
				one.Refused, one.Why = d.Code, d.Message
			}
			*of.to = append(*of.to, one)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// field is one of the event's, as a text; "" where it is missing.
func (s *said) field(name string) string {
	slot := s.event.Stream.Slot(name)
	if !s.event.Has(slot) {
		return ""
	}
	v := s.event.Vals[slot]
	switch s.event.Stream.Fields[slot].Type {
	case event.TypeBool:
		return map[bool]string{true: "yes", false: "no"}[v.Num != 0]
	case event.TypeMoney:
		currency, _ := event.ParseCurrency(s.field("currency"))
		return event.Money(v.Num).Format(currency)
	case event.TypeCurrency:
		return event.Currency(v.Num).String()
	case event.TypeTime:
		return shortTime(time.UnixMilli(v.Num))
	}
	return cmp.Or(s.event.Str(slot), "-")
}
