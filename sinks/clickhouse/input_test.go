package clickhouse_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

const (
	ledgerResults = "ledger-results"
	transactions  = "transactions"
	refunds       = "refunds"
)

// sent is what is said of a refund besides decisions: the request, its payment,
// what the ledger did, and what the customer is told.
func (w *world) sent(i int) []*kgo.Record {
	at := int64(1_700_000_000_000) + int64(i)*w.step
	id := fmt.Sprintf("re_%d", i)
	told := event.Status{RefundID: id, CustomerID: fmt.Sprintf("cus_%d", i%100), Status: "approved", CustomerMessage: "It is on its way.", ETA: at + 86_400_000, At: at + 200}
	return []*kgo.Record{
		{Topic: topics.Status, Key: []byte(id), Value: told.Append(nil)},
		{Topic: ledgerResults, Key: []byte(id), Value: fmt.Appendf(nil, `{"result_id":"lr_%d","refund_id":%q,"status":"executed","amount":"129.90","currency":"USD","occurred_at":%d}`, i, id, at+3_600_000)},
		{Topic: transactions, Key: []byte(id), Value: fmt.Appendf(nil, `{"transaction_id":"tx_%d","amount":"200.00","currency":"USD","customer_id":"cus_%d","occurred_at":%d}`, i, i%100, at-86_400_000)},
		{Topic: refunds, Key: []byte(id), Value: fmt.Appendf(nil, `{"refund_id":%q,"transaction_id":"tx_%d","amount":"129.90","currency":"USD","customer_id":"cus_%d","occurred_at":%d}`, id, i, i%100, at)},
	}
}

