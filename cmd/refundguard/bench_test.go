package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/cmd/refundguard/bench"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
)

// benchJSON runs a bench and reads what it prints.
func benchJSON[T any](t *testing.T, args ...string) (v T) {
	t.Helper()
	r := runCommand(t, append(append([]string{"bench"}, args...), "-o", "json")...)
	if r.code != exitFine {
		t.Fatalf("%q: exit %d:\n%s%s", args, r.code, r.out, r.err)
	}
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatalf("%q: %v:\n%s", args, err, r.out)
	}
	return v
}

// Each measurement of `bench` measures what it says, and what goes through Kafka
// is decided as from memory.
func TestBenchMeasures(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	digest := ""
	for _, args := range [][]string{{"engine"}, {"engine", "--cpus", "1"}, {"gate"}, {"gate", "--state", "--save-interval", "1ms"}} {
		all := benchJSON[[]bench.Result](t, append(args, "--events", "20000")...)
		if len(all) != 1 {
			t.Fatalf("%q: %+v", args, all)
		}
		r := all[0]
		sum := int64(0)
		for _, n := range r.Outcomes {
			sum += n
		}
		if r.Events != 20000 || r.Refunds == 0 || sum != int64(r.Refunds) || r.Seconds <= 0 || r.CPUPerEvent <= 0 || r.Allocs <= 0 || r.AllocBytes <= 0 || r.RSS <= 0 {
			t.Errorf("%q: %+v", args, r)
		}
		if digest == "" {
			digest = r.Digest
		}
		if r.Digest != digest || r.Digest == "" {
			t.Errorf("%q: the digest is %q, others' %q", args, r.Digest, digest)
		}
		if saved := len(args) > 3; saved != (r.Saves > 0) || saved != (r.Checkpoints > 0) || r.Checkpoints > r.Saves {
			t.Errorf("%q: %d saves, %d checkpoints", args, r.Saves, r.Checkpoints)
		}
	}
	if other := benchJSON[[]bench.Result](t, "gate", "--events", "20000", "--seed", "2"); other[0].Digest == digest {
		t.Errorf("another seed has the same digest: %+v", other)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// What a gate keeps the next one reads, and only that of the same events; what it
// has made besides is gone.
func TestBenchGateKeepsEvents(t *testing.T) {
	cluster := kafkatest.Start(t)
	adm := kadm.NewClient(cluster.Client())
	inputs := func() map[string]int64 {
		ends, err := adm.ListEndOffsets(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]int64{}
		for topic, partitions := range ends {
			if strings.HasPrefix(topic, "refundguard-bench-") {
				for _, p := range partitions {
					sums[topic] += p.Offset
				}
			}
		}
		return sums
	}
	gate := func(more ...string) bench.Result {
		return benchJSON[[]bench.Result](t, append([]string{"gate", "--brokers", cluster.Brokers()[0]}, more...)...)[0]
	}
	first := gate("--events", "4000", "--keep")
	kept := map[string]int64{"refundguard-bench-events-4000-1-0-transactions": int64(4000 - first.Refunds), "refundguard-bench-events-4000-1-0-refunds": int64(first.Refunds)}
	for _, more := range [][]string{{"--keep"}, {}} {
		if again := gate(append(more, "--events", "4000")...); again.Digest != first.Digest || again.Refunds != first.Refunds {
			t.Errorf("%q: %+v, before %+v", more, again, first)
		}
		if got := inputs(); !maps.Equal(got, kept) {
			t.Errorf("%q: topics that are left: %v, want %v", more, got, kept)
		}
	}
	if other := gate("--events", "3000"); other.Events != 3000 || other.Digest == first.Digest {
		t.Errorf("other events: %+v", other)
	}
	if got := inputs(); !maps.Equal(got, kept) {
		t.Errorf("topics that are left: %v, want %v", got, kept)
	}
	cluster.Produce(&kgo.Record{Topic: "refundguard-bench-events-4000-1-0-refunds", Value: []byte("{}")})
	if r := runCommand(t, "bench", "gate", "--brokers", cluster.Brokers()[0], "--events", "4000"); r.code == exitFine || !strings.Contains(r.err, "4001 of 4000 events") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	if r := runCommand(t, "bench", "gate", "--keep"); r.code != exitUsage {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
}

// What is decided beside sinks is stored and delivered, and decided the same.
func TestBenchGateWithSinks(t *testing.T) {
	if testing.Short() {
		t.Skip("starts ClickHouse")
	}
	r := runCommand(t, "bench", "gate", "--sinks", "--events", "5000", "-o", "json")
	if r.code != exitFine && os.Getenv("CI") != "true" && (strings.Contains(r.err, "get a ClickHouse engine") || strings.Contains(r.err, "no ClickHouse found")) {
		t.Skip(r.err)
	}
	var all []bench.Result
	if err := json.Unmarshal([]byte(r.out), &all); err != nil || len(all) != 1 || all[0].Sinks == nil {
		t.Fatalf("exit %d, %v:\n%s%s", r.code, err, r.out, r.err)
	}
	one := all[0]
	s := one.Sinks
	if s.Rows["decisions"] != uint64(one.Refunds) || s.Rows["refunds"] != uint64(one.Refunds) || s.Rows["transactions"] != uint64(one.Events-one.Refunds) || s.Alerts == 0 ||
		s.Rows["alerts"] != uint64(s.Alerts) || s.Decided <= 0 || s.Decided > one.Seconds {
		t.Errorf("%+v, %+v", one, s)
	}
	if plain := benchJSON[[]bench.Result](t, "gate", "--events", "5000"); plain[0].Digest != one.Digest {
		t.Errorf("with sinks %s, without %s", one.Digest, plain[0].Digest)
	}
	less := benchJSON[[]bench.Result](t, "gate", "--sinks", "--raw=false", "--events", "5000")[0]
	if s := less.Sinks; s.Rows["decisions"] != uint64(one.Refunds) || s.Rows["refunds"]+s.Rows["transactions"] != 0 || less.Digest != one.Digest {
		t.Errorf("without what was sent: %+v, %+v", less, s)
	}
}

func TestBenchRules(t *testing.T) {
	all := benchJSON[[]bench.Result](t, "rules", "--rules", "3,200", "--events", "2000")
	if len(all) != 4 {
		t.Fatalf("%+v", all)
	}
	for i, r := range all {
		count, refunds := []int{3, 200}[i/2], []int{2000, 1000}[i/2]
		if r.Rules != count || r.Events != refunds || r.Outcomes["approve"] != int64(refunds) || r.Evaluations < r.EventsPerSecond*2.9 {
			t.Errorf("%+v", r)
		}
		if first := all[i&^1]; r.Digest != first.Digest || first.CPUs != 1 || first.Speedup != 1 || r.Speedup <= 0 {
			t.Errorf("%+v against %+v", r, first)
		}
	}
}

// Each number of customers is a process of its own: this program.
func TestBenchKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	all := benchJSON[[]bench.KeysResult](t, "keys", "--keys", "1k,5k", "--events-per-key", "4")
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	for i, r := range all {
		if customers := []int{1000, 5000}[i]; r.Customers != customers || r.Events != 4*customers || r.CPUPerEvent <= 0 || r.CPULast <= 0 || r.RSS <= r.State || r.BytesPerKey <= 0 {
			t.Errorf("%+v", r)
		}
		here := benchJSON[[]bench.KeysResult](t, "keys", "--here", "--keys", []string{"1k", "5k"}[i], "--events-per-key", "4")
		if here[0].Digest != r.Digest || here[0].Keys != r.Keys {
			t.Errorf("in this process %+v, in another %+v", here[0], r)
		}
	}
}

// What is measured are processes of this program.
func TestBenchLatency(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of a fixed rate")
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	res := benchJSON[bench.FixedRateResult](t, "latency", "--rate", "1000", "--for", "1s", "--warm", "500ms")
	if a := res.Audit; !a.OK() || a.Decided != a.Sent || a.Sent == 0 {
		t.Errorf("%+v", a)
	}
	names := []string{}
	for _, r := range res.Runs {
		names = append(names, r.Name)
		for _, p := range []bench.Percentiles{r.Latency, r.Generator} {
			if p.Count == 0 || p.P50 > p.P99 || p.P99 > p.P999 || p.P999 > p.Max {
				t.Errorf("%s: %+v", r.Name, p)
			}
		}
		if r.Latency.P50 <= 0 || r.Latency.Count >= r.Generator.Count || r.Generator.Count != int64(r.Events) || r.Seconds < 1 {
			t.Errorf("%+v", r)
		}
	}
	if strings.Join(names, " ") != "service copy" {
		t.Errorf("measured %q", names)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
