package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/webhook"
)

func newAlertsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "alerts",
		Short:   "Looks at the alerts, and delivers them again",
		Example: "  refundguard alerts list -c refundguard.yaml --since 1h\n  refundguard alerts replay --endpoint soc --undelivered",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAlertsListCmd(), newAlertsReplayCmd())
	return cmd
}

// alertFilter is which alerts a command is about.
type alertFilter struct {
	*topicReader
	severity, rule *string
}

func newAlertFilter(cmd *cobra.Command) *alertFilter {
	return &alertFilter{topicReader: newTopicReader(cmd).flags(cmd),
		severity: cmd.Flags().String("min-severity", "low", "only from this severity on: low, medium, high, critical"),
		rule:     cmd.Flags().String("rule", "", "only of this rule")}
}

func (f *alertFilter) takes(a *event.Alert) bool {
	least, _ := rules.ParseSeverity(*f.severity)
	severity, known := rules.ParseSeverity(a.Severity)
	return (!known || severity >= least) && (*f.rule == "" || a.Rule == *f.rule)
}

func (f *alertFilter) check() error {
	if _, ok := rules.ParseSeverity(*f.severity); !ok {
		return usage{fmt.Errorf("--min-severity %q is not low, medium, high or critical", *f.severity)}
	}
	return nil
}

func newAlertsListCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Lists alerts",
		Example: "  refundguard alerts list --since 1h --min-severity high\n  refundguard alerts list --rule device-ring -o json",
		Args:    cobra.NoArgs,
	}
	filter, output := newAlertFilter(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := errors.Join(checkOutput(*output), filter.check()); err != nil {
			return err
		}
		c, options, err := filter.open()
		if err != nil {
			return err
		}
		records, err := filter.read(cmd.Context(), options, c.Pipeline.Names().Alerts, func(r *kgo.Record) bool {
			a, err := event.ParseAlert(r.Value)
			return err == nil && filter.takes(a)
		})
		if err != nil {
			return err
		}
		if *output == "json" {
			return writeRecords(cmd, records)
		}
		if len(records) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "no alerts")
			return nil
		}
		t := newTable(cmd.OutOrStdout(), "at", "severity", "rule", "about", "outcome", "message", "id")
		for _, r := range records {
			a, _ := event.ParseAlert(r.Value)
			t.AppendRow([]any{shortTime(r.Timestamp), a.Severity, a.Rule, cmp.Or(a.RefundID, a.TransactionID), a.Outcome, cut(a.Message, 60), a.AlertID})
		}
		t.Render()
		return nil
	}
	return cmd
}

func newAlertsReplayCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "replay --endpoint NAME [ID]...", Short: "Delivers alerts again to one webhook",
		Long: `Delivers alerts again to one endpoint of webhooks, once each and at once: those
of the given ids, those that it never took (--undelivered: the dead letters of
its last tries), or all that the flags choose (--all). The id of an alert stays
the same, so a receiver that has it drops it.`,
		Example: "  refundguard alerts replay --endpoint soc --undelivered\n  refundguard alerts replay --endpoint soc --all --since 2h --min-severity high",
	}
	filter := newAlertFilter(cmd)
	name := cmd.Flags().String("endpoint", "", "name of the endpoint")
	undelivered := cmd.Flags().Bool("undelivered", false, "those whose last try failed")
	all := cmd.Flags().Bool("all", false, "all that the flags choose")
	dry := cmd.Flags().Bool("dry-run", false, "only say what would be sent")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		ways := 0
		for _, given := range []bool{len(ids) > 0, *undelivered, *all} {
			if given {
				ways++
			}
		}
		if ways != 1 {
			return usage{errors.New("give ids, or --undelivered, or --all: see refundguard alerts list")}
		}
		if err := filter.check(); err != nil {
			return err
		}
		c, options, err := filter.open()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(c.Webhooks, func(e webhook.Endpoint) bool { return e.Name == *name })
		if i < 0 {
			var names []string
			for _, e := range c.Webhooks {
				names = append(names, e.Name)
			}
			return usage{fmt.Errorf("--endpoint %q is none of webhooks: %s", *name, cmp.Or(strings.Join(names, ", "), "there are none"))}
		}
		topic := c.Pipeline.Names().Alerts
		if *undelivered {
			topic = c.Pipeline.Names().DeadLetters
		}
		records, err := filter.read(cmd.Context(), options, topic, func(r *kgo.Record) bool {
			a, err := event.ParseAlert(r.Value)
			if err != nil || *undelivered && !undeliveredTo(r, *name) {
				return false
			}
			return len(ids) == 0 && filter.takes(a) || slices.Contains(ids, a.AlertID)
		})
		if err != nil {
			return err
		}
		return redeliver(cmd, c.Webhooks[i], records, *dry)
	}
	return cmd
}

// undeliveredTo reports whether a dead letter is an alert that this endpoint
// never took.
func undeliveredTo(r *kgo.Record, endpoint string) bool {
	ours := slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool {
		return h.Key == webhook.HeaderEndpoint && string(h.Value) == endpoint
	})
	return ours && letterOf(r).Code == webhook.CodeUndelivered
}

// redeliver sends alerts one after the other; an alert that is there twice goes
// once.
func redeliver(cmd *cobra.Command, e webhook.Endpoint, records []*kgo.Record, dry bool) error {
	sent, failed := 0, 0
	seen := map[string]bool{}
	for _, r := range records {
		a, _ := event.ParseAlert(r.Value)
		if seen[a.AlertID] {
			continue
		}
		seen[a.AlertID] = true
		if dry {
			fmt.Fprintf(cmd.OutOrStdout(), "%s  would go to %s\n", a.AlertID, e.Name)
			continue
		}
		if err := webhook.Deliver(cmd.Context(), e, r.Value, r.Timestamp); err != nil {
			failed++
			fmt.Fprintf(cmd.OutOrStdout(), "%s  failed: %v\n", a.AlertID, err)
			if cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			continue
		}
		sent++
		fmt.Fprintf(cmd.OutOrStdout(), "%s  delivered to %s, made %s\n", a.AlertID, e.Name, time.UnixMilli(a.At).UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d alerts delivered, %d failed\n", sent, failed)
	if failed > 0 {
		return errReported
	}
	return nil
}
