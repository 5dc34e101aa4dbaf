package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/integration/model"
)

// check compares what is in the topics with what the scripts say, to the record.
func (d *day) check(probes []*kgo.Record) {
	t := d.scene
	t.Helper()
	got, statuses, ids := make(map[string]trace), make(map[string][]string), make(map[string]bool)
	for _, topic := range outputs {
		for _, r := range d.cluster.ReadCommitted(topic) {
			refund, what := sighting(t, r)
			if got[refund] == nil {
				got[refund] = make(trace)
			}
			got[refund][what]++
			if topic == "refund-status" {
				statuses[refund] = append(statuses[refund], what)
			}
			for _, field := range []string{"decision_id", "alert_id", "label_id"} {
				var fields map[string]any
				if err := json.Unmarshal(r.Value, &fields); err == nil && topic != "dead-letters" && topic != "refundguard-cases" && fields[field] != nil {
					id := fmt.Sprint(topic, " ", fields[field])
					if ids[id] {
						t.Errorf("%s %s is there twice", topic, fields[field])
					}
					ids[id] = true
				}
			}
		}
	}
	for id, sc := range d.scripts {
		want := sc.wants(len(sc.steps))
		if extra := got[id]["alert review-deadline"] - want["alert review-deadline"]; sc.repeats && extra > 0 {
			want["alert review-deadline"] += extra
			want[sc.held()] += extra
		}
		if diff := gocmp.Diff(want, got[id]); diff != "" {
			t.Errorf("refund %s, %s (-want +got):\n%s", id, sc.role, diff)
		}
		var told []string
		for _, st := range sc.steps {
			for _, what := range st.then {
				if strings.HasPrefix(what, "status ") {
					told = append(told, what)
				}
			}
		}
		if !slices.Equal(told, statuses[id]) {
			t.Errorf("refund %s, %s: its customer is told %q, want %q", id, sc.role, statuses[id], told)
		}
		delete(got, id)
	}
	for id, rest := range got {
		t.Errorf("refund %q, of which nothing should be heard: %v", id, rest)
	}
	requests := make(map[string]*kgo.Record)
	for _, r := range probes {
		requests[idOf(t, r)] = r
	}
	for _, sent := range d.refunds {
		requests[idOf(t, sent.Record)] = sent.Record
	}
	decisions := d.checkDecisions(requests)
	d.checkReleased(requests, decisions)
	d.checkDeadLetters()
	d.checkDeadlines()
	d.checkBalance(decisions, len(requests))
}

// checkDecisions wants the engine's to say what the model says, and those after
// it to be of the same request.
func (d *day) checkDecisions(requests map[string]*kgo.Record) map[string][]model.Decision {
	t := d.scene
	all := make(map[string][]model.Decision)
	for _, r := range d.cluster.ReadCommitted("refund-decisions") {
		decision := model.ParseDecision(t, r.Value)
		all[decision.RefundID] = append(all[decision.RefundID], decision)
	}
	for id, decisions := range all {
		first := decisions[0]
		if first.DecidedBy != "engine" || first.Degraded || len(first.Warming) > 0 {
			t.Errorf("refund %s: the first decision is %+v", id, first)
		}
		if want, ofDay := d.expected[id]; ofDay {
			if seen := first.Seen(t); !gocmp.Equal(want.Features, seen.Features) || want.Outcome != seen.Outcome || want.Score != seen.Score {
				t.Errorf("refund %s (-model +decision):\n%s", id, gocmp.Diff(want, seen))
			}
		} else if hit := slices.ContainsFunc(first.Hits, func(h struct{ Rule, Mode string }) bool { return h.Rule == "over-original" }); hit != (first.Outcome == "reject") {
			t.Errorf("probe %s is %s, by %v", id, first.Outcome, first.Hits)
		}
		for _, x := range decisions {
			if asked := requests[id]; asked == nil || model.Units(t, x.Amount) != model.Units(t, model.Fields(t, asked.Value)["amount"]) || x.Currency != "GBP" ||
				x.Source != first.Source || x.Ruleset != first.Ruleset {
				t.Errorf("refund %s: the decision %+v", id, x)
			}
		}
	}
	return all
}

