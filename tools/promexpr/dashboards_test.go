package promexpr_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/tools/promexpr"
)

var (
	legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)
	// expanded puts in what Grafana does; what it would be doesn't matter here.
	expanded = strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m", "$__range", "1h", "$job", "refundguard")
)

// Dashboards ask for metrics and labels that the program has, and nothing else.
func TestDashboards(t *testing.T) {
	catalog, err := promexpr.Read(filepath.Join("..", "..", "cmd", "refundguard", "METRICS.md"))
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join("..", "..", "dashboards", "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	checked := 0
	for _, path := range paths {
		var board struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr, LegendFormat string }
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				if target.Expr == "" {
					continue
				}
				checked++
				var shown []string
				for _, found := range legendLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
					shown = append(shown, found[1])
				}
				for _, fault := range catalog.Check(expanded.Replace(target.Expr), shown...) {
					t.Errorf("%s, panel %q: %v", filepath.Base(path), p.Title, fault)
				}
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d expressions were found", checked)
	}
}
