package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

func newLabelsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "labels",
		Short: "Looks at what refunds turned out to be, and imports it",
		Long: `A label says that a refund was fraud or legit: an analyst's verdict, a customer's
answer, a charge-back, or a line of an imported file. They are in the topic
refund-labels; refundguard rules stats measures rules by them.

Of several labels of a refund one counts: a charge-back's before an import's
before a customer's before an analyst's, and of these the latest.`,
		Example: "  refundguard labels import chargebacks.csv -c refundguard.yaml\n  refundguard labels list --refund ref_1",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLabelsListCmd(), newLabelsImportCmd())
	return cmd
}

func newLabelsListCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Lists labels: of which refund, what, from where, since when",
		Long: `Lists labels in the order in which they were written. Of one refund (--refund) it
lists all, unless --since says otherwise, and says which counts.`,
		Example: "  refundguard labels list --since 1d\n  refundguard labels list --refund ref_1 -o json",
		Args:    cobra.NoArgs,
	}
	reader, output := newTopicReader(cmd).flags(cmd), outputFlag(cmd)
	refund := cmd.Flags().String("refund", "", "only those of this refund")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		c, options, err := reader.open()
		if err != nil {
			return err
		}
		if *refund != "" && !cmd.Flags().Changed("since") {
			reader.since = "0"
		}
		seen := map[string]bool{}
		records, err := reader.read(cmd.Context(), options, c.Pipeline.Names().Labels, func(r *kgo.Record) bool {
			l, err := event.ParseLabel(r.Value)
			if err != nil || *refund != "" && l.RefundID != *refund || seen[l.LabelID] {
				return false
			}
			seen[l.LabelID] = true
			return true
		})
		if err != nil {
			return err
		}
		if *output == "json" {
			return writeRecords(cmd, records)
		}
		printLabels(cmd, records, *refund)
		return nil
	}
	return cmd
}

func printLabels(cmd *cobra.Command, records []*kgo.Record, refund string) {
	out := cmd.OutOrStdout()
	if len(records) == 0 {
		fmt.Fprintln(out, "no labels")
		return
	}
	t := newTable(out, "at", "refund", "label", "source", "by", "weight", "reason", "note", "id")
	var counts *event.Label
	for _, r := range records {
		l, _ := event.ParseLabel(r.Value)
		t.AppendRow([]any{shortTime(time.UnixMilli(l.At)), cmp.Or(l.RefundID, "of "+l.TransactionID), l.Label, l.Source, l.By, l.Weight, l.Reason, cut(l.Note, 40), l.LabelID})
		if counts == nil || l.Outranks(counts) {
			counts = l
		}
	}
	t.Render()
	if refund != "" {
		by := strings.TrimSpace(counts.Source + " " + counts.By)
		fmt.Fprintf(out, "%s counts: %s, %s (%s)\n", counts.Label, by, shortTime(time.UnixMilli(counts.At)), counts.LabelID)
	}
}
