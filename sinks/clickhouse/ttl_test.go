package clickhouse_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/sinks/clickhouse"
)

const day = 24 * time.Hour

func TestTTLFaultsNameTheirTable(t *testing.T) {
	cfg := clickhouse.DefaultConfig()
	cfg.Addr = []string{"127.0.0.1:9000"}
	cfg.TTL = map[string]time.Duration{"decisons": day, "everything": day, "hits": time.Second, "alerts": 100 * 365 * day, "cases": -day, "labels": 0, "refunds": 400 * day}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{"ttl.decisons: there is no such table (did you mean decisions?)", "ttl.everything: there is no such table; those are alerts, cases, ", "ttl.hits: 1s is not from 1h", "ttl.alerts: ", "ttl.cases: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %q in:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "ttl."); n != 5 {
		t.Errorf("%d faults:\n%v", n, err)
	}
}

// Rows that are older than clickhouse.ttl go, those of before it was set
// included; others stay, whatever time their senders claim.
func TestTablesForgetWhatTTLSays(t *testing.T) {
	w := worldOf(t, server(t), []string{"127.0.0.1:1"})
	migrate := func(ttl map[string]time.Duration) {
		t.Helper()
		w.cfg.TTL = ttl
		if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
			t.Fatal(err)
		}
	}
	migrate(nil)
	if got := w.query("SELECT countIf(engine_full LIKE '% TTL %') FROM system.tables WHERE database = currentDatabase() AND name NOT LIKE '%daily%' AND name NOT LIKE '%hourly%'"); got != "0" {
		t.Errorf("%s tables forget though nothing says so", got)
	}
	insert := func() {
		for _, at := range []string{"'1900-01-01 00:00:00'", "now64(3) - INTERVAL 500 DAY", "now64(3) - INTERVAL 1 DAY", "'2261-12-31 23:59:59'", "'2110-01-01 00:00:00'"} {
			w.exec("INSERT INTO transactions (transaction_id, occurred_at, raw) VALUES (" + at + ", " + at + ", generateUUIDv4())")
			w.exec("INSERT INTO decisions (decision_id, occurred_at) VALUES (generateUUIDv4(), " + at + ")")
			w.exec("INSERT INTO cases (refund_id, occurred_at, changed_at) VALUES (generateUUIDv4(), " + at + ", now64(3))")
		}
	}
	insert()
	migrate(map[string]time.Duration{"transactions": 400 * day, "cases": 400 * day, "hits": 30 * day})
	insert()
	w.wait("the old rows to go", func() bool {
		return w.query("SELECT countIf(occurred_at < now() - INTERVAL 400 DAY) FROM transactions") == "0"
	})
	for table, want := range map[string]int{"transactions": 6, "decisions": 10, "cases": 10} {
		if got := w.query("SELECT count() FROM " + table); got != fmt.Sprint(want) {
			t.Errorf("%s has %s rows, want %d", table, got, want)
		}
	}

	// What is as it should be isn't touched.
	version := func(table string) string {
		return w.query("SELECT concat(toString(metadata_version), ' ', toString(metadata_modification_time), ' ', engine_full) FROM system.tables WHERE database = currentDatabase() AND name = '" + table + "'")
	}
	mutations := func() string {
		return w.query("SELECT count() FROM system.mutations WHERE database = currentDatabase()")
	}
	before, mutated := version("transactions"), mutations()
	migrate(w.cfg.TTL)
	if after := version("transactions"); after != before || mutations() != mutated {
		t.Errorf("changed from\n%s to\n%s, %s mutations after %s", before, after, mutations(), mutated)
	}
	// Another time, and none; one of an operator's own stays until ttl names its table.
	w.exec("ALTER TABLE alerts MODIFY TTL toDateTime(at) + INTERVAL 3 YEAR")
	migrate(map[string]time.Duration{"transactions": 401 * day, "hits": 0})
	for table, want := range map[string]string{"transactions": " + toIntervalSecond(34646400)", "alerts": "TTL toDateTime(at) + toIntervalYear(3)"} {
		if got := version(table); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", table, got, want)
		}
	}
	for _, table := range []string{"hits", "cases"} {
		if got := version(table); strings.Contains(got, " TTL ") {
			t.Errorf("%s still forgets: %s", table, got)
		}
	}
	migrate(map[string]time.Duration{"alerts": 0})
	if got := version("alerts"); strings.Contains(got, " TTL ") {
		t.Errorf("alerts still forget: %s", got)
	}
}
