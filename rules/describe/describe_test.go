package describe_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/describe"
	"github.com/refundguard/refundguard/rules/event"
)

var update = flag.Bool("update", false, "rewrite the expected texts in testdata")

func open(t *testing.T, path string) *describe.Book {
	t.Helper()
	schema := event.Builtin()
	set, readings, err := rules.Inspect(path, rules.Options{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	return &describe.Book{Set: set, Readings: readings, Schema: schema, Exact: 16_384}
}

func TestExplain(t *testing.T) {
	book := open(t, "testdata/book.yaml")
	var out bytes.Buffer
	for i := range book.Readings {
		if err := book.Explain(&out, &book.Readings[i]); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n" + strings.Repeat("-", 80) + "\n\n")
	}
	const golden = "testdata/book.golden"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Error(diff)
	}
	for _, line := range strings.Split(out.String(), "\n") {
		// what is written as it stands in the file may be longer
		if len([]rune(line)) > 100 && !strings.Contains(line, ".by(") {
			t.Errorf("a line of %d characters: %s", len([]rune(line)), line)
		}
	}
}

func TestRows(t *testing.T) {
	book := open(t, "testdata/book.yaml")
	rows := book.Rows()
	want := describe.Row{
		ID: "velocity", On: "refunds", Mode: "live", Severity: "high", Action: "review", Score: 40, Owner: "risk",
		Tags: []string{"velocity", "customer"}, Windows: []string{"refunds 7d", "complaints ever"},
		Description: "Many refunds by one customer in a week.", File: "testdata/book.yaml", Line: 6,
	}
	if diff := cmp.Diff(want, rows[0]); diff != "" {
		t.Error(diff)
	}
	windows := []string{"refunds 7d delayed 1d", "refunds 90m", "refunds ever", "transactions 90d", "updates ever", "hits 28d"}
	if diff := cmp.Diff(windows, rows[1].Windows); diff != "" {
		t.Error(diff)
	}
	if len(rows) != 7 || rows[6].On != "transactions" || rows[5].Mode != "off" {
		t.Errorf("%+v", rows)
	}
	if book.Find("nope") != nil || book.Find("old").Rule.ID != "old" {
		t.Error("a rule is not found, or one that isn't there")
	}
}
