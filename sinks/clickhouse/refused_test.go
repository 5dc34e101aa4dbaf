package clickhouse_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
)

// poison makes a decision that constraints of these tests refuse.
func poison(rec *kgo.Record) *kgo.Record {
	rec.Value = []byte(strings.NewReplacer(`"decided_by":"engine"`, `"decided_by":"analyst:somebody-with-a-long-name"`,
		`"amount":"129.`, `"amount":"999999129.`).Replace(string(rec.Value)))
	return rec
}

func poisonous(rec *kgo.Record) bool {
	return strings.Contains(string(rec.Value), "somebody-with-a-long-name")
}

// refusals are what it takes to refuse poison, by who does it.
var refusals = map[string]string{
	"a constraint":                "ALTER TABLE decisions ADD CONSTRAINT short CHECK length(decided_by) < 20",
	"a constraint of another one": "ALTER TABLE hits ADD CONSTRAINT short CHECK length(decided_by) < 20",
	"an enum":                     "ALTER TABLE decisions MODIFY COLUMN decided_by Enum8('engine')",
	"a smaller decimal":           "ALTER TABLE decisions MODIFY COLUMN amount Decimal(9, 4)",
	"a fixed length":              "ALTER TABLE decisions MODIFY COLUMN decided_by FixedString(16)",
}

// produceMixed writes n decisions, some of them poison, and returns how many.
func (w *world) produceMixed(n int, isPoison func(i int) bool) (poisoned int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var records []*kgo.Record
	for i := range n {
		rec := w.decision(w.produced)
		if isPoison(i) {
			rec = poison(rec)
			poisoned++
		}
		records = append(records, rec)
		w.produced++
	}
	w.transaction(kgo.TryCommit, records...)
	return poisoned
}

// expectLetters compares the dead letters with the poison in the topic: one for
// each, with its own bytes, key and headers, and its place.
func (w *world) expectLetters(code string) {
	w.t.Helper()
	var want, got []string
	for _, r := range w.committed(topics.Decisions) {
		if poisonous(r) {
			want = append(want, fmt.Sprintf("%s/%d/%d %s %s", r.Topic, r.Partition, r.Offset, r.Key, r.Value))
		}
	}
	for _, r := range w.committed(topics.DeadLetters) {
		var headers []event.Header
		table := ""
		for _, h := range r.Headers {
			headers = append(headers, event.Header(h))
			if h.Key == clickhouse.HeaderTable {
				table = string(h.Value)
			}
		}
		d, err := event.ParseDeadLetter(headers)
		if err != nil {
			w.t.Fatal(err)
		}
		if d.Code != code || !strings.Contains(d.Message, "decided_by") && !strings.Contains(d.Message, "amount") || len(d.Message) > 1100 || d.Timestamp == 0 || table != "decisions" && table != "hits" {
			w.t.Errorf("dead letter of table %q: %+v", table, d)
		}
		got = append(got, fmt.Sprintf("%s/%d/%d %s %s", d.Topic, d.Partition, d.Offset, r.Key, r.Value))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("dead letters: %s", difference(got, want))
	}
}

// auditAround is audit where what is poisonous isn't stored in table.
func (w *world) auditAround(table string) {
	w.t.Helper()
	if table == "decisions" {
		// Its hits are stored: only what is refused is left out.
		w.exec("ALTER TABLE hits DELETE WHERE length(decided_by) >= 20 SETTINGS mutations_sync = 2")
		w.exec("TRUNCATE TABLE per_rule")
		w.exec("INSERT INTO per_rule SELECT rule, uniqExactState(decision_id), max(occurred_at) FROM hits GROUP BY rule")
	}
	w.audit(poisonous)
}