func TestWhatWasSentIsThereFieldByField(t *testing.T) {
	for _, protocol := range []string{clickhouse.Native, clickhouse.HTTP} {
		t.Run(protocol, func(t *testing.T) {
			w := newWorld(t, server(t))
			w.cfg.Protocol = protocol
			if protocol == clickhouse.HTTP {
				w.cfg.Addr = []string{server(t).HTTPAddr()}
			}
			w.schema = event.Builtin()
			if err := w.schema.Extend(map[string]event.StreamConfig{
				"refunds": {Fields: map[string]event.FieldConfig{
					"amount": {From: "payload.amt"}, "coupon": {Type: "string", From: "payload.coupon"}, "items": {Type: "int"}, "gift": {Type: "bool"}, "weight": {Type: "number"}, "bought": {Type: "time"}}},
				"transactions": {Topic: "payments", Fields: map[string]event.FieldConfig{"tip": {Type: "number"}}},
			}); err != nil {
				t.Fatal(err)
			}
			s, _ := w.start()
			told := event.Status{RefundID: "re_1", CustomerID: "cus_1", Status: "in_review", Reason: "VELOCITY", CustomerMessage: "We look at it.", CustomerNext: "Wait.", ETA: 1_700_000_000_005, At: 1_700_000_000_001}
			w.create("payments")
			w.transaction(kgo.TryCommit,
				&kgo.Record{Topic: topics.Status, Value: told.Append(nil)},
				&kgo.Record{Topic: topics.Status, Value: []byte(`{"refund_id":"re_2","status":"received","at":"2023-11-14T22:13:20Z"}`)},
				&kgo.Record{Topic: ledgerResults, Value: []byte(`{"result_id":"lr_1","refund_id":"re_1","status":"executed","amount":0.1234,"currency":"KWD","occurred_at":"2023-11-14T22:13:20+00:00"}`)},
				&kgo.Record{Topic: ledgerResults, Value: []byte(`{"result_id":"lr_2","refund_id":"re_2","status":"failed","occurred_at":1700000000000,"error":"closed"}`)},
				&kgo.Record{Topic: ledgerResults, Value: []byte(`{"result_id":"lr_3"}`)}, // a dead letter of the service's
				&kgo.Record{Topic: "payments", Value: []byte(`{"transaction_id":"tx_1","amount":"99999999999999.9999","currency":"USD","occurred_at":1700000000000,"customer_id":"cus_1","merchant_id":"m","status":"settled","method":"odd","instrument_id":"i","device_id":"d","ip":"10.0.0.1","country":"DE","channel":"pos","tip":-1.5}`)},
				&kgo.Record{Topic: refunds, Value: []byte(`{"refund_id":"re_1","payload":{"amt":"12.5","coupon":"X\u00e4"},"currency":"EUR","occurred_at":1700000000000,"customer_id":"cus_1","transaction_id":"tx_1","merchant_id":"m","reason":"defective","method":"card","instrument_id":"i","requested_by":"agent","agent_id":"a","mfa":false,"device_id":"d","ip":"::1","country":"FR","channel":"app","items":3,"gift":true,"weight":"0.5","bought":1600000000000}`)},
				&kgo.Record{Topic: refunds, Value: []byte(`{"refund_id":"re_2","payload":{"amt":1},"currency":"EUR","occurred_at":1700000000000}`)},
				&kgo.Record{Topic: refunds, Value: []byte(`{"refund_id":"re_3","amount":1,"currency":"EUR","occurred_at":1700000000000}`)}, // its amount is elsewhere
				&kgo.Record{Topic: refunds, Value: []byte(`{"refund_id":"re_4","payload":{"amt":1},"currency":"EUR","occurred_at":1700000000000,"channel":"` + strings.Repeat("x", 70_000) + `"}`)},
				&kgo.Record{Topic: refunds},
			)
			w.wait("the payment", func() bool { n, err := s.Counts(context.Background()); return err == nil && n["transactions"] == 1 })
			w.drain(s)
			w.expect(map[string]uint64{"statuses": 2, "ledger_results": 2, "transactions": 1, "refunds": 2, "unreadable": 0})
			for query, want := range map[string]string{
				"SELECT (customer_id, status, reason, customer_message, customer_next, eta, at) FROM statuses WHERE refund_id = 're_1'":   "('cus_1','in_review','VELOCITY','We look at it.','Wait.','2023-11-14 22:13:20.005','2023-11-14 22:13:20.001')",
				"SELECT (customer_id, status, reason, customer_message, customer_next, eta, at) FROM statuses WHERE refund_id = 're_2'":   "('','received','','','',NULL,'2023-11-14 22:13:20.000')",
				"SELECT (refund_id, status, amount, currency, error, occurred_at, custom) FROM ledger_results WHERE result_id = 'lr_1'":   "('re_1','executed',0.1234,'KWD','','2023-11-14 22:13:20.000',{})",
				"SELECT (refund_id, status, amount, currency, error, occurred_at, custom) FROM ledger_results WHERE result_id = 'lr_2'":   "('re_2','failed',NULL,'','closed','2023-11-14 22:13:20.000',{})",
				"SELECT (transaction_id, amount, currency, customer_id, merchant_id, status, method, instrument_id) FROM transactions":    "('tx_1',99999999999999.9999,'USD','cus_1','m','settled','odd','i')",
				"SELECT (device_id, ip, country, channel, custom, occurred_at, kafka_topic) FROM transactions":                            "('d','10.0.0.1','DE','pos',{'tip':'-1.5'},'2023-11-14 22:13:20.000','payments')",
				"SELECT (amount, currency, customer_id, transaction_id, merchant_id, reason, method) FROM refunds WHERE mfa IS NOT NULL":  "(12.5,'EUR','cus_1','tx_1','m','defective','card')",
				"SELECT (instrument_id, requested_by, agent_id, mfa, device_id, ip, country, channel) FROM refunds WHERE customer_id!=''": "('i','agent','a',false,'d','::1','FR','app')",
				"SELECT arraySort(arrayMap((k, v) -> concat(k, '=', v), mapKeys(custom), mapValues(custom))) FROM refunds WHERE mfa=0":    "['bought=2020-09-13T12:26:40.000Z','coupon=Xä','gift=true','items=3','weight=0.5']",
				"SELECT (amount, customer_id, mfa, custom, raw, kafka_topic) FROM refunds WHERE refund_id = 're_2'":                       `(1,'',NULL,{},'{"refund_id":"re_2","payload":{"amt":1},"currency":"EUR","occurred_at":1700000000000}','refunds')`,
			} {
				if got := w.query(query); got != want {
					t.Errorf("%s\n gives %s\n  want %s", query, got, want)
				}
			}
		})
	}
}

