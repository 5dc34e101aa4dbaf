package clickhouse_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// rollupModel counts what the records that were stored say, slowly.
type rollupModel struct {
	decisions map[string]map[string]*event.Decision // by refund, by id
	labels    []*event.Label
}

func (m *rollupModel) add(what any) {
	switch x := what.(type) {
	case *event.Decision:
		if m.decisions[x.RefundID] == nil {
			m.decisions[x.RefundID] = map[string]*event.Decision{}
		}
		m.decisions[x.RefundID][x.DecisionID] = x
	case *event.Label:
		m.labels = append(m.labels, x)
	}
}

// labelOf is the label that counts of a refund.
func (m *rollupModel) labelOf(refund, transaction string) string {
	var best *event.Label
	for _, l := range m.labels {
		if l.RefundID == refund || l.RefundID == "" && l.TransactionID == transaction {
			if best == nil || cmp.Or(cmp.Compare(best.Weight, l.Weight), cmp.Compare(best.At, l.At), cmp.Compare(l.LabelID, best.LabelID), cmp.Compare(l.Label, best.Label)) < 0 {
				best = l
			}
		}
	}
	if best == nil {
		return ""
	}
	return best.Label
}

type total struct {
	n      int
	amount *big.Int // in 1/10000
}

type totals map[string]*total

func (t totals) add(amount event.Money, key ...any) {
	k := strings.Trim(fmt.Sprintf("%q", key), "[]")
	if t[k] == nil {
		t[k] = &total{amount: new(big.Int)}
	}
	t[k].n++
	t[k].amount.Add(t[k].amount, big.NewInt(int64(amount)))
}

func (t totals) rows() (rows []string) {
	for key, v := range t {
		rows = append(rows, fmt.Sprintf("%s: %d %d", key, v.n, v.amount))
	}
	return rows
}

// views are the rows that the views are to have, by name.
func (m *rollupModel) views() map[string][]string {
	hourly, daily, rules := totals{}, totals{}, totals{}
	type set struct {
		since   int64
		refunds int
	}
	sets := map[string]*set{}
	for refund, all := range m.decisions {
		var first, last, any *event.Decision
		for _, d := range all {
			any = d
			if d.DecidedBy == "engine" {
				first = d
			} else {
				last = d
			}
		}
		if last == nil {
			last = first
		}
		at := time.UnixMilli(min(max(any.OccurredAt, oldest), newest)).UTC()
		hour, day := at.Truncate(time.Hour).Format(time.DateTime), at.Format(time.DateOnly)
		by, _, _ := strings.Cut(last.DecidedBy, ":")
		label := m.labelOf(refund, any.TransactionID)
		firstOutcome, ruleset, holdout, degraded := "", "", false, false
		if first != nil {
			firstOutcome, ruleset, holdout, degraded = first.Outcome.String(), first.Ruleset, first.Holdout, first.Degraded
			if sets[ruleset] == nil {
				sets[ruleset] = &set{since: math.MaxInt64}
			}
			sets[ruleset].refunds++
			sets[ruleset].since = min(sets[ruleset].since, first.DecidedAt)
			for _, h := range first.Hits {
				rules.add(any.Amount, hour, h.Rule, h.Mode, h.Action, h.Severity, any.Currency.String(), firstOutcome, last.Outcome.String(), label, fmt.Sprint(holdout))
			}
		}
		hourly.add(any.Amount, hour, any.Currency.String(), firstOutcome, last.Outcome.String(), by, label, fmt.Sprint(holdout), fmt.Sprint(degraded), ruleset)
		daily.add(any.Amount, day, any.MerchantID, any.Currency.String(), firstOutcome, last.Outcome.String(), label)
	}
	var changes []string
	for name, s := range sets {
		changes = append(changes, fmt.Sprintf("%q: %d %d", name, s.refunds, s.since))
	}
	return map[string][]string{"v_refunds_hourly": hourly.rows(), "v_refunds_daily": daily.rows(), "v_rule_stats": rules.rows(), "v_ruleset_changes": changes}
}

