package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/sinks/webhook"
)

// family is one metric as METRICS.md shows it.
type family struct {
	kind, help string
	labels     []string
}

const metricsHead = `# Metrics

What ` + "`/metrics`" + ` has. Every label is bounded: by the code, the configuration, the cluster or the rule set; the series of a
rule that is in no set any more end after 15 minutes. Counters of decisions and hits count what was committed. Histograms have
classic buckets, and are native ones too where Prometheus scrapes those (` + "`scrape_native_histograms`" + `). Units are in the
names: seconds, bytes; what has none are counts, and gauges of 0 or 1.

This file is written by ` + "`go test ./cmd/refundguard -run TestMetricsList -update`" + `, and checked by the same test.
` + "`tools/promexpr`" + ` checks expressions against it (` + "`Read`" + `, ` + "`Catalog.Check`" + `), so that alert rules and dashboards name
nothing else.

`

// besides are the runtime's metrics that dashboards and alert rules may name; there
// are more.
var besides = []string{"go_gc_duration_seconds", "go_gc_gomemlimit_bytes", "go_goroutines", "go_memstats_heap_alloc_bytes", "process_cpu_seconds_total",
	"process_max_fds", "process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds", "promhttp_metric_handler_errors_total"}

// unhappened are counters of Kafka clients that have no series before something fails.
var unhappened = regexp.MustCompile(`_(errors|disconnects)_total$`)

var describedAs = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "(.*)", unit: ".*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// described are the metrics of a registry, those without series, too.
func described(t *testing.T, registry *prometheus.Registry) map[string]*family {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() { registry.Describe(descs); close(descs) }()
	all := map[string]*family{}
	for d := range descs {
		m := describedAs.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("can't read %s", d)
		}
		f := &family{help: strings.ReplaceAll(strings.TrimSuffix(m[2], "."), `\"`, `"`)}
		for pair := range strings.SplitSeq(m[3], ",") {
			if name, _, ok := strings.Cut(pair, "="); ok {
				f.labels = append(f.labels, name)
			}
		}
		f.labels = append(f.labels, strings.FieldsFunc(m[4], func(c rune) bool { return c == ',' })...)
		slices.Sort(f.labels)
		if was := all[m[1]]; was != nil && !slices.Equal(was.labels, f.labels) {
			t.Errorf("%s has the labels %v, and %v", m[1], was.labels, f.labels)
		}
		all[m[1]] = f
	}
	return all
}

