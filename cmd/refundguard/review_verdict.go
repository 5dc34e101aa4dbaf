package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules/event"
)

// The stream that verdicts go to.
const reviewsStream = "reviews"

// verdictHelp is what a verdict does, by its kind.
var verdictHelp = map[cases.Kind]struct{ short, long string }{
	cases.Approve: {"Releases refunds in review to the ledger", `Releases the requests, as they came, to refunds-approved: the ledger pays them.
Above review.second_above two analysts must approve; the first approval is noted.
Who asked for a refund may not approve it.`},
	cases.Reject:   {"Rejects refunds in review", `Ends the refunds: they are not paid, and the customers are told so.`},
	cases.Escalate: {"Raises the severity of refunds in review", `Raises the severity by one, to critical at most; the time for a verdict begins anew.`},
}

// verdictWriter is what the three commands share.
type verdictWriter struct {
	*topicReader
	kind                          cases.Kind
	as, note, label, wait, output *string
	dry                           *bool
}

func newVerdictCmd(kind cases.Kind) *cobra.Command {
	help := verdictHelp[kind]
	cmd := &cobra.Command{
		Use: kind.String() + " ID... --as NAME", Short: help.short,
		Long: help.long + `

A verdict is a record of the topic reviews. The command looks at the cases first,
and writes nothing of those that can't take the verdict. Then it waits (--wait)
until the service has carried it out or refused it, and says which. The exit code
is 1 where one was refused, or nothing is known of it yet.`,
		Example: fmt.Sprintf("  refundguard review %[1]s ref_1 --as ann --note \"called the customer\"\n  refundguard review %[1]s ref_1 ref_2 --as ann --dry-run", kind),
		Args:    cobra.MinimumNArgs(1),
	}
	w := &verdictWriter{topicReader: &topicReader{file: configFlag(cmd), observe: new(bool), since: "0"}, kind: kind, output: outputFlag(cmd),
		as:    cmd.Flags().String("as", "", "the analyst who decides; it must be given"),
		note:  cmd.Flags().String("note", "", "why, for colleagues; no customer reads it"),
		label: cmd.Flags().String("label", "", "what it turned out to be: fraud or legit"),
		wait:  cmd.Flags().String("wait", "10s", "how long to wait for the service; 0: not at all"),
		dry:   cmd.Flags().Bool("dry-run", false, "only say what would come of it, by this configuration")}
	cmd.RunE = w.run
	return cmd
}

// verdict is one, and what came of it.
type verdict struct {
	RefundID string    `json:"refund_id"`
	ReviewID string    `json:"review_id,omitempty"` // "" where nothing was written
	Verdict  string    `json:"verdict"`
	Analyst  string    `json:"analyst"`
	Result   string    `json:"result"`
	Code     string    `json:"code,omitempty"` // of a refusal
	Message  string    `json:"message"`
	Case     *caseJSON `json:"case,omitempty"` // afterwards

	record *kgo.Record // nil: it isn't written
}

// What comes of a verdict.
const (
	resultCarriedOut = "carried out"
	resultRefused    = "refused"
	resultWritten    = "written"
	resultUnknown    = "not known yet"
	resultDry        = "would be carried out"
)

func (w *verdictWriter) run(cmd *cobra.Command, ids []string) error {
	if err := w.check(ids); err != nil {
		return err
	}
	wait, err := settings.ParseDuration(*w.wait)
	if err != nil || wait < 0 {
		return usage{fmt.Errorf("--wait %q: give how long, such as 10s, or 0", *w.wait)}
	}
	t, err := openReview(cmd, w.topicReader)
	if err != nil {
		return err
	}
	schema, err := t.config.Pipeline.Schema()
	if err != nil {
		return err
	}
	stream := schema.Stream(reviewsStream)
	now := time.Now()
	all, err := w.try(t, ids, now)
	if err != nil {
		return err
	}
	var writing []*verdict
	for i := range all {
		if v := &all[i]; v.Result == "" {
			if v.record, err = w.record(t, stream, v, now); err != nil {
				return err
			}
			writing = append(writing, v)
		}
	}
	switch {
	case len(writing) == 0:
	case *w.dry:
		for _, v := range writing {
			v.Result, v.ReviewID = resultDry, ""
		}
	case !t.turns.Reads(stream.Topic):
		return fmt.Errorf("nothing was written: the service doesn't read %s yet, which isn't there or was just created: create the topic where it is missing, with as many partitions as that of refunds, and try again in ten seconds", stream.Topic)
	default:
		if err := t.write(writing, stream.Topic, wait); err != nil {
			return err
		}
	}
	return w.tell(cmd, all)
}

