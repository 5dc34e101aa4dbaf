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

func TestMigrateIsDoneOnceAndResumes(t *testing.T) {
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
			// Interrupted after a table was made and before that was noted.
			if err := w.conn().Exec(t.Context(), "ALTER TABLE schema_version DELETE WHERE version_id >= 4 SETTINGS mutations_sync = 2"); err != nil {
				t.Fatal(err)
			}
			applied, err = clickhouse.Migrate(t.Context(), w.cfg)
			if err != nil || fmt.Sprint(applied) != fmt.Sprint(migrationFiles(t)[3:]) {
				t.Errorf("resumed with %v: %v", applied, err)
			}
		})
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
		{"read-only user", func(c *clickhouse.Config) { c.Username = local.ReadOnly }, sinks.Denied, []string{"create database", "grant"}},
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
	if got := w.query("SELECT (count(), countIf(label = 'fraud'), countIf(first_outcome = 'review')) FROM refunds"); got != "(6,5,6)" {
		t.Errorf("refunds: %s", got)
	}
}

// oldSchema makes what there was before labels, and notes it as done.
func (w *world) oldSchema() {
	w.t.Helper()
	database := w.cfg.Database
	w.cfg.Database = "" // which isn't there yet
	w.exec("CREATE DATABASE " + database)
	w.cfg.Database = database
	w.exec("CREATE TABLE schema_version (version_id Int64, is_applied UInt8, date Date DEFAULT now(), tstamp DateTime DEFAULT now()) ENGINE = MergeTree ORDER BY version_id")
	w.exec("INSERT INTO schema_version (version_id, is_applied) VALUES (0, 1)")
	for i, name := range migrationFiles(w.t)[:5] { // each is one statement
		text, err := os.ReadFile(filepath.Join("migrations", name))
		if err != nil {
			w.t.Fatal(err)
		}
		w.exec(strings.TrimSuffix(strings.TrimSpace(string(text)), ";"))
		w.exec(fmt.Sprintf("INSERT INTO schema_version (version_id, is_applied) VALUES (%d, 1)", i+1))
	}
}
