package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/refundguard/refundguard/cmd/refundguard/shop"
)

func newGenCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gen",
		Short: "Writes the life of a made-up shop: transactions, refunds, and which of them are frauds",
		Long: `Writes three files of JSON lines, in event-time order: transactions.jsonl and
refunds.jsonl in the format of the streams, and labels.jsonl, which says what
refundguard should find out: the refunds that are frauds, and of which kind
(device_ring, over_refund, other_instrument).

Numbers are shaped as those of a real shop: one refund for five purchases, 7 %
of their value, 10 days after the purchase at the median. The same flags give
the same bytes on every machine.`,
		Example: `  refundguard gen --out year                        # a year: 50,000 purchases, 10,000 refunds
  refundguard gen --out big --transactions 5000000 --days 90 --seed 7
  refundguard demo --data year`,
		Args: cobra.NoArgs,
	}
	cfg := shopFlags(cmd.Flags(), 0)
	out := cmd.Flags().String("out", ".", "folder to write to")
	replace := cmd.Flags().Bool("replace", false, "replace files that are there")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := cfg()
		if err != nil {
			return err
		}
		s, err := shop.New(c)
		if err != nil {
			return usage{err}
		}
		bar := newBar(cmd.ErrOrStderr(), "purchases")
		lines, err := shop.Write(cmd.Context(), s, *out, *replace, func() { bar.set(s.Progress()) })
		bar.close()
		switch {
		case errors.Is(err, context.Canceled):
			return errors.New("interrupted: nothing was written")
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("%w: choose another folder with --out, or give --replace", err)
		case err != nil:
			return fmt.Errorf("generating into %s: %w", *out, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d lines of transactions, %d of refunds, %d labels\n",
			*out, lines[shop.Transactions], lines[shop.Refunds], lines[shop.Labels])
		return nil
	}
	return cmd
}

// shopFlags adds the flags that say which shop.
func shopFlags(f *pflag.FlagSet, bad float64) func() (shop.Config, error) {
	c := shop.Config{}
	f.Uint64Var(&c.Seed, "seed", 1, "another seed, another shop of the same shape")
	f.IntVar(&c.Customers, "customers", 0, "customers (0: one for 4.7 purchases)")
	f.IntVar(&c.Days, "days", 365, "days, up to --end")
	f.IntVar(&c.Transactions, "transactions", 50_000, "purchases in all of these days")
	f.BoolVar(&c.Attacks, "attacks", true, "mix frauds in")
	end := f.String("end", "2026-01-01", "the day after the last, in UTC")
	f.Float64Var(&bad, "bad", bad, "share of malformed, repeated and conflicting records to add, e.g. 0.001")
	return func() (shop.Config, error) {
		var err error
		if c.End, err = time.Parse(time.DateOnly, *end); err != nil {
			return c, usage{fmt.Errorf("--end %q is not a day such as 2026-01-01", *end)}
		}
		if !(bad >= 0 && bad <= 0.5) {
			return c, usage{fmt.Errorf("--bad %v is not a share from 0 to 0.5", bad)}
		}
		c.Bad = int(math.Round(bad * 1e6))
		for _, n := range []struct {
			flag  string
			value int
		}{{"days", c.Days}, {"transactions", c.Transactions}} {
			if n.value < 1 {
				return c, usage{fmt.Errorf("--%s %d is not above 0", n.flag, n.value)}
			}
		}
		return c, nil
	}
}

// bar is a progress bar that shows itself on a terminal, if what it is for
// takes more than two seconds.
type bar struct {
	out     io.Writer
	what    string
	started time.Time
	shown   *progressbar.ProgressBar
}

func newBar(out io.Writer, what string) *bar {
	if f, ok := out.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		out = nil
	}
	return &bar{out: out, what: what, started: time.Now()}
}

func (b *bar) set(done, all int64) {
	if b.out == nil || b.shown == nil && time.Since(b.started) < 2*time.Second {
		return
	}
	if b.shown == nil {
		b.shown = progressbar.NewOptions64(all, progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription(b.what),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	_ = b.shown.Set64(done) // a terminal that is gone is nobody's loss
}

func (b *bar) close() {
	if b.shown != nil {
		_ = b.shown.Finish()
	}
}
