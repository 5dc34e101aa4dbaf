package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/cmd/refundguard/bench"
)

func newBenchLatencyCmd() *cobra.Command {
	r := bench.FixedRate{}
	cmd := &cobra.Command{
		Use:   "latency",
		Short: "From when a refund is due until its decision can be read, at a fixed rate",
		Long: `Sends the events of bench gate at --rate to the service, a process of its own that
saves its state, and prints a table of

  latency    from when a refund was due to be sent, by the rate and not by when the
             one before was taken, until its decision can be read by who reads only
             what is committed
  generator  from when an event was due until it was given to the Kafka client,
             which latency contains: where that is much, it says little
  CPU        of the service alone

and in turn, at the same rate on the same broker, of a process that reads the same
and copies refunds to the decisions within transactions, by no rules: what exactly
once costs by itself.

Each decision is counted: the exit code is 1 if a refund has none, or two. On the
brokers of --brokers it creates topics of its own (refundguard-bench-…) and
deletes them. The embedded broker keeps all that is sent in the memory of this
process, and takes its processors.`,
		Example: "  refundguard bench latency\n  refundguard bench latency --rate 50000 --rounds 3 --brokers 127.0.0.1:9092 -o json",
		Args:    cobra.NoArgs,
	}
	output := outputFlag(cmd)
	f := cmd.Flags()
	f.IntVar(&r.Rate, "rate", 20_000, "events per second")
	f.DurationVar(&r.For, "for", time.Minute, "how long each is measured")
	f.DurationVar(&r.Warm, "warm", 15*time.Second, "how long before that events come already")
	f.IntVar(&r.Rounds, "rounds", 1, "how often each is measured, in turn")
	f.Uint64Var(&r.Seed, "seed", 1, "seed of the generator")
	f.StringSliceVar(&r.Brokers, "brokers", nil, "a Kafka cluster to measure on; default: an embedded one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		if r.Rate < 100 || r.Rate > 1_000_000 || r.For < time.Second || r.For > time.Hour || r.Warm < 0 || r.Warm > time.Hour || r.Rounds < 1 {
			return usage{errors.New("--rate must be from 100 to 1000000, --for from 1s to 1h, --warm 1h at most, --rounds 1 at least")}
		}
		r.Tell = func(what string) { fmt.Fprintln(cmd.ErrOrStderr(), what) }
		res, err := r.Run(cmd.Context())
		switch {
		case err != nil:
			return fmt.Errorf("bench latency: %w", err)
		case *output == "json":
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(res)
		default:
			printLatency(cmd, res)
		}
		if err == nil && !res.Audit.OK() {
			return errReported
		}
		return err
	}
	return cmd
}

func printLatency(cmd *cobra.Command, res bench.FixedRateResult) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s; %d events/s, in ms\n", res.Broker, res.Rate)
	t := newTable(out, "", "refunds", "p50", "p99", "p99.9", "max", "generator p50", "p99", "p99.9", "max", "CPU µs/event")
	for _, r := range res.Runs {
		row := []any{r.Name, r.Latency.Count}
		for _, p := range []bench.Percentiles{r.Latency, r.Generator} {
			for _, v := range []float64{p.P50, p.P99, p.P999, p.Max} {
				row = append(row, fmt.Sprintf("%.1f", v))
			}
		}
		t.AppendRow(append(row, fmt.Sprintf("%.2f", r.CPUPerEvent)))
	}
	t.Render()
	printAudit(out, res.Audit)
}

// newBenchCopyCmd is what bench latency starts to compare the service with.
func newBenchCopyCmd() *cobra.Command {
	var brokers []string
	var prefix string
	cmd := &cobra.Command{
		Use:     "copy",
		Short:   "Copies refunds within transactions until it is told to end; bench latency starts it",
		Example: "  refundguard bench copy --brokers 127.0.0.1:9092 --prefix refundguard-bench-1-",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(brokers) == 0 || prefix == "" {
				return usage{errors.New("--brokers and --prefix say what to copy")}
			}
			return bench.Copy(cmd.Context(), brokers, prefix)
		},
	}
	cmd.Flags().StringSliceVar(&brokers, "brokers", nil, "a Kafka cluster")
	cmd.Flags().StringVar(&prefix, "prefix", "", "what the names of its topics begin with")
	return cmd
}
