package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/quality"
)

func newRulesStatsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stats", Short: "Says how good each rule was, by what refunds turned out to be",
		Long: `Reads refund-decisions and refund-labels, and prints for each rule, live and in
shadow apart, and for each rule set:

  hits          refunds that the engine decided, and that the rule hit
  labelled      hits with a label, of decisions that are old enough
  precision     frauds among labelled hits, with a 95 % interval (Wilson).
                biased: of all of them. What was held is labelled mostly by the
                analyst who saw it held, and is never paid, so never charged back.
                unbiased: only of refunds that were let through as holdout, which
                nobody knew to be hit. Believe this one, where there is enough of it.
  recall        hits among all labelled frauds
  caught        fraud that the rule helped to hold or reject, unless it was
                released after all
  wrongly held  legit refunds that the rule helped to hold or reject
  minutes       cases that it helped to open and an analyst decided, times
                review.minutes_per_case: not for how long cases were open

A refund that several rules hit counts for each of them. A hit of a rule set is a
refund that its live rules held, rejected, or would have held without holdout.
Rules in shadow hold nothing. Decisions younger than labels.maturity are not in
precision and recall: their charge-backs are still to come. Money and minutes are
of all. Times are those of the engine's decisions. Amounts in currency.base are
converted by the rates of the present configuration.`,
		Example: `  refundguard rules stats -c refundguard.yaml
  refundguard rules stats --from 2026-01-01 --to 2026-02-01
  refundguard rules stats --ruleset sha256:5f2c --maturity 45d -o json`,
		Args: cobra.NoArgs,
	}
	reader, output := newTopicReader(cmd), outputFlag(cmd)
	s := statsFlags{
		from:     cmd.Flags().String("from", "", "only decisions from this day (UTC) or time on, such as 2026-01-31 or 2026-01-31T12:00:00Z"),
		to:       cmd.Flags().String("to", "", "only decisions before this day or time"),
		ruleset:  cmd.Flags().String("ruleset", "", "only decisions by this rule set: its hash, or how that begins"),
		maturity: cmd.Flags().String("maturity", "", "in place of labels.maturity, such as 30d; 0 judges every decision"),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		c, options, err := reader.open()
		if err != nil {
			return err
		}
		m, err := s.measurement(c, time.Now())
		if err != nil {
			return err
		}
		if err := m.read(cmd, c, options); err != nil {
			return err
		}
		m.Report = m.acc.Report()
		if *output == "json" {
			return writeJSON(cmd, m)
		}
		m.print(cmd)
		return nil
	}
	return cmd
}

// statsFlags say what is measured.
type statsFlags struct{ from, to, ruleset, maturity *string }

// measurement is a report with what it is of.
type measurement struct {
	From       *time.Time `json:"from"`
	To         *time.Time `json:"to"`
	Ruleset    string     `json:"ruleset,omitempty"`
	Maturity   string     `json:"maturity"`
	Unreadable int        `json:"unreadable"` // records, which are left out
	*quality.Report

	acc   *quality.Accumulator
	first error // why the first of Unreadable wasn't read
}

func (s *statsFlags) measurement(c config, now time.Time) (*measurement, error) {
	m := &measurement{Ruleset: *s.ruleset}
	maturity := c.Pipeline.Labels.Maturity
	var err error
	if *s.maturity != "" {
		if maturity, err = settings.ParseDuration(*s.maturity); err != nil || maturity < 0 {
			return nil, usage{fmt.Errorf("--maturity %q is not a duration such as 30d, from 0 on", *s.maturity)}
		}
	}
	m.Maturity = settings.FormatDuration(maturity)
	o := quality.Options{Ruleset: *s.ruleset, JudgedUntil: now.Add(-maturity).UnixMilli(), MinutesPerCase: c.Pipeline.Review.MinutesPerCase}
	for _, t := range []struct {
		flag, value string
		shown       **time.Time
		ms          *int64
	}{{"from", *s.from, &m.From, &o.From}, {"to", *s.to, &m.To, &o.To}} {
		if t.value == "" {
			continue
		}
		at, err := parseDayOrTime(t.value)
		if err != nil {
			return nil, usage{fmt.Errorf("--%s %q is neither a day such as 2026-01-31 nor a time such as 2026-01-31T12:00:00Z", t.flag, t.value)}
		}
		*t.shown, *t.ms = &at, at.UnixMilli()
	}
	if m.From != nil && m.To != nil && !m.From.Before(*m.To) {
		return nil, usage{fmt.Errorf("--from %s is not before --to %s", *s.from, *s.to)}
	}
	schema, err := c.Pipeline.Schema()
	if err != nil {
		return nil, err
	}
	conversion := c.Pipeline.RuleOptions(schema)
	if o.AmountBase, err = rules.AmountBase(conversion); err != nil {
		return nil, err
	}
	o.Base = conversion.Base
	m.acc = quality.New(o)
	return m, nil
}

func parseDayOrTime(text string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	return t.UTC(), err
}

