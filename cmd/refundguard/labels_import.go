package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/event"
)

func newLabelsImportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE.csv", Short: "Writes what a file says that refunds turned out to be",
		Long: `Reads a CSV file in UTF-8 whose first line names the columns, in any order:

  refund_id  the refund
  label      fraud or legit
  at         when it was known: 2026-01-31T12:00:00Z, or milliseconds since 1970
  by         who says so; may be left out
  note       why; may be left out

All that is wrong is told with file, line and column: values that are no such
thing, refunds that refund-decisions doesn't know, and a label at the time of
another one that says the opposite. Then nothing is written; with --skip-bad the
rows that are right are written, and the exit code is 0. A file that isn't CSV,
or has other columns, is never written. The same file again adds nothing.`,
		Example: `  refundguard labels import chargebacks.csv -c refundguard.yaml
  refundguard labels import chargebacks.csv --dry-run
  refundguard labels import chargebacks.csv --skip-bad -o json`,
		Args: cobra.ExactArgs(1),
	}
	reader, output := newTopicReader(cmd), outputFlag(cmd)
	skip := cmd.Flags().Bool("skip-bad", false, "write the rows that are right, and list the others")
	dry := cmd.Flags().Bool("dry-run", false, "only say what would be written")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		in, err := os.Open(args[0])
		if err != nil {
			return usage{fmt.Errorf("open the file of labels: %w", err)}
		}
		defer in.Close()
		f, err := readLabelFile(args[0], in, time.Now())
		if err != nil {
			return err
		}
		c, options, err := reader.open()
		if err != nil {
			return err
		}
		done := imported{File: args[0], DryRun: *dry, Faults: settings.Faults{}}
		if !f.broken {
			if done.Known, err = f.compare(cmd, options, c.Pipeline.Names()); err != nil {
				return err
			}
		}
		if f.faults.Sort(); len(f.faults) > 0 {
			done.Faults = f.faults
		}
		if refused := len(f.faults) > 0 && (!*skip || f.broken); refused {
			return done.tell(cmd, *output, true)
		}
		if !*dry {
			if err := writeLabels(cmd, options, c.Pipeline.Names().Labels, f.rows); err != nil {
				return err
			}
		}
		done.Written = len(f.rows)
		return done.tell(cmd, *output, false)
	}
	return cmd
}

// imported is what became of a file.
type imported struct {
	File    string          `json:"file"`
	Written int             `json:"written"`
	Known   int             `json:"known"` // rows that were there already, here or in the topic
	DryRun  bool            `json:"dry_run"`
	Faults  settings.Faults `json:"faults"`
}

func (i imported) tell(cmd *cobra.Command, output string, refused bool) error {
	if output == "json" {
		if err := writeJSON(cmd, i); err != nil || !refused {
			return err
		}
		return errReported
	}
	if refused {
		return fmt.Errorf("nothing was written: %s\n%w", count(len(i.Faults), "fault"), i.Faults)
	}
	for _, fault := range i.Faults {
		fmt.Fprintln(cmd.ErrOrStderr(), fault)
	}
	verb := map[bool]string{false: "written", true: "would be written"}[i.DryRun]
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s %s, %d there already", i.File, count(i.Written, "label"), verb, i.Known)
	if len(i.Faults) > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), ", left out what has %s", count(len(i.Faults), "fault"))
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return nil
}

// moment is a refund and a time at which something is known of it.
type moment struct {
	refund string
	at     int64
}

// compare leaves out what can't be written, and what is there already, of which
// it says how much.
func (f *labelFile) compare(cmd *cobra.Command, options []kgo.Opt, topics pipeline.Topics) (known int, err error) {
	there := map[string]bool{} // label ids
	said := map[moment]string{}
	refunds := map[string]bool{}
	for _, r := range f.rows {
		refunds[r.RefundID] = false
	}
	if len(refunds) == 0 {
		return 0, nil
	}
	err = scan(cmd, options, topics.Labels, time.Time{}, func(r *kgo.Record) error {
		l, err := event.ParseLabel(r.Value)
		if err != nil {
			return nil // what nobody can read says nothing
		}
		if _, ours := refunds[l.RefundID]; ours && l.Source == event.LabelByImport {
			there[l.LabelID] = true
			said[moment{l.RefundID, l.At}] = l.Label
		}
		return nil
	})
	if errors.Is(err, kafka.ErrNoTopic) {
		return 0, fmt.Errorf("there is no topic %s: start refundguard run once, which creates it, or create it", topics.Labels)
	}
	if err != nil {
		return 0, err
	}
	unknown := len(refunds)
	errAll := errors.New("all are found")
	err = scan(cmd, options, topics.Decisions, time.Time{}, func(r *kgo.Record) error {
		if found, ours := refunds[string(r.Key)]; ours && !found {
			refunds[string(r.Key)] = true
			if unknown--; unknown == 0 {
				return errAll
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errAll) && !errors.Is(err, kafka.ErrNoTopic) {
		return 0, err
	}
	f.leave(func(r labelRow) (message, hint string) {
		m := moment{r.RefundID, r.At}
		was, told := said[m]
		switch {
		case !refunds[r.RefundID]:
			return fmt.Sprintf("refund %q is unknown: no decision of it is in %s", r.RefundID, topics.Decisions), "correct refund_id, or leave the row out"
		case r.bad:
			return "", ""
		case told && was != r.Label.Label:
			return fmt.Sprintf("refund %q is imported as %s at this very time already", r.RefundID, was), "the later of two labels counts: write a later time in at"
		}
		said[m] = r.Label.Label
		return "", ""
	})
	before := len(f.rows)
	rows := f.rows[:0]
	for _, r := range f.rows {
		if !there[r.LabelID] {
			rows = append(rows, r)
		}
		there[r.LabelID] = true
	}
	f.rows = rows
	return before - len(rows), nil
}

// writeLabels returns when all are acknowledged.
func writeLabels(cmd *cobra.Command, options []kgo.Opt, topic string, rows []labelRow) error {
	if len(rows) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append(options, kgo.RecordDeliveryTimeout(30*time.Second))...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
	}
	defer cl.Close()
	var records []*kgo.Record
	for _, r := range rows {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(r.RefundID), Value: r.Label.Append(nil)})
	}
	if err := cl.ProduceSync(cmd.Context(), records...).FirstErr(); err != nil {
		return fmt.Errorf("writing %s to %s (some may be there; import the file again, which adds the others only): %w", count(len(records), "label"), topic, err)
	}
	return nil
}
