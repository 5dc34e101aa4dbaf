package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/cmd/refundguard/bench"
)

func newBenchCmd() *cobra.Command {
	var (
		o       bench.Options
		m       benchFlags
		profile string
		output  *string
	)
	cmd := &cobra.Command{
		Use:   "bench [engine|gate|rules|state]...",
		Short: "Measures events per second on this machine",
		Long: `Measures and prints a table:

  engine  ten rules, six past-events expressions, 5 % refunds: decoding, applying,
          deciding and encoding, from memory; on each of --cpus processors
  gate    the same through the whole pipeline, exactly once, from Kafka to Kafka:
          on the brokers of --brokers, where it creates topics of its own
          (refundguard-bench-…) and deletes them, or on an embedded one in this
          process; it fills them, unless a gate with --keep has; with --state while
          the state is saved and copied to a bucket, with --sinks until decisions
          and what follows them, and unless --raw=false all that was sent, are stored
          in a ClickHouse that it starts, whose processors are this machine's and
          whose CPU time doesn't count
  rules   deciding refunds by each of --rules rules over at most 40 past-events
          expressions of up to 64 events each, on one processor and on all: an
          event is a refund, and as many evaluations
  state   the same events as engine's through an engine that is saved to disk
          beside it, and restored in the end, and sent to a folder as a
          checkpoint and taken from there: what that costs (only if named)

The digest is of every refund's outcome, score and rules. It is the same for the
same --events, --seed and --hot-merchant, whatever engine or gate runs on.

And, as commands of their own: bench keys, from thousands to millions of
customers; bench latency, from a refund to its decision at a fixed rate; bench
recovery, what a crash costs; bench overload, what more than can be worked off
does to the service's memory.`,
		Example:   "  refundguard bench\n  refundguard bench engine --events 3000000 --cpus 1,2,4\n  refundguard bench gate --brokers 127.0.0.1:9092 -o json",
		ValidArgs: []string{"engine", "gate", "rules", "state"},
		Args:      cobra.OnlyValidArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"engine", "gate", "rules"}
			}
			if err := checkOutput(*output); err != nil {
				return err
			}
			if m.gate.Keep && len(m.gate.Brokers) == 0 {
				return usage{errors.New("--keep: an embedded Kafka keeps nothing; name a cluster with --brokers")}
			}
			if o.Events < 1000 {
				return usage{fmt.Errorf("--events %d: fewer than 1000 measure nothing", o.Events)}
			}
			if err := m.check(); err != nil {
				return err
			}
			if profile != "" {
				if len(args) != 1 {
					return usage{errors.New("--cpuprofile is of one measurement: name one of engine, gate, rules")}
				}
				f, err := os.Create(profile)
				if err != nil {
					return err
				}
				defer f.Close()
				o.Profile = f
			}
			if slices.Contains(args, "state") {
				if len(args) != 1 {
					return usage{errors.New("state is measured by itself: name nothing else")}
				}
				return benchState(cmd, o, *output)
			}
			return benchEvents(cmd, args, o, m, *output)
		},
	}
	output = outputFlag(cmd)
	f := cmd.Flags()
	f.IntVar(&o.Events, "events", 1_000_000, "how many events")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the generator")
	f.Float64Var(&o.Hot, "hot-merchant", 0, "share of all events that one merchant has, 0 to 1")
	f.StringSliceVar(&m.gate.Brokers, "brokers", nil, "a Kafka cluster to measure on; default: an embedded one")
	f.BoolVar(&m.gate.Keep, "keep", false, "gate: leave the topics of the events, so that the next one with the same --events, --seed and --hot-merchant needn't fill them")
	f.IntSliceVar(&m.cpus, "cpus", nil, "numbers of processors that engine uses, one after the other; default: all")
	f.IntSliceVar(&m.rules, "rules", []int{1, 10, 50, 100, 200, 500, 1000}, "numbers of rules")
	f.BoolVar(&m.state, "state", false, "gate: save the state to a folder, and copy it to another as checkpoints")
	f.BoolVar(&m.gate.Sinks, "sinks", false, "gate: have ClickHouse and a receiver of alerts run on this machine, and measure until all is stored")
	f.BoolVar(&m.gate.Raw, "raw", true, "gate --sinks: ClickHouse gets each transaction and refund as it was sent, too (clickhouse.raw)")
	f.DurationVar(&m.saveEvery, "save-interval", time.Second, "gate --state: how often")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile to this file")
	cmd.AddCommand(newBenchKeysCmd(), newBenchLatencyCmd(), newBenchCopyCmd(), newBenchRecoveryCmd(), newBenchOverloadCmd())
	return cmd
}

func benchState(cmd *cobra.Command, o bench.Options, output string) error {
	r, err := bench.State(cmd.Context(), o)
	if err != nil {
		return fmt.Errorf("bench state: %w", err)
	}
	if output == "json" {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
	}
	t := newTable(cmd.OutOrStdout(), "events", "keys", "saves", "CPU µs/event", "and for saving", "pause p99 ms", "pause max ms", "last save s", "load s", "load CPU s", "memory B/key", "disk B/key", "checkpoint copy s", "send s", "MB", "MB again", "fetch s")
	t.AppendRow(table.Row{r.Events, r.Keys, r.Saves, fmt.Sprintf("%.2f", r.CPU), fmt.Sprintf("%.2f", r.CPUSaving), fmt.Sprintf("%.2f", r.PauseP99), fmt.Sprintf("%.2f", r.PauseMax),
		fmt.Sprintf("%.2f", r.LastSave), fmt.Sprintf("%.2f", r.Load), fmt.Sprintf("%.2f", r.LoadCPU), int64(r.MemoryPerKey), int64(r.DiskPerKey),
		fmt.Sprintf("%.3f", r.CheckpointCopy), fmt.Sprintf("%.2f", r.Checkpoint), r.CheckpointBytes / 1e6, fmt.Sprintf("%.3f", float64(r.CheckpointAgain)/1e6), fmt.Sprintf("%.2f", r.Fetch)})
	t.Render()
	t = newTable(cmd.OutOrStdout(), "what is kept", "memory B", "disk B")
	for _, one := range []struct {
		name string
		bench.Size
	}{{"a transaction", r.Sizes.Transaction}, {"a refund", r.Sizes.Refund}, {"a key of a window", r.Sizes.WindowKey}, {"an event in a window", r.Sizes.WindowEvent}} {
		t.AppendRow(table.Row{one.name, int64(one.Memory), int64(one.Disk)})
	}
	t.Render()
	return nil
}