// read takes the decisions and the labels. An observing instance's decisions are
// measured by the live one's labels too.
func (m *measurement) read(cmd *cobra.Command, c config, options []kgo.Opt) error {
	transactions := map[string][]*event.Label{} // labels of theirs: of all refunds of one
	labels := []string{c.Pipeline.Names().Labels}
	if live := c.Pipeline.Topics.Labels; live != labels[0] {
		labels = append(labels, live)
	}
	for _, topic := range labels {
		if err := m.topic(cmd, options, topic, time.Time{}, func(value []byte) error {
			l, err := event.ParseLabel(value)
			switch {
			case err != nil:
			case l.RefundID == "":
				transactions[l.TransactionID] = append(transactions[l.TransactionID], l)
			default:
				m.acc.Label(l)
			}
			return err
		}); err != nil {
			return err
		}
	}
	var from time.Time
	if m.From != nil {
		from = m.From.AddDate(0, 0, -1) // Kafka's clock and ours may differ, not by so much
	}
	return m.topic(cmd, options, c.Pipeline.Names().Decisions, from, func(value []byte) error {
		d, err := event.ParseDecision(value)
		if err == nil {
			m.acc.Decision(d)
			for _, l := range transactions[d.TransactionID] {
				m.acc.Label(l.Of(d.RefundID))
			}
		}
		return err
	})
}

// topic reads one topic; one that doesn't exist has nothing.
func (m *measurement) topic(cmd *cobra.Command, options []kgo.Opt, topic string, from time.Time, take func([]byte) error) error {
	err := scan(cmd, options, topic, from, func(r *kgo.Record) error {
		if err := take(r.Value); err != nil {
			if m.Unreadable++; m.first == nil {
				m.first = fmt.Errorf("%s %s: %w", topic, place(r.Partition, r.Offset), err)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, kafka.ErrNoTopic) {
		return err
	}
	return nil
}

func (m *measurement) print(cmd *cobra.Command) {
	out := cmd.OutOrStdout()
	if m.Unreadable > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s could not be read, and are left out; the first is %v\n", count(m.Unreadable, "record"), m.first)
	}
	if m.Refunds == 0 {
		fmt.Fprintln(out, "no decisions of this time and rule set")
		return
	}
	columns := []string{"hits", "too young", "labelled", "precision (biased)", "precision (unbiased)", "recall", "caught", "wrongly held", "minutes"}
	t := newTable(out, append([]string{"rule", "mode"}, columns...)...)
	for _, r := range m.Rules {
		t.AppendRow(append([]any{r.Rule, r.Mode}, m.cells(&r.Quality)...))
	}
	t.Render()
	t = newTable(out, append([]string{"rule set", "refunds"}, columns...)...)
	for _, r := range m.Rulesets {
		t.AppendRow(append([]any{cut(r.Ruleset, 20), r.Refunds}, m.cells(&r.Quality)...))
	}
	t.Render()
	fmt.Fprintf(out, "%s decided; %d in the last %s are too young to be judged; of the other %d, %d are labelled (%d fraud, %d legit), and %d were let through as holdout.\n",
		count(int(m.Refunds), "refund"), m.TooYoung, m.Maturity, m.Refunds-m.TooYoung, m.Labelled, m.Fraud, m.Labelled-m.Fraud, m.Holdout)
	if m.Unmatched > 0 {
		fmt.Fprintf(out, "%s labelled and not among them.\n", map[bool]string{true: "1 other refund is", false: fmt.Sprintf("%d other refunds are", m.Unmatched)}[m.Unmatched == 1])
	}
	fmt.Fprintln(out, "biased: all labelled hits; what was held is labelled mostly by who saw it held, and never charged back. unbiased: holdout only.")
	if m.Holdout == 0 {
		fmt.Fprintln(out, "There is no unbiased precision: no refund was let through as holdout.")
	}
	if len(m.NoRate) > 0 {
		fmt.Fprintf(out, "Sums in %s (=) leave out what has no rate in currency.rates: %s.\n", m.Base, strings.Join(m.NoRate, ", "))
	}
}

func (m *measurement) cells(q *quality.Quality) []any {
	return []any{q.Hits, q.TooYoung, q.Labelled, shareText(q.Biased), shareText(q.Unbiased), shareText(q.Recall),
		m.sumText(q.Caught), m.sumText(q.WronglyHeld), q.Minutes}
}

// shareText is "75 % (60 to 86), 30/40".
func shareText(s quality.Share) string {
	if s.Interval == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f %% (%.0f to %.0f), %d/%d", 100*s.Share, 100*s.Low, 100*s.High, s.Count, s.Of)
}

// sumText has a line per currency, and one for all of them in the base.
func (m *measurement) sumText(s quality.Sum) string {
	if s.Refunds == 0 {
		return "-"
	}
	var lines []string
	for _, code := range slices.Sorted(maps.Keys(s.ByCurrency)) {
		lines = append(lines, s.ByCurrency[code]+" "+code)
	}
	if _, isBase := s.ByCurrency[m.Base]; !isBase || len(lines) > 1 {
		lines = append(lines, "= "+s.Base+" "+m.Base)
	}
	return strings.Join(lines, "\n")
}
