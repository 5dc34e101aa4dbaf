package clickhouse_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

var occurredAt = regexp.MustCompile(`"occurred_at":"20[^"]*Z"`)

func TestCopiesWhatIsCommittedAndNothingElse(t *testing.T) {
	for _, protocol := range []string{clickhouse.Native, clickhouse.HTTP} {
		t.Run(protocol, func(t *testing.T) {
			w := newWorld(t, server(t))
			w.cfg.Protocol = protocol
			if protocol == clickhouse.HTTP {
				w.cfg.Addr = []string{server(t).HTTPAddr()}
			}
			s, _ := w.start()
			w.produceDecisions(250)
			w.transaction(kgo.TryCommit, alert(0), alert(1), alert(2), deadLetter(0), deadLetter(1))
			w.transaction(kgo.TryAbort, alert(3), deadLetter(2))
			w.drain(s)
			w.expectDecisions(250)
			want := map[string]uint64{"decisions": 250, "hits": 500, "alerts": 3, "labels": 250, "cases": 250, "dead_letters": 2, "unreadable": 0,
				"statuses": 250, "ledger_results": 250, "transactions": 250, "refunds": 250}
			w.exec("OPTIMIZE TABLE cases FINAL") // of which there were two records each
			w.expect(want)
			counts, err := s.Counts(context.Background())
			if err != nil || !maps.Equal(counts, want) {
				t.Errorf("Counts: %v, %v", counts, err)
			}
			if err := s.Ready(); err != nil {
				t.Errorf("Ready: %v", err)
			}
			if err := s.Ping(context.Background()); err != nil {
				t.Errorf("Ping: %v", err)
			}
		})
	}
}

