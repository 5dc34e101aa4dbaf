package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/cmd/refundguard/demo"
	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

func TestMain(m *testing.M) {
	local.RunIfChild()
	runIfStarted()
	os.Exit(m.Run())
}

// demoOnce plays a small year and returns its summary.
func demoOnce(t *testing.T, args ...string) (*demo.Summary, error) {
	t.Helper()
	root := newRootCmd()
	var out, progress bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&progress)
	root.SetArgs(append([]string{"demo", "--once", "-o", "json"}, args...))
	err := root.ExecuteContext(t.Context())
	if err != nil && os.Getenv("CI") != "true" && (strings.Contains(err.Error(), "get a ClickHouse engine") || strings.Contains(err.Error(), "no ClickHouse found")) {
		t.Skip(err)
	}
	t.Logf("%s\n%s", progress.String(), out.String())
	if out.Len() == 0 {
		t.Fatal(err)
	}
	var sum demo.Summary
	if err := json.Unmarshal(out.Bytes(), &sum); err != nil {
		t.Fatalf("the summary is not one JSON object: %v", err)
	}
	return &sum, err
}

func TestDemoOnce(t *testing.T) {
	slow(t)
	sum, err := demoOnce(t, "--transactions", "4000", "--bad", "0.02", "--seed", "3", "--without", "ledger,analyst,customers")
	if err != nil || !sum.OK || !sum.Balance.OK {
		t.Fatalf("error %v, faults %q", err, sum.Faults)
	}
	b := sum.Balance
	if b.Read == 0 || b.Read != b.Approved+b.InReview+b.Rejected+b.DeadLettered+b.Duplicates+b.History {
		t.Errorf("balance %+v", b)
	}
	if b.DeadLettered == 0 || b.Duplicates == 0 || b.InReview == 0 || b.Approved < b.Read*8/10 {
		t.Errorf("balance %+v: want most approved, and some of each", b)
	}
	if sum.ClickHouse["decisions"] != b.Approved+b.InReview+b.Rejected || sum.ClickHouse["dead_letters"] < b.DeadLettered {
		t.Errorf("ClickHouse %v against %+v", sum.ClickHouse, b)
	}
	refused := int64(0)
	for _, n := range sum.Refused {
		refused += n
	}
	if refused != sum.ClickHouse["dead_letters"] || sum.Refused["refunds INVALID_JSON"] == 0 {
		t.Errorf("refused %v, ClickHouse %v", sum.Refused, sum.ClickHouse)
	}
	if sum.Alerts.Delivered == 0 {
		t.Error("no alerts")
	}
	for _, kind := range []string{"over_refund", "other_instrument"} {
		if c := sum.Labels[kind]; c.Total == 0 || c.Caught != c.Total {
			t.Errorf("%s: %+v", kind, c)
		}
	}
	if c := sum.Labels["device_ring"]; c.Total < 5 || c.Caught < c.Total/2 {
		t.Errorf("device_ring: %+v", c)
	}
	if h := sum.Honest; h == nil || h.Caught > h.Total/10 {
		t.Errorf("honest refunds held: %+v", h)
	}
}

// The whole life of a refund: whatever the ledger, the analysts and the customers
// do is found, refund by refund, and nothing else is. That each is released once
// and has no status twice is among the demo's own faults.
func TestDemoOfTheWholeLife(t *testing.T) {
	slow(t)
	sum, err := demoOnce(t, "--transactions", "6000", "--seed", "3")
	if err != nil || !sum.OK || !sum.Balance.OK {
		t.Fatalf("error %v, faults %q", err, sum.Faults)
	}
	if b := sum.Balance; b.InReview != 0 || b.Approved != sum.Topics["refunds-approved"] {
		t.Errorf("balance %+v, %d released: want nothing left in review", b, sum.Topics["refunds-approved"])
	}
	for _, rule := range []string{cases.AlertOverdue, cases.AlertTwice, cases.AlertOtherAmount, cases.AlertFailed, cases.AlertUnapproved, cases.AlertUnknown, cases.AlertDeadline, cases.AlertDenied} {
		f := sum.Findings[rule]
		if f.Planted < 2 || f.Found != f.Planted || sum.LifeAlerts[rule] != f.Found {
			t.Errorf("%s: %+v, %d alerts; want two or more, and all found", rule, f, sum.LifeAlerts[rule])
		}
	}
	for rule, n := range sum.LifeAlerts {
		if sum.Findings[rule].Planted != n {
			t.Errorf("%d alerts %s, planted %+v", n, rule, sum.Findings[rule])
		}
	}
	for program, kinds := range map[string][]string{
		"ledger":    {"executed", "late", "never", "twice", "other_amount", "failed", "unapproved", "unknown"},
		"analyst":   {"approve", "reject", "escalate", "second_approval", "already_paid", "deadlines_passed"},
		"customers": {"confirmed", "denied", "satisfied", "not_satisfied", "complaints"},
	} {
		for _, kind := range kinds {
			if sum.Programs[program][kind] == 0 {
				t.Errorf("the %s did nothing of %s: %v", program, kind, sum.Programs[program])
			}
		}
	}
	if did := sum.Programs["customers"]; sum.Topics["confirmations"] != did["confirmed"]+did["denied"] || sum.Topics["complaints"] != did["complaints"] {
		t.Errorf("customers did %v, the topics hold %v", did, sum.Topics)
	}
	if sum.Topics["refund-labels"] == 0 {
		t.Error("no labels")
	}
	for topic, n := range map[string]int64{"decisions": sum.Topics["refund-decisions"], "alerts": sum.Topics["alerts"], "dead_letters": sum.Topics["dead-letters"], "labels": sum.Topics["refund-labels"],
		"cases": sum.Topics["refunds"] - sum.Balance.DeadLettered - sum.Balance.Duplicates} {
		if sum.ClickHouse[topic] != n {
			t.Errorf("ClickHouse has %d rows of %s, the topic %d", sum.ClickHouse[topic], topic, n)
		}
	}
}