// Without raw, and without topics, nothing waits; a topic that comes is read
// from its beginning, if its records are wanted.
func TestInputsMayBeOffOrMissing(t *testing.T) {
	w := newFakeWorld(t, server(t))
	for _, topic := range []string{ledgerResults, transactions, refunds} {
		if err := w.fake.DeleteTopic(topic); err != nil {
			t.Fatal(err)
		}
	}
	s, stop := w.start()
	w.decisionsAlone = true
	w.produceDecisions(50)
	w.wait("decisions", func() bool { n, err := s.Counts(context.Background()); return err == nil && n["decisions"] == 50 })
	if err := s.Ready(); err != nil {
		t.Errorf("a missing input is no trouble: %v", err)
	}
	stop()

	w.cfg.Raw = false
	s, stop = w.start()
	for _, topic := range []string{ledgerResults, transactions, refunds} {
		w.create(topic)
	}
	for i := range 20 {
		w.transaction(kgo.TryCommit, w.sent(i)...)
	}
	w.wait("the results", func() bool { n, err := s.Counts(context.Background()); return err == nil && n["ledger_results"] == 20 })
	w.wait("the statuses", func() bool { n, err := s.Counts(context.Background()); return err == nil && n["statuses"] == 20 })
	w.expect(map[string]uint64{"refunds": 0, "transactions": 0})
	stop()

	w.cfg.Raw = true
	s, _ = w.start()
	w.drain(s)
	w.expect(map[string]uint64{"refunds": 20, "transactions": 20, "ledger_results": 20, "statuses": 20})
}

// Who sends a record again, or another one of the same id, or reads the topics
// into the tables once more, changes what FINAL gives in the one case only where
// the bytes are others.
func TestARepeatOfWhatWasSentCountsOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w := newFakeWorld(t, server(t))
	for _, table := range []string{"transactions", "refunds", "ledger_results", "statuses"} {
		if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
			t.Fatal(err)
		}
		w.exec("ALTER TABLE " + table + " MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1") // a merge would drop what is there twice before it is counted
	}
	const n = 30
	for range 2 { // the sender repeats itself, byte for byte
		for i := range n {
			w.transaction(kgo.TryCommit, w.sent(i)...)
		}
	}
	change := w.sent(0)[2]
	change.Value = []byte(strings.Replace(string(change.Value), `"currency"`, `"status":"charged_back","currency"`, 1))
	w.transaction(kgo.TryCommit, change)
	for _, group := range []string{"first", "second"} { // the second reads all of it in batches of other bounds
		w.cfg.Group = group
		s, stop := w.start()
		w.drain(s)
		stop()
		w.cfg.BatchRows = 7
	}
	for table, want := range map[string]int{"transactions": n + 1, "refunds": n, "ledger_results": n, "statuses": n} {
		if got := w.query("SELECT (count() >= 4 * " + fmt.Sprint(n) + ", (SELECT count() FROM " + table + " FINAL)) FROM " + table); got != fmt.Sprintf("(1,%d)", want) {
			t.Errorf("%s: more rows than there were records, and as many different ones: %s, want %d", table, got, want)
		}
	}
}

func (w *world) create(topic string) {
	w.t.Helper()
	client, err := kgo.NewClient(w.options...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(context.Background(), 3, 1, nil, topic); err != nil {
		w.t.Fatal(err)
	}
}
