package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestExitCodes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("rules:\n  - id: a\n    when: amont > 5\n    action: review\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{}, exitFine, "refundguard demo"},
		{[]string{"version"}, exitFine, "refundguard "},
		{[]string{"--version"}, exitFine, "refundguard version "},
		{[]string{"bench", "engine", "--events", "1000"}, exitFine, "CPU µS/EVENT"},
		{[]string{"rules", "check", "../../rules/starter"}, exitFine, "0 warnings"},
		{[]string{"rules", "check", bad}, exitProblems, "bad.yaml:3:"},
		{[]string{"rules", "check", bad, "-o", "json"}, exitProblems, `"ok": false`},
		{[]string{"rules", "check", "no/such/folder"}, exitUsage, "no/such/folder"},
		{[]string{"rules", "check", "a", "b"}, exitUsage, "arg"},
		{[]string{"rules", "check", bad, "-o", "xml"}, exitUsage, "xml"},
		{[]string{"nope"}, exitUsage, "nope"},
		{[]string{"version", "--nope"}, exitUsage, "nope"},
		{[]string{"bench", "-o", "table"}, exitUsage, "neither text nor json"},
		{[]string{"bench", "--events", "10"}, exitUsage, "--events 10"},
		{[]string{"bench", "engine", "--cpus", "0"}, exitUsage, "--cpus 0"},
		{[]string{"bench", "rules", "--rules", "0"}, exitUsage, "--rules 0"},
		{[]string{"bench", "gate", "--save-interval", "0s"}, exitUsage, "--save-interval"},
		{[]string{"bench", "keys", "--keys", "many"}, exitUsage, "--keys many"},
		{[]string{"bench", "keys", "--events-per-key", "1"}, exitUsage, "--events-per-key 1"},
		{[]string{"bench", "latency", "--rate", "1"}, exitUsage, "--rate"},
		{[]string{"bench", "copy"}, exitUsage, "--brokers"},
		{[]string{"bench", "recovery", "--keys", "many"}, exitUsage, "--keys many"},
		{[]string{"bench", "recovery", "--rate", "0"}, exitUsage, "--rate"},
		{[]string{"bench", "overload", "--memory", "much"}, exitUsage, "--memory much"},
		{[]string{"bench", "overload", "--factor", "0"}, exitUsage, "--factor"},
		{[]string{"bench", "overload", "--rules", "no/such/folder"}, exitUsage, "no/such/folder"},
		{[]string{"run", "-c", "no/such/file"}, exitUsage, "no/such/file"},
		{[]string{"run", "-c", "testdata/empty.bad.yaml"}, exitProblems, "kafka.seed_brokers"},
		{[]string{"migrate", "-c", "testdata/empty.bad.yaml"}, exitProblems, "clickhouse.addr"},
	} {
		r := runCommand(t, c.args...)
		if r.code != c.code || !strings.Contains(r.out+r.err, c.says) {
			t.Errorf("%q: exit %d, want %d and %q in:\n%s%s", c.args, r.code, c.code, c.says, r.out, r.err)
		}
	}
}

func TestVersionJSON(t *testing.T) {
	var v version
	if err := json.Unmarshal([]byte(runCommand(t, "version", "-o", "json").out), &v); err != nil || v.Go == "" || v.Version == "" {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if !strings.Contains(cmd.Example, "refundguard ") || cmd.Short == "" {
			t.Errorf("%s has no example or no description", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRootCmd())
}
