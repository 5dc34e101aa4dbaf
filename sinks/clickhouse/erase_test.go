package clickhouse_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

// person is a customer of whom every table knows something. Whatever is personal
// has its mark in it.
type person struct {
	id, mark string
	n        int
}

// hostile is what ids are made of.
var hostile = []string{"cus_", `o'hara`, `"quoted"`, `100%_`, `back\slash\`, `a,b{ids:String}`, "ünï😀", `</script>&`, "tab\tline\n", `\u0041`, "?$1", ") OR 1=1 --", "plain"}

func persons(n int) (all []person) {
	for i := range n {
		mark := fmt.Sprintf("~%d~", i)
		all = append(all, person{hostile[i%len(hostile)] + mark, mark, i})
	}
	return all
}

func inJSON(t *testing.T, what map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// records are of three refunds: two by p, of which an analyst decided one, and
// one by nobody, of what p paid.
func (p person) records(t *testing.T) (records []*kgo.Record) {
	add := func(topic, key string, value []byte) {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(key), Value: value})
	}
	for j := range 3 {
		at := int64(1_700_000_000_000) + int64(j)*15*86_400_000 + int64(p.n%4)*3_600_000 + int64(p.n)
		refund, transaction, customer := fmt.Sprintf("re_%d_%d", p.n, j), fmt.Sprintf("tx_%d_%d", p.n, j), p.id
		if j == 2 {
			customer = ""
		}
		d := event.Decision{
			DecisionID: event.DecisionID(refund, 0), RefundID: refund, TransactionID: transaction, CustomerID: customer, MerchantID: "shop",
			Amount: event.Money(10_000 * (p.n + 1)), Currency: mustCurrency("USD"), Outcome: event.Review, DecidedBy: "engine", Score: 60,
			Hits: []event.Hit{{Rule: "velocity", Mode: "live", Action: "review", Score: 40, Severity: "high", Message: "many of " + p.id},
				{Rule: "device", Mode: "shadow", Severity: "low", Message: "seen dev" + p.mark}},
			Features: []event.Feature{{Name: "refunds.by(customer_id).last(device_id)", Kind: event.FeatureString, Str: "dev" + p.mark}},
			Controls: []string{"snooze:velocity:" + p.id},
			Original: &event.Original{TransactionID: transaction, Amount: 2_000_000, Currency: mustCurrency("USD"), OccurredAt: at - 86_400_000, InstrumentID: "card" + p.mark},
			Ruleset:  "sha256:00", OccurredAt: at, ReceivedAt: at + 100, DecidedAt: at + 200,
		}
		add(topics.Decisions, refund, d.Append(nil))
		if j == 0 {
			d.DecisionID, d.Outcome, d.DecidedBy, d.DecidedAt, d.Hits = event.DecisionID(refund, 1), event.Approve, "analyst:ann", at+5000, nil
			add(topics.Decisions, refund, d.Append(nil))
		}
		a := event.Alert{AlertID: event.AlertID("test", refund), Rule: "velocity", Severity: "high", RefundID: refund, TransactionID: transaction, CustomerID: customer, DeviceID: "dev" + p.mark,
			InstrumentID: "card" + p.mark, Outcome: "review", Amount: 12_990, Currency: mustCurrency("USD"), Message: "many of " + p.id, At: at}
		add(topics.Alerts, refund, a.Append(nil))
		l := event.Label{LabelID: event.LabelID(event.LabelByAnalyst, refund), RefundID: refund, TransactionID: "", Label: event.LabelFraud, Source: event.LabelByAnalyst, By: "ann", At: at + 9000, Weight: 10, Note: "knows " + p.id}
		if j == 1 {
			l.RefundID, l.TransactionID = "", transaction
		}
		add(topics.Labels, refund, l.Append(nil))
		c := event.CaseSummary{RefundID: refund, TransactionID: transaction, CustomerID: customer, Amount: d.Amount, Currency: d.Currency, State: "in_review", Severity: "high", DecidedBy: "engine", DecisionID: d.DecisionID,
			OccurredAt: at, ReceivedAt: at + 100, OpenedAt: at + 200, Since: at + 200, ChangedAt: at + 200}
		records = append(records, caseRecord(&c))
		c.State, c.ChangedAt = "approved", at+5000
		records = append(records, caseRecord(&c))
		s := event.Status{RefundID: refund, CustomerID: customer, Status: "approved", CustomerMessage: "It is on its way, " + p.id, At: at + 200}
		add(topics.Status, refund, s.Append(nil))
		add(ledgerResults, refund, inJSON(t, map[string]any{"result_id": "lr_" + refund, "refund_id": refund, "status": "failed", "amount": "1.30", "currency": "USD", "error": "no card" + p.mark, "occurred_at": at + 3_600_000}))
		add(transactions, refund, inJSON(t, map[string]any{"transaction_id": transaction, "amount": "200.00", "currency": "USD", "customer_id": p.id, "device_id": "dev" + p.mark, "instrument_id": "card" + p.mark, "ip": "ip" + p.mark, "occurred_at": at - 86_400_000}))
		add(refunds, refund, inJSON(t, map[string]any{"refund_id": refund, "transaction_id": transaction, "amount": "1.30", "currency": "USD", "customer_id": customer, "device_id": "dev" + p.mark, "ip": "ip" + p.mark, "occurred_at": at}))
		dead := deadLetter(p.n)
		switch dead.Key = []byte(refund); j {
		case 0: // found by its key
			dead.Value = []byte("{not json dev" + p.mark)
		case 1:
			dead.Key, dead.Value = nil, inJSON(t, map[string]any{"customer_id": p.id, "amount": false})
		case 2: // whoever wrote this escapes no <, and doesn't end
			text, _ := json.Marshal(p.id)
			dead.Value, dead.Key = []byte(`{"user": {"id": `+strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(text))+" \n}"), nil
			if strings.Contains(p.id, `\u00`) {
				dead.Value = []byte(`{"id": ` + string(text))
			}
		}
		records = append(records, dead)
		add(topics.Alerts, refund, inJSON(t, map[string]any{"nonsense": []string{p.id}}))
	}
	// p also asks for what somebody else has paid.
	other := (p.n + 1) % 3
	at := int64(1_700_000_000_000) + int64(p.n)
	d := event.Decision{DecisionID: event.DecisionID(fmt.Sprintf("re_%d_x", p.n), 0), RefundID: fmt.Sprintf("re_%d_x", p.n), TransactionID: fmt.Sprintf("tx_%d_0", other), CustomerID: p.id, Amount: 7, Currency: mustCurrency("USD"), Outcome: event.Reject,
		DecidedBy: "engine", Ruleset: "sha256:00", OccurredAt: at, ReceivedAt: at, DecidedAt: at}
	add(topics.Decisions, d.RefundID, d.Append(nil))
	return records
}

// marked are the places that have one of these people's marks: a column of a
// table each.
func (w *world) marked(these ...person) (places []string) {
	w.t.Helper()
	for _, tc := range w.column(`SELECT concat(table, ' ', arrayStringConcat(groupArray(concat('if(countIf(multiSearchAny(toString(', name, '), MARKS)) > 0, \'', table, '.', name, '\', \'\')')), ', ')) FROM system.columns
		WHERE database = currentDatabase() AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree') GROUP BY table`) {
		table, looks, _ := strings.Cut(tc, " ")
		places = append(places, w.column("SELECT arrayJoin(arrayFilter(x -> x != '', ["+strings.ReplaceAll(looks, "MARKS", marks(these))+"])) FROM "+table)...)
	}
	return places
}

func marks(these []person) string {
	var all []string
	for _, p := range these {
		all = append(all, "'"+p.mark+"'")
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// rowsOf are the rows of all tables that have one of the people's marks, each
// once; every row, where these are none.
func (w *world) rowsOf(these ...person) map[string][]string {
	w.t.Helper()
	all := map[string][]string{}
	for _, table := range clickhouse.ErasureTables() {
		where := ""
		if len(these) > 0 {
			where = " WHERE multiSearchAny(text, " + marks(these) + ")"
		}
		all[table] = w.column("SELECT text FROM (SELECT toString(tuple(*)) AS text FROM " + table + " FINAL)" + where + " ORDER BY text")
	}
	return all
}

var counting = []string{"v_refunds_hourly", "v_refunds_daily", "v_rule_stats", "v_ruleset_changes"}

func (w *world) counted() map[string][]string {
	all := map[string][]string{}
	for _, view := range counting {
		all[view] = w.column("SELECT toString(tuple(*)) AS text FROM " + view + " ORDER BY text")
	}
	return all
}

func (w *world) same(what string, want, got map[string][]string) {
	w.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w.sameRows(what+": "+name, slices.Clone(want[name]), got[name])
	}
}

// After an erasure, whatever it was interrupted by, no column of any table has
// anything of that person; every row of others is what it was, and so are views
// that count.
func TestErasedCustomersAreNowhereAndCountsStay(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w := newWorld(t, server(t))
	w.cfg.RollupInterval = time.Hour
	tables := clickhouse.ErasureTables()
	all := persons(len(tables) + 3)
	var records []*kgo.Record
	for _, p := range all {
		records = append(records, p.records(t)...)
	}
	w.transaction(kgo.TryCommit, records...)
	s, _ := w.start()
	w.drain(s)
	committed := time.Now().Add(-time.Hour)
	refresh := func() {
		t.Helper()
		committed = committed.Add(time.Second)
		if err := s.Refresh(context.Background(), math.MaxInt, committed); err != nil {
			t.Fatal(err)
		}
	}
	refresh()
	if n := w.query("SELECT count() FROM rollup_state WHERE clean"); n == "0" {
		t.Fatal("no rollup was computed")
	}
	before := w.counted()
	stay := all[:2] // of whom the others ask for something, too
	others := w.rowsOf(stay...)
	for _, table := range tables {
		if len(others[table]) == 0 {
			t.Errorf("%s has nothing of who stays: the test shows nothing", table)
		}
	}
	if places := w.marked(all[2]); len(places) < 20 {
		t.Errorf("only %v have a customer's mark", places)
	}

	everything := w.rowsOf()
	would, err := clickhouse.Erase(t.Context(), w.cfg, []string{all[2].id}, true)
	if err != nil {
		t.Fatal(err)
	}
	w.same("after a dry run", everything, w.rowsOf())
	did, err := clickhouse.Erase(t.Context(), w.cfg, []string{"h_pseudonym", all[2].id}, false)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(would, did) {
		t.Errorf("a dry run says\n%v, and then\n%v", would, did)
	}
	for _, e := range did {
		if e.Rows == 0 {
			t.Errorf("nothing was erased in %s", e.Table)
		}
	}
	var rest []string
	for i, table := range tables {
		p := all[3+i]
		if err := clickhouse.EraseInterrupted(t.Context(), w.cfg, []string{p.id}, table); err == nil || !strings.Contains(err.Error(), "interrupted after "+table) {
			t.Fatalf("not interrupted after %s: %v", table, err)
		}
		rest = append(rest, p.id)
	}
	if _, err := clickhouse.Erase(t.Context(), w.cfg, rest, false); err != nil {
		t.Fatal(err)
	}
	w.same("other customers' rows", others, w.rowsOf(stay...))
	w.same("views", before, w.counted())
	refresh()
	w.same("views of new rollups", before, w.counted())
	if places := w.marked(all[2:]...); len(places) > 0 {
		t.Errorf("of those erased something is left in %v", places)
	}
	for _, p := range []person{all[2], all[len(all)-1]} {
		again, err := clickhouse.Erase(t.Context(), w.cfg, []string{p.id}, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range again {
			if e.Rows != 0 {
				t.Errorf("%q: the second run erased %d rows of %s", p.id, e.Rows, e.Table)
			}
		}
	}
	// What is blanked is a row yet.
	for _, table := range []string{"decisions", "hits", "alerts", "labels", "ledger_results", "cases"} {
		if is := w.query("SELECT count() FROM " + table + " FINAL"); is != fmt.Sprint(len(everything[table])) {
			t.Errorf("%s had %d rows, and has %s", table, len(everything[table]), is)
		}
	}
}

// Whoever adds a table with something personal has to say what Erase does with it.
func TestEveryTableHasAnErasurePolicy(t *testing.T) {
	w := worldOf(t, server(t), []string{"127.0.0.1:1"})
	if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	personal := w.column(`SELECT DISTINCT table FROM system.columns WHERE database = currentDatabase() AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')
		AND name IN ('customer_id', 'raw', 'value', 'key', 'note', 'message', 'refund_id', 'transaction_id', 'instrument_id', 'device_id', 'ip', 'custom', 'features')`)
	w.sameRows("tables with something personal", personal, clickhouse.ErasureTables())
}

func TestOnlyNamedCustomersAreErased(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w := worldOf(t, server(t), []string{"127.0.0.1:1"})
	if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	w.exec("INSERT INTO decisions (refund_id, decision_id, customer_id) VALUES ('re_1', 'd_1', ''), ('re_2', 'd_2', 'cus_1'), ('re_3', 'd_3', '%')")
	w.exec("INSERT INTO dead_letters (key, value) VALUES ('', ''), ('k', '{\"cus_1\": \"x\"}'), ('l', '{\"a\": \"not cus_1\"}')")
	for _, ids := range [][]string{nil, {}, {""}, {"cus_1", ""}, {"\xff"}} {
		if did, err := clickhouse.Erase(t.Context(), w.cfg, ids, false); err == nil || did != nil {
			t.Errorf("%q was taken: %v", ids, did)
		}
	}
	for id, want := range map[string]uint64{"nobody": 0, "%": 1, "cus_": 0, "cus_1": 1} {
		var n uint64
		did, err := clickhouse.Erase(t.Context(), w.cfg, []string{id}, true)
		for _, e := range did {
			n += e.Rows
		}
		if err != nil || n != want {
			t.Errorf("%q: %d rows, want %d: %v", id, n, want, err)
		}
	}
	w.exec("DROP TABLE statuses")
	did, err := clickhouse.Erase(t.Context(), w.cfg, []string{"cus_1"}, false)
	if i := slices.Index(clickhouse.ErasureTables(), "statuses"); err != nil || did[i] != (clickhouse.Erased{Table: "statuses", Action: "missing"}) {
		t.Errorf("a table that isn't there: %v, %v", did, err)
	}
	if got := w.query("SELECT groupArray(customer_id) FROM (SELECT customer_id FROM decisions ORDER BY refund_id)"); got != "['','','%']" {
		t.Errorf("customers are now %s", got)
	}
}

// More ids than one statement can name, and long ones, over either protocol.
func TestErasingSomebodyWithManyRefunds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, protocol := range []string{clickhouse.Native, clickhouse.HTTP} {
		w := worldOf(t, server(t), []string{"127.0.0.1:1"})
		if w.cfg.Protocol = protocol; protocol == clickhouse.HTTP {
			w.cfg.Addr = []string{server(t).HTTPAddr()}
		}
		if _, err := clickhouse.Migrate(t.Context(), w.cfg); err != nil {
			t.Fatal(err)
		}
		const id = "concat(repeat('r', 200), toString(number)) AS id"
		w.exec("INSERT INTO cases (refund_id, transaction_id, customer_id, raw) SELECT id, id, 'cus_1', 'x' FROM (SELECT " + id + " FROM numbers(450))")
		w.exec("INSERT INTO ledger_results (refund_id, raw) SELECT id, 'x' FROM (SELECT " + id + " FROM numbers(460))")
		w.exec("INSERT INTO labels (refund_id, transaction_id, note) SELECT if(number % 2 = 0, id, ''), id, 'x' FROM (SELECT number, " + id + " FROM numbers(460))")
		w.exec("INSERT INTO dead_letters (key, value, kafka_offset) SELECT id, if(number % 2 = 0, '[\"cus_1\"]', ''), number FROM (SELECT number, " + id + " FROM numbers(460))")
		want := map[string]uint64{"cases": 450, "ledger_results": 450, "labels": 450, "dead_letters": 455}
		for _, dry := range []bool{true, false} {
			did, err := clickhouse.Erase(t.Context(), w.cfg, []string{"cus_1"}, dry)
			if err != nil {
				t.Fatalf("%s: %v", protocol, err)
			}
			for _, e := range did {
				if e.Rows != want[e.Table] {
					t.Errorf("%s, dry %v: %d rows of %s, want %d", protocol, dry, e.Rows, e.Table, want[e.Table])
				}
			}
		}
		for query, want := range map[string]string{
			"SELECT countIf(raw != '') FROM ledger_results": "10", "SELECT countIf(note != '') FROM labels": "10", "SELECT count() FROM dead_letters": "5", "SELECT countIf(customer_id != '') FROM cases": "0"} {
			if got := w.query(query); got != want {
				t.Errorf("%s: %s gives %s, want %s", protocol, query, got, want)
			}
		}
	}
}

// Who may only look can count, and is told what else to grant, before anything
// is changed.
func TestErasingSaysWhatIsNotGranted(t *testing.T) {
	w, _ := engineWithUsers(t)
	w.exec("INSERT INTO decisions (refund_id, decision_id, customer_id) VALUES ('re_1', 'd_1', 'cus_1')")
	cfg := w.cfg
	cfg.Username, cfg.Migrate = "reader", false
	if did, err := clickhouse.Erase(t.Context(), cfg, []string{"cus_1"}, true); err != nil || len(did) == 0 {
		t.Errorf("a dry run: %v, %v", did, err)
	}
	_, err := clickhouse.Erase(t.Context(), cfg, []string{"cus_1"}, false)
	for _, want := range []string{"INSERT", "ALTER UPDATE", "ALTER DELETE"} {
		if err == nil || !strings.Contains(err.Error(), "run GRANT "+want+" ON ours.* TO reader") {
			t.Errorf("%s isn't told in: %v", want, err)
		}
	}
	if got := w.query("SELECT customer_id FROM decisions"); got != "cus_1" {
		t.Errorf("something was changed: %q", got)
	}
}
