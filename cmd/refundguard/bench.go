package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/pprof"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/cmd/refundguard/bench"
)

func newBenchCmd() *cobra.Command {
	var (
		events  int
		seed    uint64
		brokers []string
		profile string
		output  *string
	)
	cmd := &cobra.Command{
		Use:   "bench [engine|gate]...",
		Short: "Measures events per second on this machine: ten rules, six past-events expressions, 5 % refunds",
		Long: `Measures the same job twice and prints a table:

  engine  decoding, applying, deciding and encoding, from memory
  gate    the whole pipeline, exactly once, from Kafka to Kafka: on the brokers
          of --brokers, where it creates topics of its own (refundguard-bench-…)
          and deletes them, or on an embedded one in this process`,
		Example:   "  refundguard bench\n  refundguard bench engine --events 3000000\n  refundguard bench gate --brokers 127.0.0.1:9092 -o json",
		ValidArgs: []string{"engine", "gate"},
		Args:      cobra.OnlyValidArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"engine", "gate"}
			}
			if err := checkOutput(*output); err != nil {
				return err
			}
			if events < 1000 {
				return usage{fmt.Errorf("--events %d: fewer than 1000 measure nothing", events)}
			}
			if profile != "" {
				f, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer f.Close()
				if err := pprof.StartCPUProfile(f); err != nil {
					return err
				}
				defer pprof.StopCPUProfile()
			}
			var results []bench.Result
			for _, what := range args {
				run := bench.Engine
				if what == "gate" {
					run = bench.Gate{Brokers: brokers}.Run
				}
				r, err := run(cmd.Context(), events, seed)
				if err != nil {
					return fmt.Errorf("bench %s: %w", what, err)
				}
				results = append(results, r)
			}
			if *output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(results)
			}
			t := table.NewWriter()
			t.SetOutputMirror(cmd.OutOrStdout())
			t.SetStyle(table.StyleLight)
			t.Style().Format.Header = text.FormatDefault // µ has a capital that nobody reads
			t.AppendHeader(table.Row{"", "events", "events/s", "CPU µs/event", "peak RSS MiB", "approve", "review", "reject", "digest"})
			for _, r := range results {
				t.AppendRow(table.Row{r.Name, r.Events, int64(r.EventsPerSecond), fmt.Sprintf("%.2f", r.CPUPerEvent), int64(r.RSS),
					r.Outcomes["approve"], r.Outcomes["review"], r.Outcomes["reject"], r.Digest})
			}
			t.Render()
			return nil
		},
	}
	output = outputFlag(cmd)
	f := cmd.Flags()
	f.IntVar(&events, "events", 1_000_000, "how many events")
	f.Uint64Var(&seed, "seed", 1, "seed of the generator")
	f.StringSliceVar(&brokers, "brokers", nil, "a Kafka cluster to measure on; default: an embedded one")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile to this file")
	return cmd
}
