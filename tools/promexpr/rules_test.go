package promexpr_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/tools/promexpr"
	"go.yaml.in/yaml/v3"
)

const deploy = "../../deploy/"

type alertRule struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func alertRules(t *testing.T) (all []alertRule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alertRule }
	}
	readYAML(t, deploy+"prometheus/refundguard.rules.yml", &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("only %d alert rules are read", len(all))
	}
	return all
}

var labelOf = regexp.MustCompile(`\$labels\.([a-zA-Z_]+)`)

// Alert rules name metrics and labels that the program exports, in their messages
// too.
func TestAlertsNameWhatIsExported(t *testing.T) {
	catalog, err := promexpr.Read("../../cmd/refundguard/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range alertRules(t) {
		var shown []string
		for _, text := range r.Annotations {
			for _, m := range labelOf.FindAllStringSubmatch(text, -1) {
				// Some alerts have two causes, and one of them no instance.
				if !slices.Contains(shown, m[1]) && !strings.Contains(text, "{{ if $labels."+m[1]+" }}") {
					shown = append(shown, m[1])
				}
			}
		}
		for _, fault := range catalog.Check(r.Expr, shown...) {
			t.Errorf("%s: %v", r.Alert, fault)
		}
	}
}

var alertOf = regexp.MustCompile(`alertname="([^"]*)"`)

var heading = regexp.MustCompile(`(?m)^## (\S+)$`)

// Each alert says all that is needed at night, and has a section in the runbooks that
// does; and there is no section without an alert.
func TestAlertsHaveRunbooks(t *testing.T) {
	text, err := os.ReadFile(deploy + "runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, at := range heading.FindAllStringSubmatchIndex(string(text), -1) {
		name, rest := string(text[at[2]:at[3]]), string(text[at[1]:])
		if next := heading.FindStringIndex(rest); next != nil {
			rest = rest[:next[0]]
		}
		sections[name] = rest
	}
	dashboard := regexp.MustCompile(`^\{\{ \$externalLabels\.grafana \}\}/d/refundguard-(overview|rules|refund|review-queue|reconciliation|engine)$`)
	for _, r := range alertRules(t) {
		section, ok := sections[r.Alert]
		if !ok {
			t.Errorf("deploy/runbooks.md has no section %s", r.Alert)
		}
		for _, part := range []string{"**What it means.** ", "**What to look at.** ", "**What to do.** "} {
			if ok && !strings.Contains(section, part) {
				t.Errorf("deploy/runbooks.md: section %s has no %q", r.Alert, part)
			}
		}
		delete(sections, r.Alert)
		if got, want := r.Annotations["runbook_url"], "/deploy/runbooks.md#"+strings.ToLower(r.Alert); !strings.HasSuffix(got, want) {
			t.Errorf("%s: runbook_url is %q, want …%s", r.Alert, got, want)
		}
		if !dashboard.MatchString(r.Annotations["dashboard"]) {
			t.Errorf("%s: dashboard is %q", r.Alert, r.Annotations["dashboard"])
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity is %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks a summary or a description", r.Alert)
		}
	}
	for name := range sections {
		t.Errorf("deploy/runbooks.md has a section %s, and there is no such alert", name)
	}
}

// In the unit tests, which promtool runs, each alert fires somewhere, and each of
// them begins with a time at which nothing does.
func TestAlertsAreTested(t *testing.T) {
	var file struct {
		Tests []struct {
			Name  string
			Exprs []struct {
				Expr    string
				Samples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	readYAML(t, deploy+"prometheus/tests/refundguard_test.yml", &file)
	fires := map[string]bool{}
	for _, test := range file.Tests {
		for i, e := range test.Exprs {
			if e.Expr != `count by (alertname) (ALERTS{alertstate="firing"})` {
				t.Errorf("%s: another expression: %s", test.Name, e.Expr)
			}
			if i == 0 && len(e.Samples) > 0 {
				t.Errorf("%s: it begins with something firing", test.Name)
			}
			for _, s := range e.Samples {
				fires[alertOf.FindStringSubmatch(s.Labels + `alertname=""`)[1]] = true
			}
		}
	}
	for _, r := range alertRules(t) {
		if !fires[r.Alert] {
			t.Errorf("no test has %s fire", r.Alert)
		}
	}
}
