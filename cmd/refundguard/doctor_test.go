package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// Each fault is told apart from the others, and a deployment without one is fine.
func TestDoctorTellsFaultsApart(t *testing.T) {
	s := newStoreFront(t)
	dir := t.TempDir()
	state := "state: {dir: '" + filepath.Join(dir, "state") + "'}"
	adm := kadm.NewClient(s.client)
	short := "1000"
	if _, err := adm.CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": &short}, "short-decisions"); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []string{"compact", "delete", "compact,delete"} {
		if _, err := adm.CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &policy}, strings.ReplaceAll(policy, ",", "-")); err != nil {
			t.Fatal(err)
		}
	}
	inAFile := write(t, "file", "x")
	for name, c := range map[string]struct {
		broker, more string
		check        string // that has the problem; "": none
		says         string
	}{
		"healthy":              {s.brokers[0], state, "", ""},
		"nobody listens":       {"127.0.0.1:1", state, "kafka: brokers", "nothing listens there"},
		"missing topics":       {s.brokers[0], "kafka: {seed_brokers: [%q], create_topics: false}\n" + state, "topic refund-decisions", "kafka.create_topics"},
		"short journal":        {s.brokers[0], "topics: {decisions: short-decisions}\n" + state, "topic short-decisions", "retention.ms=34560000000"},
		"progress is deleted":  {s.brokers[0], "topics: {progress: delete}\n" + state, "topic delete", "set cleanup.policy=compact"},
		"progress goes by age": {s.brokers[0], "topics: {progress: compact-delete}\n" + state, "topic compact-delete", "set cleanup.policy=compact"},
		"controls go by age":   {s.brokers[0], "topics: {controls: compact-delete}\n" + state, "topic compact-delete", "set cleanup.policy=compact"},
		"cases are deleted":    {s.brokers[0], "topics: {cases: delete}\n" + state, "topic delete", "set cleanup.policy=compact"},
		"cases may go by age":  {s.brokers[0], "topics: {cases: compact-delete, progress: compact}\n" + state, "", ""},
		"folder can't be made": {s.brokers[0], "state: {dir: '" + filepath.Join(inAFile, "state") + "'}", "state.dir", "can't write there"},
		"configuration":        {s.brokers[0], "review: {on_deadline: shrug}", "configuration", "shrug"},
		"nobody at ClickHouse": {s.brokers[0], state + "\nclickhouse: {addr: ['127.0.0.1:1']}", "clickhouse: server", "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			content := fmt.Sprintf("rules: {dir: %q}\n", filepath.Join(filepath.Dir(s.file), "rules"))
			if strings.HasPrefix(c.more, "kafka:") {
				content += fmt.Sprintf(c.more, c.broker)
			} else {
				content += fmt.Sprintf("kafka: {seed_brokers: [%q]}\n", c.broker) + c.more
			}
			expectDoctor(t, write(t, "refundguard.yaml", content), c.check, c.says)
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "state")); !os.IsNotExist(err) {
		t.Errorf("the doctor changed something: %v", err)
	}
}

// askDoctor runs doctor.
func askDoctor(t *testing.T, file string) (found []checked, r ran) {
	t.Helper()
	r = runCommand(t, "doctor", "-c", file, "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &found); err != nil {
		t.Fatalf("%v:\n%s%s", err, r.out, r.err)
	}
	return found, r
}

// expectDoctor expects doctor to find a problem of this check, or none.
func expectDoctor(t *testing.T, file, check, says string) {
	t.Helper()
	found, r := askDoctor(t, file)
	seen := check == ""
	for _, f := range found {
		seen = seen || f.Check == check && f.Result == "problem" && strings.Contains(f.Says, says)
		if check == "" && f.Result == "problem" {
			t.Errorf("%s: %s", f.Check, f.Says)
		}
	}
	if want := map[bool]int{true: exitFine, false: exitProblems}[check == ""]; !seen || r.code != want {
		t.Errorf("exit %d, want a problem of %q that says %q in:\n%s", r.code, check, says, r.out)
	}
}

func TestDoctorAsksClickHouse(t *testing.T) {
	server := startClickHouse(t, local.Config{Dir: t.TempDir(), Password: "secret"})
	s := newStoreFront(t)
	file := func(database, username string) string {
		return write(t, "refundguard.yaml", fmt.Sprintf("kafka: {seed_brokers: [%q]}\nrules: {dir: %q}\nclickhouse: {addr: [%q], protocol: http, database: %s, username: %s, password: secret}\n",
			s.brokers[0], filepath.Join(filepath.Dir(s.file), "rules"), server.HTTPAddr(), database, username))
	}
	if r := runCommand(t, "migrate", "-c", file("refundguard", local.Username)); r.code != exitFine {
		t.Fatal(r.err)
	}
	expectDoctor(t, file("refundguard", local.Username), "", "")
	expectDoctor(t, file("elsewhere", local.Username), "clickhouse: database", "refundguard migrate")
	expectDoctor(t, file("refundguard", local.ReadOnly), "clickhouse: writable", "read")
}
