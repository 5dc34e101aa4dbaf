package clickhouse_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

// TestNativeRowsAreTheDriversRows stores the same random records over both
// protocols: over HTTP the driver writes the columns, by other code.
func TestNativeRowsAreTheDriversRows(t *testing.T) {
	records := randomRecords(rand.New(rand.NewPCG(1, 2)), 2000)
	// More different words in a column of one insert than two bytes count.
	for i := range 12_000 {
		d := event.Decision{DecisionID: fmt.Sprint(i), RefundID: fmt.Sprintf("many-%d", i), Outcome: event.Approve, DecidedBy: "engine", Currency: mustCurrency("EUR"), OccurredAt: 1_700_000_000_000}
		for j := range 6 {
			d.Hits = append(d.Hits, event.Hit{Rule: fmt.Sprintf("rule-%d-%d", i, j), Mode: "live", Severity: "low"})
		}
		records = append(records, &kgo.Record{Topic: topics.Decisions, Value: d.Append(nil)})
	}
	var sums [2]map[string]string
	for i, protocol := range []string{clickhouse.Native, clickhouse.HTTP} {
		w := newWorld(t, server(t))
		w.cfg.Protocol, w.cfg.BatchRows = protocol, 50_000
		if protocol == clickhouse.HTTP {
			w.cfg.Addr = []string{server(t).HTTPAddr()}
		}
		client, err := kgo.NewClient(append(w.options, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for _, rec := range records {
			client.Produce(context.Background(), &kgo.Record{Topic: rec.Topic, Key: rec.Key, Value: rec.Value, Headers: rec.Headers, Timestamp: rec.Timestamp}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := client.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		s, stop := w.start()
		w.drain(s)
		stop()
		sums[i] = make(map[string]string)
		// The driver writes a map's pairs in any order.
		for table, columns := range map[string]string{
			"decisions":    "* EXCEPT stored_at REPLACE (mapSort(features) AS features)",
			"hits":         "* EXCEPT stored_at",
			"alerts":       "* EXCEPT stored_at",
			"labels":       "* EXCEPT stored_at",
			"cases":        "* EXCEPT stored_at",
			"dead_letters": "* EXCEPT (stored_at, refused_at) REPLACE (mapSort(headers) AS headers)",
		} {
			sums[i][table] = w.query("SELECT (count(), sum(cityHash64(" + columns + "))) FROM " + table)
			if strings.HasPrefix(sums[i][table], "(0,") {
				t.Errorf("%s: no rows", table)
			}
		}
	}
	for table, native := range sums[0] {
		if http := sums[1][table]; native != http {
			t.Errorf("%s: rows and their sum are %s over the native protocol, and %s over HTTP", table, native, http)
		}
	}
}

func TestEveryColumnIsWrittenTheFastWay(t *testing.T) {
	w := newWorld(t, server(t))
	if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	slow := clickhouse.SlowColumns(func(table, column string) string {
		return w.query("SELECT type FROM system.columns WHERE database = currentDatabase() AND table = '" + table + "' AND name = '" + column + "'")
	})
	if len(slow) > 0 {
		t.Errorf("the driver writes %v", slow)
	}
}

// randomRecords are n of each topic, with everything that may be in one.
func randomRecords(r *rand.Rand, n int) (records []*kgo.Record) {
	word := func() string {
		return []string{"", "", "a", "ünï\x00cödé", "'; DROP", "\"\\", fmt.Sprint(r.IntN(400)), fmt.Sprintf("%0*d", r.IntN(400), 7)}[r.IntN(8)]
	}
	words := func() (all []string) {
		for range r.IntN(4) {
			all = append(all, word())
		}
		return all
	}
	chance := func() bool { return r.IntN(2) == 0 }
	time := func() int64 { return 1_700_000_000_000 + r.Int64N(1e9) }
	money := func() event.Money { return event.Money(r.Int64N(1e12) * int64(r.IntN(2))) }
	usd := mustCurrency("USD")
	for i := range n {
		id := fmt.Sprintf("re_%d", i)
		d := event.Decision{DecisionID: event.DecisionID(id, 1), RefundID: id, TransactionID: word(), CustomerID: word(), MerchantID: word(), Amount: money(), Currency: usd,
			Outcome: []event.Outcome{event.Approve, event.Review, event.Reject}[r.IntN(3)], DecidedBy: "analyst:" + word(), Reason: word(), Score: r.Int64N(200) - 100,
			Skipped: words(), Warming: words(), Controls: words(), Degraded: chance(), Holdout: chance(), Ruleset: word(),
			OccurredAt: time(), ReceivedAt: time(), DecidedAt: time(), Source: event.Source{Topic: "refunds", Partition: int32(r.IntN(9)), Offset: r.Int64N(1e15)}}
		if chance() {
			d.Original = &event.Original{TransactionID: word(), Amount: money(), Currency: usd, OccurredAt: time(), InstrumentID: word()}
		}
		for j := range r.IntN(4) {
			d.Hits = append(d.Hits, event.Hit{Rule: fmt.Sprint("rule", j), Mode: []string{"live", "shadow", "snoozed"}[r.IntN(3)], Action: word(), Score: r.Int64N(9), Severity: "low", Reason: word(), Message: word()})
		}
		for j := range r.IntN(5) {
			d.Features = append(d.Features, event.Feature{Name: fmt.Sprint("feature", j, r.IntN(300)), Kind: event.FeatureString, Str: word()})
		}
		a := event.Alert{AlertID: event.AlertID(id), Rule: word(), Severity: "high", RefundID: word(), Outcome: word(), Amount: money(), Currency: usd, Message: word(), At: time()}
		l := event.Label{LabelID: event.LabelID(event.LabelByAnalyst, id), RefundID: id, Label: event.LabelFraud, Source: event.LabelByAnalyst, By: word(), At: time(), Weight: r.Int64N(99), Note: word()}
		c := event.CaseSummary{RefundID: id, CustomerID: word(), Method: word(), Amount: money(), Currency: usd, State: "approved", DecidedBy: word(),
			OccurredAt: time(), ReceivedAt: time(), OpenedAt: time(), Since: time(), ChangedAt: time(), DueAt: time() * r.Int64N(2), ExecutedAt: time() * r.Int64N(2), Denied: chance()}
		if chance() {
			c.Satisfied = []event.Answer{event.Yes, event.No}[r.IntN(2)]
		}
		records = append(records, &kgo.Record{Topic: topics.Decisions, Key: []byte(id), Value: d.Append(nil)}, &kgo.Record{Topic: topics.Alerts, Value: a.Append(nil)},
			&kgo.Record{Topic: topics.Labels, Value: l.Append(nil)}, caseRecord(&c), deadLetter(i))
	}
	return records
}
