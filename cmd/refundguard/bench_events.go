package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/cmd/refundguard/bench"
)

// benchFlags say how engine, gate and rules are measured.
type benchFlags struct {
	gate      bench.Gate
	state     bool
	saveEvery time.Duration
	cpus      []int
	rules     []int
}

func (m *benchFlags) check() error {
	for _, n := range m.cpus {
		if n < 1 || n > runtime.NumCPU() {
			return usage{fmt.Errorf("--cpus %d: this machine has 1 to %d", n, runtime.NumCPU())}
		}
	}
	for _, n := range m.rules {
		if n < 1 || n > 10_000 {
			return usage{fmt.Errorf("--rules %d: write numbers from 1 to 10000", n)}
		}
	}
	if m.saveEvery <= 0 {
		return usage{fmt.Errorf("--save-interval %v: write a time above 0", m.saveEvery)}
	}
	if m.state {
		m.gate.SaveEvery = m.saveEvery
	}
	return nil
}

// benchEvents measures all but the state.
func benchEvents(cmd *cobra.Command, args []string, o bench.Options, m benchFlags, output string) error {
	var results []bench.Result
	for _, what := range args {
		r, err := m.measure(cmd.Context(), what, o)
		if err != nil {
			return fmt.Errorf("bench %s: %w", what, err)
		}
		results = append(results, r...)
	}
	if output == "json" {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(results)
	}
	t := newTable(cmd.OutOrStdout(), "", "events", "events/s", "speed-up", "CPU µs/event", "allocs/event", "B/event", "peak RSS MiB", "approve", "review", "reject", "digest")
	for _, r := range results {
		speedup := ""
		if r.Speedup > 0 {
			speedup = fmt.Sprintf("%.2f", r.Speedup)
		}
		t.AppendRow(table.Row{r.Name, r.Events, int64(r.EventsPerSecond), speedup, fmt.Sprintf("%.2f", r.CPUPerEvent), fmt.Sprintf("%.2f", r.Allocs), int64(r.AllocBytes),
			int64(r.RSS), r.Outcomes["approve"], r.Outcomes["review"], r.Outcomes["reject"], r.Digest})
		if s := r.Transactions; s != nil {
			t.AppendRow(table.Row{"  then transactions only", s.Events, "", "", fmt.Sprintf("%.2f", s.CPUPerEvent), fmt.Sprintf("%.2f", s.Allocs), int64(s.AllocBytes)})
		}
	}
	t.Render()
	for _, r := range results {
		if r.Evaluations > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %.1f million evaluations/s\n", r.Name, r.Evaluations/1e6)
		}
		if r.Saves > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d saves, %d checkpoints\n", r.Name, r.Saves, r.Checkpoints)
		}
		if s := r.Sinks; s != nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: decided after %.1f s, stored after %.1f s: %d decisions, %d transactions; %d alerts received\n",
				r.Name, s.Decided, r.Seconds, s.Rows["decisions"], s.Rows["transactions"], s.Alerts)
		}
	}
	return nil
}

func (m *benchFlags) measure(ctx context.Context, what string, o bench.Options) (results []bench.Result, err error) {
	one := func(r bench.Result, err error) error {
		o.Profile = nil // it is of the first
		results = append(results, r)
		return err
	}
	switch what {
	case "engine":
		if len(m.cpus) == 0 {
			err = one(bench.Engine(ctx, o))
		}
		for _, o.CPUs = range m.cpus {
			if err := one(bench.Engine(ctx, o)); err != nil {
				return nil, err
			}
		}
		compare(results)
	case "gate":
		err = one(m.gate.Run(ctx, o))
	default:
		all := runtime.GOMAXPROCS(0)
		for _, n := range m.rules {
			of := len(results)
			for _, o.CPUs = range []int{1, all} {
				if err := one(bench.Rules(ctx, o, n)); err != nil {
					return nil, err
				}
			}
			compare(results[of:])
		}
	}
	return results, err
}

// compare says of each how much faster it is than the first.
func compare(results []bench.Result) {
	for i := range results {
		results[i].Speedup = results[i].EventsPerSecond / results[0].EventsPerSecond
	}
}