func TestRowsSayWhatTheRecordsSay(t *testing.T) {
	w := newWorld(t, server(t))
	s, _ := w.start()
	said := caseRecord(&event.CaseSummary{RefundID: "re_9", TransactionID: "tx_9", CustomerID: "cus_9", MerchantID: "mer_9", Method: "card", RequestReason: "defective", Amount: 129_9000,
		Currency: mustCurrency("USD"), State: "executed", Severity: "high", Reason: "APPROVED_BY_ANALYST", DecidedBy: "analyst:ann", DecisionID: "d", FirstBy: "bob",
		OccurredAt: 1_700_000_000_000, ReceivedAt: 1_700_000_000_001, OpenedAt: 1_700_000_000_002, Since: 1_700_000_000_003, DueAt: 1_700_000_000_004, ExecutedAt: 1_700_000_000_005,
		ChangedAt: 1_700_000_000_006, Denied: true, Satisfied: event.No})
	changed := w.decision(8)
	d, err := event.ParseDecision(changed.Value)
	if err != nil {
		t.Fatal(err)
	}
	d.Controls, d.Holdout, d.Hits = []string{"hold-1", "snooze-2"}, true, append(d.Hits, event.Hit{Rule: "napping", Mode: "snoozed", Action: "review", Severity: "low"})
	changed.Value = d.Append(nil)
	w.transaction(kgo.TryCommit, w.decision(7), alert(1), deadLetter(5), label(3), said, changed)
	w.drain(s)
	for query, want := range map[string]string{
		"SELECT (refund_id, transaction_id, customer_id, merchant_id, amount, currency, outcome, decided_by, reason, score) FROM decisions WHERE refund_id = 're_7'": "('re_7','tx_7','cus_7','',129.9007,'USD','review','engine','',60)",
		"SELECT (rules, shadow_rules, failed_rules, skipped_rules, warming, degraded, holdout) FROM decisions WHERE refund_id = 're_7'":                              "(['refund-velocity'],['new-device'],['broken'],['needs-mfa'],[],false,false)",
		"SELECT features FROM decisions WHERE refund_id = 're_7'":                                                                                                    `{'refunds.by(customer_id).within("7d").count()':'6'}`,
		"SELECT (original_amount, original_currency, original_occurred_at, original_instrument_id) FROM decisions WHERE refund_id = 're_7'":                          "(200,'USD','2023-11-14 05:13:20.000','card_1')",
		"SELECT (occurred_at, received_at, decided_at) FROM decisions WHERE refund_id = 're_7'":                                                                      "('2023-11-15 05:13:20.000','2023-11-15 05:13:20.100','2023-11-15 05:13:20.200')",
		"SELECT (source_topic, source_partition, source_offset, kafka_topic, kafka_offset >= 0) FROM decisions WHERE refund_id = 're_7'":                             "('refunds',1,7,'refund-decisions',1)",
		"SELECT raw FROM decisions WHERE refund_id = 're_7'":                                                                                                         string(w.decision(7).Value),
		"SELECT (rules, shadow_rules, snoozed_rules, controls, holdout) FROM decisions WHERE refund_id = 're_8'":                                                     "(['refund-velocity'],['new-device'],['napping'],['hold-1','snooze-2'],true)",
		"SELECT (label_id = '" + event.LabelID("analyst", "3") + "', refund_id, transaction_id, label, source, weight, by, reason, note, at) FROM labels":            "(1,'re_3','','fraud','analyst',10,'ann','','seen before','2023-11-14 22:13:20.003')",
		"SELECT raw FROM labels": string(label(3).Value),
		"SELECT (refund_id, transaction_id, customer_id, merchant_id, method, request_reason, amount, currency, state, severity, reason, decided_by, decision_id, first_by, denied, satisfied) FROM cases": "('re_9','tx_9','cus_9','mer_9','card','defective',129.9,'USD','executed','high','APPROVED_BY_ANALYST','analyst:ann','d','bob',true,false)",
		"SELECT arrayMap(t -> toUnixTimestamp64Milli(assumeNotNull(t)) - 1700000000000, [occurred_at, received_at, opened_at, since, due_at, executed_at, changed_at]) FROM cases":                         "[0,1,2,3,4,5,6]",
		"SELECT (mode, action, score, severity, reason, message, refund_id, outcome, amount) FROM hits WHERE rule = 'refund-velocity' AND refund_id = 're_7'":                                              "('live','review',40,'high','VELOCITY_CUSTOMER','many','re_7','review',129.9007)",
		"SELECT (rule, severity, refund_id, amount, currency, at) FROM alerts":                                                                                                                             "('refund-velocity','high','re_1',129.9,'EUR','2023-11-14 22:13:20.001')",
		"SELECT (code, field, message, source_topic, source_partition, source_offset, key, value) FROM dead_letters":                                                                                       "('INVALID_JSON','amount','no number','refunds',2,5,'cus_1','{not json')",
		"SELECT headers['trace'] FROM dead_letters": "abc",
	} {
		if got := w.query(query); got != want {
			t.Errorf("%s\n gives %s\n  want %s", query, got, want)
		}
	}
}

func TestUnreadableRecordsAreKeptAndBlockNothing(t *testing.T) {
	w := newWorld(t, server(t))
	s, _ := w.start()
	odd := []*kgo.Record{
		{Topic: topics.Decisions, Value: nil},
		{Topic: topics.Decisions, Key: []byte("k"), Value: []byte("{")},
		{Topic: topics.Decisions, Value: []byte("\xff\x00"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}},
		{Topic: topics.Decisions, Value: []byte("[]")},
		{Topic: topics.Decisions, Value: []byte(`{"decision_id":""}`)},
		{Topic: topics.Alerts, Value: []byte(`{"amount":{}}`)},
		{Topic: topics.DeadLetters, Value: []byte("no headers")},
		{Topic: topics.Labels, Value: []byte(`{"label_id":"l","refund_id":"r","label":"maybe"}`)},
		{Topic: topics.Cases, Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: event.HeaderCase, Value: []byte("{}")}}},
		{Topic: topics.Cases, Value: []byte("somebody else's")},
	}
	// What ends a case, and one that was written before cases had a summary, is no trouble.
	w.transaction(kgo.TryCommit, &kgo.Record{Topic: topics.Cases, Key: []byte("re_1")},
		&kgo.Record{Topic: topics.Cases, Key: []byte("re_2"), Value: []byte(`{"refund_id":"re_2"}`), Headers: []kgo.RecordHeader{{Key: "refundguard-deadline", Value: []byte("2026-01-01T00:00:00.000Z")}}})
	for i, rec := range odd {
		rec.Partition = 0
		w.transaction(kgo.TryCommit, rec, w.decision(i))
	}
	w.produced = len(odd)
	w.produceDecisions(100)
	w.drain(s)
	w.expect(map[string]uint64{"decisions": uint64(100 + len(odd)), "unreadable": uint64(len(odd)), "alerts": 0, "dead_letters": 0})
	if got := w.query("SELECT (hex(value), headers['h']) FROM unreadable WHERE hex(value) = 'FF00'"); got != "('FF00','v')" {
		t.Errorf("kept as %s", got)
	}
	if got := w.query("SELECT countIf(error = '') FROM unreadable"); got != "0" {
		t.Errorf("%s without a reason", got)
	}
}

