package clickhouse_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/sinks"
	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// engineWithUsers has databases ours (up to date), and empty, and users that
// lack something.
func engineWithUsers(t *testing.T) (*world, *local.Server) {
	t.Helper()
	server(t) // skips where there is none
	engines := []string{"GRANT TABLE ENGINE ON MergeTree", "GRANT TABLE ENGINE ON ReplacingMergeTree", "GRANT TABLE ENGINE ON AggregatingMergeTree", "GRANT TABLE ENGINE ON SummingMergeTree"}
	engine, err := local.Start(t.Context(), local.Config{Dir: t.TempDir(), Users: []local.User{
		{Name: "enough", Grants: append(engines[:len(engines):len(engines)], "GRANT SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP VIEW ON ours.*")},
		{Name: "reader", Grants: []string{"GRANT SELECT ON ours.*"}},
		{Name: "no_alter", Grants: append(engines[:len(engines):len(engines)], "GRANT SELECT, INSERT, CREATE TABLE, CREATE VIEW, DROP VIEW ON ours.*")},
		{Name: "no_engine", Grants: []string{"GRANT SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP VIEW ON ours.*"}},
		{Name: "nothing", Grants: []string{"GRANT SELECT ON elsewhere.*"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	w := newWorld(t, engine)
	w.cfg.Protocol, w.cfg.Addr = clickhouse.HTTP, []string{engine.HTTPAddr()} // a native login that fails ends the engine
	w.cfg.Database = ""
	w.exec("CREATE DATABASE empty")
	w.cfg.Database = "ours"
	if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	return w, engine
}

// What is missing is told apart, with what to do; what is there is told, too.
func TestCheckTellsWhatIsMissing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w, _ := engineWithUsers(t)
	grants := []string{"GRANT SELECT ON ours.*", "GRANT INSERT ON ours.*", "GRANT ALTER ON ours.*", "GRANT CREATE TABLE ON ours.*", "GRANT CREATE VIEW ON ours.*", "GRANT DROP VIEW ON ours.*"}
	for name, c := range map[string]struct {
		change func(*clickhouse.Config)
		fine   []string
		wrong  map[string]string // what is wrong with it, by what
	}{
		"all is there":   {func(c *clickhouse.Config) {}, append([]string{"server", "login", "writable", "database", "schema"}, grants...), nil},
		"no more needed": {func(c *clickhouse.Config) { c.Username = "enough" }, append([]string{"server", "login", "writable", "database", "schema"}, grants...), nil},
		"without migrate": {func(c *clickhouse.Config) { c.Username, c.Migrate = "reader", false }, []string{"server", "login", "writable", "database", "schema", grants[0]},
			map[string]string{grants[1]: "run GRANT INSERT ON ours.* TO reader"}},
		"no alter": {func(c *clickhouse.Config) { c.Username = "no_alter" }, []string{"server", "login", "writable", "database", "schema", grants[0], grants[1], grants[3], grants[4], grants[5]},
			map[string]string{grants[2]: "run GRANT ALTER ON ours.* TO no_alter"}},
		"read-only": {func(c *clickhouse.Config) { c.Username, c.Migrate = local.ReadOnly, false }, []string{"server", "login", "database", "schema", grants[0]},
			map[string]string{"writable": "dashboards is read-only (readonly = 2): name another one", grants[1]: "GRANT INSERT"}},
		"another database": {func(c *clickhouse.Config) { c.Database, c.Migrate = "empty", false }, []string{"server", "login", "writable", "database", "GRANT SELECT ON empty.*", "GRANT INSERT ON empty.*"},
			map[string]string{"schema": "no tables of refundguard's: run `refundguard migrate`; refundguard's tables are in ours"}},
		"no database": {func(c *clickhouse.Config) { c.Database, c.Migrate = "our", false }, []string{"server", "login", "writable", "GRANT SELECT ON our.*", "GRANT INSERT ON our.*"},
			map[string]string{"database": "isn't there, or nothing of it is granted to us: run `refundguard migrate`; refundguard's tables are in ours"}},
		"wrong password": {func(c *clickhouse.Config) { c.Password = "wrong" }, []string{"server"}, map[string]string{"login": "check clickhouse.username and its password"}},
		"nobody there":   {func(c *clickhouse.Config) { c.Addr = []string{"127.0.0.1:1"} }, nil, map[string]string{"server": "connection refused"}},
		"no settings":    {func(c *clickhouse.Config) { c.Addr = nil }, nil, map[string]string{"settings": "addr: none is given"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := w.cfg
			c.change(&cfg)
			var fine []string
			for _, f := range clickhouse.Check(t.Context(), cfg) {
				if f.Err == nil {
					fine = append(fine, f.What)
				} else if want := c.wrong[f.What]; want == "" || !strings.Contains(f.Err.Error(), want) {
					t.Errorf("%s: %v, want %q", f.What, f.Err, want)
				} else {
					delete(c.wrong, f.What)
				}
			}
			if !slices.Equal(fine, c.fine) {
				t.Errorf("fine: %q\nwant: %q", fine, c.fine)
			}
			for what := range c.wrong {
				t.Errorf("nothing is said of %s", what)
			}
		})
	}
	for version, want := range map[int]string{9999: "use a newer refundguard", 0: ""} {
		if version == 0 {
			w.exec("ALTER TABLE schema_version DELETE WHERE version_id > 3 SETTINGS mutations_sync = 2")
			want = "it has schema version 3, and this program needs"
		} else {
			w.exec(fmt.Sprintf("INSERT INTO schema_version (version_id, is_applied) VALUES (%d, 1)", version))
		}
		for _, f := range clickhouse.Check(t.Context(), w.cfg) {
			if f.What == "schema" && (f.Err == nil || !strings.Contains(f.Err.Error(), want)) {
				t.Errorf("schema: %v, want %q", f.Err, want)
			}
		}
	}
}

// What Check asks for is enough for a migration, and a migration without one of
// these says which statement gives it.
func TestMigrateNeedsTheseGrantsAndNamesThem(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w, _ := engineWithUsers(t)
	for user, want := range map[string]struct {
		database, says string
		reason         sinks.Reason
	}{
		"enough":       {"ours", "", ""},
		"no_alter":     {"ours", "run GRANT ALTER ADD COLUMN ON ours.decisions TO no_alter", sinks.Denied},
		"no_engine":    {"ours", "run GRANT TABLE ENGINE ON MergeTree TO no_engine", sinks.Denied},
		"reader":       {"ours", "run GRANT CREATE TABLE ON ours.schema_version TO reader", sinks.Denied},
		"nothing":      {"ours", "run GRANT CREATE DATABASE ON ours.* TO nothing", sinks.Denied},
		local.ReadOnly: {"our", "dashboards is read-only (readonly = 2)", sinks.Denied},
	} {
		t.Run(user, func(t *testing.T) {
			for _, view := range w.column("SELECT name FROM system.tables WHERE database = 'ours' AND engine = 'View'") {
				w.exec("DROP VIEW ours." + view)
			}
			for _, table := range w.column("SELECT name FROM system.tables WHERE database = 'ours'") {
				w.exec("DROP TABLE ours." + table)
			}
			cfg := w.cfg
			cfg.Username, cfg.Database = user, want.database
			_, err := clickhouse.Migrate(t.Context(), cfg)
			if want.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := new(sinks.Error); !errors.As(err, &e) || e.Reason != want.reason || !strings.Contains(err.Error(), want.says) {
				t.Errorf("says %v, want %q", err, want.says)
			}
		})
	}
}

// The sink says while it waits which of these it is.
func TestTheSinkSaysWhatKeepsItOut(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w, _ := engineWithUsers(t)
	w.transaction(kgo.TryCommit, alert(1))
	good := w.cfg
	for name, c := range map[string]struct {
		change func(*clickhouse.Config)
		says   string
	}{
		"no insert":        {func(c *clickhouse.Config) { c.Username, c.Migrate = "reader", false }, "run GRANT INSERT ON ours.alerts TO reader"},
		"read-only":        {func(c *clickhouse.Config) { c.Username, c.Migrate = local.ReadOnly, false }, "dashboards is read-only"},
		"no database":      {func(c *clickhouse.Config) { c.Database, c.Migrate = "our", false }, "no such database"},
		"another database": {func(c *clickhouse.Config) { c.Database, c.Migrate = "empty", false }, "tables are in ours"},
	} {
		t.Run(name, func(t *testing.T) {
			w.cfg = good
			c.change(&w.cfg)
			s, stop := w.start()
			defer stop()
			w.wait("Ready to say "+c.says, func() bool { err := s.Ready(); return err != nil && strings.Contains(err.Error(), c.says) })
		})
	}
	w.cfg = good
	s, _ := w.start()
	w.drain(s)
	w.expect(map[string]uint64{"alerts": 1})
}
