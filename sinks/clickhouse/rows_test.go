package clickhouse

import (
	"reflect"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// countingColumn takes any values, and counts them.
type countingColumn struct {
	driver.BatchColumn
	rows int
}

func (c *countingColumn) Append(v any) error { c.rows += reflect.ValueOf(v).Len(); return nil }
func (c *countingColumn) AppendRow(any) error {
	c.rows++
	return nil
}

// fill gives each column of a table its rows, and says if one has another number.
func fill[T any](t *testing.T, table *table[T], rows []T) {
	t.Helper()
	for _, column := range table.columns {
		var c countingColumn
		if err := column.add(&c, rows); err != nil || c.rows != len(rows) {
			t.Errorf("%s.%s: %d of %d rows, %v", table.name, column.name, c.rows, len(rows), err)
		}
	}
}

// FuzzRows: any record of a topic becomes a row, if only one of unreadable, and
// every column of its table has a value for it.
func FuzzRows(f *testing.F) {
	d := event.Decision{DecisionID: "d", RefundID: "r", Outcome: event.Review, Hits: []event.Hit{{Rule: "x", Mode: "live"}}, OccurredAt: 1}
	f.Add(uint8(1), d.Append(nil), "k", "v", int64(0))
	f.Add(uint8(2), (&event.Alert{AlertID: "a", Rule: "x", Severity: "high", At: 1}).Append(nil), "k", "v", int64(-1<<62))
	f.Add(uint8(6), []byte("x"), event.HeaderCode, "TOO_LARGE", int64(1<<62))
	f.Add(uint8(1), []byte(`{"decision_id":"d","refund_id":"r","outcome":"reject","occurred_at":"9999-12-31T23:59:59Z","amount":"-99999999999999.9999"}`), "", "", int64(5))
	f.Add(uint8(3), (&event.Label{LabelID: "a", RefundID: "r", Label: "fraud", Source: "analyst", At: 1, Weight: 10}).Append(nil), "k", "v", int64(1))
	f.Add(uint8(4), []byte("{}"), event.HeaderCase, string((&event.CaseSummary{RefundID: "r", State: "in_review", ChangedAt: 1, DueAt: 1, Satisfied: event.No}).Append(nil)), int64(1))
	f.Add(uint8(4), []byte("{}"), event.HeaderCase, "{", int64(1))
	f.Add(uint8(4), []byte{}, "k", "v", int64(1)) // ends a case
	f.Add(uint8(5), (&event.Status{RefundID: "r", Status: "approved", ETA: 1, At: 1}).Append(nil), "k", "v", int64(1))
	f.Add(uint8(9), []byte(`{"refund_id":"r","amount":"99999999999999.9999","currency":"EUR","occurred_at":"9999-12-31T23:59:59Z","mfa":true,"coupon":7}`), "k", "v", int64(1))
	f.Add(uint8(8), []byte(`{"transaction_id":"t","amount":1,"currency":"EUR","occurred_at":-1}`), "k", "v", int64(1))
	f.Add(uint8(7), []byte(`{"result_id":"l","refund_id":"r","status":"failed","occurred_at":1,"amount":2}`), "k", "v", int64(1))
	f.Add(uint8(7), []byte(`{"result_id":`), "k", "v", int64(1))
	var readers []*reader
	for k := decisionRecords; k < inputRecords; k++ {
		readers = append(readers, &reader{kind: k})
	}
	schema := event.Builtin()
	if err := schema.Extend(map[string]event.StreamConfig{"refunds": {Fields: map[string]event.FieldConfig{"coupon": {Type: "int"}}}}); err != nil {
		f.Fatal(err)
	}
	for _, stream := range inputs(schema, true) {
		readers = append(readers, &reader{inputRecords, stream, event.NewDecoder(stream, event.Limits{}), nil})
	}
	f.Fuzz(func(t *testing.T, which uint8, value []byte, key, header string, at int64) {
		rd := readers[(int(which)+len(readers)-1)%len(readers)]
		records := make([]*kgo.Record, 0, 120)
		for i := range cap(records) { // of any months
			r := &kgo.Record{Key: []byte(key), Value: value, Timestamp: time.Unix(0, at).AddDate(0, i, 0), Headers: []kgo.RecordHeader{
				{Key: event.HeaderErrorTopic, Value: []byte("refunds")}, {Key: event.HeaderErrorPartition, Value: []byte("3")},
				{Key: event.HeaderErrorOffset, Value: []byte("7")}, {Key: event.HeaderCode, Value: []byte("X")}, {Key: key, Value: []byte(header)}}}
			records = append(records, r)
		}
		for len(records) > 0 {
			r, took := rd.read(records, maxMonths)
			if n := len(r.decisions) + len(r.alerts) + len(r.labels) + len(r.cases) + len(r.statuses) + len(r.deadLetters) + len(r.inputs) + len(r.unreadable); n != took && (rd.kind != caseRecords && rd.kind != inputRecords || n > 0) || took < min(maxMonths, len(records)) {
				t.Fatalf("%d rows of %d records of %d", n, took, len(records))
			}
			fill(t, decisions(), r.decisions)
			fill(t, hits(), r.hits)
			fill(t, alerts(), r.alerts)
			fill(t, labels(), r.labels)
			fill(t, cases(), r.cases)
			fill(t, statuses(), r.statuses)
			fill(t, deadLetters(), r.deadLetters)
			if len(r.inputs) > 0 {
				fill(t, input(r.stream), r.inputs)
			}
			fill(t, unreadable(), r.unreadable)
			records = records[took:]
		}
	})
}
