package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/refundguard/refundguard/dashboards"
	"github.com/refundguard/refundguard/dashboards/panel"
	"github.com/refundguard/refundguard/dashboards/report"
	"github.com/refundguard/refundguard/dashboards/report/reporttest"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// afterDemo is the ClickHouse that a demo of the whole life has filled.
type afterDemo struct {
	t      *testing.T
	server *local.Server
	conn   driver.Conn // as a user who may only read
	file   string      // a configuration
	span   panel.Range
}

func newAfterDemo(t *testing.T) *afterDemo {
	t.Helper()
	if testing.Short() {
		t.Skip("starts the demo")
	}
	dir := filepath.Join(t.TempDir(), "demo")
	if sum, err := demoOnce(t, "--transactions", "6000", "--seed", "3", "--bad", "0.01", "--dir", dir); err != nil {
		t.Fatalf("the demo: %v, %v", err, sum.Faults)
	}
	a := &afterDemo{t: t, file: filepath.Join(dir, "report.yaml")}
	var err error
	if a.server, err = local.Start(t.Context(), local.Config{Dir: filepath.Join(dir, "clickhouse")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.server.Close() })
	a.conn, err = ch.Open(&ch.Options{Addr: []string{a.server.Addr()}, Auth: ch.Auth{Database: "refundguard", Username: local.ReadOnly, Password: a.server.Password()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.conn.Close() })
	config := fmt.Sprintf("kafka: {seed_brokers: [\"127.0.0.1:1\"]}\nclickhouse: {addr: [%q], username: %s, password: %s}\n", a.server.Addr(), local.ReadOnly, a.server.Password())
	if err := os.WriteFile(a.file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	begun, err := time.Parse(time.RFC3339Nano, a.one("SELECT min(occurred_at) FROM v_decisions"))
	if err != nil {
		t.Fatal(err)
	}
	// The shop's year, and today, when it was decided.
	a.span = panel.Range{From: begun.Truncate(24 * time.Hour), To: time.Now().UTC().AddDate(0, 0, 1).Truncate(24 * time.Hour)}
	return a
}

// one is the text that a query gives.
func (a *afterDemo) one(sql string) string {
	a.t.Helper()
	f, err := panel.Run(a.t.Context(), a.conn, sql)
	if err != nil || f.Rows == 0 {
		a.t.Fatalf("%s: %v", sql, err)
	}
	return panel.Plain(f.Columns[0].Values[0])
}

// ask expands and runs a query for a panel.
func (a *afterDemo) ask(sql string, p *panel.Panel, values map[string]panel.Value) (*panel.Frame, error) {
	span := a.span
	span.Interval = p.IntervalOf(span.From, span.To, 120)
	sql, err := panel.Expand(sql, span, values)
	if err != nil {
		return nil, err
	}
	f, err := panel.Run(a.t.Context(), a.conn, sql)
	if err != nil {
		return nil, fmt.Errorf("%w in:\n%s", err, sql)
	}
	return f, nil
}

// values are those that a dashboard opens with, and where it asks for one
// refund, one whose story is long.
func (a *afterDemo) values(d *panel.Dashboard, given map[string]string) map[string]panel.Value {
	a.t.Helper()
	values := map[string]panel.Value{}
	for _, v := range d.Variables {
		if text, is := given[v.Name]; is {
			values[v.Name] = v.Given(text)
			continue
		}
		var options []string
		if v.Target != nil && v.Target.Datasource == panel.ClickHouse {
			f, err := a.ask(v.Target.RawSQL, &panel.Panel{}, values)
			if err != nil {
				a.t.Errorf("%s, variable %s: %v", d.UID, v.Name, err)
				continue
			}
			if options = f.Options(); len(options) == 0 {
				a.t.Errorf("%s, variable %s has nothing to choose from", d.UID, v.Name)
			}
		}
		values[v.Name] = v.Value(options)
	}
	return values
}

// Every query of every panel, variable and annotation runs as Grafana would send
// it, and gives rows of the shape that its panel draws. Empty are exactly those
// that are named here.
func TestEveryPanelsQueryRuns(t *testing.T) {
	a := newAfterDemo(t)
	empty := map[string]string{ // by dashboard and title: why
		"rules: Hits of shadow rules":     "no starter rule is in shadow",
		"rules: Shadow against live":      "no starter rule is in shadow",
		"review-queue: Most urgent first": "the demo ends when nothing is in review any more",
	}
	all, err := panel.ReadAll(dashboards.FS)
	if err != nil {
		t.Fatal(err)
	}
	// A refund of which there is something everywhere.
	given := map[string]string{"refund_id": a.one("SELECT refund_id FROM v_decisions WHERE refund_id IN (SELECT refund_id FROM v_labels) AND refund_id IN (SELECT refund_id FROM v_alerts) " +
		"AND refund_id IN (SELECT refund_id FROM v_hits) GROUP BY refund_id ORDER BY max(outcome = 'approve') DESC, count() DESC, refund_id LIMIT 1")}
	queries := 0
	for _, d := range all {
		values := a.values(d, given)
		for _, n := range d.Annotations {
			if n.Target.Datasource != panel.ClickHouse {
				continue
			}
			queries++
			f, err := a.ask(n.Target.RawSQL, &panel.Panel{}, values)
			if err != nil {
				t.Errorf("%s, annotation %s: %v", d.UID, n.Name, err)
			} else if !slices.ContainsFunc(f.Columns, func(c panel.Column) bool { return c.Kind == panel.Time }) || f.Rows == 0 {
				t.Errorf("%s, annotation %s: %d rows of %v; want a time", d.UID, n.Name, f.Rows, f.Columns)
			}
		}
		for _, p := range d.Panels {
			rows := 0
			for _, target := range p.Queries() {
				queries++
				f, err := a.ask(target.RawSQL, p, values)
				if err == nil {
					err = p.Check(target, f)
				}
				if err != nil {
					t.Errorf("%s, %s: %v", d.UID, p.Title, err)
					rows = -1
					break
				}
				for _, c := range f.Columns {
					if unit := p.FieldOf(c.Name, c.Kind).Unit; c.Kind == panel.Number && !report.KnowsUnit(unit) {
						t.Errorf("%s, %s: the report can't write the unit %q of %s", d.UID, p.Title, unit, c.Name)
					}
				}
				rows += f.Rows
			}
			name := strings.TrimPrefix(d.UID, "refundguard-") + ": " + p.Title
			_, rightly := empty[name]
			switch {
			case len(p.Queries()) == 0 || rows < 0:
			case rows == 0 && !rightly:
				t.Errorf("%s: no rows", name)
			case rows > 0 && rightly:
				t.Errorf("%s has %d rows, and is said to be empty: %s", name, rows, empty[name])
			}
			if len(p.Queries()) > 0 {
				delete(empty, name)
			}
		}
	}
	if queries < 20 {
		t.Errorf("only %d queries: are the dashboards there?", queries)
	}
	for name := range empty {
		t.Errorf("%s is said to be empty, and isn't there", name)
	}

	t.Run("every type of column", a.types)
	t.Run("report", a.report)
	t.Run("report without what it asks", a.brokenReport)
}

// Each of ClickHouse's types is read as what it is, exactly.
func (a *afterDemo) types(t *testing.T) {
	for sql, want := range map[string]string{
		"toUInt8(7)": "number 7", "toInt64(-9223372036854775808)": "number -9223372036854775808", "toUInt64(18446744073709551615)": "number 18446744073709551615",
		"toUInt128('340282366920938463463374607431768211455')": "number 340282366920938463463374607431768211455",
		"toDecimal64('12345678901234.5678', 4)":                "number 12345678901234.5678", "toDecimal128('99999999999999999999.0001', 4)": "number 99999999999999999999.0001",
		"toFloat64(0.1)": "number 0.1", "toFloat32(0.1)": "number 0.1", "CAST(NULL AS Nullable(Float64))": "number ", "toNullable(toDecimal64(1.5, 4))": "number 1.5",
		"toLowCardinality('a')": "string a", "CAST('x' AS LowCardinality(Nullable(String)))": "string x", "CAST(NULL AS LowCardinality(Nullable(String)))": "string ",
		"toFixedString('ab', 2)": "string ab", "CAST('on' AS Enum8('on' = 1))": "string on", "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')": "string 61f0c404-5cb3-11e7-907b-a6006ad3dba0",
		"toBool(1)": "boolean true", "toDate('2026-10-01')": "time 2026-10-01T00:00:00Z", "toDateTime('2026-10-01 12:00:00', 'UTC')": "time 2026-10-01T12:00:00Z",
		"toDateTime64('2026-10-01 12:00:00.125', 3, 'UTC')": "time 2026-10-01T12:00:00.125Z", "toDateTime('2026-10-01 12:00:00', 'Asia/Tokyo')": "time 2026-10-01T03:00:00Z",
		"CAST(NULL AS Nullable(DateTime64(3, 'UTC')))": "time ", "[1, 2]": "other 1, 2", "map('b', 1, 'a', 2)": "other a: 2, b: 1", "[NULL, 'x']": "other null, x", "[]::Array(String)": "other ",
	} {
		f, err := panel.Run(t.Context(), a.conn, "SELECT "+sql+" AS x")
		if err != nil || f.Rows != 1 {
			t.Errorf("%s: %v", sql, err)
		} else if got := fmt.Sprint(f.Columns[0].Kind, " ", panel.Plain(f.Columns[0].Values[0])); got != want {
			t.Errorf("%s is %q, want %q", sql, got, want)
		}
	}
	f, err := panel.Run(t.Context(), a.conn, fmt.Sprintf("SELECT number FROM numbers(%d)", panel.MaxRows+5))
	if err != nil || f.Rows != panel.MaxRows || !f.Cut {
		t.Errorf("too many rows: %v", err)
	}
	if _, err := panel.Run(t.Context(), a.conn, "SELECT throwIf(number = 90000) FROM numbers(100000)"); err == nil {
		t.Error("a query that fails halfway seems fine")
	}
}

// cutShort says that a panel shows only the first of what there is.
var cutShort = regexp.MustCompile(`and (at least )?[0-9]+ more( rows)?</p>`)

// The page has the numbers that the same queries give when they are asked apart,
// and a browser shows them without complaint.
func (a *afterDemo) report(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.html")
	from, to := a.span.From.Format(time.DateOnly), a.span.To.Format(time.DateOnly)
	args := []string{"report", "-c", a.file, "--from", from, "--to", to, "-o", file}
	if r := runCommand(t, args...); r.code != exitFine || !strings.Contains(r.err, from) {
		t.Fatalf("exit %d: %s%s", r.code, r.out, r.err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others may read it", info, err)
	}
	if r := runCommand(t, args...); r.code != exitUsage || !strings.Contains(r.err, "--force") {
		t.Errorf("written over: exit %d, %s", r.code, r.err)
	}
	lately := []string{"report", "-c", a.file, "--last", "1d"}
	replaced := filepath.Join(t.TempDir(), "replaced.html")
	if err := os.WriteFile(replaced, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := runCommand(t, append(lately, "-o", replaced, "--force")...); r.code != exitFine {
		t.Errorf("--force: exit %d, %s", r.code, r.err)
	}
	if page, err := os.ReadFile(replaced); err != nil || !strings.HasSuffix(strings.TrimSpace(string(page)), "</html>") {
		t.Errorf("--force replaced it with %.100s, %v", page, err)
	}
	if r := runCommand(t, append(lately, "-o", "-", "--currency", "eur")...); r.code != exitFine || !strings.HasPrefix(r.out, "<!DOCTYPE html>") || !strings.Contains(r.out, "<bdi>EUR</bdi>") {
		t.Errorf("to standard output: exit %d, %s, %.300s", r.code, r.err, r.out)
	}

	page := reporttest.Open(t, file)
	if len(page.Console) > 0 {
		t.Errorf("the browser complains: %q", page.Console)
	}
	if cells, colors := page.Drawn(); cells < 0.2 || colors < 50 {
		t.Errorf("%.0f %% of the picture is drawn on, in %d colors", 100*cells, colors)
	}
	all, err := panel.ReadAll(dashboards.FS)
	if err != nil {
		t.Fatal(err)
	}
	span := a.span
	a.span.To = a.span.To.Add(-time.Millisecond)
	defer func() { a.span = span }()
	shown, numbers := page.Panels(), 0
	for _, d := range all {
		if !slices.Contains(reported, strings.TrimPrefix(d.UID, "refundguard-")) {
			continue
		}
		values := a.values(d, nil)
		for _, p := range d.Panels {
			if len(p.Queries()) == 0 || slices.ContainsFunc(p.Queries(), func(t *panel.Target) bool { return strings.Contains(t.RawSQL, "now") }) {
				continue // what is so now was another thing then
			}
			given := map[string]int{}
			for _, target := range p.Queries() {
				f, err := a.ask(target.RawSQL, p, values)
				if err != nil {
					t.Error(err)
					continue
				}
				for _, c := range f.Columns {
					for _, v := range c.Values {
						if c.Kind == panel.Number && v != nil {
							given[panel.Plain(v)]++
						}
					}
				}
			}
			id := fmt.Sprintf("%s-%d", d.UID, p.ID)
			for _, v := range shown[id].Values {
				if numbers++; given[v.Raw] == 0 {
					t.Errorf("%s, %s: %s (%s) is shown, and no query gives it", d.UID, p.Title, v.Raw, v.Text)
				}
				given[v.Raw]--
			}
			if len(given) > 0 && len(shown[id].Values) == 0 {
				t.Errorf("%s, %s shows none of %d numbers", d.UID, p.Title, len(given))
			}
			for number, left := range given {
				if left > 0 && !cutShort.MatchString(shown[id].HTML) {
					t.Errorf("%s, %s leaves out %s, and doesn't say that there is more", d.UID, p.Title, number)
					break
				}
			}
		}
	}
	if numbers < 100 {
		t.Errorf("only %d numbers on the page", numbers)
	}
}

// Where the tables aren't there, the page says so in each place.
func (a *afterDemo) brokenReport(t *testing.T) {
	config, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte(strings.Replace(string(config), "clickhouse: {", "clickhouse: {database: system, ", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	r := runCommand(t, "report", "-c", broken, "-o", file)
	page, err := os.ReadFile(file)
	if err != nil || r.code != exitProblems || !strings.Contains(r.err, "failed: ") || !strings.Contains(string(page), "This query failed") || !strings.Contains(string(page), "Incomplete.") {
		t.Errorf("exit %d, %v: %s\n%.500s", r.code, err, r.err, page)
	}
}

func TestReportUsage(t *testing.T) {
	nobody := filepath.Join(t.TempDir(), "nobody.yaml")
	if err := os.WriteFile(nobody, []byte("kafka: {seed_brokers: [\"127.0.0.1:1\"]}\nclickhouse: {addr: [\"127.0.0.1:1\"]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--from", "yesterday"}, exitUsage, "--from \"yesterday\""},
		{[]string{"--to", "31.1.2026"}, exitUsage, "--to \"31.1.2026\""},
		{[]string{"--from", "2026-02-01", "--to", "2026-01-01"}, exitUsage, "is not before"},
		{[]string{"--last", "7d", "--from", "2026-02-01"}, exitUsage, "--last and --from"},
		{[]string{"--last", "-7d"}, exitUsage, "--last \"-7d\""},
		{[]string{"--last", "30000d"}, exitUsage, "from 1970"},
		{[]string{"--from", "2000-01-01", "--to", "9999-12-31"}, exitUsage, "to 2100"},
		{[]string{"--last", "7"}, exitUsage, "--last \"7\""},
		{[]string{"--currency", "EUR' OR 1"}, exitUsage, "--currency"},
		{[]string{"-c", "testdata/empty.bad.yaml", "-o", "-"}, exitProblems, "clickhouse.addr"},
		{[]string{"-c", nobody, "-o", filepath.Join(t.TempDir(), "no", "page.html")}, exitProblems, "127.0.0.1:1"},
		{[]string{"-o", "testdata/stats.json"}, exitUsage, "testdata/stats.json exists already"},
	} {
		r := runCommand(t, append([]string{"report"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
			t.Errorf("%v: exit %d, want %d and %q in:\n%s%s", c.args, r.code, c.code, c.says, r.out, r.err)
		}
	}
}
