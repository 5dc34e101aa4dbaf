package pipeline_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/calendar"
	"github.com/refundguard/refundguard/rules/event"
)

var officeHours = calendar.Config{Timezone: "Europe/Berlin", Hours: map[string]string{"mon-fri": "09:00-17:00"}}

// Each fault of these sections is told with its key, its value and what to do.
func TestReviewSettingsAreChecked(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "messages.yaml")
	if err := os.WriteFile(bad, []byte("en:\n  A: 'dear {{name}}'\nde: {default: {gone: x}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*pipeline.Config)
		want   []string // nil: it is right
	}{
		"defaults": {func(*pipeline.Config) {}, nil},
		"a calendar": {func(c *pipeline.Config) {
			c.Review.Calendar = officeHours
			c.ETA = map[string]string{"original": "3bd", "other": "1h"}
			c.Review.SecondAbove = "1000.50"
			c.Review.OnDeadline = pipeline.BySeverity{"critical": "approve", "low": "reject"}
		}, nil},
		"faults of a calendar": {func(c *pipeline.Config) {
			c.Review.Calendar = calendar.Config{Hours: map[string]string{"fri": "22:00-06:00"}}
			c.ETA = map[string]string{"original": "3bd"} // there is one: no second fault
		}, []string{
			"review.calendar.timezone is missing: name one, such as Europe/Berlin or UTC",
			`review.calendar.hours.fri is "22:00-06:00": 22:00-06:00 goes over midnight: write 22:00-24:00 for this day, and 00:00-06:00 for the next`}},
		"a deadline of years": {func(c *pipeline.Config) {
			c.Review.Calendar = officeHours
			c.Review.SLA = map[string]time.Duration{"low": 2081 * time.Hour}
		}, []string{"review.sla.low is 2081h0m0s, and the calendar is open for 40h0m0s a week: that takes more than a year; at most 2080h0m0s"}},
		"a deadline of no time": {func(c *pipeline.Config) { c.Review.SLA = map[string]time.Duration{"low": time.Millisecond} },
			[]string{"review.sla.low is 1ms: it must be 1s at least"}},
		"business days without a calendar": {func(c *pipeline.Config) { c.ETA["balance"] = "3bd" },
			[]string{`eta.balance is "3bd": business days need review.calendar; set it, or write days such as 5d`}},
		"spans": {func(c *pipeline.Config) { c.ETA = map[string]string{"balance": "0s"} },
			[]string{`eta.balance: "0s": it must be above 0`}},
		"a span that isn't one": {func(c *pipeline.Config) { c.ETA = map[string]string{"balance": "soon"} },
			[]string{`eta.balance: "soon" is not a time such as 1h, 3d, 2w, or 3bd for business days`}},
		"on_deadline": {func(c *pipeline.Config) { c.Review.OnDeadline = pipeline.BySeverity{"low": "pay"} },
			[]string{`review.on_deadline.low is "pay": write one of escalate, approve, reject`}},
		"a severity": {func(c *pipeline.Config) { c.Review.OnDeadline = pipeline.BySeverity{"lowest": "approve"} },
			[]string{"review.on_deadline.lowest: no such severity; write one of low, medium, high, critical"}},
		"second_above": {func(c *pipeline.Config) { c.Review.SecondAbove = "1000 USD" },
			[]string{`review.second_above is "1000 USD": write an amount in currency.base such as 1000, or "" for one analyst`}},
		"a negative amount": {func(c *pipeline.Config) { c.Review.SecondAbove = "-1" },
			[]string{`review.second_above is "-1": write an amount in currency.base such as 1000, or "" for one analyst`}},
		"messages": {func(c *pipeline.Config) { c.Messages.File = bad }, []string{
			"messages.file: " + bad + ":2:12: this is no value that a text can show", "  |   A: 'dear {{name}}'", "  |            ^",
			"  = in braces stand amount, currency, eta, refund_id, such as {{eta}}; other braces can't be shown",
			"messages.file: " + bad + `:3:16: "gone" is no status here`, "  | de: {default: {gone: x}}", "  |                ^",
			"  = write one of received, in_review, approved, rejected, executed, failed, overdue"}},
		"a language": {func(c *pipeline.Config) { c.Messages.Language = "de" },
			[]string{`messages.language is "de", and the built-in texts are in en only: name a file with others in messages.file`}},
		"a field": {func(c *pipeline.Config) { c.Messages.LanguageField = "lang" },
			[]string{"messages.language_field is \"lang\": refunds have no such field; add it to streams.refunds.fields, as {type: string}"}},
		"a field of money": {func(c *pipeline.Config) { c.Messages.LanguageField = "amount" },
			[]string{`messages.language_field is "amount", which is of type money: it must be a string`}},
		"a field that there is": {func(c *pipeline.Config) {
			c.Messages.LanguageField = "lang"
			c.Streams["refunds"] = pipeline.StreamConfig{StreamConfig: event.StreamConfig{Fields: map[string]event.FieldConfig{"lang": {Type: "string"}}}}
		}, nil},
	} {
		config := pipeline.DefaultConfig()
		c.change(&config)
		err := config.Validate()
		if got, want := "", strings.Join(c.want, "\n"); err != nil || want != "" {
			if err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s:\n got %s\nwant %s", name, got, want)
			}
		}
	}
}