// A record that a table won't take is found among the others, which are stored
// once, in tables and rollups; it is one dead letter, and the sink goes on.
func TestPoisonIsIsolated(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for name, alter := range refusals {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, server(t))
			w.addRollups()
			w.exec(alter)
			w.cfg.MaxRefused = 100
			bad := rand.Perm(400)[:7]
			poisoned := w.produceMixed(400, func(i int) bool { return slices.Contains(bad, i) })
			poisoned += w.produceMixed(5, func(i int) bool { return i < 3 })
			s, _ := w.start()
			w.drain(s)
			poisoned += w.produceMixed(1, func(int) bool { return true })
			w.produceMixed(50, func(int) bool { return false })
			w.drain(s)
			w.wait("Ready", func() bool { return s.Ready() == nil })
			w.expectLetters(clickhouse.CodeRefused)
			w.drain(s) // the dead letters, too
			if got := w.metric(`refundguard_clickhouse_refused_total{topic="refund-decisions"}`); got != float64(poisoned) {
				t.Errorf("%v records counted as refused, want %d", got, poisoned)
			}
			if got := w.query("SELECT count() FROM dead_letters WHERE code = 'CLICKHOUSE_REFUSED' AND source_topic = 'refund-decisions'"); got != fmt.Sprint(poisoned) {
				t.Errorf("%s dead letters in ClickHouse, want %d", got, poisoned)
			}
			if name == "a constraint of another one" {
				// A decision is stored, though its hits are not.
				if got := w.query("SELECT (count(), uniqExact(decision_id)) FROM decisions"); got != fmt.Sprintf("(%d,%d)", w.produced, w.produced) {
					t.Errorf("decisions: %s", got)
				}
				if got := w.query("SELECT (count(), uniqExact(rule, decision_id)) FROM hits"); got != fmt.Sprintf("(%d,%d)", 2*(w.produced-poisoned), 2*(w.produced-poisoned)) {
					t.Errorf("hits: %s", got)
				}
				w.auditRollups()
				return
			}
			if got := w.query("SELECT (count(), uniqExact(rule, decision_id)) FROM hits"); got != fmt.Sprintf("(%d,%d)", 2*w.produced, 2*w.produced) {
				t.Errorf("hits: %s", got)
			}
			w.auditAround("decisions")
		})
	}
}

// Whatever commit a sink dies at while it looks for the poison, and while it
// writes the dead letter: nothing is doubled or lost, dead letters included.
func TestCrashesWhilePoisonIsIsolated(t *testing.T) {
	if testing.Short() {
		t.Skip("each crash takes seconds")
	}
	w := newFakeWorld(t, server(t))
	w.addRollups()
	w.exec(refusals["a constraint"])
	w.cfg.MaxRefused = 100_000
	for crash := range 6 {
		w.cfg.BatchRows = []int{7, 10_000, 50, 1, 300}[crash%5]
		w.produceMixed(60, func(i int) bool { return i == crash || i == 39 })
		died, revive := w.crashAfter(1+rand.IntN(12), crash%2 == 0)
		if crash%3 == 0 { // or within the dead letter's transaction
			revive()
			died, revive = w.crashAtTransaction(crash)
		}
		_, stop := w.start()
		select {
		case <-died:
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // what is under way is done, or not
		case <-time.After(time.Second): // it had less to do
		}
		stop()
		revive()
	}
	w.cfg.BatchRows = 10_000
	s, _ := w.start()
	w.drain(s)
	w.expectLetters(clickhouse.CodeRefused)
	w.drain(s)
	w.auditAround("decisions")
}

