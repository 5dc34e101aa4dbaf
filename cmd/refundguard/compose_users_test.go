package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// Grafana's user, as compose gives it to ClickHouse, reads every view of the database,
// sets limits for its queries, and can neither write nor look elsewhere.
func TestComposeDashboardsUser(t *testing.T) {
	users, err := os.ReadFile(filepath.Join("..", "..", "deploy", "compose", "clickhouse-users.xml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// ClickHouse reads users.d beside users.xml, which has a user dashboards already.
	if err := os.Mkdir(filepath.Join(dir, "users.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	renamed := strings.ReplaceAll(string(users), "dashboards", "grafana")
	if err := os.WriteFile(filepath.Join(dir, "users.d", "refundguard.xml"), []byte(renamed), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DASHBOARDS_PASSWORD", "looks only")
	server := startClickHouse(t, local.Config{Dir: dir})
	login := func(user, password string) driver.Conn {
		conn, err := ch.Open(&ch.Options{Protocol: ch.HTTP, Addr: []string{server.HTTPAddr()}, Auth: ch.Auth{Username: user, Password: password}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	cfg := clickhouse.DefaultConfig()
	cfg.Addr, cfg.Username, cfg.Password = []string{server.Addr()}, local.Username, server.Password()
	if _, err := clickhouse.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	owner, grafana := login(local.Username, server.Password()), login("grafana", "looks only")
	if err := owner.Exec(t.Context(), "CREATE DATABASE elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := owner.Exec(t.Context(), "CREATE TABLE elsewhere.salaries (x Int8) ENGINE MergeTree ORDER BY x"); err != nil {
		t.Fatal(err)
	}
	var views []string
	if err := owner.QueryRow(t.Context(), "SELECT groupArray(name) FROM system.tables WHERE database = 'refundguard' AND name LIKE 'v\\_%'").Scan(&views); err != nil || len(views) < 5 {
		t.Fatalf("views %v, %v", views, err)
	}
	const year = "from = '2026-01-01', to = '2026-12-31'"
	arguments := map[string]string{"v_service_quality": "(" + year + ")"}
	for _, name := range []string{"v_rule_quality", "v_ruleset_quality"} {
		arguments[name] = "(" + year + ", ruleset = '', maturity_days = 30)"
	}
	for _, view := range views {
		var rows uint64
		if err := grafana.QueryRow(t.Context(), "SELECT count() FROM (SELECT * FROM refundguard."+view+arguments[view]+") SETTINGS max_threads = 2").Scan(&rows); err != nil {
			t.Errorf("can't read %s: %v", view, err)
		}
	}
	var seconds string
	if err := grafana.QueryRow(t.Context(), "SELECT toString(getSetting('max_execution_time'))").Scan(&seconds); err != nil || !strings.HasPrefix(seconds, "30") {
		t.Errorf("max_execution_time is %q, %v; want 30", seconds, err)
	}
	const accessDenied, readOnly, authenticationFailed = 497, 164, 516 // ClickHouse's codes
	refused := func(err error, code int32) bool {
		e := (*ch.Exception)(nil)
		return errors.As(err, &e) && e.Code == code
	}
	for _, statement := range []string{
		"INSERT INTO refundguard.decisions (refund_id) VALUES ('mine')", "ALTER TABLE refundguard.decisions DELETE WHERE 1", "TRUNCATE TABLE refundguard.decisions",
		"DROP TABLE refundguard.decisions", "DROP VIEW refundguard." + views[0], "CREATE TABLE refundguard.mine (x Int8) ENGINE MergeTree ORDER BY x", "CREATE DATABASE mine",
		"SELECT count() FROM elsewhere.salaries", "SELECT * FROM file('/etc/passwd', LineAsString)", "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
	} {
		if err := grafana.Exec(t.Context(), statement); !refused(err, accessDenied) {
			t.Errorf("%s: %v, want the access denied", statement, err)
		}
	}
	// What is granted by mistake is refused all the same.
	if err := grafana.Exec(t.Context(), "SET readonly = 0"); !refused(err, readOnly) {
		t.Errorf("leaving the read-only mode: %v, want it refused", err)
	}
	for _, password := range []string{"", "guessed"} {
		if err := login("grafana", password).Ping(t.Context()); !refused(err, authenticationFailed) {
			t.Errorf("with the password %q: %v, want no login", password, err)
		}
	}
}