// checkReleased wants what is approved to be the request, to the byte, under the
// decision that approved it.
func (d *day) checkReleased(requests map[string]*kgo.Record, decisions map[string][]model.Decision) {
	t := d.scene
	for _, r := range d.cluster.ReadCommitted("refunds-approved") {
		id := idOf(t, r)
		asked, by := requests[id], decisions[id]
		if asked == nil || len(by) == 0 {
			t.Errorf("refund %s went out, and nobody asked for it: %s", id, r.Value)
			continue
		}
		last := by[len(by)-1]
		headers := append(slices.Clone(asked.Headers),
			kgo.RecordHeader{Key: "refundguard-decision-id", Value: []byte(last.DecisionID)}, kgo.RecordHeader{Key: "refundguard-ruleset", Value: []byte(last.Ruleset)})
		if last.Outcome != "approve" || !model.SameBytes(r.Key, asked.Key) || !model.SameBytes(r.Value, asked.Value) || !model.SameHeaders(r.Headers, headers) {
			t.Errorf("refund %s, %s by %s, went out as\n%s %s %v\nand was asked for as\n%s %s %v", id, last.Outcome, last.DecidedBy,
				r.Key, r.Value, r.Headers, asked.Key, asked.Value, headers)
		}
	}
}

// checkDeadLetters wants each to be a record of an input, to the byte, once.
func (d *day) checkDeadLetters() {
	t := d.scene
	inputs, seen := make(map[string]*kgo.Record), make(map[string]bool)
	for _, topic := range []string{"refunds", "transactions", "reviews", "confirmations", "ledger-results"} {
		for _, r := range d.cluster.ReadCommitted(topic) {
			inputs[fmt.Sprintf("%s/%d/%d", topic, r.Partition, r.Offset)] = r
		}
	}
	for _, r := range d.cluster.ReadCommitted("dead-letters") {
		at := strings.Join([]string{model.Header(r, "__connect.errors.topic"), model.Header(r, "__connect.errors.partition"), model.Header(r, "__connect.errors.offset")}, "/")
		in := inputs[at]
		if in == nil || seen[at] || !model.SameBytes(in.Key, r.Key) || !model.SameBytes(in.Value, r.Value) || !model.SameHeaders(in.Headers, r.Headers[:len(in.Headers)]) {
			t.Errorf("the dead letter from %s (twice: %v): %s", at, seen[at], r.Value)
		}
		seen[at] = true
	}
}

// checkDeadlines wants each review's deadlines to follow from one another: an
// alert for each that passed, once, and not before.
func (d *day) checkDeadlines() {
	t := d.scene
	deadlines, alerts := make(map[string][]time.Time), make(map[string][]time.Time)
	for _, r := range d.cluster.ReadCommitted("refundguard-cases") {
		if model.Header(r, "refundguard-state") != "in_review" {
			continue
		}
		at, err := time.Parse(time.RFC3339, model.Header(r, "refundguard-deadline"))
		if err != nil {
			t.Errorf("the case of refund %s: its deadline: %v", r.Key, err)
		}
		if all := deadlines[string(r.Key)]; len(all) == 0 || !all[len(all)-1].Equal(at) {
			deadlines[string(r.Key)] = append(all, at)
		}
	}
	for _, r := range d.cluster.ReadCommitted("alerts") {
		var a struct {
			RefundID string `json:"refund_id"`
			Rule     string
			At       time.Time
		}
		if err := json.Unmarshal(r.Value, &a); err != nil {
			t.Fatal(err)
		}
		if a.Rule == "review-deadline" {
			alerts[a.RefundID] = append(alerts[a.RefundID], a.At)
		}
	}
	for id, passed := range alerts {
		slices.SortFunc(passed, time.Time.Compare)
		all := deadlines[id]
		for i, at := range passed {
			if i >= len(all) || at.Before(all[i]) || i+1 < len(all) && !all[i+1].Equal(at.Add(soon)) {
				t.Errorf("refund %s, %s: deadlines %v, alerts %v", id, d.scripts[id].role, all, passed)
				break
			}
		}
		if last := d.scripts[id].repeats; last && len(all) != len(passed)+1 || !last && len(all) != len(passed) {
			t.Errorf("refund %s, %s: %d deadlines, %d alerts", id, d.scripts[id].role, len(all), len(passed))
		}
	}
	t.Logf("deadlines passed of %d refunds", len(alerts))
}