func (w *verdictWriter) check(ids []string) error {
	if err := checkOutput(*w.output); err != nil {
		return err
	}
	switch {
	case *w.as == "":
		return usage{errors.New("--as is missing: name the analyst who decides")}
	case *w.label != "" && *w.label != event.LabelFraud && *w.label != event.LabelLegit:
		return usage{fmt.Errorf("--label %q is neither %s nor %s", *w.label, event.LabelFraud, event.LabelLegit)}
	}
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return usage{fmt.Errorf("refund %q is named twice: one verdict each", id)}
		}
	}
	for _, text := range append([]string{*w.as, *w.note}, ids...) {
		if !utf8.ValidString(text) {
			return usage{fmt.Errorf("%q is not UTF-8", text)}
		}
	}
	return nil
}

// try has the verdict happen to copies of the cases. What can't be is refused in
// the words of the service, which has the last word.
func (w *verdictWriter) try(t *reviewTopics, ids []string, now time.Time) ([]verdict, error) {
	found, err := t.cases(func(r *kgo.Record, _ string) bool { return slices.Contains(ids, string(r.Key)) })
	if err != nil {
		return nil, err
	}
	all := make([]verdict, len(ids))
	for i, id := range ids {
		v := &all[i]
		*v = verdict{RefundID: id, Verdict: w.kind.String(), Analyst: *w.as}
		c := found[id]
		if c == nil {
			v.Result, v.Code = resultRefused, cases.CodeUnknown
			v.Message = fmt.Sprintf("%s: refund %q was never asked for, or isn't decided yet: see refundguard review list", w.kind, id)
			continue
		}
		refused, err := pipeline.TryVerdict(t.config.Pipeline, c, w.kind, *w.as, now)
		if err != nil {
			return nil, err
		}
		if refused != nil {
			v.Result, v.Code, v.Message = resultRefused, refused.Code, refused.Message
		} else {
			v.Message = became(w.kind, c)
		}
		j := jsonOf(c, now)
		v.Case = &j
	}
	return all, nil
}

// became is what a case is after a verdict, in words.
func became(kind cases.Kind, c *cases.Case) string {
	switch {
	case c.State != cases.InReview:
		return "the refund is " + c.State.String()
	case kind == cases.Approve && c.First != "":
		return fmt.Sprintf("approved first by %s: a second analyst must approve it, too", c.First)
	}
	return fmt.Sprintf("in review, severity %s, deadline %s", c.Severity, shortTime(time.UnixMilli(c.Due)))
}

// record is a verdict as the stream's schema reads it, and names it.
func (w *verdictWriter) record(t *reviewTopics, stream *event.Stream, v *verdict, now time.Time) (*kgo.Record, error) {
	var random [16]byte
	_, _ = rand.Read(random[:]) // which never fails
	random[6], random[8] = random[6]&0x0f|0x40, random[8]&0x3f|0x80
	v.ReviewID = fmt.Sprintf("%x-%x-%x-%x-%x", random[:4], random[4:6], random[6:8], random[8:10], random[10:])
	values := map[string]string{"review_id": v.ReviewID, "refund_id": v.RefundID, "verdict": v.Verdict, "analyst": v.Analyst,
		"occurred_at": string(event.AppendTime(nil, now.UnixMilli())), "label": *w.label, "note": *w.note}
	object := map[string]any{}
	for _, f := range stream.Fields {
		if values[f.Name] == "" {
			continue
		}
		in, path := object, f.From
		if len(path) == 0 {
			path = []string{f.Name}
		}
		for _, name := range path[:len(path)-1] {
			inner, ok := in[name].(map[string]any)
			if !ok {
				inner = map[string]any{}
				in[name] = inner
			}
			in = inner
		}
		in[path[len(path)-1]] = values[f.Name]
	}
	value, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("a verdict on refund %q: %w", v.RefundID, err)
	}
	if refused := t.decoder(stream).Decode(value, &event.Event{}); refused != nil {
		return nil, usage{fmt.Errorf("a verdict on refund %q can't be: %w", v.RefundID, refused)}
	}
	return &kgo.Record{Topic: stream.Topic, Key: []byte(v.RefundID), Value: value}, nil
}

// decoder reads a stream as the service does.
func (t *reviewTopics) decoder(stream *event.Stream) *event.Decoder {
	l := t.config.Pipeline.Limits
	return event.NewDecoder(stream, event.Limits{MaxBytes: l.MaxRecordBytes, MaxDepth: l.MaxDepth, MaxFieldBytes: l.MaxFieldBytes})
}

func (w *verdictWriter) tell(cmd *cobra.Command, all []verdict) error {
	fine := !slices.ContainsFunc(all, func(v verdict) bool { return v.Result == resultRefused || v.Result == resultUnknown })
	var err error
	if *w.output == "json" {
		err = writeJSON(cmd, all)
	} else {
		err = printPlain(cmd.OutOrStdout(), func(out io.Writer) { printVerdicts(out, all) })
	}
	if err == nil && !fine {
		return errReported
	}
	return err
}

func printVerdicts(out io.Writer, all []verdict) {
	t := newTable(out, "refund", "verdict", "result", "code", "message", "review")
	for _, v := range all {
		t.AppendRow([]any{v.RefundID, v.Verdict, v.Result, v.Code, v.Message, v.ReviewID})
	}
	t.Render()
}
