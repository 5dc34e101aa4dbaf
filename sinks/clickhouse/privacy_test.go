package clickhouse_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/privacy"
)

// hidden are the fields that the tests of privacy pseudonymize.
var hidden = []string{"customer_id", "device_id", "ip", "instrument_id"}

func pseudonymizer(t testing.TB) *privacy.Pseudonymizer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "privacy.key")
	if err := os.WriteFile(file, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := privacy.New(privacy.Config{Pseudonymize: hidden, KeyFile: file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// people makes records that hold personal data wherever it can be.
type people struct {
	*rand.Rand
	secrets []string
	n       int
}

func newPeople(seed uint64) *people {
	g := &people{Rand: rand.New(rand.NewPCG(seed, 1))}
	for i := range 24 {
		kind := []string{"cust", "dev", "inst"}[i%3]
		g.secrets = append(g.secrets, fmt.Sprintf("%s%s%d", kind, strings.Repeat("x", g.IntN(3)), 1000+i*7))
	}
	for i := range 8 {
		g.secrets = append(g.secrets, fmt.Sprintf("203.0.113.%d", 100+i))
	}
	return g
}

func (g *people) one(kind int) string {
	if kind == 3 {
		return g.secrets[24+g.IntN(8)]
	}
	return g.secrets[kind+3*g.IntN(8)]
}

// records is one of each kind that the sink reads.
func (g *people) records() []*kgo.Record {
	g.n++
	customer, device, instrument, ip := g.one(0), g.one(1), g.one(2), g.one(3)
	refund := fmt.Sprintf("re_%d", g.n)
	at := int64(1_700_000_000_000) + int64(g.n)*60_000
	said := fmt.Sprintf("%s asked from %s, on %s with %s", customer, ip, device, instrument)
	d := event.Decision{DecisionID: event.DecisionID(refund, 0), RefundID: refund, TransactionID: "tx_1", CustomerID: customer, MerchantID: "mer_1", Amount: 10_000, Currency: mustCurrency("USD"),
		Outcome: event.Review, DecidedBy: "engine", Hits: []event.Hit{{Rule: "r", Mode: "live", Action: "review", Severity: "high", Message: said}},
		Errors: []event.RuleError{{Rule: "s", Error: "can't add " + ip + " and " + device}},
		Features: []event.Feature{{Name: "refunds.by(customer_id).ever().last(ip)", Kind: event.FeatureString, Str: g.one(3)},
			{Name: "refunds.by(ip).ever().first(device_id)", Kind: event.FeatureString, Str: g.one(1)},
			{Name: fmt.Sprintf("refunds.by(customer_id).where(customer_id != %q).ever().count()", customer), Kind: event.FeatureInt, Num: 1}},
		Original: &event.Original{TransactionID: "tx_1", Amount: 10_000, Currency: mustCurrency("USD"), OccurredAt: at, InstrumentID: instrument},
		Ruleset:  "sha256:00", OccurredAt: at, ReceivedAt: at, DecidedAt: at, Source: event.Source{Topic: "refunds"}}
	a := event.Alert{AlertID: event.AlertID("test", refund), Rule: "r", Severity: "high", RefundID: refund, CustomerID: customer, DeviceID: device, InstrumentID: instrument, Message: said, At: at}
	l := event.Label{LabelID: event.LabelID(event.LabelByAnalyst, refund), RefundID: refund, Label: event.LabelFraud, Source: event.LabelByAnalyst, At: at, Weight: 10, Note: said}
	c := event.CaseSummary{RefundID: refund, CustomerID: customer, Amount: 10_000, Currency: mustCurrency("USD"), State: "in_review", OccurredAt: at, ReceivedAt: at, OpenedAt: at, Since: at, ChangedAt: at}
	request := fmt.Sprintf(`{"refund_id":%q,"customer_id":%q,"device_id":%q,"ip":%q,"instrument_id":%q,"about":%q}`, refund, customer, device, ip, instrument, said)
	st := event.Status{RefundID: refund, CustomerID: customer, Status: "in_review", CustomerMessage: said, At: at}
	sent := request[:len(request)-1] + fmt.Sprintf(`,"amount":"5","currency":"USD","occurred_at":%d}`, at)
	letter := func(value string) *kgo.Record {
		rec := &kgo.Record{Topic: topics.DeadLetters, Key: []byte(customer), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("of " + customer)}}}
		dead := event.DeadLetter{Code: "X", Field: "customer_id", Message: fmt.Sprintf("%q… is too long", customer), Topic: "refunds", Offset: int64(g.n), Timestamp: at}
		for _, h := range dead.AppendHeaders(nil) {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		return rec
	}
	held := caseRecord(&c)
	held.Value = []byte(request)
	return []*kgo.Record{
		{Topic: topics.Decisions, Key: []byte(refund), Value: d.Append(nil)},
		{Topic: topics.Alerts, Key: []byte(a.AlertID), Value: a.Append(nil)},
		{Topic: topics.Labels, Key: []byte(refund), Value: l.Append(nil)},
		held, letter(request), letter(request[:len(request)-1]),
		{Topic: topics.Alerts, Key: []byte(customer), Value: []byte(request)}, // isn't an alert
		{Topic: topics.Status, Key: []byte(refund), Value: st.Append(nil)},
		{Topic: refunds, Key: []byte(customer), Value: []byte(sent)},
		{Topic: transactions, Key: []byte(customer), Value: []byte(strings.Replace(sent, "refund_id", "transaction_id", 1))},
		{Topic: ledgerResults, Key: []byte(refund), Value: fmt.Appendf(nil, `{"result_id":"lr_%d","refund_id":%q,"status":"failed","occurred_at":%d,"error":%q}`, g.n, refund, at, said)},
	}
}

// tables are those that hold rows, and their columns.
func (w *world) tables() map[string][]string {
	w.t.Helper()
	columns := map[string][]string{}
	for _, name := range w.column("SELECT concat(table, '.', name) FROM system.columns WHERE database = currentDatabase() AND table IN " +
		"(SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND name != 'schema_version')") {
		table, column, _ := strings.Cut(name, ".")
		columns[table] = append(columns[table], column)
	}
	return columns
}

// Nothing that is pseudonymized is anywhere in ClickHouse, every table that has
// such a column has pseudonyms there, and counts by customer are what they are
// without.
func TestPseudonymsAreAllThatIsStored(t *testing.T) {
	slow(t)
	w := newFakeWorld(t, server(t))
	seed := rand.Uint64()
	t.Log("seed", seed)
	g := newPeople(seed)
	customers := map[string]int{}
	var records []*kgo.Record
	for range 60 {
		records = append(records, g.records()...)
	}
	w.transaction(kgo.TryCommit, records...)

	s, stop := w.start()
	w.drain(s)
	stop()
	for _, text := range w.column("SELECT customer_id FROM decisions") {
		customers[text]++
	}
	clear := w.query("SELECT count() FROM alerts WHERE position(raw, '203.0.113.') > 0")
	if clear == "0" {
		t.Fatal("the records hold no address to begin with")
	}

	w.cfg.Database += "_p"
	w.cfg.Group += "-p"
	w.privacy = pseudonymizer(t)
	s, stop = w.start()
	w.drain(s)
	stop()
	var quoted []string
	for _, secret := range g.secrets {
		quoted = append(quoted, "'"+secret+"'")
	}
	empty := []string{}
	for table, columns := range w.tables() {
		if w.query("SELECT count() FROM "+table) == "0" {
			// What is summed up has none, where what it is made of has none.
			if slices.ContainsFunc(columns, func(c string) bool {
				return slices.Contains(hidden, c) || slices.Contains([]string{"raw", "value", "key", "headers", "message", "features"}, c)
			}) {
				empty = append(empty, table)
			}
			continue
		}
		for _, column := range columns {
			if got := w.query(fmt.Sprintf("SELECT count() FROM %s WHERE multiSearchAny(toString(%s), [%s])", table, column, strings.Join(quoted, ","))); got != "0" {
				t.Errorf("%s rows of %s.%s hold cleartext: %s", got, table, column,
					w.query(fmt.Sprintf("SELECT any(toString(%s)) FROM %s WHERE multiSearchAny(toString(%[1]s), [%[3]s])", column, table, strings.Join(quoted, ","))))
			}
			if slices.Contains(hidden, column) {
				if got := w.query(fmt.Sprintf("SELECT (countIf(match(toString(%s), '^h_[0-9a-f]{32}$')) > 0, countIf(%[1]s != '' AND NOT match(toString(%[1]s), '^h_[0-9a-f]{32}$')))", column) + " FROM " + table); got != "(1,0)" {
					t.Errorf("%s.%s: has pseudonyms, and how many other values: %s", table, column, got)
				}
			}
		}
	}
	if len(empty) > 0 {
		t.Errorf("no rows in %v: have this test's records fill them, or nobody knows whether personal data comes there", empty)
	}
	hashed := map[string]int{}
	for _, text := range w.column("SELECT customer_id FROM decisions") {
		hashed[text]++
	}
	want := map[string]int{}
	for customer, n := range customers {
		want[w.privacy.Of(customer)] = n
	}
	if !maps.Equal(hashed, want) {
		t.Errorf("decisions by customer: %v, want %v", hashed, want)
	}
}
