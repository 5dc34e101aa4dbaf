package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/cmd/refundguard/bench"
	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/rules/starter"
)

func newBenchOverloadCmd() *cobra.Command {
	o := bench.Overload{}
	var memory, rules string
	cmd := &cobra.Command{
		Use:   "overload",
		Short: "Sends more than the service can work off, and watches its memory",
		Long: `Runs this program as a process of its own, with GOMEMLIMIT and GOMAXPROCS, and
prints a table of

  backlog   how fast --backlog events that lie in Kafka are worked off: the
            sustainable rate
  sending   --factor times that rate, for --for, to a service that begins with
            an empty state
  draining  from then until each refund is decided

with what the service says of itself each second, the greatest of each: resident
memory, what of it GOMEMLIMIT counts (Go), and of that the state; records that
wait in Kafka; refunds that are read and wait for their turn; and for how many
seconds shadow rules were left out. CPU is the service's.

The exit code is 1 if a refund has no decision, or two, and if resident memory
was ever more than 10 % above --memory: GOMEMLIMIT is soft, and neither the
program's own pages nor what is allocated outside of Go count in it.

Of each key of the state some 15 bytes stay in memory whatever the limit: what
is sent must fit. The embedded broker keeps all that is sent in the memory of
this process: for more than a minute or two use --brokers, where it creates
topics of its own (refundguard-bench-…) and deletes them.`,
		Example: "  refundguard bench overload\n  refundguard bench overload --for 10m --memory 4GiB --brokers 127.0.0.1:9092 -o json",
		Args:    cobra.NoArgs,
	}
	output := outputFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&memory, "memory", "1GiB", "GOMEMLIMIT of the service; its state.memory follows from it")
	f.IntVar(&o.Procs, "procs", 1, "GOMAXPROCS of the service")
	f.StringVar(&rules, "rules", "", "a folder of rules; default: the starter rules")
	f.IntVar(&o.Backlog, "backlog", 1_000_000, "events by which the sustainable rate is measured")
	f.Float64Var(&o.Factor, "factor", 3, "how many times the sustainable rate is sent")
	f.DurationVar(&o.For, "for", time.Minute, "how long")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the generator")
	f.StringSliceVar(&o.Brokers, "brokers", nil, "a Kafka cluster to measure on; default: an embedded one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := checkOutput(*output); err != nil {
			return err
		}
		if o.Memory, err = settings.ParseBytes(memory); err != nil || o.Memory < 64<<20 {
			return usage{fmt.Errorf("--memory %s: write a size from 64MiB on", memory)}
		}
		if o.Procs < 1 || o.Backlog < 1000 || !(o.Factor >= 1 && o.Factor <= 100) || o.For < time.Second || o.For > time.Hour {
			return usage{errors.New("--procs must be 1 at least, --backlog 1000 at least, --factor from 1 to 100, --for from 1s to 1h")}
		}
		if o.Rules = starter.FS; rules != "" {
			if _, err := os.ReadDir(rules); err != nil {
				return usage{fmt.Errorf("--rules: %w", err)}
			}
			o.Rules = os.DirFS(rules)
		}
		o.Tell = func(what string) { fmt.Fprintln(cmd.ErrOrStderr(), what) }
		res, err := o.Run(cmd.Context())
		switch {
		case err != nil:
			return fmt.Errorf("bench overload: %w", err)
		case *output == "json":
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(res)
		default:
			printOverload(cmd, res)
		}
		if err == nil && !res.OK() {
			return errReported
		}
		return err
	}
	return cmd
}

func printOverload(cmd *cobra.Command, res bench.OverloadResult) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s; GOMEMLIMIT %d MiB, GOMAXPROCS %d\n", res.Broker, res.Memory>>20, res.Procs)
	t := newTable(out, "", "s", "arrived/s", "worked off/s", "CPU µs/event", "RSS MiB", "Go MiB", "state MiB", "cold keys", "saves", "lag", "waiting", "shed s")
	for _, p := range []struct {
		name string
		bench.OverloadPhase
	}{{"backlog", res.Backlog}, {"sending", res.Sending}, {"draining", res.Draining}} {
		t.AppendRow([]any{p.name, fmt.Sprintf("%.1f", p.Seconds), int(p.Arrived), int(p.WorkedOff), fmt.Sprintf("%.1f", p.CPU),
			p.RSS >> 20, p.Go >> 20, p.State >> 20, p.Cold, p.Saves, p.Lag, p.Waiting, p.Shed})
	}
	t.Render()
	fmt.Fprintf(out, "%d events at %.2f times the sustainable %.0f/s; resident memory %d MiB at most, %.0f %% of the limit\n", res.Sent,
		res.Sending.Arrived/res.Sustainable, res.Sustainable, res.PeakRSS>>20, 100*float64(res.PeakRSS)/float64(res.Memory))
	if !res.Within() {
		fmt.Fprintln(out, "resident memory was more than 10 % above its limit")
	}
	printAudit(out, res.Audit)
}