// What ClickHouse can hold of a time.
var (
	oldest = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	newest = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1
)

// compareRollups holds the views against the model.
func (w *world) compareRollups(m *rollupModel, when string) {
	w.t.Helper()
	text := func(columns ...string) string {
		for i, c := range columns {
			columns[i] = "toString(" + c + ")"
		}
		return "concat('\"', arrayStringConcat([" + strings.Join(columns, ", ") + "], '\" \"'), '\"')"
	}
	want := m.views()
	got := map[string]string{
		"v_refunds_hourly":  text("hour", "currency", "first_outcome", "outcome", "decided_by", "label", "holdout", "degraded", "ruleset") + ", ': ', toString(refunds), ' ', toString(toInt256(amount * 10000))",
		"v_refunds_daily":   text("day", "merchant_id", "currency", "first_outcome", "outcome", "label") + ", ': ', toString(refunds), ' ', toString(toInt256(amount * 10000))",
		"v_rule_stats":      text("hour", "rule", "mode", "action", "severity", "currency", "first_outcome", "outcome", "label", "holdout") + ", ': ', toString(hits), ' ', toString(toInt256(amount * 10000))",
		"v_ruleset_changes": text("ruleset") + ", ': ', toString(refunds), ' ', toString(toUnixTimestamp64Milli(since))",
	}
	for _, view := range slices.Sorted(maps.Keys(got)) {
		w.sameRows(when+": "+view, want[view], w.column("SELECT concat("+got[view]+") FROM "+view))
	}
}

func (w *world) staleHours() string {
	w.t.Helper()
	return w.query("SELECT countIf(NOT clean) FROM rollup_state")
}

