package promexpr_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/tools/promexpr"
)

const list = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n" +
	"| `hits_total` | counter | mode, rule | a |\n| `ready` | gauge | | b |\n| `lag` | gauge | topic | c |\n| `took_seconds` | histogram | step | d |\n"

func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "METRICS.md")
	if err := os.WriteFile(path, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	catalog, err := promexpr.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		expr, others string
		want         string // of each fault a part, by commas
	}{
		{`sum by (rule) (rate(hits_total{mode="live"}[5m])) > 0`, "rule", ""},
		{`sum by (rule) (rate(hits_total[5m]))`, "mode", `no label "mode"`},
		{`hit_total`, "", `"hit_total" is not exported`},
		{`{__name__="hit_total"}`, "", `"hit_total" is not exported`},
		{`hits_total{rul="x"}`, "", `hits_total has no label "rul"`},
		{`sum by (topic) (hits_total)`, "", `no metric has the label "topic"`},
		{`histogram_quantile(0.99, sum by (le, step) (rate(took_seconds_bucket[5m])))`, "step", ""},
		{`histogram_quantile(0.99, sum by (le, step) (rate(took_seconds_bucket[5m])))`, "le", `no label "le"`},
		{`rate(took_seconds_sum[5m]) / rate(took_seconds_count[5m])`, "step", ""},
		{`took_seconds_bucket{le="1"} + lag_bucket`, "", `"lag_bucket"`},
		{`sum without (rule) (hits_total)`, "mode", ""},
		{`sum without (rule) (hits_total)`, "rule", `no label "rule"`},
		{`up == 0 unless on (instance) ready`, "instance,job", ""},
		{`lag * on (instance) group_left (mode) hits_total`, "topic,mode", ""},
		{`lag + on (instance) ready`, "topic", `no label "topic"`},
		{`lag + on (toppic) ready`, "", `no metric has the label "toppic"`},
		{`lag > on (instance) ready`, "topic", `no label "topic"`},
		{`lag and on (instance) ready`, "topic", ""},
		{`lag or hits_total`, "topic", `no label "topic"`},
		{`absent(hits_total{rule="x"})`, "rule", `no label "rule"`},
		{`label_replace(lag, "t", "$1", "topic", "(.*)")`, "t,topic", ""},
		{`topk(3, lag)`, "topic", ""},
		{`lag{`, "", "parsing"},
		{`nope(lag)`, "", "parsing"},
	} {
		var others, want []string
		if c.others != "" {
			others = strings.Split(c.others, ",")
		}
		if c.want != "" {
			want = strings.Split(c.want, ",")
		}
		faults := catalog.Check(c.expr, others...)
		if len(faults) != len(want) {
			t.Errorf("%s with %v: %v, want %q", c.expr, others, faults, want)
			continue
		}
		for i, w := range want {
			if !strings.Contains(faults[i].Error(), w) {
				t.Errorf("%s: %v, want %q", c.expr, faults[i], w)
			}
		}
	}
	if u, err := promexpr.Uses(`rate(hits_total{rule="x"}[5m]) + ready`); err != nil || len(u) != 2 || u[0].Metric != "hits_total" || !slices.Equal(u[0].Labels, []string{"rule"}) || u[1].Metric != "ready" {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestReadRefusesWhatHasNoTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "METRICS.md")
	if _, err := promexpr.Read(path); err == nil {
		t.Error("a missing file is taken")
	}
	if err := os.WriteFile(path, []byte("# Metrics\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := promexpr.Read(path); err == nil {
		t.Error("a file without a table is taken")
	}
}

func TestTheListOfMetricsIsRead(t *testing.T) {
	catalog, err := promexpr.Read("../../cmd/refundguard/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	if faults := catalog.Check(`refundguard_balance_refunds{term="read"} and on (instance) rate(refundguard_commit_seconds_bucket{le="1"}[5m])`); len(faults) > 0 {
		t.Error(faults)
	}
}
