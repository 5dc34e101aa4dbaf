package clickhouse_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

// A user's rollups. The first is right for all that the sink does by itself,
// thanks to its window; the second whatever comes twice, for it counts ids.
var rollups = []string{
	`CREATE TABLE per_day (day Date, outcome String, decisions UInt64, amount Decimal(38, 4))
		ENGINE = SummingMergeTree ORDER BY (day, outcome) SETTINGS non_replicated_deduplication_window = 1000`,
	`CREATE MATERIALIZED VIEW per_day_mv TO per_day AS
		SELECT toDate(occurred_at) AS day, outcome, count() AS decisions, sum(amount) AS amount FROM decisions GROUP BY day, outcome`,
	`CREATE TABLE per_rule (rule String, decisions AggregateFunction(uniqExact, String), last SimpleAggregateFunction(max, DateTime64(3, 'UTC')))
		ENGINE = AggregatingMergeTree ORDER BY rule SETTINGS non_replicated_deduplication_window = 1000`,
	`CREATE MATERIALIZED VIEW per_rule_mv TO per_rule AS
		SELECT rule, uniqExactState(decision_id) AS decisions, max(occurred_at) AS last FROM hits GROUP BY rule`,
	`CREATE TABLE per_code (code String, letters UInt64)
		ENGINE = SummingMergeTree ORDER BY code SETTINGS non_replicated_deduplication_window = 1000`,
	`CREATE MATERIALIZED VIEW per_code_mv TO per_code AS SELECT code, count() AS letters FROM dead_letters GROUP BY code`,
}

// addRollups makes the tables, and the rollups upon them.
func (w *world) addRollups() {
	w.t.Helper()
	// What the last test's clients left behind may end the server even now.
	w.wait("the tables", func() bool {
		_, err := clickhouse.Migrate(w.t.Context(), w.cfg)
		return err == nil
	})
	for _, statement := range rollups {
		w.exec(statement)
	}
}

func (w *world) exec(statement string) {
	w.t.Helper()
	if err := w.conn().Exec(context.Background(), statement); err != nil {
		w.t.Fatalf("%s: %v", statement, err)
	}
}

// column is the one column of an answer.
func (w *world) column(query string) (values []string) {
	w.t.Helper()
	rows, err := w.conn().Query(context.Background(), query)
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			w.t.Fatalf("%s: %v", query, err)
		}
		values = append(values, v)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return values
}

