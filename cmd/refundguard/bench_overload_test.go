package main

import (
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/refundguard/refundguard/cmd/refundguard/bench"
)

func TestBenchOverload(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of a service that has more to do than it can")
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	r := runCommand(t, "bench", "overload", "--backlog", "20000", "--for", "2s", "-o", "json")
	if r.code != exitFine {
		t.Fatalf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
	var res bench.OverloadResult
	if err := json.Unmarshal([]byte(r.out), &res); err != nil {
		t.Fatal(err)
	}
	if a := res.Audit; !a.OK() || a.Decided != a.Sent || a.Sent < 1000 {
		t.Errorf("%+v", a)
	}
	if res.Memory != 1<<30 || res.Procs != 1 || res.Rate != int(3*res.Sustainable) || res.Sent < 2000 {
		t.Errorf("%+v", res)
	}
	// What Go has is more than the state, of which the service tells once a second.
	for _, p := range []bench.OverloadPhase{res.Backlog, res.Sending, res.Draining} {
		if p.Seconds <= 0 || p.WorkedOff <= 0 || p.State >= p.Go || p.Go <= 0 || p.RSS <= 0 || p.RSS > res.PeakRSS {
			t.Errorf("%+v", p)
		}
	}
	if res.Draining.State <= 0 {
		t.Errorf("a service that has decided everything has no state: %+v", res.Draining)
	}
	if p := res.Sending; math.Abs(p.Arrived*p.Seconds-float64(res.Sent)) > 1 {
		t.Errorf("%d sent, %.0f/s for %.1f s", res.Sent, p.Arrived, p.Seconds)
	}
	for i, s := range res.Samples {
		if i > 0 && (s.Seconds < res.Samples[i-1].Seconds || s.Applied < res.Samples[i-1].Applied) {
			t.Errorf("%+v after %+v", s, res.Samples[i-1])
		}
	}
	if len(res.Samples) < 3 {
		t.Errorf("%d samples of more than two seconds", len(res.Samples))
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	// A limit that no process can keep to.
	if r := runCommand(t, "bench", "overload", "--backlog", "20000", "--for", "1s", "--memory", "64MiB"); r.code != exitProblems {
		t.Errorf("exit %d of a service that can't keep within 64 MiB:\n%s%s", r.code, r.out, r.err)
	}
}
