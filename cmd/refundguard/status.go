package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/kafka"
)

func newStatusCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Says which instance works, how far it is, and of when its saved state is",
		Long: `Reads what was committed last. The exit code is 0 while an instance works, 1 if
none does: it stopped, or nothing came of it for 5 seconds.`,
		Example: "  refundguard status -c refundguard.yaml\n  refundguard status -o json",
		Args:    cobra.NoArgs,
	}
	reader, output := newTopicReader(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		c, options, err := reader.open()
		if err != nil {
			return err
		}
		if usable, err := kafka.Check(cmd.Context(), options); !usable {
			return err
		}
		st, err := pipeline.ReadStatus(cmd.Context(), c.Pipeline, c.Kafka.TransactionalID, options)
		if err != nil {
			return err
		}
		if *output == "json" {
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(st)
		} else {
			printStatus(cmd, st, time.Now())
		}
		if err == nil && st.State != pipeline.Working {
			return errReported
		}
		return err
	}
	return cmd
}

func printStatus(cmd *cobra.Command, st *pipeline.Status, now time.Time) {
	out := cmd.OutOrStdout()
	ago := func(t time.Time) string { return now.Sub(t).Round(100*time.Millisecond).String() + " ago" }
	fmt.Fprintf(out, "%-13s %s\n", "deployment", st.TransactionalID)
	if st.State == pipeline.NeverStarted {
		fmt.Fprintf(out, "%-13s %s: nothing was ever committed\n", "state", st.State)
		return
	}
	state := st.State
	switch state {
	case pipeline.Silent:
		state += ": nothing was committed for a while, and no standby took over"
	case pipeline.Stopped:
		state += " in order, and nobody went on"
	}
	fmt.Fprintf(out, "%-13s %s\n%-13s %s (instance %s)\n%-13s %d, committed %s\n", "state", state, "leader", st.Leader, st.Instance, "epoch", st.Epoch, ago(st.CommittedAt))
	switch {
	case st.SavedAt.IsZero():
		fmt.Fprintf(out, "%-13s none: a start reads everything again\n", "saved state")
	default:
		fmt.Fprintf(out, "%-13s epoch %d, %s\n", "saved state", st.SavedEpoch, ago(st.SavedAt))
	}
	if !st.LostAt.IsZero() {
		fmt.Fprintf(out, "%-13s %s: refunds that need what is missing are held\n", "state lost", st.LostAt.Format(time.RFC3339))
	}
	b := st.Balance
	fmt.Fprintf(out, "%-13s %d read = %d approved + %d in review + %d rejected + %d dead-lettered + %d duplicates + %d history\n%-13s %s\n", "balance",
		b.Read, b.Approved, b.InReview, b.Rejected, b.DeadLettered, b.Duplicates, b.History, "rules", st.Ruleset)
	if len(st.Tripped) > 0 {
		fmt.Fprintf(out, "%-13s %s: by itself each held more than limits.max_hold_share\n", "tripped", strings.Join(st.Tripped, ", "))
	}
	if len(st.Holds) > 0 {
		fmt.Fprintf(out, "%-13s %s: see refundguard hold list\n", "on hold", strings.Join(st.Holds, ", "))
	}
	t := newTable(out, "stream", "topic", "partitions", "lag", "undecided", "most in")
	for _, s := range st.Streams {
		most := "-"
		if s.Lag+s.Undecided > 0 {
			most = fmt.Sprint("partition ", s.Behind)
		}
		t.AppendRow([]any{s.Stream, s.Topic, s.Partitions, s.Lag, s.Undecided, most})
	}
	t.Render()
}
