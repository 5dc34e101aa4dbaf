package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// Nothing is erased unasked; what is, is told, and also what can't be.
func TestEraseTellsWhatItDoesAndAsksFirst(t *testing.T) {
	server := startClickHouse(t, local.Config{Dir: t.TempDir()})
	key := write(t, "key", strings.Repeat("k", 32))
	file := write(t, "refundguard.yaml", fmt.Sprintf("kafka: {seed_brokers: [\"127.0.0.1:1\"]}\nstreams: {refunds: {topic: wishes}}\nclickhouse: {addr: [%q], username: %s, password: %q}\nprivacy: {pseudonymize: [customer_id], key_file: %q}\n",
		server.Addr(), local.Username, server.Password(), key))
	if r := runCommand(t, "migrate", "-c", file); r.code != exitFine {
		t.Fatal(r)
	}
	pseudonym := strings.TrimSpace(runCommand(t, "pseudonym", "-c", file, "cus_1").out)
	conn, err := ch.Open(&ch.Options{Addr: []string{server.Addr()}, Auth: ch.Auth{Database: "refundguard", Username: local.Username, Password: server.Password()}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(t.Context(), "INSERT INTO decisions (refund_id, decision_id, customer_id) VALUES ('re_1', 'd_1', 'cus_1'), ('re_2', 'd_2', ?), ('re_3', 'd_3', 'cus_2')", pseudonym); err != nil {
		t.Fatal(err)
	}
	customers := func() (all []string) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "SELECT groupArray(customer_id) FROM (SELECT customer_id FROM decisions ORDER BY refund_id)").Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	for _, c := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"--customer", "cus_1"}, exitUsage, []string{"--dry-run", "--yes"}},
		{[]string{"--customer", "", "--yes"}, exitUsage, []string{"--customer is missing or empty"}},
		{[]string{"--yes"}, exitUsage, []string{"--customer is missing or empty"}},
		{[]string{"--customer", "cus_1", "--yes", "-o", "xml"}, exitUsage, []string{"xml"}},
		{[]string{"--customer", "cus_9", "--dry-run"}, exitFine, []string{`no rows of customer "cus_9"`}},
		{[]string{"--customer", "cus_1", "--dry-run"}, exitFine, []string{"decisions                 2  blank", "transactions              0  delete", "Not erased:", "refund-decisions", "wishes", "backups"}},
	} {
		r := runCommand(t, append([]string{"erase", "-c", file}, c.args...)...)
		for _, say := range c.says {
			if r.code != c.code || !strings.Contains(r.out+r.err, say) {
				t.Errorf("%q: exit %d, want %d and %q in:\n%s%s", c.args, r.code, c.code, say, r.out, r.err)
			}
		}
		if got := customers(); strings.Join(got, " ") != "cus_1 "+pseudonym+" cus_2" {
			t.Fatalf("%q: customers are now %q", c.args, got)
		}
	}
	r := runCommand(t, "erase", "-c", file, "--customer", "cus_1", "--yes", "-o", "json")
	var said struct {
		Tables    []clickhouse.Erased `json:"tables"`
		NotErased []string            `json:"not_erased"`
	}
	if err := json.Unmarshal([]byte(r.out), &said); err != nil || r.code != exitFine || len(said.NotErased) == 0 {
		t.Errorf("exit %d, %v:\n%s%s", r.code, err, r.out, r.err)
	}
	for _, e := range said.Tables {
		if want := map[string]uint64{"decisions": 2}[e.Table]; e.Rows != want {
			t.Errorf("%d rows of %s, want %d", e.Rows, e.Table, want)
		}
	}
	if !strings.Contains(r.err, "a customer was erased") || strings.Contains(r.err, "cus_1") || !strings.Contains(r.err, "rows=2") {
		t.Errorf("the log says %q", r.err)
	}
	if got := customers(); strings.Join(got, " ") != "  cus_2" {
		t.Errorf("customers are now %q", got)
	}
}