// The list is what a service exports that has met all sorts of records: no metric is
// missing there, and none is listed that isn't exported.
func TestMetricsList(t *testing.T) {
	s := meteredService(t)
	all := described(t, s.registry)
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		one := all[f.GetName()]
		if one == nil {
			t.Errorf("%s isn't described", f.GetName())
			continue
		}
		one.kind = strings.ToLower(f.GetType().String())
		if one.kind == "summary" {
			one.labels = append(one.labels, "quantile")
		}
		if h := f.Metric[0].GetHistogram(); h != nil && (h.Schema == nil || len(h.Bucket) == 0) {
			t.Errorf("histogram %s is to be a native one, and a classic one", f.GetName())
		}
	}
	var text strings.Builder
	text.WriteString(metricsHead + "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		if !strings.HasPrefix(name, "refundguard_") && !slices.Contains(besides, name) {
			continue
		}
		if f.kind == "" && strings.HasPrefix(name, "refundguard_kafka_") {
			if !unhappened.MatchString(name) {
				continue // the client's library describes what is switched off, too
			}
			f.kind = "counter"
		}
		switch {
		case f.kind == "":
			t.Errorf("%s has no series: start what is known beforehand at zero, or have this test make it happen", name)
		case f.help == "" || strings.Contains(f.help, "|"):
			t.Errorf("%s can't be listed: its help is %q", name, f.help)
		case (f.kind == "counter") != strings.HasSuffix(name, "_total"):
			t.Errorf("%s is a %s", name, f.kind)
		}
		fmt.Fprintf(&text, "| `%s` | %s | %s | %s |\n", name, f.kind, strings.Join(f.labels, ", "), f.help)
	}
	for _, name := range besides {
		if all[name] == nil {
			t.Errorf("%s isn't exported", name)
		}
	}
	if *update {
		if err := os.WriteFile("METRICS.md", []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	listed, err := os.ReadFile("METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	got, want := strings.Split(string(listed), "\n"), strings.Split(text.String(), "\n")
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("METRICS.md lacks this (-update writes it anew):\n%s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("METRICS.md has this, and the service doesn't (-update writes it anew):\n%s", line)
		}
	}
}

// meteredService has decided one refund of each outcome, and refused a record. It is
// stopped at the end of the test.
func meteredService(t *testing.T) *service {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "transactions"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	limit := "3600000"
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, map[string]*string{"message.timestamp.after.max.ms": &limit}, "refunds"); err != nil {
		t.Fatal(err)
	}
	c := testConfig(t, cluster.ListenAddrs()...)
	dir := t.TempDir()
	c.Pipeline.Rules.Dir = filepath.Join(dir, "rules")
	rules := "rules:\n" +
		"  - {id: big, action: review, when: amount > 100}\n" +
		"  - {id: huge, action: reject, severity: high, when: amount > 1000}\n" +
		"  - {id: tried, mode: shadow, action: review, when: amount > 1}\n"
	if err := os.Mkdir(c.Pipeline.Rules.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Pipeline.Rules.Dir, "rules.yaml"), []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	refunds := c.Pipeline.Streams["refunds"]
	refunds.DecideFrom = "earliest"
	c.Pipeline.Streams["refunds"] = refunds
	c.Pipeline.State.Dir = filepath.Join(dir, "state")
	c.ClickHouse.Addr = []string{fmt.Sprintf("127.0.0.1:%d", freePort(t))} // and nobody there
	hook := webhook.DefaultEndpoint()
	hook.Name, hook.URL, hook.AllowPrivate = "soc", fmt.Sprintf("http://127.0.0.1:%d/", freePort(t)), []string{"true"}
	hook.Secret = "whsec_" + strings.Repeat("c2Vj", 8)
	c.Webhooks = webhook.Config{hook}
	s, err := newService(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("stopped with %v", err)
		}
	})
	now := time.Now().UTC().Format(time.RFC3339)
	for i, amount := range []int{1, 500, 5000} {
		value := fmt.Sprintf(`{"refund_id":"r%d","amount":%d,"currency":"USD","occurred_at":%q,"method":"pigeon"}`, i, amount, now)
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "refunds", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "refunds", Value: []byte("{")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	value := func(name string, labels ...string) float64 { return seriesValue(t, s.registry, name, labels...) }
	eventually(t, "all is decided, and the gauges show it", func() bool {
		return value("refundguard_balance_refunds", "term=read") == 4 && value("refundguard_reviews_waiting", "severity=medium") == 1
	})
	eventually(t, "the state is read back by metrics", func() bool { return value("refundguard_state_keys") > 0 })
	get(t, "http://"+s.Address()+"/metrics", "")
	for _, want := range []struct {
		name   string
		labels []string
		value  float64
	}{
		{"refundguard_decisions_total", []string{"outcome=approve", "decided_by=engine"}, 1}, {"refundguard_decisions_total", []string{"outcome=review", "decided_by=engine"}, 1},
		{"refundguard_decisions_total", []string{"outcome=reject", "decided_by=engine"}, 1}, {"refundguard_decisions_total", []string{"outcome=approve", "decided_by=analyst"}, 0},
		{"refundguard_balance_refunds", []string{"term=approved"}, 1}, {"refundguard_balance_refunds", []string{"term=dead_lettered"}, 1}, {"refundguard_balance_broken", nil, 0},
		{"refundguard_rule_hits_total", []string{"rule=big", "mode=live"}, 2}, {"refundguard_rule_hits_total", []string{"rule=tried", "mode=shadow"}, 2}, {"refundguard_rule_hits_total", []string{"rule=huge", "mode=live"}, 1},
		{"refundguard_dead_letters_total", []string{"code=INVALID_JSON"}, 1}, {"refundguard_dead_letters_total", []string{"code=TOO_LARGE"}, 0},
		{"refundguard_records_applied_total", []string{"stream=refunds"}, 4}, {"refundguard_unknown_values_total", []string{"stream=refunds", "field=method"}, 3},
		{"refundguard_decision_delay_seconds", nil, 3}, {"refundguard_sink_ready", []string{"sink=clickhouse"}, 0}, {"refundguard_ruleset_rules", []string{"mode=live"}, 2},
	} {
		if got := value(want.name, want.labels...); got != want.value {
			t.Errorf("%s %v is %v, want %v", want.name, want.labels, got, want.value)
		}
	}
	if got := value("refundguard_reviews_next_deadline_seconds", "severity=medium"); got <= 3*3600 || got > 4*3600 {
		t.Errorf("the next deadline is in %v s, want 4 h", got)
	}
	return s
}

// seriesValue is a series' value, a histogram's count, or -1 where there is none. It
// has all of the labels (name=value), whatever else it has.
func seriesValue(t *testing.T, registry *prometheus.Registry, name string, values ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			has := func(v string) bool {
				return slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName()+"="+l.GetValue() == v })
			}
			if slices.ContainsFunc(values, func(v string) bool { return !has(v) }) {
				continue
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return -1
}
