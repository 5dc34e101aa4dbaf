package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/cmd/refundguard/bench"
)

func newBenchRecoveryCmd() *cobra.Command {
	r := bench.Recovery{}
	var keys []string
	cmd := &cobra.Command{
		Use:   "recovery",
		Short: "Kills the service, and measures how long it takes until it decides again",
		Long: `Runs this program as processes of their own and prints tables:

  crash     for each of --keys: kill -9, --behind of input at --rate while nothing
            runs, a start: how long until it is live and until all is decided.
            Then kill -9 again, when nothing was saved since: how long until that
            input is read again
  failover  the longest time without a decision when an instance ends and a
            standby goes on, after kill -9 and after SIGTERM
  latency   from when a refund was to be sent until its decision is committed,
            with the state saved every 5 s and with no state folder: the best of
            three rounds each, since what else runs on the machine only adds

Each decision is counted: the exit code is 1 if a refund has none, or two. On the
brokers of --brokers it creates topics of its own (refundguard-bench-…) and
deletes them; the embedded ones run in this process, and their CPU time is taken
from what is measured.`,
		Example: "  refundguard bench recovery\n  refundguard bench recovery --keys 10M --latency 0s\n  refundguard bench recovery --brokers 127.0.0.1:9092 -o json",
		Args:    cobra.NoArgs,
	}
	output := outputFlag(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&keys, "keys", []string{"100k", "1M"}, "sizes of the state in keys, about; 10M takes some 10 GB of memory and minutes")
	f.IntVar(&r.Rate, "rate", 20_000, "events per second; a tenth of it for failover")
	f.DurationVar(&r.Behind, "behind", time.Minute, "how long the input goes on while nothing runs")
	f.DurationVar(&r.Latency, "latency", 5*time.Second, "how long latencies are measured, three times with and without saving; 0: not at all")
	f.Uint64Var(&r.Seed, "seed", 1, "seed of the generator")
	f.StringSliceVar(&r.Brokers, "brokers", nil, "a Kafka cluster to measure on; default: an embedded one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := checkOutput(*output); err != nil {
			return err
		}
		if r.Keys, err = parseKeys(keys); err != nil {
			return err
		}
		if len(r.Keys) == 0 || r.Rate < 1000 || r.Rate > 1_000_000 || r.Behind < 0 || r.Behind > time.Hour || r.Latency < 0 || r.Latency > time.Minute {
			return usage{errors.New("--keys must name a size, --rate be from 1000 to 1000000, --behind 1h at most, --latency 1m at most")}
		}
		r.Tell = func(what string) { fmt.Fprintln(cmd.ErrOrStderr(), what) }
		res, err := r.Run(cmd.Context())
		switch {
		case err != nil:
			return fmt.Errorf("bench recovery: %w", err)
		case *output == "json":
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(res)
		default:
			printRecovery(cmd, res)
		}
		if err == nil && !res.Audit.OK() {
			return errReported
		}
		return err
	}
	return cmd
}

// parseCount reads a number with k or M behind it.
func parseCount(s string) (int, error) {
	number, unit := s, 1
	if n, ok := strings.CutSuffix(strings.ToUpper(s), "K"); ok {
		number, unit = n, 1000
	} else if n, ok := strings.CutSuffix(strings.ToUpper(s), "M"); ok {
		number, unit = n, 1_000_000
	}
	n, err := strconv.ParseUint(number, 10, 32)
	return int(n) * unit, err
}

func printRecovery(cmd *cobra.Command, res bench.RecoveryResult) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s; %d events/s, %.0f s behind\n", res.Broker, res.Rate, res.Behind)
	t := newTable(out, "keys", "memory B/key", "RSS B/key", "disk B/key", "load s", "live s", "waiting", "decided s", "read again", "load s", "live s")
	for _, c := range res.Crashes {
		t.AppendRow([]any{c.Keys, int(c.MemoryPerKey), int(c.RSSPerKey), int(c.DiskPerKey), seconds(c.Load), seconds(c.Live), c.Waited, seconds(c.Decided),
			c.Reread, seconds(c.RereadLoad), seconds(c.RereadLive)})
	}
	t.Render()
	for _, c := range res.Crashes {
		fmt.Fprintf(out, "%d keys from nothing, with state.memory %d MiB: live after %s s, at most %.0f MiB of state\n",
			c.Keys, c.Fresh.Memory>>20, seconds(c.Fresh.Live), c.Fresh.State/(1<<20))
	}
	if f := res.Failover; f != nil {
		fmt.Fprintf(out, "failover at %d events/s: %s s without a decision after kill -9, %s s after SIGTERM (before, %s s at most)\n",
			f.Rate, seconds(f.Killed), seconds(f.Stopped), seconds(f.Typical))
	}
	if s := res.Saving; s != nil {
		t := newTable(out, "state", "refunds", "p50 ms", "p99 ms", "max ms")
		for _, v := range []struct {
			name string
			bench.Latency
		}{{"saved every 5 s", s.With}, {"in memory only", s.Without}} {
			t.AppendRow([]any{v.name, v.Refunds, fmt.Sprintf("%.1f", v.P50), fmt.Sprintf("%.1f", v.P99), fmt.Sprintf("%.1f", v.Max)})
		}
		t.Render()
	}
	printAudit(out, res.Audit)
}

func printAudit(out io.Writer, a bench.Audit) {
	fmt.Fprintf(out, "%d refunds, %d decisions: lost %d, doubled %d, unknown %d\n", a.Sent, a.Decided, a.Lost, a.Doubled, a.Unknown)
}

func seconds(s float64) string { return fmt.Sprintf("%.2f", s) }
