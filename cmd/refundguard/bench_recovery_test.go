package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/refundguard/refundguard/cmd/refundguard/bench"
)

// The processes that are killed are this program: TestMain has it be run.
func TestBenchRecovery(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute of processes that are killed")
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("REFUNDGUARD_HTTP_LISTEN", "nowhere:1:2") // must not reach them
	r := runCommand(t, "bench", "recovery", "--keys", "3k", "--rate", "1000", "--behind", "2s", "--latency", "500ms", "-o", "json")
	if r.code != exitFine {
		t.Fatalf("exit %d:\n%s", r.code, r.err)
	}
	var res bench.RecoveryResult
	if err := json.Unmarshal([]byte(r.out), &res); err != nil {
		t.Fatal(err)
	}
	if a := res.Audit; !a.OK() || a.Decided != a.Sent || a.Sent < 2*100 {
		t.Errorf("%+v", a)
	}
	if len(res.Crashes) != 1 || res.Failover == nil || res.Saving == nil {
		t.Fatalf("something wasn't measured: %s", r.out)
	}
	// What came while it was down is decided by the second instance, which saves
	// nothing: the third reads that again, but for transactions after the last
	// refund that the second had not committed when it was killed.
	c := res.Crashes[0]
	if c.Waited != 2000 || c.Reread > 2000 || c.Reread < 1000 || c.Keys < 2000 || c.Load <= 0 || c.Live <= c.Load || c.Decided <= c.Load || c.RereadLive <= c.RereadLoad {
		t.Errorf("%+v", c)
	}
	if f := c.Fresh; f.Live <= 0 || f.Memory <= 0 || f.State <= 0 {
		t.Errorf("from nothing: %+v", f)
	}
	if c.MemoryPerKey <= 0 || c.DiskPerKey <= 0 || c.RSSPerKey <= c.MemoryPerKey {
		t.Errorf("sizes: %+v", c)
	}
	// A standby waits for 3 s after a kill.
	if f := res.Failover; f.Killed < 2.5 || f.Stopped <= 0 || f.Typical <= 0 {
		t.Errorf("%+v", f)
	}
	if s := res.Saving; s.With.Refunds == 0 || s.Without.Refunds == 0 || s.With.P50 <= 0 || s.With.P99 < s.With.P50 {
		t.Errorf("%+v", s)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// runIfStarted is main where a bench has started the test's own program.
func runIfStarted() {
	if len(os.Args) > 2 && (os.Args[1] == "run" || os.Args[1] == "bench") {
		main()
	}
}
