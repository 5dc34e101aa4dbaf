package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStateOfAnEmptyFolder(t *testing.T) {
	for _, sub := range []string{"inspect", "verify", "export"} {
		root := newRootCmd()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetArgs([]string{"state", sub, "-c", "", "--dir", t.TempDir()})
		if code := exitCode(root.Execute(), root); code != exitProblems || !strings.Contains(out.String(), "nothing is saved") {
			t.Errorf("state %s: exit code %d, %s", sub, code, &out)
		}
	}
}

// The way of an operator: a machine is lost, a new one takes a checkpoint; then
// the deployment is exported, and imported for another cluster.
func TestTheStateGoesToOtherMachines(t *testing.T) {
	s := newStoreFront(t)
	dir, bucket, export := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "bucket"), filepath.Join(t.TempDir(), "export")
	state := func(args ...string) (int, string) {
		root := newRootCmd()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetArgs(append([]string{"state"}, args...))
		code := exitCode(root.Execute(), root)
		return code, out.String()
	}
	must := func(want int, says string, args ...string) {
		t.Helper()
		if code, text := state(args...); code != want || !strings.Contains(text, says) {
			t.Errorf("state %s: exit code %d, %s", strings.Join(args, " "), code, text)
		}
	}
	_, stop := s.run("streams: {refunds: {decide_from: earliest}}\nstate: {save_interval: 20ms, checkpoint_interval: 20ms, dir: '" + dir + "', checkpoint: '" + bucket + "'}")
	from := []string{"-c", s.file, "--dir", dir}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if code, _ := state("checkpoints", "-c", s.file); code == exitFine {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("there is no checkpoint")
		}
	}
	stop()
	must(exitProblems, "something is saved", append([]string{"restore"}, from...)...)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	must(exitFine, "every one verified", append([]string{"restore"}, from...)...)
	must(exitFine, "fine: ", append([]string{"verify"}, from...)...)
	_, stop = s.run("state: {save_interval: 20ms, dir: '" + dir + "'}")
	stop()
	must(exitProblems, "state.checkpoint is not set", "checkpoints", "-c", s.file)
	must(exitFine, "exported as", append([]string{"export", "--final", "--to", export}, from...)...)
	must(exitFine, `"final":true`, "checkpoints", "-c", s.file, "--from", export, "-o", "json")
	must(exitUsage, "--from", "import", "-c", s.file)
	must(exitFine, "for another cluster", "import", "-c", s.file, "--from", export, "--cluster-moved", "--dir", filepath.Join(t.TempDir(), "moved"))
	must(exitProblems, "holds no checkpoint", "import", "-c", s.file, "--from", t.TempDir(), "--dir", t.TempDir())
}