// Deadlines and ETAs that are written count business time: here that of one
// weekday, which isn't today's.
func TestDeadlinesAndETAsCountBusinessTime(t *testing.T) {
	w := newWorld(t, 1, "rules:\n  - {id: large, severity: high, action: review, when: 'amount >= 50'}\n")
	w.cfg.Streams["refunds"] = streamFrom("earliest")
	open := time.Now().UTC().AddDate(0, 0, 3)
	w.cfg.Review.Calendar = calendar.Config{Timezone: "UTC", Hours: map[string]string{strings.ToLower(open.Format("Mon")): "10:00-11:30"}}
	w.cfg.Review.SLA["high"] = 2 * time.Hour
	w.cfg.ETA = map[string]string{"original": "2bd", "balance": "3d", "other": "1bd"}
	methods := map[string]string{"a": "original", "b": "balance", "c": "card", "held": "original"}
	for id, method := range methods {
		f := refund(id, "", "of "+id, "10", time.Minute)
		if f["method"] = method; id == "held" {
			f["amount"] = "60"
		}
		w.send("refunds", 0, f)
	}
	in := w.start()
	w.passed(in, int64(len(methods)))
	if err := in.end(); err != nil {
		t.Fatal(err)
	}
	// The first opening after a moment, and so many weeks later.
	opening := func(after int64, weeks int) time.Time {
		at := time.UnixMilli(after).UTC().Truncate(24 * time.Hour)
		for at.Weekday() != open.Weekday() {
			at = at.AddDate(0, 0, 1)
		}
		return at.AddDate(0, 0, 7*weeks).Add(10 * time.Hour)
	}
	statuses, held := w.cluster.ReadCommitted("refund-status"), w.cluster.ReadCommitted("refundguard-cases")
	held = slices.DeleteFunc(held, func(r *kgo.Record) bool { return header(r, "refundguard-state") != "in_review" })
	if len(statuses) != len(methods) || len(held) != 1 {
		t.Fatalf("%d statuses and %d cases", len(statuses), len(held))
	}
	for _, r := range statuses {
		s, err := event.ParseStatus(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]time.Time{"a": opening(s.At, 1).Add(90 * time.Minute), "b": time.UnixMilli(s.At).Add(72 * time.Hour),
			"c": opening(s.At, 0).Add(90 * time.Minute)}[s.RefundID]
		if s.RefundID != "held" && s.ETA != want.UnixMilli() {
			t.Errorf("%s: the ETA is %v, want %v", methods[s.RefundID], time.UnixMilli(s.ETA).UTC(), want)
		}
	}
	decided := w.decisions()["held"].DecidedAt
	want := opening(decided, 1).Add(30 * time.Minute).Format("2006-01-02T15:04:05.000Z")
	if got := header(held[0], "refundguard-deadline"); got != want {
		t.Errorf("the deadline is %s, want %s", got, want)
	}
}
