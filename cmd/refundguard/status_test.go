package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline"
)

func TestStatus(t *testing.T) {
	s := newStoreFront(t)
	status := func(args ...string) (int, string) {
		root := newRootCmd()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetArgs(append([]string{"status", "-c", s.file}, args...))
		return exitCode(root.Execute(), root), out.String()
	}
	_, stop := s.run("streams: {refunds: {decide_from: earliest}}\nstate: {save_interval: 20ms, dir: '" + filepath.Join(t.TempDir(), "state") + "'}")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		code, text := status("-o", "json")
		var st pipeline.Status
		if err := json.Unmarshal([]byte(text), &st); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if st.SavedEpoch > 0 {
			if code != exitFine || st.State != pipeline.Working || st.Leader == "" || len(st.Streams) != 3 || st.Streams[0].Lag != 0 {
				t.Errorf("%d: %s", code, text)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no saved state: %s", text)
		}
	}
	if code, text := status(); code != exitFine || !strings.Contains(text, "working") {
		t.Errorf("%d: %s", code, text)
	}
	stop()
	if code, text := status(); code != exitProblems || !strings.Contains(text, "stopped in order") {
		t.Errorf("%d: %s", code, text)
	}
	s.send(`{"refund_id":"r1","amount":"1","currency":"USD","occurred_at":"2026-01-05T10:00:00Z"}`)
	if code, text := status("-o", "json"); code != exitProblems || !strings.Contains(text, `"undecided":1`) {
		t.Errorf("%d: %s", code, text)
	}
	if code, text := status("--observe"); code != exitProblems || !strings.Contains(text, "never started") {
		t.Errorf("%d: %s", code, text)
	}
}
