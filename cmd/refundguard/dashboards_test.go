package main

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/dashboards"
	"github.com/refundguard/refundguard/dashboards/panel"
	"github.com/refundguard/refundguard/rules/starter"
)

// rightlyEmpty are the queries that a demo has no answer for, and why.
var rightlyEmpty = map[string]string{
	`sum by (client) (rate(refundguard_kafka_read_errors_total{job="$job"}[$__rate_interval]))`:    "no connection of the embedded Kafka fails",
	`sum by (client) (rate(refundguard_kafka_write_errors_total{job="$job"}[$__rate_interval]))`:   "no connection of the embedded Kafka fails",
	`sum by (client) (rate(refundguard_kafka_connect_errors_total{job="$job"}[$__rate_interval]))`: "Kafka listens before the service starts",
	`max(refundguard_state_memory_limit_bytes{job="$job"}) > 0`:                                    "the demo sets no state.memory",
	`time() - max(refundguard_state_checkpoint_timestamp_seconds{job="$job"} > 0)`:                 "the demo has no bucket of checkpoints",
	`max by (rule) (refundguard_breaker_tripped{job="$job"}) > 0`:                                  "a breaker needs 500 refunds in 10 minutes, which the shop doesn't have",
}

// failingRule is a rule that fails on every refund, and decides nothing.
const failingRule = "rules:\n  - {id: divides-by-zero, mode: shadow, action: review, when: amount / (amount - amount) > 1}\n"

// Each query of Prometheus in a dashboard finds something in a demo that runs: a metric
// that is described but has no series, or labels that don't match, show here and not
// on somebody's screen. Those that rightly find nothing are listed, and must not.
func TestDashboardsFindTheDemo(t *testing.T) {
	slow(t)
	rules := t.TempDir()
	if err := os.CopyFS(rules, starter.FS); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rules, "failing.yaml"), []byte(failingRule), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	prometheus, end := demoWithPrometheus(t, "--rules", rules, "--speed", "12d/s", "--transactions", "6000", "--bad", "0.02", "--seed", "3")
	queries := prometheusQueries(t, prometheus)
	if len(queries) < 60 {
		t.Errorf("the dashboards have only %d queries of Prometheus", len(queries))
	}
	open := map[prometheusQuery]bool{}
	for _, q := range queries {
		open[q] = rightlyEmpty[q.expr] == ""
	}
	found := func(q prometheusQuery) bool {
		n, err := q.numbers(prometheus, began, time.Now())
		if err != nil {
			t.Fatalf("%s: %v", q.place, err)
		}
		return n > 0
	}
	for deadline := time.After(4 * time.Minute); ; {
		waiting := 0
		for q := range open {
			open[q] = open[q] && !found(q)
			if open[q] {
				waiting++
			}
		}
		if waiting == 0 {
			break
		}
		select {
		case <-deadline:
			for q, isOpen := range open {
				if isOpen {
					t.Errorf("%s is empty: %s", q.place, q.expr)
				}
			}
			t.FailNow()
		case <-time.After(time.Second):
		}
	}
	asked := map[string]bool{}
	for _, q := range queries {
		asked[q.expr] = true
		if why := rightlyEmpty[q.expr]; why != "" && found(q) {
			t.Errorf("%s finds something, and is listed as empty because %s: %s", q.place, why, q.expr)
		}
	}
	for expr := range rightlyEmpty {
		if !asked[expr] {
			t.Errorf("no dashboard has the query that is listed as empty: %s", expr)
		}
	}
	end()
}

// prometheusQuery is one query of a dashboard.
type prometheusQuery struct {
	place   string
	expr    string // as it stands there
	job     string // the variable's value
	instant bool
}

var labelValues = regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)

// prometheusQueries are those of all dashboards, with the values that their variables
// have in Prometheus.
func prometheusQueries(t *testing.T, prometheus prometheusAPI) (all []prometheusQuery) {
	t.Helper()
	boards, err := panel.ReadAll(dashboards.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range boards {
		job := ""
		for _, v := range b.Variables {
			if v.Target == nil || v.Target.Expr == "" {
				continue
			}
			m := labelValues.FindStringSubmatch(v.Target.Expr)
			if v.Name != "job" || m == nil {
				t.Fatalf("%s: this test does not know the variable %s, %s", b.UID, v.Name, v.Target.Expr)
			}
			eventually(t, "Prometheus has "+v.Target.Expr, func() bool {
				var values []string
				err := prometheus.ask("label/"+m[2]+"/values", url.Values{"match[]": {m[1]}}, &values)
				if err != nil || len(values) == 0 {
					return false // it starts, or hasn't scraped yet
				}
				job = values[0]
				return true
			})
		}
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				if q.Expr != "" {
					all = append(all, prometheusQuery{fmt.Sprintf("%s, panel %d %q, %s", b.UID, p.ID, p.Title, q.RefID), q.Expr, job, q.Instant})
				}
			}
		}
		for _, a := range b.Annotations {
			if a.Target.Expr != "" {
				all = append(all, prometheusQuery{fmt.Sprintf("%s, annotation %q", b.UID, a.Name), a.Target.Expr, job, false})
			}
		}
	}
	return all
}

// numbers counts what Grafana could draw: NaN and infinities it can't. The demo scrapes
// each 2 s, and Grafana's rate interval is four times that.
func (q prometheusQuery) numbers(prometheus prometheusAPI, from, to time.Time) (n int, err error) {
	expr := strings.NewReplacer("$__rate_interval", "8s", "$__interval", "2s", "$__range", fmt.Sprintf("%.0fs", math.Ceil(to.Sub(from).Seconds())), "$job", q.job).Replace(q.expr)
	if strings.Contains(expr, "$") {
		return 0, fmt.Errorf("this test does not know a variable of %s", expr)
	}
	path, with := "query", url.Values{"query": {expr}}
	if !q.instant {
		path = "query_range"
		with["start"], with["end"], with["step"] = []string{strconv.FormatInt(from.Unix(), 10)}, []string{strconv.FormatInt(to.Unix(), 10)}, []string{"2s"}
	}
	var data struct {
		Result []struct {
			Value  [2]any // time and number
			Values [][2]any
		}
	}
	if err := prometheus.ask(path, with, &data); err != nil {
		return 0, err
	}
	for _, series := range data.Result {
		for _, v := range append(series.Values, series.Value) {
			text, _ := v[1].(string)
			if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
				n++
			}
		}
	}
	return n, nil
}