// The same data from files must come to the same end, as one's own would.
func TestDemoOfFiles(t *testing.T) {
	slow(t)
	dir := t.TempDir()
	gen := newRootCmd()
	gen.SetOut(&bytes.Buffer{})
	gen.SetArgs([]string{"gen", "--out", dir, "--transactions", "2000", "--seed", "5"})
	if err := gen.ExecuteContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	// What people do takes its time, and what rules see of it depends on that.
	made, err := demoOnce(t, "--transactions", "2000", "--seed", "5", "--bad", "0", "--without", "ledger,analyst,customers")
	if err != nil {
		t.Fatal(err)
	}
	read, err := demoOnce(t, "--data", dir, "--without", "ledger,analyst,customers")
	if err != nil {
		t.Fatal(err)
	}
	if made.Balance != read.Balance || made.Labels["over_refund"] != read.Labels["over_refund"] {
		t.Errorf("generated %+v %v, from files %+v %v", made.Balance, made.Labels, read.Balance, read.Labels)
	}
}

// Whoever edits a rule while the demo runs sees that it was taken, what it hits,
// and what is wrong with it.
func TestDemoTellsOfEditedRules(t *testing.T) {
	slow(t)
	dir := filepath.Join(t.TempDir(), "demo")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	told, in := io.Pipe()
	root := newRootCmd()
	root.SetOut(io.Discard)
	root.SetErr(in)
	root.SetArgs([]string{"demo", "--dir", dir, "--speed", "7d/s"})
	end := make(chan error, 1)
	go func() {
		err := root.ExecuteContext(ctx)
		in.Close()
		end <- err
	}()
	mine := filepath.Join(dir, "rules", "mine.yaml")
	put := func(condition string) {
		if err := os.WriteFile(mine, []byte("rules:\n  - {id: mine, when: "+condition+", score: 1}\n"), 0o600); err != nil {
			t.Error(err)
		}
	}
	steps := []struct {
		says string
		then func()
	}{
		{"approved", func() { put("amount > 0") }},
		{"rules reloaded", func() {}},
		{"your rules: mine ", func() { put("amont > 0") }},
		{"mine.yaml:2:22: rule \"mine\": unknown name amont\n", func() {}},
		{"  |                      ^\n", cancel},
	}
	lines := bufio.NewReader(told)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		t.Log(strings.TrimSpace(line))
		if len(steps) > 0 && strings.Contains(line, steps[0].says) {
			steps[0].then()
			steps = steps[1:]
		}
	}
	err := <-end
	if err != nil && os.Getenv("CI") != "true" && strings.Contains(err.Error(), "ClickHouse") {
		t.Skip(err)
	}
	if err != nil || len(steps) > 0 {
		t.Errorf("error %v; not told: %+v", err, steps)
	}
}

// An interrupted one says that, and not that something took too long.
func TestDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, progress bytes.Buffer
	root := newRootCmd()
	root.SetOut(&out)
	root.SetErr(writerFunc(func(p []byte) {
		progress.Write(p)
		if strings.HasPrefix(string(p), "Playing") {
			cancel()
		}
	}))
	root.SetArgs([]string{"demo", "--once", "-o", "json", "--transactions", "500000"})
	code := exitCode(root.ExecuteContext(ctx), root)
	if os.Getenv("CI") != "true" && strings.Contains(progress.String(), "ClickHouse engine") {
		t.Skip(progress.String())
	}
	var sum demo.Summary
	if err := json.Unmarshal(out.Bytes(), &sum); err != nil || code != exitProblems || len(sum.Faults) != 1 || !strings.Contains(sum.Faults[0], "interrupted") {
		t.Errorf("exit %d, %v, faults %q\n%s", code, err, sum.Faults, progress.String())
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// A demo that could not begin leaves no folder behind.
func TestDemoThatCannotBegin(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	r := runCommand(t, "demo", "--once", "--data", filepath.Join(temp, "nope"))
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 || r.code != exitProblems || strings.Contains(r.err, "The log is") {
		t.Errorf("left %v, %v; exit %d, %s", left, err, r.code, r.err)
	}
}

func TestDemoUsage(t *testing.T) {
	text := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(text, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		says string
		code int
	}{
		{[]string{"demo", "--speed", "fast"}, "1d/s", exitUsage},
		{[]string{"demo", "--without", "ledger,boss"}, "\"boss\" is none of the demo's programs", exitUsage},
		{[]string{"demo", "-o", "xml"}, "neither text nor json", exitUsage},
		{[]string{"demo", "--data", "x", "--seed", "2"}, "--seed", exitUsage},
		{[]string{"demo", "--days", "0"}, "--days 0", exitUsage},
		{[]string{"demo", "--once", "--data", filepath.Dir(text)}, "transactions.jsonl", exitProblems},
		{[]string{"demo", "--once", "--dir", filepath.Dir(text)}, "holds other things", exitProblems},
		{[]string{"gen", "--bad", "2"}, "--bad 2", exitUsage},
		{[]string{"gen", "--end", "tomorrow"}, "--end", exitUsage},
		{[]string{"gen", "--out", text}, "notes.txt", exitProblems},
	} {
		root := newRootCmd()
		var errs bytes.Buffer
		root.SetOut(&bytes.Buffer{})
		root.SetErr(&errs)
		root.SetArgs(c.args)
		code := exitCode(root.ExecuteContext(t.Context()), root)
		if code != c.code || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%q: exit %d, %q; want %d and %q", c.args, code, errs.String(), c.code, c.says)
		}
	}
}
