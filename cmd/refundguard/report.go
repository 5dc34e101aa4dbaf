package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/dashboards"
	"github.com/refundguard/refundguard/dashboards/panel"
	"github.com/refundguard/refundguard/dashboards/report"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

// reported are the dashboards that a report draws, in its order.
var reported = []string{"overview", "rules", "review-queue", "reconciliation"}

// defaultReportSpan is what a report is of, where nothing is said.
const defaultReportSpan = 7 * 24 * time.Hour

func newReportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Writes what the dashboards show as one page, to be mailed and printed",
		Long: `Asks ClickHouse what the dashboards Overview, Rules, Review queue and
Reconciliation ask it, for a span of time, and writes the answers as one HTML
page: tables, tiles and charts, with titles, descriptions, units and thresholds
as in Grafana. The page needs nothing else: it has no script and loads nothing.
What dashboards ask Prometheus isn't on it; its place says so.

--from is included, --to isn't; both are UTC. Without them the page is of the
last 7 days. Sums of money are of one currency, by default that of most refunds.

A query that fails is shown in its place with the reason, and the exit code is 1:
the page is written all the same. It holds ids of customers and refunds: mind who
gets it.`,
		Example: `  refundguard report -c refundguard.yaml --from 2026-10-01 --to 2026-11-01 -o october.html
  refundguard report --last 30d --currency EUR -o - | mail -a "Content-Type: text/html" risk@shop.example`,
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd)
	observe := observeFlag(cmd)
	f := cmd.Flags()
	var s reportSpan
	f.StringVar(&s.from, "from", "", "first day (UTC) or time, such as 2026-10-01 or 2026-10-01T12:00:00Z")
	f.StringVar(&s.to, "to", "", "day or time that is not included any more (default: now)")
	f.StringVar(&s.last, "last", "", "in place of --from: so long before --to, such as 7d")
	currency := f.String("currency", "", "of the money shown, such as EUR")
	out := f.StringP("output", "o", "report.html", "file to write; - is standard output")
	force := f.Bool("force", false, "replace the file, if it exists")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		now := time.Now().UTC()
		from, to, err := s.parse(now)
		if err != nil {
			return usage{err}
		}
		if *currency != "" && !isCurrency(*currency) {
			return usage{fmt.Errorf("--currency %q is not a code of three letters, such as EUR", *currency)}
		}
		if _, err := os.Lstat(*out); err == nil && *out != "-" && !*force {
			return usage{fmt.Errorf("%s exists already: choose another name, or replace it with --force", *out)}
		}
		l, err := readClickHouse(*file, *observe)
		if err != nil {
			return err
		}
		o := report.Options{From: from, To: to, Made: now, Version: buildVersion().Version, Values: map[string]string{}}
		if *currency != "" {
			o.Values["currency"] = strings.ToUpper(*currency)
		}
		b := newBar(cmd.ErrOrStderr(), "queries")
		o.Progress = func(done, of int) { b.set(int64(done), int64(of)) }
		r, err := makeReport(cmd.Context(), l.ClickHouse, o)
		b.close()
		if err != nil {
			return err
		}
		if err := writeReport(cmd, r, *out); err != nil {
			return err
		}
		for _, failed := range r.Failed() {
			fmt.Fprintln(cmd.ErrOrStderr(), "failed:", failed)
		}
		if len(r.Failed()) > 0 {
			return errReported
		}
		return nil
	}
	return cmd
}

// makeReport asks the dashboards' queries.
func makeReport(ctx context.Context, c clickhouse.Config, o report.Options) (*report.Report, error) {
	all, err := panel.ReadAll(dashboards.FS)
	if err != nil {
		return nil, err
	}
	for _, name := range reported {
		for _, d := range all {
			if d.UID == "refundguard-"+name {
				o.Dashboards = append(o.Dashboards, d)
			}
		}
	}
	conn, err := clickhouse.OpenReader(ctx, c)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	o.Database = c.Database
	o.Query = func(ctx context.Context, sql string) (*panel.Frame, error) { return panel.Run(ctx, conn, sql) }
	return report.Make(ctx, o)
}

// writeReport writes the page to a file that is there whole, or not at all.
func writeReport(cmd *cobra.Command, r *report.Report, name string) error {
	if name == "-" {
		_, err := r.WriteTo(cmd.OutOrStdout())
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".report-*.html")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: its folder does not exist", name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(f.Name()) // there is none any more, if all went well
	_, err = r.WriteTo(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s to %s\n", name, shortTime(r.From), shortTime(r.To))
	return nil
}

// reportSpan is the flags' span of time.
type reportSpan struct{ from, to, last string }

func (s *reportSpan) parse(now time.Time) (from, to time.Time, err error) {
	to = now
	if s.to != "" {
		if to, err = parseDayOrTime(s.to); err != nil {
			return from, to, fmt.Errorf("--to %q is neither a day such as 2026-01-31 nor a time such as 2026-01-31T12:00:00Z", s.to)
		}
	}
	last := defaultReportSpan
	if s.last != "" {
		if s.from != "" {
			return from, to, errors.New("--last and --from both say where to begin: give one of them")
		}
		if last, err = settings.ParseDuration(s.last); err != nil || last <= 0 {
			return from, to, fmt.Errorf("--last %q is not a duration such as 7d, above 0", s.last)
		}
	}
	from = to.Add(-last)
	if s.from != "" {
		if from, err = parseDayOrTime(s.from); err != nil {
			return from, to, fmt.Errorf("--from %q is neither a day such as 2026-01-31 nor a time such as 2026-01-31T12:00:00Z", s.from)
		}
	}
	if from.Year() < 1970 || to.Year() > 2100 {
		return from, to, fmt.Errorf("from %s to %s: ClickHouse's times are those from 1970 to 2100", shortTime(from), shortTime(to))
	}
	if !from.Before(to) {
		return from, to, fmt.Errorf("--from %s is not before --to %s", shortTime(from), shortTime(to))
	}
	return from, to, nil
}

func isCurrency(code string) bool {
	if len(code) != 3 {
		return false
	}
	for _, c := range code {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