func TestAnyTimeAnEventMayClaim(t *testing.T) {
	w := newWorld(t, server(t))
	w.cfg.BatchRows = 50_000
	s, stop := w.start()
	w.drain(s)
	stop()
	// A batch over 1,000 years has far more months than one insert may have.
	var records []*kgo.Record
	for i := range 1500 {
		rec := w.decision(i)
		at := fmt.Sprintf(`"occurred_at":"%04d-%02d-01T00:00:00.000Z"`, 1000+i, i%12+1)
		rec.Value = occurredAt.ReplaceAll(rec.Value, []byte(at)) // the refund's and the original's
		records = append(records, rec)
	}
	w.transaction(kgo.TryCommit, records...)
	s, _ = w.start()
	w.drain(s)
	w.expectDecisions(1500)
	if got := w.query("SELECT (min(occurred_at), max(occurred_at)) FROM decisions"); got != "('1900-01-01 00:00:00.000','2261-12-31 23:59:59.999')" {
		t.Errorf("times from %s", got)
	}
}

func TestTopicsMayComeLater(t *testing.T) {
	w := newFakeWorld(t, server(t))
	for _, topic := range topicNames() {
		if err := w.fake.DeleteTopic(topic); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := w.start()
	w.wait("ClickHouse to be reached", func() bool { _, err := s.Counts(context.Background()); return err == nil })
	for _, topic := range topicNames() {
		if err := w.fake.CreateTopic(topic, 2, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.produceDecisions(10)
	w.wait("ten decisions", func() bool { n, err := s.Counts(context.Background()); return err == nil && n["decisions"] == 10 })
}

func TestMetricsSayWhatWasDone(t *testing.T) {
	w := newWorld(t, server(t))
	s, _ := w.start()
	w.transaction(kgo.TryCommit, w.decision(0), w.decision(1), alert(0), deadLetter(0), &kgo.Record{Topic: topics.Alerts, Value: []byte("x")})
	w.drain(s)
	for name, want := range map[string]float64{
		`refundguard_clickhouse_rows_total{table="decisions"}`:             2,
		`refundguard_clickhouse_rows_total{table="hits"}`:                  4,
		`refundguard_clickhouse_rows_total{table="alerts"}`:                1,
		`refundguard_clickhouse_rows_total{table="dead_letters"}`:          1,
		`refundguard_clickhouse_rows_total{table="unreadable"}`:            1,
		`refundguard_clickhouse_unreadable_total{topic="alerts"}`:          1,
		`refundguard_clickhouse_retries_total{reason="unreachable"}`:       0,
		`refundguard_clickhouse_lag_records{topic="refund-decisions"}`:     0,
		`refundguard_clickhouse_batch_seconds_count{topic="dead-letters"}`: 1,
		`refundguard_clickhouse_batches_total{topic="dead-letters"}`:       1,
	} {
		if got := w.metric(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