// checkBalance wants the progress to account for each refund, after each commit.
func (d *day) checkBalance(decisions map[string][]model.Decision, asked int) {
	t := d.scene
	last := make(map[string]int64)
	for _, all := range decisions {
		last[all[len(all)-1].Outcome]++
	}
	want := model.Balance{Read: int64(len(d.history) + asked), History: int64(len(d.history)), Approved: last["approve"], InReview: last["review"], Rejected: last["reject"]}
	if got := model.LastProgress(t, d.cluster).Balance; got != want || len(decisions) != asked {
		t.Errorf("of %d refunds %d are decided; the balance is %+v, want %+v", asked, len(decisions), got, want)
	}
	t.Logf("%+v", want)
}

// holds are the tables that hold a topic record by record.
var holds = map[string]string{
	"decisions": "refund-decisions", "alerts": "alerts", "dead_letters": "dead-letters",
	"status": "refund-status", "statuses": "refund-status", "labels": "refund-labels", "cases": "refundguard-cases",
}

// equals waits until each table that holds a topic has each of its records once,
// and the hits are those of the decisions.
func (w *warehouse) equals(sv *service, topics model.Topics) {
	w.t.Helper()
	conn := w.open()
	var tables []string
	rows, err := conn.Query(w.t.Context(), `SELECT table FROM system.columns WHERE database = 'refundguard' AND name = 'kafka_offset'`)
	if err != nil {
		w.t.Fatal(err)
	}
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			w.t.Fatal(err)
		}
		if holds[table] != "" {
			tables = append(tables, table)
		}
	}
	if err := rows.Err(); err != nil || len(tables) < 3 {
		w.t.Fatalf("tables %v: %v", tables, err)
	}
	stored := func(table string) (all map[string]int, err error) {
		value := "raw"
		switch table {
		case "dead_letters":
			value = "value"
		case "cases":
			value, table = "refund_id", "cases FINAL"
		}
		rows, err := conn.Query(w.t.Context(), fmt.Sprintf("SELECT concat(kafka_topic, '/', toString(kafka_partition), '/', toString(kafka_offset), ' ', %s) FROM refundguard.%s", value, table))
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		all = make(map[string]int)
		for rows.Next() {
			var row string
			if err := rows.Scan(&row); err != nil {
				return nil, err
			}
			all[row]++
		}
		return all, rows.Err()
	}
	want, hits := make(map[string]map[string]int), 0
	for _, table := range tables {
		want[table] = make(map[string]int)
		if table == "cases" { // as each is now
			last := make(map[string]string)
			for _, r := range topics.ReadCommitted(holds[table]) {
				last[string(r.Key)] = fmt.Sprintf("%s/%d/%d %s", r.Topic, r.Partition, r.Offset, r.Key)
			}
			for _, row := range last {
				want[table][row]++
			}
			continue
		}
		for _, r := range topics.ReadCommitted(holds[table]) {
			want[table][fmt.Sprintf("%s/%d/%d %s", r.Topic, r.Partition, r.Offset, r.Value)]++
			if table == "decisions" {
				hits += len(model.ParseDecision(w.t, r.Value).Hits)
			}
		}
	}
	var wrong string
	defer func() {
		if w.t.Failed() {
			w.t.Logf("ClickHouse: %s", wrong)
		}
	}()
	sv.until("ClickHouse to have what the topics have", func() bool {
		wrong = ""
		for _, table := range tables {
			got, err := stored(table)
			if err != nil || !maps.Equal(got, want[table]) {
				wrong += fmt.Sprintf("%s: %v %.2000s\n", table, err, gocmp.Diff(want[table], got))
			}
		}
		for query, n := range map[string]int{"SELECT toString(count()) FROM refundguard.hits": hits, "SELECT toString(count()) FROM refundguard.unreadable": 0} {
			if text, err := w.text(conn, query); err != nil || text != fmt.Sprint(n) {
				wrong += fmt.Sprintf("%s: %s, want %d: %v\n", query, text, n, err)
			}
		}
		return wrong == ""
	})
	w.t.Logf("ClickHouse has what the topics have: %v", tables)
}
