package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/webhook"
)

// checked is one thing that doctor looked at.
type checked struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, note, warning or problem
	Says   string `json:"says,omitempty"`
}

// doctor collects what it finds.
type doctor struct {
	config
	rules *rules.Set // nil: they can't be loaded
	found []checked
}

// checks are made in this order, once the configuration is right. Each adds what
// it finds.
var checks = []func(*doctor, context.Context){
	(*doctor).checkRules, (*doctor).checkState, (*doctor).checkKafka, (*doctor).checkClickHouse, (*doctor).checkWebhooks,
}

func (d *doctor) add(check, result, says string) {
	d.found = append(d.found, checked{check, result, says})
}

// ok adds a problem, or that there is none, and reports which.
func (d *doctor) ok(check string, err error) bool {
	if err != nil {
		d.add(check, "problem", err.Error())
		return false
	}
	d.add(check, "ok", "")
	return true
}

func newDoctorCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Looks at everything that run needs, and says what is wrong and what to do",
		Long: `Checks the configuration, the rules and their lists, the state's folder and its
disk, Kafka (login, topics, how long they keep what and how often), ClickHouse
(login, rights, database, schema), and whether the webhooks' receivers can be
connected to. It changes nothing. The exit code is 1 where there is a problem;
warnings and notes are none.`,
		Example: "  refundguard doctor -c refundguard.yaml\n  refundguard doctor -c refundguard.yaml -o json --timeout 30s",
		Args:    cobra.NoArgs,
	}
	file, output := configFlag(cmd), outputFlag(cmd)
	timeout := cmd.Flags().Duration("timeout", 20*time.Second, "for all of it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		l, err := loadConfig(*file, os.Environ())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		d := &doctor{config: l.config}
		if d.ok("configuration", l.check()) {
			for _, check := range checks {
				check(d, ctx)
			}
		}
		return d.print(cmd, *output)
	}
	return cmd
}

func (d *doctor) print(cmd *cobra.Command, output string) error {
	if output == "json" {
		if err := writeJSON(cmd, d.found); err != nil {
			return err
		}
	} else {
		for _, c := range d.found {
			fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(fmt.Sprintf("%-8s %s  %s", c.Result, c.Check, c.Says)))
		}
	}
	if slices.ContainsFunc(d.found, func(c checked) bool { return c.Result == "problem" }) {
		return errReported
	}
	return nil
}

func (d *doctor) checkRules(context.Context) {
	schema, err := d.Pipeline.Schema()
	if err == nil {
		d.rules, err = rules.Load(d.Pipeline.Rules.Dir, d.Pipeline.RuleOptions(schema))
	}
	d.ok("rules", err)
}

// minFree is the share of the state's disk that should be free.
const minFree = 0.1

// checkState writes a file where the state is to be, and removes it.
func (d *doctor) checkState(context.Context) {
	dir := d.Pipeline.State.Dir
	if dir == "" {
		d.add("state.dir", "warning", "is not set: each start reads everything again from the topics")
		return
	}
	for { // what is missing is made by run
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	f, err := os.CreateTemp(dir, ".doctor-")
	if err == nil {
		_, err = f.Write(make([]byte, 4096))
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		err = fmt.Errorf("can't write there: %w: give the user of refundguard the folder, on a disk with space", err)
	}
	usage, unknown := vfs.Default.GetDiskUsage(dir)
	if err == nil && unknown == nil && float64(usage.AvailBytes) < minFree*float64(usage.TotalBytes) {
		d.add("state.dir", "warning", fmt.Sprintf("its disk has %d MiB free of %d: make room; saves that don't fit are not made, and a start reads all since the last one again", usage.AvailBytes>>20, usage.TotalBytes>>20))
		return
	}
	d.ok("state.dir", err)
}

func (d *doctor) checkClickHouse(ctx context.Context) {
	if len(d.ClickHouse.Addr) == 0 {
		return
	}
	for _, f := range clickhouse.Check(ctx, d.ClickHouse) {
		d.ok("clickhouse: "+f.What, f.Err)
	}
}

// checkWebhooks warns only: a receiver may be away for a while.
func (d *doctor) checkWebhooks(ctx context.Context) {
	for _, f := range webhook.Check(ctx, d.Webhooks) {
		if check := "webhook: " + f.Name; f.Err != nil {
			d.add(check, "warning", f.Err.Error())
		} else {
			d.add(check, "ok", "")
		}
	}
}
