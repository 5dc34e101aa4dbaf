package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// startClickHouse starts one that ends with the test, which is skipped where there
// is none.
func startClickHouse(t *testing.T, c local.Config) *local.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("starts ClickHouse")
	}
	server, err := local.Start(t.Context(), c)
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("no ClickHouse: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

// Refunds are decided while ClickHouse is not there yet, is killed, or refuses
// a record; in the end it has every decision once, but for that one, which is
// among the dead letters.
func TestDecisionsGoOnWithoutClickHouse(t *testing.T) {
	place := local.Config{Dir: t.TempDir(), Password: "secret", Port: freePort(t)}
	addr := fmt.Sprintf("127.0.0.1:%d", place.Port)
	start := func() *local.Server { return startClickHouse(t, place) }
	start().Close() // fetches it, or skips

	s := newStoreFront(t)
	running, _ := s.run(fmt.Sprintf("streams: {refunds: {decide_from: earliest}}\nclickhouse: {addr: [%q], username: %s, password: secret, batch_interval: 50ms}", addr, local.Username))
	sent := uint64(0)
	decide := func(ids ...string) {
		t.Helper()
		for _, id := range ids {
			s.send(fmt.Sprintf(`{"refund_id":%q,"amount":"25","currency":"USD","occurred_at":%q}`, id, time.Now().UTC().Format(time.RFC3339)))
			sent++
		}
		eventually(t, "decides them", func() bool { return uint64(running.pipeline.Balance().Approved) == sent })
	}
	stores := func(n uint64) {
		t.Helper()
		eventually(t, fmt.Sprintf("stores %d decisions", n), func() bool {
			counts, err := running.clickhouse.Counts(t.Context())
			return err == nil && counts["decisions"] == n && running.clickhouse.Ready() == nil
		})
	}
	many := func(prefix string) (ids []string) {
		for i := range 40 {
			ids = append(ids, fmt.Sprint(prefix, i))
		}
		return ids
	}
	decide(many("before-")...)
	if running.clickhouse.Ready() == nil {
		t.Error("says that ClickHouse is there")
	}
	server := start()
	stores(sent)
	server.Kill()
	decide(many("killed-")...)
	eventually(t, "says so", func() bool { return running.clickhouse.Ready() != nil })
	start()
	stores(sent)

	conn, err := ch.Open(&ch.Options{Addr: []string{addr}, Auth: ch.Auth{Username: local.Username, Password: "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(t.Context(), "ALTER TABLE refundguard.decisions ADD CONSTRAINT tidy CHECK refund_id != 'poison'"); err != nil {
		t.Fatal(err)
	}
	decide("poison", "after")
	stores(sent - 1)
	var rows, ids uint64
	if err := conn.QueryRow(t.Context(), "SELECT count(), uniqExact(decision_id) FROM refundguard.decisions").Scan(&rows, &ids); err != nil || rows != sent-1 || ids != rows {
		t.Errorf("%d rows of %d decisions, want %d of each: %v", rows, ids, sent-1, err)
	}

	var letters []letter
	r := runCommand(t, "dlq", "list", "-c", s.file, "-o", "json", "--code", clickhouse.CodeRefused)
	if err := json.Unmarshal([]byte(r.out), &letters); err != nil || len(letters) != 1 || letters[0].Topic != "refund-decisions" {
		t.Fatalf("%v in:\n%s%s", err, r.out, r.err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"show"}, exitFine, "from     refund-decisions partition "},
		{[]string{"show"}, exitFine, "code     CLICKHOUSE_REFUSED\nmessage  insert into decisions: rejected: code: 469"},
		{[]string{"show"}, exitFine, `header   refundguard-table: "decisions"`},
		{[]string{"show", "--raw"}, exitFine, `"refund_id":"poison"`},
		{[]string{"replay"}, exitProblems, "clickhouse"},
	} {
		r := runCommand(t, append([]string{"dlq", c.args[0], letters[0].Place, "-c", s.file}, c.args[1:]...)...)
		if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
			t.Errorf("%v: exit %d, want %d and %q in:\n%s%s", c.args, r.code, c.code, c.says, r.out, r.err)
		}
	}
}
