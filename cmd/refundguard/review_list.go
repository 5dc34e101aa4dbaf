package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/rules"
)

// queueFilter is which cases list is about.
type queueFilter struct {
	severity, customer, merchant string
	overdue                      bool
	limit                        int
}

func (f *queueFilter) takes(c *cases.Case, now time.Time) bool {
	return (f.severity == "" || c.Severity.String() == f.severity) &&
		(f.customer == "" || c.CustomerID == f.customer) && (f.merchant == "" || c.MerchantID == f.merchant) &&
		(!f.overdue || c.Due != 0 && c.Due < now.UnixMilli())
}

func newReviewListCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Lists what is in review, the most urgent first",
		Long: `Lists the refunds that wait for a verdict, by their deadlines. A deadline that is
over is one that the service is about to act on, or would if it ran.`,
		Example: "  refundguard review list -c refundguard.yaml --severity critical\n  refundguard review list --merchant mer_1 --overdue -o json",
		Args:    cobra.NoArgs,
	}
	reader, output, f := newTopicReader(cmd), outputFlag(cmd), queueFilter{}
	cmd.Flags().StringVar(&f.severity, "severity", "", "only those of this severity: low, medium, high, critical")
	cmd.Flags().StringVar(&f.customer, "customer", "", "only those of this customer_id")
	cmd.Flags().StringVar(&f.merchant, "merchant", "", "only those of this merchant_id")
	cmd.Flags().BoolVar(&f.overdue, "overdue", false, "only those whose deadline is over")
	cmd.Flags().IntVar(&f.limit, "limit", 100, "at most so many, the most urgent; 0 is all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		if _, ok := rules.ParseSeverity(f.severity); !ok && f.severity != "" {
			return usage{fmt.Errorf("--severity %q is not low, medium, high or critical", f.severity)}
		}
		if f.limit < 0 {
			return usage{fmt.Errorf("--limit %d: give how many, or 0 for all", f.limit)}
		}
		t, err := openReview(cmd, reader)
		if err != nil {
			return err
		}
		queue, more, err := t.queue(f, time.Now())
		if err != nil && len(queue) == 0 {
			return err
		}
		if *output == "json" {
			out := []caseJSON{}
			for _, c := range queue {
				out = append(out, jsonOf(c, time.Now()))
			}
			return errors.Join(writeJSON(cmd, out), err)
		}
		return errors.Join(printPlain(cmd.OutOrStdout(), func(out io.Writer) { printQueue(out, queue, more, time.Now()) }), err)
	}
	return cmd
}

// queue is what waits, the most urgent first; more is how many it leaves out.
func (t *reviewTopics) queue(f queueFilter, now time.Time) (queue []*cases.Case, more int, err error) {
	found, err := t.cases(func(_ *kgo.Record, state string) bool { return state == cases.InReview.String() })
	for _, c := range found {
		if f.takes(c, now) {
			queue = append(queue, c)
		}
	}
	never := func(due int64) int64 { // after all others
		if due == 0 {
			return math.MaxInt64
		}
		return due
	}
	slices.SortFunc(queue, func(a, b *cases.Case) int {
		return cmp.Or(cmp.Compare(never(a.Due), never(b.Due)), cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.RefundID, b.RefundID))
	})
	if n := len(queue) - f.limit; f.limit > 0 && n > 0 {
		queue, more = queue[:f.limit], n
	}
	return queue, more, err
}

func printQueue(out io.Writer, queue []*cases.Case, more int, now time.Time) {
	if len(queue) == 0 {
		fmt.Fprintln(out, "nothing is in review")
		return
	}
	t := newTable(out, "refund", "severity", "amount", "customer", "merchant", "reason", "since", "deadline", "approved first by")
	for _, c := range queue {
		t.AppendRow([]any{c.RefundID, c.Severity.String(), c.Amount.Format(c.Currency) + " " + c.Currency.String(), c.CustomerID, c.MerchantID, reasonText(c),
			shortTime(time.UnixMilli(c.Since)), dueText(c.Due, now), c.First})
	}
	t.Render()
	if more > 0 {
		fmt.Fprintf(out, "and %d more: see --limit\n", more)
	}
}
