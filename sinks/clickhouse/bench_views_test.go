package clickhouse_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

var benchRows = flag.Int("rows", 200_000, "decisions that BenchmarkViews generates, of 30 days")

// BenchmarkViews asks every view what dashboards ask it, over as many decisions as
// -rows says, and logs the times and the sizes of the tables:
//
//	go test ./sinks/clickhouse -run '^$' -bench Views -benchtime 1x -timeout 60m -args -rows 20000000
func BenchmarkViews(b *testing.B) {
	engine, err := local.Start(b.Context(), local.Config{Dir: b.TempDir(), Memory: 6 << 30})
	if err != nil {
		b.Skip(err)
	}
	defer engine.Kill()
	w := &world{t: b, cfg: clickhouse.DefaultConfig()}
	w.cfg.Addr, w.cfg.Username, w.cfg.Password, w.cfg.Database = []string{engine.Addr()}, local.Username, engine.Password(), "bench"
	w.cfg.Timeout = time.Hour
	if _, err := clickhouse.Migrate(b.Context(), w.cfg); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	w.generate(*benchRows)
	fmt.Fprintf(os.Stderr, "%d refunds generated in %v\n", *benchRows, time.Since(start).Round(time.Second))
	s, err := clickhouse.New(w.cfg, clickhouse.Deps{Options: nil, Topics: topics})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	start = time.Now()
	if err := s.Refresh(b.Context(), math.MaxInt, time.Now().Add(-time.Hour)); err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "rollups of 720 hours computed in %v\n", time.Since(start).Round(time.Second))
	for b.Loop() {
		w.timeViews("clean")
		// What a busy day leaves for the views to compute: the present hour, and
		// those of verdicts and labels since the last pass.
		w.exec("INSERT INTO hour_touched SELECT arrayJoin([toDateTime64('2026-01-30 23:00:00', 0, 'UTC'), toDateTime64('2026-01-30 20:00:00', 0, 'UTC'), toDateTime64('2026-01-14 05:00:00', 0, 'UTC')]), 7")
		w.timeViews("3 hours live")
	}
	rows := w.column(`SELECT concat(table, ': ', toString(sum(rows)), ' rows, ', toString(round(sum(bytes_on_disk) / sum(rows), 1)), ' bytes a row on disk')
		FROM system.parts WHERE active AND database = currentDatabase() AND rows > 0 GROUP BY table ORDER BY sum(bytes_on_disk) DESC`)
	fmt.Fprintln(os.Stderr, strings.Join(rows, "\n")) // a benchmark logs ten lines only
}

// generate writes 30 days of refunds: of 20,000 merchants, some far bigger than
// others, and a million customers; 5 % are reviewed, of them four in five decided;
// one in three decisions has a hit; 1 % is labelled.
func (w *world) generate(n int) {
	w.t.Helper()
	step := 30 * dayMS / n
	facts := fmt.Sprintf(`number AS n, cityHash64(n) AS h, concat('re_', leftPad(toString(n), 10, '0'), hex(sipHash64(n))) AS refund_id, concat('tx_', hex(sipHash64(n + 1))) AS transaction_id,
		concat('cus_', hex(h %% 1000000)) AS customer_id, concat('mer_', toString(toUInt32(pow((h %% 1000003) / 1000003, 4) * 20000))) AS merchant_id,
		toDecimal64(1 + (h %% 49999) / 100, 4) AS amount, ['USD', 'EUR', 'GBP', 'JPY', 'INR', 'BRL'][1 + toUInt8(pow((h %% 997) / 997, 2) * 6)] AS currency,
		multiIf(h %% 100 < 5, 'review', h %% 100 < 7, 'reject', 'approve') AS outcome, toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + toIntervalMillisecond(n * %d) AS occurred_at,
		concat('sha256:', hex(sipHash64(toUInt32(intDiv(n * 6, %d))))) AS ruleset`, step, n)
	raw := `repeat(hex(sipHash64(n, 3)), 2)`
	part := 1_000_000
	for from := 0; from < n; from += part {
		of := fmt.Sprintf("FROM numbers(%d, %d)", from, min(part, n-from))
		for _, query := range []string{
			`INSERT INTO decisions (decision_id, refund_id, transaction_id, customer_id, merchant_id, amount, currency, outcome, decided_by, score, ruleset, occurred_at, received_at, decided_at, source_topic, source_offset, kafka_topic, kafka_offset, features, raw)
				SELECT hex(sipHash128(n)), refund_id, transaction_id, customer_id, merchant_id, amount, currency, outcome, 'engine', h % 100, ruleset, occurred_at, occurred_at + toIntervalMillisecond(h % 500), occurred_at + toIntervalMillisecond(600 + h % 500), 'refunds', n, 'refund-decisions', n,
				map('refunds.by(customer_id).within("7d").count()', toString(h % 9), 'transactions.by(customer_id).within("30d").sum(amount)', toString(h % 99999)), concat('{"decision_id":"', hex(sipHash128(n)), '","refund_id":"', refund_id, '","amount":"', toString(amount), '",', ` + raw + `, '}') FROM (SELECT ` + facts + " " + of + ")",
			`INSERT INTO decisions (decision_id, refund_id, transaction_id, customer_id, merchant_id, amount, currency, outcome, decided_by, ruleset, occurred_at, received_at, decided_at, source_topic, source_offset, kafka_topic, kafka_offset, raw)
				SELECT hex(sipHash128(n, 2)), refund_id, transaction_id, customer_id, merchant_id, amount, currency, if(h % 7 < 5, 'approve', 'reject'), ['analyst:ann', 'analyst:bob', 'analyst:cy', 'deadline'][1 + h % 4], ruleset, occurred_at, occurred_at, occurred_at + toIntervalSecond(600 + h % 50000), 'refunds', n, 'refund-decisions', n, ` + raw + ` FROM (SELECT ` + facts + " " + of + ") WHERE outcome = 'review' AND intDiv(h, 100) % 5 > 0",
			`INSERT INTO hits (rule, mode, action, score, severity, message, decision_id, refund_id, transaction_id, customer_id, merchant_id, amount, currency, outcome, decided_by, ruleset, occurred_at, decided_at)
				SELECT concat('rule-', toString(h % 40)), if(h % 40 < 8, 'shadow', 'live'), if(h % 40 < 20, 'review', ''), 20, ['low', 'medium', 'high'][1 + h % 40 % 3], concat(customer_id, ' asked for many refunds'), hex(sipHash128(n)), refund_id, transaction_id, customer_id, merchant_id, amount, currency, outcome, 'engine', ruleset, occurred_at, occurred_at + toIntervalMillisecond(600 + h % 500) FROM (SELECT ` + facts + " " + of + ") WHERE outcome != 'approve' OR intDiv(h, 7) % 4 = 0",
			`INSERT INTO labels (label_id, refund_id, label, source, weight, at) SELECT hex(sipHash64(n, 4)), refund_id, if(h % 3 = 0, 'fraud', 'legit'), 'chargeback', 40, occurred_at + toIntervalDay(1) FROM (SELECT ` + facts + " " + of + ") WHERE intDiv(h, 1000) % 100 = 0",
			`INSERT INTO cases (refund_id, transaction_id, customer_id, merchant_id, method, amount, currency, state, severity, decided_by, occurred_at, received_at, opened_at, since, due_at, executed_at, changed_at)
				SELECT refund_id, transaction_id, customer_id, merchant_id, 'card', amount, currency, multiIf(outcome = 'reject', 'rejected', outcome = 'review' AND intDiv(h, 100) % 5 = 0, 'in_review', 'executed') AS s, 'medium', 'engine', occurred_at, occurred_at, occurred_at, occurred_at, NULL, if(s = 'executed', occurred_at + toIntervalHour(h % 90), NULL), occurred_at + toIntervalHour(90) FROM (SELECT ` + facts + " " + of + ")",
		} {
			w.exec(query)
		}
	}
}

