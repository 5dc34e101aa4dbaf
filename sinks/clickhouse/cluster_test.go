package clickhouse

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files of testdata/cluster anew")

func filesOf(t *testing.T, cfg Config) map[string]string {
	t.Helper()
	files, err := migrationFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	all := make(map[string]string)
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}

func TestOneServerGetsTheMigrationsByteForByte(t *testing.T) {
	for name, text := range filesOf(t, Config{Database: "refundguard"}) {
		file, err := os.ReadFile(filepath.Join("migrations", name))
		if err != nil || !bytes.Equal(file, []byte(text)) {
			t.Errorf("%s is changed on its way: %v", name, err)
		}
	}
}

// What a cluster gets is in testdata/cluster, for reviews: none can run here.
// TestClusterStatementsAreClickHouse has it parsed.
func TestClusterGetsTheseStatements(t *testing.T) {
	cfg := Config{Database: "refundguard", Cluster: "shop"}
	v := versions{cfg.Cluster, cfg.Database}
	want := map[string]string{"00000_database.sql": createsDatabase(cfg) + ";\n" + v.CreateTable(versionTable) + ";\n"}
	for name, text := range filesOf(t, cfg) {
		want[name] = text
	}
	dir := filepath.Join("testdata", "cluster")
	there, err := filepath.Glob(filepath.Join(dir, "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range there {
		if want[filepath.Base(file)] == "" {
			t.Errorf("%s is of no migration", file)
		}
	}
	for name, text := range want {
		file := filepath.Join(dir, name)
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(file)
		if err != nil || string(golden) != text {
			t.Errorf("%s isn't what a cluster gets (%v): look at it, and run go test -run TestClusterGets -update", file, err)
		}
	}
}

// Whatever the migrations say: each table is two on a cluster, no statement is
// for one server alone, and none but the plain names are written or read.
func TestNothingOfAClusterIsOnOneServerOnly(t *testing.T) {
	cfg := Config{Database: "refundguard", Cluster: "shop"}
	made := map[string]string{}
	for name, text := range filesOf(t, cfg) {
		for _, s := range strings.Split(text, ";\n") {
			var lines []string
			for _, line := range strings.Split(s, "\n") {
				if !strings.HasPrefix(line, "--") {
					lines = append(lines, line)
				}
			}
			s = strings.TrimSpace(strings.Join(lines, "\n"))
			if s == "" {
				continue
			}
			first, _, _ := strings.Cut(s, "\n")
			if !strings.Contains(first, " ON CLUSTER shop") && !strings.HasPrefix(s, "INSERT INTO ") {
				t.Errorf("%s: on one server only: %s", name, first)
			}
			if strings.Contains(s, " non_replicated_") || strings.Contains(s, "ENGINE = Replacing") || strings.Contains(s, "ENGINE = Aggregating") || strings.Contains(s, "ENGINE = Summing") {
				t.Errorf("%s: not replicated: %s", name, first)
			}
			if table, ok := strings.CutPrefix(first, "CREATE TABLE IF NOT EXISTS "); ok {
				table, _, _ = strings.Cut(table, " ")
				made[table] = s
			}
		}
	}
	for _, table := range tableNames() {
		if local := made[localName(table)]; !strings.Contains(local, "ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/refundguard/"+localName(table)+"', '{replica}'") {
			t.Errorf("%s: %s", localName(table), local)
		}
		if all := made[table]; shardBy[table] == "" || !strings.Contains(all, "Distributed('shop', 'refundguard', '"+localName(table)+"', "+shardBy[table]+")") {
			t.Errorf("%s: %s", table, all)
		}
	}
}

func TestAStatementWithoutAClusterFormIsRefused(t *testing.T) {
	c, err := newClustered(os.DirFS("migrations"), "shop", "refundguard")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"OPTIMIZE TABLE decisions", "CREATE TABLE x (a Int8) ENGINE = Memory", "CREATE TABLE IF NOT EXISTS x (\n    a Int8\n)\nENGINE = Memory",
		"ALTER TABLE hits ADD COLUMN a Int8, ADD INDEX b c TYPE minmax", "CREATE MATERIALIZED VIEW IF NOT EXISTS v ENGINE = MergeTree AS SELECT 1"} {
		if got, err := c.migration(s + ";\n"); err == nil {
			t.Errorf("%s becomes %s", s, got)
		}
	}
	if _, err := c.migration("DROP VIEW IF EXISTS x\n"); err == nil {
		t.Error("a statement without its end is taken")
	}
	for s, want := range map[string][]string{
		"ALTER TABLE hits\n    ADD COLUMN a Int8":                                                       {"ALTER TABLE hits_local ON CLUSTER shop\n    ADD COLUMN a Int8", "ALTER TABLE hits ON CLUSTER shop\n    ADD COLUMN a Int8"},
		"ALTER TABLE hits ADD INDEX b c TYPE minmax":                                                    {"ALTER TABLE hits_local ON CLUSTER shop ADD INDEX b c TYPE minmax"},
		"CREATE MATERIALIZED VIEW IF NOT EXISTS v TO alerts AS SELECT a FROM hits JOIN other USING (b)": {"CREATE MATERIALIZED VIEW IF NOT EXISTS v ON CLUSTER shop TO alerts_local AS SELECT a FROM hits_local JOIN other USING (b)"},
		"DROP TABLE IF EXISTS hits":                                                                     {"DROP TABLE IF EXISTS hits ON CLUSTER shop", "DROP TABLE IF EXISTS hits_local ON CLUSTER shop"},
		"INSERT INTO hits SELECT 1":                                                                     {"INSERT INTO hits SELECT 1"},
	} {
		if got, err := c.statement(s); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s becomes %q: %v", s, got, err)
		}
	}
}
