package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules/event"
)

// printPlain prints what others wrote, too: what could steer a terminal, or turn
// text around in it, is written as an escape.
func printPlain(out io.Writer, print func(io.Writer)) error {
	var text, plain strings.Builder
	print(&text)
	for _, r := range text.String() {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			fmt.Fprintf(&plain, "\\u%04x", r)
		} else {
			plain.WriteRune(r)
		}
	}
	_, err := io.WriteString(out, plain.String())
	return err
}

// print tells a story to people. What there is none of is left out.
func (s *story) print(out io.Writer, now time.Time) {
	s.printCase(out, now)
	s.printRequest(out)
	s.printDecisions(out)
	s.printTold(out)
	printSaid(out, "verdicts", s.Reviews, "analyst", "verdict", "label", "note")
	printSaid(out, "customer's answers", s.Confirmations, "confirmed", "satisfied", "comment")
	printSaid(out, "ledger's results", s.LedgerResults, "status", "amount", "currency", "error")
	printSaid(out, "complaints of it, or of its customer", s.Complaints, "refund_id", "customer_id", "kind", "text")
}

func (s *story) printCase(out io.Writer, now time.Time) {
	c := s.of
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%-15s %s\n", name, cut(value, 300))
		}
	}
	line("refund", c.RefundID)
	line("state", fmt.Sprintf("%s since %s", c.State, shortTime(time.UnixMilli(c.Since))))
	if c.State == cases.InReview {
		line("severity", c.Severity.String())
		line("deadline", dueText(c.Due, now))
	} else if c.Due != 0 {
		line("eta", dueText(c.Due, now))
	}
	line("reason", reasonText(c))
	line("approved by", c.First)
	line("amount", c.Amount.Format(c.Currency)+" "+c.Currency.String())
	line("customer", c.CustomerID)
	line("merchant", c.MerchantID)
	line("transaction", c.TransactionID)
	line("method", c.Method)
	line("asked for by", c.Agent)
	line("received", shortTime(time.UnixMilli(c.Received)))
}

func (s *story) printRequest(out io.Writer) {
	from := s.Source
	fmt.Fprintf(out, "\nrequest, as it was read from %s partition %d offset %d\n", from.Topic, from.Partition, from.Offset)
	q := s.Request
	if q == nil {
		fmt.Fprintln(out, "gone: the topic doesn't hold it any more")
		return
	}
	quoted := func(text *string) string {
		if text == nil {
			return "none"
		}
		return fmt.Sprintf("%q", *text)
	}
	fmt.Fprintf(out, "key      %s\n", quoted(q.Key))
	for _, h := range q.Headers {
		fmt.Fprintf(out, "header   %s: %s\n", h.Key, quoted(h.Value))
	}
	fmt.Fprintln(out, q.Value)
}

func (s *story) printDecisions(out io.Writer) {
	for i, d := range s.decisions {
		fmt.Fprintf(out, "\ndecision of %s: %s by %s, score %d", shortTime(time.UnixMilli(d.DecidedAt)), d.Outcome, d.DecidedBy, d.Score)
		if d.Reason != "" {
			fmt.Fprintf(out, ", %s", d.Reason)
		}
		for _, mark := range []struct {
			on   bool
			text string
		}{{d.Degraded, "degraded"}, {d.Holdout, "holdout"}} {
			if mark.on {
				fmt.Fprintf(out, ", %s", mark.text)
			}
		}
		fmt.Fprintf(out, " (%s)\n", d.DecisionID)
		if len(d.Controls) > 0 {
			fmt.Fprintf(out, "changed by %s\n", strings.Join(d.Controls, ", "))
		}
		if len(d.Hits) > 0 {
			t := newTable(out, "rule", "mode", "action", "score", "severity", "reason", "message")
			for _, h := range d.Hits {
				t.AppendRow([]any{h.Rule, h.Mode, h.Action, h.Score, h.Severity, h.Reason, cut(h.Message, 100)})
			}
			t.Render()
		}
		for _, e := range d.Errors {
			fmt.Fprintf(out, "rule %s failed: %s\n", e.Rule, cut(e.Error, 200))
		}
		printFeatures(out, s.Decisions[i])
	}
}

// printFeatures prints values as the decision has them.
func printFeatures(out io.Writer, decision json.RawMessage) {
	var d struct {
		Features map[string]json.RawMessage `json:"features"`
	}
	if json.Unmarshal(decision, &d) != nil || len(d.Features) == 0 {
		return
	}
	t := newTable(out, "past events", "value")
	for _, name := range slices.Sorted(maps.Keys(d.Features)) {
		t.AppendRow([]any{name, string(d.Features[name])})
	}
	t.Render()
}

// printTold prints what was told of it, to the customer and to us.
func (s *story) printTold(out io.Writer) {
	if len(s.Statuses) > 0 {
		fmt.Fprintln(out, "\nwhat the customer was told")
		t := newTable(out, "at", "status", "reason", "message", "eta")
		for _, value := range s.Statuses {
			st, _ := event.ParseStatus(value)
			eta := ""
			if st.ETA != 0 {
				eta = shortTime(time.UnixMilli(st.ETA))
			}
			t.AppendRow([]any{shortTime(time.UnixMilli(st.At)), st.Status, st.Reason, cut(st.CustomerMessage+" "+st.CustomerNext, 80), eta})
		}
		t.Render()
	}
	if len(s.Alerts) > 0 {
		fmt.Fprintln(out, "\nalerts")
		t := newTable(out, "at", "severity", "rule", "message")
		for _, value := range s.Alerts {
			a, _ := event.ParseAlert(value)
			t.AppendRow([]any{shortTime(time.UnixMilli(a.At)), a.Severity, a.Rule, cut(a.Message, 100)})
		}
		t.Render()
	}
}

// printSaid prints records of others, some of their fields.
func printSaid(out io.Writer, title string, all []said, fields ...string) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", title)
	header := append([]string{"occurred"}, fields...)
	t := newTable(out, append(header, "refused", "id")...)
	for i := range all {
		one := &all[i]
		row := []any{one.field("occurred_at")}
		for _, f := range fields {
			row = append(row, cut(one.field(f), 60))
		}
		t.AppendRow(append(row, one.Refused, one.event.ID()))
	}
	t.Render()
}