func (w *world) timeViews(when string) {
	w.t.Helper()
	conn := w.conn()
	month := "(from = '2026-01-01', to = '2026-01-31', ruleset = '', maturity_days = 0)"
	one := w.query("SELECT (customer_id, refund_id) FROM decisions WHERE occurred_at > '2026-01-20' LIMIT 1")
	customer, refund, _ := strings.Cut(strings.Trim(one, "()"), ",")
	for _, query := range []string{
		"SELECT hour, outcome, sum(refunds), sum(amount) FROM v_refunds_hourly GROUP BY hour, outcome",
		"SELECT outcome, sum(refunds) FROM v_refunds_hourly WHERE hour >= '2026-01-30 00:00:00' GROUP BY outcome",
		"SELECT currency, sumIf(amount, outcome = 'review'), sumIf(amount, outcome = 'approve' AND label = 'fraud') FROM v_refunds_hourly GROUP BY currency",
		"SELECT day, sum(refunds) FROM v_refunds_daily GROUP BY day",
		"SELECT merchant_id, sum(refunds) AS n FROM v_refunds_daily GROUP BY merchant_id ORDER BY n DESC LIMIT 20",
		"SELECT merchant_id, sum(refunds) AS n FROM v_refunds_daily WHERE day >= '2026-01-24' GROUP BY merchant_id ORDER BY n DESC LIMIT 20",
		"SELECT rule, mode, sum(hits), sum(amount) FROM v_rule_stats GROUP BY rule, mode",
		"SELECT hour, sum(hits) FROM v_rule_stats WHERE rule = 'rule-9' GROUP BY hour",
		"SELECT * FROM v_ruleset_changes",
		"SELECT rule, mode, precision_biased FROM v_rule_quality" + month,
		"SELECT ruleset, recall FROM v_ruleset_quality" + month,
		"SELECT * FROM v_service_quality(from = '2026-01-01', to = '2026-01-31') ORDER BY refunds DESC LIMIT 20",
		"SELECT * FROM v_refunds WHERE customer_id = " + customer,
		"SELECT * FROM v_refunds WHERE refund_id = " + refund,
		"SELECT * FROM v_decisions WHERE refund_id = " + refund,
		"SELECT * FROM v_decisions WHERE customer_id = " + customer,
		"SELECT * FROM v_hits WHERE refund_id = " + refund,
		"SELECT severity, count(), max(waiting_seconds) FROM v_review_queue GROUP BY severity",
		"SELECT * FROM v_review_queue ORDER BY since LIMIT 100",
	} {
		var times []time.Duration
		for range 3 {
			start := time.Now()
			rows, err := conn.Query(context.Background(), query)
			if err != nil {
				w.t.Errorf("%s: %v", query, err)
				break
			}
			for rows.Next() {
			}
			if err := rows.Err(); err != nil {
				w.t.Errorf("%s: %v", query, err)
			}
			rows.Close()
			times = append(times, time.Since(start))
		}
		if len(times) < 3 {
			continue
		}
		slices.Sort(times)
		fmt.Fprintf(os.Stderr, "%6d ms  %s: %s\n", times[1].Milliseconds(), when, query)
	}
}
