package main

import (
	"bytes"
	"strings"
	"testing"
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