// committed are the records of a topic that a read_committed reader gets.
func (w *world) committed(topic string) (records []*kgo.Record) {
	w.t.Helper()
	client, err := kgo.NewClient(append(w.options[:len(w.options):len(w.options)], kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	left := w.ends()[topic]
	maps.DeleteFunc(left, func(_ int32, end int64) bool { return end == 0 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.t.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				records = append(records, r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return records
}

// audit compares all that is in the database with what is in the topics, but
// for the decisions that except names.
func (w *world) audit(except func(*kgo.Record) bool) {
	w.t.Helper()
	for topic, c := range map[string]struct{ table, bytes, id string }{
		topics.Decisions:   {"decisions", "raw", "decision_id"},
		topics.Alerts:      {"alerts", "raw", "alert_id"},
		topics.Labels:      {"labels", "raw", "(label_id, refund_id)"},
		topics.Status:      {"statuses", "raw", "(at, refund_id, digest)"},
		ledgerResults:      {"ledger_results", "raw", "(occurred_at, refund_id, result_id, digest)"},
		transactions:       {"transactions", "raw", "(occurred_at, transaction_id, digest)"},
		refunds:            {"refunds", "raw", "(occurred_at, refund_id, digest)"},
		topics.DeadLetters: {"dead_letters", "value", "(kafka_partition, kafka_offset)"},
	} {
		var want []string
		for _, r := range w.committed(topic) {
			if except == nil || topic != topics.Decisions || !except(r) {
				want = append(want, fmt.Sprintf("%d/%d %s", r.Partition, r.Offset, r.Value))
			}
		}
		got := w.column("SELECT concat(toString(kafka_partition), '/', toString(kafka_offset), ' ', " + c.bytes + ") FROM " + c.table)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			w.t.Errorf("%s has %d rows, and the topic %d records: %s", c.table, len(got), len(want), difference(got, want))
		}
		if got := w.query("SELECT (count(), uniqExact(" + c.id + ")) FROM " + c.table); got != fmt.Sprintf("(%d,%d)", len(want), len(want)) {
			w.t.Errorf("%s: rows and different ones are %s, want %d", c.table, got, len(want))
		}
	}
	if got := w.query("SELECT (count(), uniqExact(rule, decision_id), uniqExact(decision_id)) FROM hits"); got != w.query("SELECT (2 * count(), 2 * count(), count()) FROM decisions") {
		w.t.Errorf("hits: rows, different ones, decisions are %s", got)
	}
	w.auditCases()
	w.auditRollups()
}

// auditCases compares each case with the last record of its refund.
func (w *world) auditCases() {
	w.t.Helper()
	last, at := map[string]string{}, map[string]int64{}
	for _, r := range w.committed(topics.Cases) {
		for _, h := range r.Headers {
			if h.Key == event.HeaderCase && r.Offset >= at[string(r.Key)] { // a refund's records are in one partition
				last[string(r.Key)], at[string(r.Key)] = string(h.Value), r.Offset
			}
		}
	}
	want := slices.Sorted(maps.Values(last))
	got := w.column("SELECT raw FROM cases FINAL")
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("cases has %d, and the topic %d refunds: %s", len(got), len(want), difference(got, want))
	}
}

func difference(got, want []string) string {
	var text strings.Builder
	for what, pair := range map[string][2][]string{"missing": {want, got}, "unexpected": {got, want}} {
		other := map[string]int{}
		for _, s := range pair[1] {
			other[s]++
		}
		n := 0
		for _, s := range pair[0] {
			if other[s]--; other[s] < 0 {
				if n++; n <= 3 {
					fmt.Fprintf(&text, "\n%s: %.200s", what, s)
				}
			}
		}
		fmt.Fprintf(&text, "\n%d %s", n, what)
	}
	return text.String()
}

var viewTarget = regexp.MustCompile(`^CREATE MATERIALIZED VIEW \S+ (?:\([^)]*\) )?TO (\S+)`)

// auditRollups compares the target of every materialized view that there is
// with what the view makes of its tables as they are now.
func (w *world) auditRollups() {
	w.t.Helper()
	for _, view := range w.column("SELECT name FROM system.tables WHERE database = '" + w.cfg.Database + "' AND engine = 'MaterializedView' AND name NOT LIKE 'hour_touched%'") {
		where := " FROM system.tables WHERE database = '" + w.cfg.Database + "' AND name = '" + view + "'"
		create, as := w.query("SELECT create_table_query"+where), w.query("SELECT as_select"+where)
		target := "`.inner_id." + w.query("SELECT toString(uuid)"+where) + "`"
		if to := viewTarget.FindStringSubmatch(create); to != nil {
			target = to[1]
		}
		w.exec("CREATE OR REPLACE TABLE expected AS " + target)
		w.exec("INSERT INTO expected " + as)
		var columns []string
		for _, c := range w.column("SELECT concat(if(type LIKE 'AggregateFunction%', concat('finalizeAggregation(', name, ')'), name)) FROM system.columns WHERE table = 'expected' AND database = '" + w.cfg.Database + "' AND NOT (name = 'stored_at')") {
			columns = append(columns, "toString("+c+")")
		}
		rows := func(table string) []string {
			w.exec("OPTIMIZE TABLE " + table + " FINAL")
			got := w.column("SELECT arrayStringConcat([" + strings.Join(columns, ", ") + "], ' | ') FROM " + table)
			slices.Sort(got)
			return got
		}
		got, want := rows(target), rows("expected")
		if len(want) == 0 && strings.Contains(as, ".decisions") && w.query("SELECT count() FROM decisions") != "0" {
			w.t.Errorf("view %s: nothing to compare", view)
		}
		if !slices.Equal(got, want) {
			w.t.Errorf("what view %s has made is not what it makes of its tables: %s", view, difference(got, want))
		}
	}
}

// A batch that is sent again in the same bounds changes no rollup that has a
// window; one in other bounds none that counts ids.
func TestRollupsCountARepeatedBatchOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w := newFakeWorld(t, server(t))
	w.addRollups()
	w.decisionsAlone = true // what is cut off is their commit
	for crash := range 8 {
		w.produceDecisions(40)
		died, revive := w.crashAfter(1+crash%4, crash%2 == 0)
		_, stop := w.start()
		w.wait("a commit", func() bool {
			select {
			case <-died:
				return true
			default:
				return w.t.Failed()
			}
		})
		w.wait("rows", func() bool { return w.query("SELECT count() > 0 FROM hits") == "1" })
		stop()
		revive()
	}
	s, stop := w.start()
	w.drain(s)
	w.audit(nil)
	stop()

	ids := func() string {
		return fmt.Sprint(w.column("SELECT concat(rule, ' ', toString(uniqExactMerge(decisions)), ' ', toString(max(last))) FROM per_rule GROUP BY rule ORDER BY rule"))
	}
	before := ids()
	w.exec("ALTER TABLE hits MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1") // a merge may drop what is there twice before it is counted
	w.cfg.Group = "another-group"                                                         // everything again, in one batch
	s, _ = w.start()
	w.drain(s)
	if rows := w.query("SELECT count() FROM hits"); rows == w.query("SELECT uniqExact(rule, decision_id) FROM hits") {
		t.Fatalf("%s hits, none twice: nothing was tested", rows)
	}
	if after := ids(); after != before {
		t.Errorf("counts of ids were %s, and are %s", before, after)
	}
	if got := w.query("SELECT (count(), (SELECT count() FROM hits FINAL)) FROM decisions FINAL"); got != fmt.Sprintf("(%d,%d)", w.produced, 2*w.produced) {
		t.Errorf("FINAL gives %s of %d decisions", got, w.produced)
	}
}