// TestRollupsAreWhatTheRecordsSay: whatever comes in whatever order, is sent again
// in the same batches or in others, and whenever rollups are computed, or fail to
// be: after each step each view is what a slow count of all records gives.
func TestRollupsAreWhatTheRecordsSay(t *testing.T) {
	slow(t)
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 30))
		w := newFakeWorld(t, server(t))
		w.cfg.RollupInterval = time.Hour // only when the test says so
		now := time.Now().UnixMilli()
		var events []any
		for i := range 100 {
			l := randomLife(r, i, now)
			far := r.IntN(40) == 0
			for _, d := range l.decisions {
				switch {
				case far:
					d.OccurredAt = []int64{-5_000_000_000_000, -1, 5_000_000_000_000, 20_000_000_000_000}[i%4] + int64(i)
				case i%3 > 0: // hours of many refunds, so that one is touched again
					d.OccurredAt = now - now%dayMS - int64(i%7)*3_600_000 - int64(i)
				}
				d.Degraded = i%11 == 0
				events = append(events, d)
			}
			for _, b := range l.labels {
				events = append(events, b)
			}
		}
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		model := &rollupModel{decisions: map[string]map[string]*event.Decision{}}
		s, stop := w.start()
		committed := time.UnixMilli(now).Add(-time.Hour)
		refresh := func(n int) error {
			committed = committed.Add(time.Second)
			return s.Refresh(context.Background(), n, committed)
		}
		var sent []*kgo.Record
		for step := 0; len(events) > 0; step++ {
			n := min(len(events), 10+r.IntN(40))
			var records []*kgo.Record
			for _, e := range events[:n] {
				model.add(e)
				switch e := e.(type) {
				case *event.Decision:
					records = append(records, &kgo.Record{Topic: topics.Decisions, Key: []byte(e.RefundID), Value: e.Append(nil)})
				case *event.Label:
					records = append(records, &kgo.Record{Topic: topics.Labels, Key: []byte(e.RefundID), Value: e.Append(nil)})
				}
			}
			events = events[n:]
			sent = append(sent, records...)
			for range r.IntN(10) { // again, among others
				again := *sent[r.IntN(len(sent))]
				records = append(records, &kgo.Record{Topic: again.Topic, Key: again.Key, Value: again.Value})
			}
			w.transaction(kgo.TryCommit, records...)
			w.drain(s)
			w.compareRollups(model, fmt.Sprintf("seed %d step %d", seed, step))
			what := []string{"all", "some", "interrupted", "again", "nothing"}[r.IntN(5)]
			switch what {
			case "all":
				if err := refresh(math.MaxInt); err != nil {
					t.Fatal(err)
				}
				if n := w.staleHours(); n != "0" {
					t.Errorf("after a refresh of all hours %s are not clean", n)
				}
			case "some":
				if err := refresh(1 + r.IntN(10)); err != nil {
					t.Fatal(err)
				}
			case "interrupted": // before its last table, and so before its commit
				before := w.staleHours()
				w.exec("RENAME TABLE rule_hits_hourly TO away")
				if err := refresh(math.MaxInt); err == nil && before != "0" {
					t.Error("the refresh was not interrupted")
				}
				w.exec("RENAME TABLE away TO rule_hits_hourly")
				if after := w.staleHours(); after != before {
					t.Errorf("%s hours were not clean, and %s are after an interrupted refresh", before, after)
				}
			case "again": // all of it, in other batches
				stop()
				w.cfg.Group = fmt.Sprintf("group-%d-%d", seed, step)
				w.cfg.BatchRows = 1 + r.IntN(50)
				s, stop = w.start()
				w.drain(s)
			}
			w.compareRollups(model, fmt.Sprintf("seed %d step %d, then %s", seed, step, what))
		}
		if err := refresh(math.MaxInt); err != nil {
			t.Fatal(err)
		}
		if n := w.staleHours(); n != "0" {
			t.Errorf("in the end %s hours are not clean", n)
		}
		w.compareRollups(model, fmt.Sprintf("seed %d, in the end", seed))
		// What no view reads is deleted once it is old, and nothing else.
		for _, table := range []string{"refunds_hourly", "merchants_hourly", "rule_hits_hourly"} {
			w.exec("ALTER TABLE " + table + " UPDATE computed_at = computed_at - INTERVAL 2 HOUR WHERE 1 SETTINGS mutations_sync = 2")
		}
		if err := s.CleanRollups(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.wait("the rows that no view reads to be deleted", func() bool {
			return w.query("SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done") == "0"
		})
		if got := w.query("SELECT count() FROM refunds_hourly WHERE run NOT IN (SELECT run FROM rollup_state)"); got != "0" {
			t.Errorf("%s rows are left that no view reads", got)
		}
		w.compareRollups(model, fmt.Sprintf("seed %d, cleaned", seed))
		stop()
	}
}

// TestRunningSinkKeepsRollups: without anybody's help all hours that are over are
// computed, a late label's too.
func TestRunningSinkKeepsRollups(t *testing.T) {
	slow(t)
	w := newFakeWorld(t, server(t))
	w.cfg.RollupInterval = time.Second
	s, _ := w.start()
	w.produceDecisions(30)
	w.drain(s)
	w.wait("the rollups", func() bool { return w.staleHours() == "0" })
	if got := w.query("SELECT (count(), sum(refunds), sumIf(refunds, label = 'fraud')) FROM v_refunds_hourly"); got != "(30,30,30)" {
		t.Errorf("rollups: %s", got)
	}
	late := event.Label{LabelID: "late", RefundID: "re_3", Label: event.LabelLegit, Source: event.LabelByChargeback, At: 1_800_000_000_000, Weight: 100}
	w.transaction(kgo.TryCommit, &kgo.Record{Topic: topics.Labels, Key: []byte("re_3"), Value: late.Append(nil)})
	w.drain(s)
	const want = "(30,30,29)"
	if got := w.query("SELECT (count(), sum(refunds), sumIf(refunds, label = 'fraud')) FROM v_refunds_hourly"); got != want {
		t.Errorf("with a late label: %s", got)
	}
	w.wait("the hour of the late label", func() bool { return w.staleHours() == "0" })
	if got := w.query("SELECT (count(), sum(refunds), sumIf(refunds, label = 'fraud')) FROM v_refunds_hourly"); got != want {
		t.Errorf("with a late label, computed anew: %s", got)
	}
}

