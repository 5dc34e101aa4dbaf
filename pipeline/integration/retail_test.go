package integration

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/pipeline/integration/model"
)

// retailDir is the folder of the real shop's year, which is not part of the
// project.
func retailDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("REFUNDGUARD_RETAIL")
	if dir == "" {
		t.Skip("REFUNDGUARD_RETAIL is not set to the folder of the retail data set")
	}
	return dir
}

func readLines(t testing.TB, file string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	for line := range strings.Lines(string(text)) {
		lines = append(lines, []byte(strings.TrimSuffix(line, "\n")))
	}
	return lines
}

func retailModel(t testing.TB) *model.Model {
	t.Helper()
	m := model.Retail(t, retailRuleFile)
	for _, stream := range []string{"transactions", "refunds"} {
		for _, line := range readLines(t, filepath.Join(retailDir(t), stream+".jsonl")) {
			m.AddLine(t, stream, line)
		}
	}
	return m
}

// published is refund_features.csv: by refund, by column.
func published(t testing.TB) map[string]map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(retailDir(t), "refund_features.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]map[string]string)
	for _, row := range rows[1:] {
		columns := make(map[string]string)
		for i, name := range rows[0] {
			columns[name] = row[i]
		}
		all[row[0]] = columns
	}
	if len(all) != 4247 {
		t.Fatalf("%d refunds in refund_features.csv, want 4247", len(all))
	}
	return all
}

// publishedFeatures are the columns that are past-events expressions, as the
// features of a decision.
func publishedFeatures(t testing.TB, columns map[string]string) map[string]string {
	t.Helper()
	features := make(map[string]string)
	for column, stream := range map[string]string{"refund": "refunds", "purchase": "transactions"} {
		for _, w := range []string{"1h", "24h", "7d", "30d", "ever"} {
			window := `.within("` + w + `")`
			if w == "ever" {
				window = ".ever()"
			}
			past := stream + ".by(customer_id)" + window
			features[past+".count()"] = columns[column+"_count_"+w]
			features[past+".sum(amount)"] = fmt.Sprint(model.Units(t, columns[column+"_sum_"+w]))
		}
	}
	return features
}

// checkPublished compares a refund's features and hits with the data set's.
func checkPublished(t testing.TB, refund string, columns map[string]string, features map[string]string, hits []string) {
	t.Helper()
	for text, want := range publishedFeatures(t, columns) {
		if got := features[text]; got != want {
			t.Errorf("refund %s: %s is %s, want %s", refund, text, got, want)
		}
	}
	for _, rule := range []string{"R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8"} {
		if got, want := slices.Contains(hits, rule), columns[rule] == "1"; got != want {
			t.Errorf("refund %s: %s hits: %v, want %v", refund, rule, got, want)
		}
	}
}

// TestModelAgreesWithTheDataSet holds the model against figures that others
// computed.
func TestModelAgreesWithTheDataSet(t *testing.T) {
	m, rows := retailModel(t), published(t)
	outcomes := make(map[string]int)
	for refund, d := range m.DecideAll() {
		outcomes[d.Outcome]++
		if columns, ok := rows[refund]; ok {
			checkPublished(t, refund, columns, d.Features, d.Hits)
			delete(rows, refund)
		}
	}
	if len(rows) > 0 {
		t.Errorf("%d refunds of the data set were not decided", len(rows))
	}
	for _, outcome := range []string{"approve", "review", "reject"} {
		if outcomes[outcome] < 50 {
			t.Errorf("outcomes %v: the rule set does not tell the refunds apart", outcomes)
		}
	}
	t.Logf("outcomes: %v", outcomes)
}