// Mending the table while poison is looked for: what was stored before in
// smaller batches is not stored again in a larger one.
func TestConstraintThatComesAndGoes(t *testing.T) {
	slow(t)
	w := newFakeWorld(t, server(t))
	w.addRollups()
	w.cfg.MaxRefused = 0 // nothing is given up
	for range 4 {
		w.exec(refusals["a constraint"])
		w.produceMixed(200, func(i int) bool { return i%40 == 17 })
		s, stop := w.start()
		w.wait("the poison to be found", func() bool { err := s.Ready(); return err != nil && strings.Contains(err.Error(), "max_refused") })
		stop()
		w.exec("ALTER TABLE decisions DROP CONSTRAINT short")
		w.produceDecisions(50) // the next batch could be larger than what is left of this one
		s, stop = w.start()
		w.drain(s)
		stop()
	}
	w.audit(nil)
	if n := len(w.committed(topics.DeadLetters)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// A table that refuses everything is not emptied into the dead letters: the
// sink waits until it is mended, and restarts change nothing about it.
func TestTableThatRefusesEverything(t *testing.T) {
	slow(t)
	w := newWorld(t, server(t))
	w.addRollups()
	w.cfg.MaxRefused = 4
	w.exec("ALTER TABLE decisions ADD CONSTRAINT nothing CHECK refund_id = ''")
	w.produceDecisions(300)
	for range 3 {
		s, stop := w.start()
		w.wait("all partitions to wait", func() bool {
			return len(w.committed(topics.DeadLetters)) >= 3*4 && s.Ready() != nil && strings.Contains(s.Ready().Error(), "max_refused")
		})
		w.transaction(kgo.TryCommit, alert(w.produced)) // others don't wait
		alerts := len(w.committed(topics.Alerts))
		w.wait("an alert", func() bool { return w.query("SELECT count() FROM alerts") == fmt.Sprint(alerts) })
		w.failing(s, "max_refused")
		stop()
	}
	letters := w.committed(topics.DeadLetters)
	if len(letters) != 3*4 {
		t.Errorf("%d dead letters, want %d in each of 3 partitions", len(letters), 4)
	}
	w.exec("ALTER TABLE decisions DROP CONSTRAINT nothing")
	s, _ := w.start()
	w.drain(s)
	dead := map[string]bool{}
	for _, r := range letters {
		dead[string(r.Value)] = true
	}
	if got := w.query("SELECT (count(), uniqExact(decision_id)) FROM decisions"); got != fmt.Sprintf("(%d,%d)", 300-len(dead), 300-len(dead)) {
		t.Errorf("decisions: %s, and %d dead letters", got, len(dead))
	}
	w.auditRollups()
}

// Trouble that is not about a row gives no record up, however long it lasts.
func TestServersTroubleIsNoRows(t *testing.T) {
	slow(t)
	for name, c := range map[string]struct{ do, undo, reason string }{
		"no table":       {"RENAME TABLE decisions TO away", "RENAME TABLE away TO decisions", "rejected"},
		"no column":      {"ALTER TABLE decisions RENAME COLUMN shadow_rules TO gone", "ALTER TABLE decisions RENAME COLUMN gone TO shadow_rules", "rejected"},
		"too many parts": {"ALTER TABLE decisions MODIFY SETTING max_parts_in_total = 1", "ALTER TABLE decisions RESET SETTING max_parts_in_total", "overloaded"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, server(t))
			s, _ := w.start()
			w.produceDecisions(100)
			w.drain(s)
			w.exec(c.do)
			w.produceDecisions(100)
			w.failing(s, c.reason)
			w.exec(c.undo)
			w.drain(s)
			w.audit(nil)
			if n := len(w.committed(topics.DeadLetters)); n != 0 {
				t.Errorf("%d dead letters", n)
			}
		})
	}
}

// A dead letter that its table refuses is in the dead letters already.
func TestPoisonAmongTheDeadLetters(t *testing.T) {
	w := newWorld(t, server(t))
	w.addRollups()
	w.exec("ALTER TABLE dead_letters ADD CONSTRAINT short CHECK source_offset != 3")
	var records []*kgo.Record
	for i := range 10 {
		records = append(records, deadLetter(i))
	}
	w.transaction(kgo.TryCommit, records...)
	s, _ := w.start()
	w.drain(s)
	w.transaction(kgo.TryCommit, deadLetter(11))
	w.drain(s)
	if n := len(w.committed(topics.DeadLetters)); n != 11 {
		t.Errorf("the topic has %d records, want its 11", n)
	}
	if got := w.query("SELECT (count(), uniqExact(source_offset)) FROM dead_letters"); got != "(10,10)" {
		t.Errorf("dead_letters: %s", got)
	}
	if got := w.metric(`refundguard_clickhouse_refused_total{topic="dead-letters"}`); got != 1 {
		t.Errorf("%v counted as refused", got)
	}
	w.auditRollups()
}

// A view of a user's that fails is no row's fault: its table has the row
// already. The sink says so, and waits; mended, the view gets what it missed.
func TestViewThatFails(t *testing.T) {
	slow(t)
	w := newWorld(t, server(t))
	w.addRollups()
	w.exec("CREATE TABLE scores (id String, who UInt32) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000")
	w.exec("CREATE MATERIALIZED VIEW scores_mv TO scores AS SELECT decision_id AS id, toUInt32(substring(customer_id, 5)) AS who FROM decisions")
	s, _ := w.start()
	w.produceDecisions(100)
	w.drain(s)
	odd := w.decision(w.produced)
	odd.Value = []byte(strings.Replace(string(odd.Value), `"customer_id":"cus_0"`, `"customer_id":"cus_x"`, 1))
	w.produced++
	w.transaction(kgo.TryCommit, odd)
	w.failing(s, "materialized view")
	w.produceDecisions(100)
	w.exec("ALTER TABLE scores_mv MODIFY QUERY SELECT decision_id AS id, toUInt32OrZero(substring(customer_id, 5)) AS who FROM decisions")
	w.drain(s)
	w.audit(nil)
	if got := w.query("SELECT (count(), uniqExact(id)) FROM scores"); got != "(201,201)" {
		t.Errorf("scores: %s", got)
	}
	if n := len(w.committed(topics.DeadLetters)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