// TestRollupsOutliveTheirRows: where rows are deleted at an age, the hours that they
// were of stay as they were, even if something of them is written later.
func TestRollupsOutliveTheirRows(t *testing.T) {
	slow(t)
	w := newFakeWorld(t, server(t))
	w.cfg.RollupInterval = time.Hour
	s, _ := w.start()
	w.produceDecisions(10) // of 2023
	w.drain(s)
	if err := s.Refresh(t.Context(), math.MaxInt, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := s.KeepOld(t.Context(), 30*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"decisions", "hits"} {
		w.exec("TRUNCATE TABLE " + table)
	}
	w.exec("INSERT INTO hour_touched SELECT hour, 1 FROM rollup_state")
	w.wait("the commit to count", func() bool { return w.staleHours() == "0" })
	if got := w.query("SELECT (sum(refunds), (SELECT sum(hits) FROM v_rule_stats), (SELECT sum(refunds) FROM v_refunds_daily)) FROM v_refunds_hourly"); got != "(10,20,10)" {
		t.Errorf("rollups of deleted rows: %s", got)
	}
}

// TestLiveHalfReadsOnlyTouchedHours, and a filter by hour or day reaches the tables.
func TestLiveHalfReadsOnlyTouchedHours(t *testing.T) {
	slow(t)
	w := newFakeWorld(t, server(t))
	w.cfg.RollupInterval = time.Hour
	s, stop := w.start()
	w.wait("the tables", func() bool { return s.Ready() == nil })
	stop()
	s = w.newSink()
	defer s.Close()
	// A refund every 100 ms, of three days.
	w.exec(`INSERT INTO decisions (decision_id, refund_id, outcome, decided_by, amount, currency, occurred_at, decided_at) SELECT toString(number), toString(number), 'approve', 'engine', 1, 'USD',
		toDateTime64('2024-01-01 00:00:00', 3, 'UTC') + toIntervalMillisecond(number * 100) AS at, at FROM numbers(2592000)`)
	w.exec("OPTIMIZE TABLE decisions FINAL")
	if err := s.Refresh(t.Context(), math.MaxInt, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	w.exec("INSERT INTO hour_touched VALUES ('2024-01-02 05:00:00', 7)")
	// Of the biggest table in the plan, decisions: how many granules are read.
	granules := func(query string) (read int) {
		biggest := 0
		for _, line := range w.column("EXPLAIN indexes = 1 " + query) {
			var n, of int
			if _, found, _ := strings.Cut(line, "Granules: "); found == "" {
				continue
			} else if _, err := fmt.Sscanf(found, "%d/%d", &n, &of); err == nil && of > 100 {
				biggest, read = max(biggest, of), n
			}
		}
		if biggest < 300 {
			t.Errorf("%s: the plan has no table of %d granules", query, biggest)
		}
		return read
	}
	for _, c := range []struct {
		query string
		most  int
		want  string
	}{
		{"SELECT sum(refunds) FROM v_refunds_hourly", 8, "2592000"},
		{"SELECT sum(refunds) FROM v_refunds_daily", 8, "2592000"},
		{"SELECT sum(refunds) FROM v_refunds_hourly WHERE hour >= '2024-01-03 00:00:00'", 1, "864000"},
		{"SELECT sum(refunds) FROM v_refunds_daily WHERE day >= '2024-01-03'", 1, "864000"},
	} {
		if got := granules(c.query); got > c.most {
			t.Errorf("%s: %d granules are read of decisions, want at most %d", c.query, got, c.most)
		}
		if got := w.query(c.query); got != c.want {
			t.Errorf("%s: %s, want %s", c.query, got, c.want)
		}
	}
}
