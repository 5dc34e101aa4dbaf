package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

func newEraseCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "erase --customer CUSTOMER",
		Short: "Removes from ClickHouse a customer who asked to be forgotten",
		Long: `Deletes or blanks a customer's rows in all tables in ClickHouse, under the
customer_id and, where privacy.pseudonymize is set, under its pseudonym. Rows that
figures are made of are blanked: who it was goes, and counts and money stay.
What can't be erased here, such as Kafka's topics, is listed at the end.

It shows how many rows there are, and asks first, unless --yes is given. It can be
interrupted and repeated. Repeat it when nothing of the customer is in the topics
any more, or when the customer came back.`,
		Example: `  refundguard erase -c refundguard.yaml --customer cus_17 --dry-run
  refundguard erase -c refundguard.yaml --customer cus_17`,
		Args: cobra.NoArgs,
	}
	file, output, observe := configFlag(cmd), outputFlag(cmd), observeFlag(cmd)
	customer := cmd.Flags().String("customer", "", "customer_id of whom is to be forgotten, as it was sent")
	dry := cmd.Flags().Bool("dry-run", false, "only count")
	yes := cmd.Flags().Bool("yes", false, "don't ask")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		if *customer == "" {
			return usage{errors.New("--customer is missing or empty: empty is every guest's")}
		}
		in, isFile := cmd.InOrStdin().(*os.File)
		asks := isFile && term.IsTerminal(int(in.Fd()))
		if !*dry && !*yes && !asks {
			return usage{errors.New("what is erased doesn't come back, and nobody can be asked here: look with --dry-run, then give --yes")}
		}
		l, err := readClickHouse(*file, *observe)
		if err != nil {
			return err
		}
		e := eraser{cmd: cmd, config: l.withTopics(), customer: *customer, ids: []string{*customer}}
		if p, err := l.pseudonymizer(); err != nil {
			return l.from.Faults("privacy", err)
		} else if p != nil {
			e.ids = append(e.ids, p.Of(*customer))
		}
		e.done = erasure{DryRun: *dry, NotErased: notErased(e.config)}
		if err := e.run(*yes); err != nil {
			return err
		}
		if *output == "json" {
			return writeJSON(cmd, e.done)
		}
		e.print(cmd.OutOrStdout())
		return nil
	}
	return cmd
}

// eraser erases one customer.
type eraser struct {
	cmd *cobra.Command
	config
	customer string
	ids      []string // under which ClickHouse may have the customer
	done     erasure
}

// run counts, asks unless that is answered, and erases.
func (e *eraser) run(yes bool) (err error) {
	if !yes || e.done.DryRun {
		if err := e.erase(true); err != nil {
			return err
		}
	}
	if e.done.DryRun || !yes && e.done.rows() == 0 {
		return nil
	}
	if !yes {
		if err := e.ask(); err != nil {
			return err
		}
	}
	err = e.erase(false)
	e.audit(err)
	if err != nil {
		return fmt.Errorf("not all is erased, repeat it: %w", err)
	}
	return nil
}

func (e *eraser) erase(onlyCount bool) (err error) {
	e.done.Tables, err = clickhouse.Erase(e.cmd.Context(), e.ClickHouse, e.ids, onlyCount)
	return err
}

func (e *eraser) ask() error {
	e.done.print(e.cmd.ErrOrStderr())
	fmt.Fprintf(e.cmd.ErrOrStderr(), "Erase %q from database %s? Type yes: ", e.customer, e.ClickHouse.Database)
	if answer, _ := bufio.NewReader(e.cmd.InOrStdin()).ReadString('\n'); strings.TrimSpace(answer) != "yes" {
		return errors.New("nothing was erased: the answer wasn't yes")
	}
	return nil
}

// audit logs who erased whom, but not by name: whoever knows an id can check it
// (printf %s ID | sha256sum).
func (e *eraser) audit(err error) {
	by := ""
	if u, err := user.Current(); err == nil {
		by = u.Username
	}
	sum := sha256.Sum256([]byte(e.customer))
	log := newLogger(e.Log, e.cmd.ErrOrStderr()).With("customer_sha256", hex.EncodeToString(sum[:]), "by", by, "database", e.ClickHouse.Database, "rows", e.done.rows())
	if err != nil {
		log.Error("erasing a customer ended early", "error", err)
		return
	}
	log.Info("a customer was erased")
}

func (e *eraser) print(out io.Writer) {
	if e.done.rows() == 0 {
		fmt.Fprintf(out, "database %s has no rows of customer %q\n", e.ClickHouse.Database, e.customer)
	}
	e.done.print(out)
	fmt.Fprintln(out, "\nNot erased:")
	for _, what := range e.done.NotErased {
		fmt.Fprintln(out, "-", what)
	}
}

// erasure is what was done, or would be.
type erasure struct {
	DryRun    bool                `json:"dry_run"`
	Tables    []clickhouse.Erased `json:"tables"`
	NotErased []string            `json:"not_erased"`
}

func (r *erasure) rows() (n uint64) {
	for _, t := range r.Tables {
		n += t.Rows
	}
	return n
}

func (r *erasure) print(out io.Writer) {
	fmt.Fprintf(out, "%-16s %10s  %s\n", "TABLE", "ROWS", "ACTION")
	for _, t := range r.Tables {
		fmt.Fprintf(out, "%-16s %10d  %s\n", t.Table, t.Rows, t.Action)
	}
}

// notErased is what refundguard has or had of a customer elsewhere.
func notErased(c config) []string {
	topics := slices.Collect(maps.Values(c.Pipeline.Names().ByKey()))
	for _, s := range c.Pipeline.Streams {
		topics = append(topics, s.Topic)
	}
	slices.Sort(topics)
	topics = slices.DeleteFunc(slices.Compact(topics), func(t string) bool { return t == "" })
	return []string{
		"Kafka's topics, until their retention is over: " + strings.Join(topics, ", ") + ". What the sink copies from them after this is there again: repeat it then",
		"a snooze of one customer: see refundguard snooze list, and end it",
		"the service's state and its checkpoints, in memory, in state.dir and in " + c.Pipeline.Names().Progress + ", until they expire (state.retention is " + settings.FormatDuration(c.Pipeline.State.Retention) + ")",
		"dead letters and unreadable records where the id isn't a whole JSON string, nor the key one of the customer's ids; search tables dead_letters and unreadable for other texts",
		"ids of refunds and transactions in rows that were blanked, and their digests; don't make such ids of customers' names",
		"what rows of other customers share: an instrument, a device, a message that names this one",
		"tables and views in ClickHouse that aren't refundguard's, its backups, and files of old parts, for some minutes",
		"what webhooks, logs and the ledger were sent",
	}
}
