package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/cmd/refundguard/bench"
)

func newBenchKeysCmd() *cobra.Command {
	k := bench.Keys{}
	var keys []string
	var here bool
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "From thousands to millions of customers: what an event and a customer cost",
		Long: `Decodes, applies and decides the events of so many customers from memory, by the
ten rules of bench engine, and prints a table. Customers have --events-per-key
events each, in an order that no cache likes; 5 % of the events are refunds. Each
size is measured in a process of its own, all of whose memory is the state, the
program, and what the collector has not yet collected:

  CPU µs/event  of all, and of the last tenth, when the state is about full
  B/key         of the state, in memory: keys are ids, originals and windows
  state, heap   of the state, and of all that is alive in the end, in MiB
  peak RSS      the greatest resident memory

What the collector leaves for later is up to GOGC and GOMEMLIMIT in the
environment: by default as much again as is alive.`,
		Example: "  refundguard bench keys\n  refundguard bench keys --keys 1M --events-per-key 10 -o json",
		Args:    cobra.NoArgs,
	}
	output := outputFlag(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&keys, "keys", []string{"10k", "100k", "1M", "10M"}, "numbers of customers; 10M takes some 13 GiB of memory and minutes")
	f.IntVar(&k.PerKey, "events-per-key", 3, "events of each customer")
	f.Uint64Var(&k.Seed, "seed", 1, "seed of the generator")
	f.BoolVar(&here, "here", false, "measure in this process")
	_ = f.MarkHidden("here")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := checkOutput(*output); err != nil {
			return err
		}
		if k.Customers, err = parseKeys(keys); err != nil {
			return err
		}
		if k.PerKey < 2 || k.PerKey > 1000 {
			return usage{fmt.Errorf("--events-per-key %d: write a number from 2 to 1000", k.PerKey)}
		}
		k.Tell = func(what string) { fmt.Fprintln(cmd.ErrOrStderr(), what) }
		var all []bench.KeysResult
		if here {
			if len(k.Customers) != 1 {
				return usage{errors.New("--here measures one of --keys: memory is a process's")}
			}
			all = make([]bench.KeysResult, 1)
			all[0], err = k.Here(cmd.Context(), k.Customers[0])
		} else {
			all, err = k.Run(cmd.Context())
		}
		if err != nil {
			return fmt.Errorf("bench keys: %w", err)
		}
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
		}
		t := newTable(cmd.OutOrStdout(), "customers", "events", "events/s", "CPU µs/event", "last tenth", "allocs/event", "keys", "B/key", "B/customer", "state MiB", "heap MiB", "peak RSS MiB", "digest")
		for _, r := range all {
			t.AppendRow([]any{r.Customers, r.Events, int64(r.EventsPerSecond), fmt.Sprintf("%.2f", r.CPUPerEvent), fmt.Sprintf("%.2f", r.CPULast), fmt.Sprintf("%.2f", r.Allocs),
				r.Keys, int64(r.BytesPerKey), int64(r.StatePerCust), int64(r.State), int64(r.Heap), int64(r.RSS), r.Digest})
		}
		t.Render()
		return nil
	}
	return cmd
}

// parseKeys reads sizes of the state.
func parseKeys(texts []string) (all []int, err error) {
	for _, k := range texts {
		n, err := parseCount(k)
		if err != nil || n < 1000 || n > 100_000_000 {
			return nil, usage{fmt.Errorf("--keys %s: write numbers from 1k to 100M", k)}
		}
		all = append(all, n)
	}
	return all, nil
}
