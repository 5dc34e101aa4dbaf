package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/sinks"
	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

func migrationFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return files
}

func TestMigrateIsDoneOnce(t *testing.T) {
	for _, protocol := range []string{clickhouse.Native, clickhouse.HTTP} {
		t.Run(protocol, func(t *testing.T) {
			w := newWorld(t, server(t))
			w.cfg.Protocol = protocol
			if protocol == clickhouse.HTTP {
				w.cfg.Addr = []string{server(t).HTTPAddr()}
			}
			want := fmt.Sprint(migrationFiles(t))
			applied, err := clickhouse.Migrate(t.Context(), w.cfg)
			if err != nil || fmt.Sprint(applied) != want {
				t.Fatalf("applied %v, want %v: %v", applied, want, err)
			}
			if applied, err = clickhouse.Migrate(t.Context(), w.cfg); err != nil || len(applied) != 0 {
				t.Errorf("again: applied %v: %v", applied, err)
			}
		})
	}
}

// statements are those of a migration, one by one.
func statements(t testing.TB, file string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range strings.Split(string(text), ";\n") {
		var lines []string
		for _, line := range strings.Split(s, "\n") {
			if !strings.HasPrefix(line, "--") {
				lines = append(lines, line)
			}
		}
		if s = strings.TrimSpace(strings.Join(lines, "\n")); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// Whatever statement a migration was interrupted after, and whether that was
// noted or not, the next one goes on from there to the same schema.
func TestMigrateResumesAfterAnyStatement(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	schema := func(w *world) string {
		return strings.Join(w.column("SELECT replaceAll(create_table_query, '"+w.cfg.Database+"', 'db') FROM system.tables WHERE database = '"+w.cfg.Database+"' AND name != 'schema_version' ORDER BY name"), "\n")
	}
	whole := newFakeWorld(t, server(t))
	if _, err := clickhouse.Migrate(t.Context(), whole.cfg); err != nil {
		t.Fatal(err)
	}
	want := schema(whole)
	files := migrationFiles(t)
	for n, file := range files {
		all := statements(t, filepath.Join("migrations", file))
		for done := 1; done <= len(all); done++ {
			w := worldOf(t, server(t), []string{"127.0.0.1:1"})
			var before []string
			for _, file := range files[:n] {
				before = append(before, statements(t, filepath.Join("migrations", file))...)
			}
			w.noted(files[:n], append(before, all[:done]...)...)
			applied, err := clickhouse.Migrate(t.Context(), w.cfg)
			if err != nil || fmt.Sprint(applied) != fmt.Sprint(files[n:]) {
				t.Fatalf("after statement %d of %s: resumed with %v: %v", done, file, applied, err)
			}
			if got := schema(w); got != want {
				t.Errorf("after statement %d of %s the schema is another one: %s", done, file, difference(strings.Split(got, "\n"), strings.Split(want, "\n")))
			}
		}
	}
}

// TestClusterStatementsAreClickHouse: a cluster can't run here, but the server
// knows every word of what one would get.
func TestClusterStatementsAreClickHouse(t *testing.T) {
	w := worldOf(t, server(t), []string{"127.0.0.1:1"})
	w.cfg.Database = ""
	files, err := filepath.Glob("testdata/cluster/*.sql")
	if err != nil || len(files) < len(migrationFiles(t)) {
		t.Fatal(files, err)
	}
	conn := w.conn()
	for _, file := range files {
		for _, s := range statements(t, file) {
			if rows, err := conn.Query(t.Context(), "EXPLAIN AST "+s); err != nil {
				t.Errorf("%s: %v in\n%s", file, err, s)
			} else if err := errors.Join(rows.Close(), rows.Err()); err != nil {
				t.Errorf("%s: %v in\n%s", file, err, s)
			}
			// Text that the server would understand as other than we do has no such words in it.
			var formatted string
			if err := conn.QueryRow(t.Context(), "SELECT formatQuerySingleLine(?)", s).Scan(&formatted); err != nil || !strings.HasPrefix(s, "INSERT") && !strings.Contains(formatted, " ON CLUSTER shop") {
				t.Errorf("%s: %v, understood as\n%s", file, err, formatted)
			}
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	w := newWorld(t, server(t))
	if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	if err := w.conn().Exec(t.Context(), "INSERT INTO schema_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	_, err := clickhouse.Migrate(t.Context(), w.cfg)
	if err == nil || !strings.Contains(err.Error(), "schema version 9999") || !strings.Contains(err.Error(), "use a newer refundguard") {
		t.Error(err)
	}
}

func TestWhatKeepsUsOutIsToldApart(t *testing.T) {
	server(t) // skips where there is none
	engine, err := local.Start(t.Context(), local.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	good := newWorld(t, engine).cfg
	for _, c := range []struct {
		name   string
		change func(*clickhouse.Config)
		reason sinks.Reason
		words  []string
	}{
		{"read-only user", func(c *clickhouse.Config) { c.Username = local.ReadOnly }, sinks.Denied, []string{"dashboards is read-only", "without readonly"}},
		{"nobody there", func(c *clickhouse.Config) { c.Addr = []string{"127.0.0.1:1"} }, sinks.Unreachable, []string{"connection refused"}},
		// The last, because over the native protocol it ends this engine.
		{"wrong password", func(c *clickhouse.Config) { c.Password = "wrong" }, sinks.Denied, []string{"clickhouse.username and its password"}},
	} {
		for _, protocol := range []string{clickhouse.HTTP, clickhouse.Native} {
			cfg := good
			cfg.Protocol = protocol
			if protocol == clickhouse.HTTP {
				cfg.Addr = []string{engine.HTTPAddr()}
			}
			c.change(&cfg)
			_, err := clickhouse.Migrate(t.Context(), cfg)
			if err == nil {
				t.Errorf("%s, %s: no error", c.name, protocol)
				continue
			}
			if e := new(sinks.Error); !errors.As(err, &e) || e.Reason != c.reason {
				t.Errorf("%s, %s: not %s: %v", c.name, protocol, c.reason, err)
			}
			for _, words := range c.words {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%s, %s: nothing of %q in: %v", c.name, protocol, words, err)
				}
			}
		}
	}
}

func TestMissingTablesAreWaitedFor(t *testing.T) {
	w := newWorld(t, server(t))
	w.cfg.Migrate = false
	s, _ := w.start()
	w.transaction(kgo.TryAbort, alert(1))
	w.transaction(kgo.TryCommit, alert(2))
	w.wait("Ready to say what to do", func() bool {
		err := s.Ready()
		return err != nil && strings.Contains(err.Error(), "run `refundguard migrate`")
	})
	if _, err := clickhouse.Migrate(context.Background(), w.cfg); err != nil {
		t.Fatal(err)
	}
	w.drain(s)
	w.expect(map[string]uint64{"alerts": 1})
}

// Everything that people look at is explained in the schema itself.
func TestEveryColumnHasAComment(t *testing.T) {
	w := newWorld(t, server(t))
	if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	if got := w.query("SELECT groupArray(concat(table, '.', name)) FROM system.columns WHERE database = currentDatabase() AND comment = '' AND table != 'schema_version'"); got != "[]" {
		t.Errorf("without a comment: %s", got)
	}
	// What a view says of its columns is what it gives.
	views := w.column("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View' AND NOT match(as_select, '{[a-z_]+:')")
	if len(views) < 5 {
		t.Errorf("views: %v", views)
	}
	for _, view := range views {
		said := w.query("SELECT arrayStringConcat(groupArray(concat(name, ' ', type)), ', ') FROM (SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = '" + view + "' ORDER BY position)")
		rows, err := w.conn().Query(t.Context(), "SELECT * FROM "+view+" LIMIT 0")
		if err != nil {
			t.Fatalf("view %s: %v", view, err)
		}
		var given []string
		for _, c := range rows.ColumnTypes() {
			given = append(given, c.Name()+" "+c.DatabaseTypeName())
		}
		rows.Close()
		if got := strings.Join(given, ", "); got != said {
			t.Errorf("view %s\nsays  %s\ngives %s", view, said, got)
		}
	}
	if got := w.query("SELECT groupArray(name) FROM system.tables WHERE database = currentDatabase() AND comment = '' AND name != 'schema_version'"); got != "[]" {
		t.Errorf("tables without a comment: %s", got)
	}
}

// TestUpgradeOfAFilledDatabase: what the schema of the release before holds is
// kept, and what it lacks is empty.
func TestUpgradeOfAFilledDatabase(t *testing.T) {
	w := newFakeWorld(t, server(t))
	w.oldSchema()
	w.exec("INSERT INTO decisions (decision_id, refund_id, outcome, decided_by, amount, rules, occurred_at) VALUES ('d', 're_old', 'review', 'engine', 12.5, ['r1'], '2023-01-02 03:04:05.000')")
	w.exec("INSERT INTO hits (rule, mode, decision_id, refund_id, decided_by, occurred_at) VALUES ('r1', 'live', 'd', 're_old', 'engine', '2023-01-02 03:04:05.000')")
	s, _ := w.start()
	w.produceDecisions(5)
	w.drain(s)
	if got := w.query("SELECT (refund_id, amount, rules, controls, snoozed_rules) FROM decisions WHERE decision_id = 'd'"); got != "('re_old',12.5,['r1'],[],[])" {
		t.Errorf("the old row is %s", got)
	}
	if got := w.query("SELECT (count(), countIf(label = 'fraud'), countIf(first_outcome = 'review')) FROM v_refunds"); got != "(6,5,6)" {
		t.Errorf("refunds: %s", got)
	}
}

// oldSchema makes what there was before labels, and notes it as done.
func (w *world) oldSchema() {
	w.t.Helper()
	files := migrationFiles(w.t)[:5]
	var all []string
	for _, file := range files {
		all = append(all, statements(w.t, filepath.Join("migrations", file))...)
	}
	w.noted(files, all...)
}

// noted makes the database, where these migrations are noted as done, and
// does these statements.
func (w *world) noted(files []string, statements ...string) {
	w.t.Helper()
	database := w.cfg.Database
	w.cfg.Database = "" // which isn't there yet
	w.exec("CREATE DATABASE " + database)
	w.cfg.Database = database
	noted := ""
	for _, file := range files {
		noted += ", " + strings.TrimLeft(file[:5], "0")
	}
	all := []string{"CREATE TABLE schema_version (version_id Int64, is_applied UInt8, date Date DEFAULT now(), tstamp DateTime DEFAULT now()) ENGINE = MergeTree ORDER BY version_id",
		"INSERT INTO schema_version (version_id, is_applied) SELECT arrayJoin([0" + noted + "]), 1"}
	conn := w.conn()
	defer conn.Close()
	for _, statement := range append(all, statements...) {
		if err := conn.Exec(w.t.Context(), statement); err != nil {
			w.t.Fatalf("%s: %v", statement, err)
		}
	}
}
