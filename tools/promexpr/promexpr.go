// Package promexpr checks PromQL expressions against the metrics that the program
// exports, as cmd/refundguard/METRICS.md lists them: alert rules and dashboards
// name nothing else.
package promexpr

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Catalog has each metric's labels, by its name.
type Catalog map[string][]string

// target are the labels that Prometheus adds to whatever it scrapes, and what is
// known of each scrape.
var (
	target  = []string{"job", "instance"}
	scraped = []string{"up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS", "ALERTS_FOR_STATE"}
	row     = regexp.MustCompile("(?m)^\\| `([a-zA-Z_:][a-zA-Z0-9_:]*)` \\| ([a-z]+) \\|([^|]*)\\|")
)

// Read reads METRICS.md. Histograms are there under the names of their series,
// too.
func Read(path string) (Catalog, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the list of metrics: %w", err)
	}
	c := Catalog{}
	for _, name := range scraped {
		c[name] = []string{"alertname", "alertstate", "severity"}
	}
	rows := row.FindAllStringSubmatch(string(text), -1)
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s has no table of metrics", path)
	}
	for _, r := range rows {
		name, kind := r[1], r[2]
		has := strings.FieldsFunc(r[3], func(c rune) bool { return c == ',' || c == ' ' })
		c[name] = has
		if kind == "histogram" || kind == "summary" {
			c[name+"_sum"], c[name+"_count"] = has, has
		}
		if kind == "histogram" {
			c[name+"_bucket"] = append(slices.Clone(has), "le")
		}
	}
	return c, nil
}

// Use is one selector of an expression: a metric, and the labels by which it is
// selected.
type Use struct {
	Metric string
	Labels []string
}

var options = parser.Options{} // nothing experimental

// Uses are an expression's selectors.
func Uses(expr string) ([]Use, error) {
	root, err := parser.NewParser(options).ParseExpr(expr)
	if err != nil {
		return nil, fmt.Errorf("parsing %q: %w", expr, err)
	}
	return uses(root), nil
}

func uses(root parser.Node) (all []Use) {
	parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			u := Use{Metric: v.Name}
			for _, m := range v.LabelMatchers {
				if m.Name != labels.MetricName {
					u.Labels = append(u.Labels, m.Name)
				} else if u.Metric == "" {
					u.Metric = m.Value
				}
			}
			all = append(all, u)
		}
		return nil
	})
	return all
}

// Check reports each metric of an expression that isn't exported, and each label
// that its metric doesn't have. Others are labels that somebody asks of the
// result, such as those of a legend or a message.
func (c Catalog) Check(expr string, others ...string) (faults []error) {
	root, err := parser.NewParser(options).ParseExpr(expr)
	if err != nil {
		return []error{fmt.Errorf("parsing %q: %w", expr, err)}
	}
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format+" in "+expr, args...)) }
	made := made(root)
	for _, u := range uses(root) {
		has, known := c[u.Metric]
		if !known {
			fault("metric %q is not exported", u.Metric)
			continue
		}
		for _, l := range u.Labels {
			if !slices.Contains(has, l) && !slices.Contains(target, l) {
				fault("metric %s has no label %q", u.Metric, l)
			}
		}
	}
	// What labels are grouped or matched by, one of the metrics there must have.
	asked := func(n parser.Node, names []string) {
		for _, l := range names {
			if !slices.Contains(made, l) && !slices.Contains(target, l) && !slices.ContainsFunc(uses(n), func(u Use) bool { return slices.Contains(c[u.Metric], l) }) {
				fault("no metric has the label %q", l)
			}
		}
	}
	parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.AggregateExpr:
			asked(n.Expr, n.Grouping)
		case *parser.BinaryExpr:
			if m := n.VectorMatching; m != nil {
				asked(n, m.MatchingLabels)
				asked(n, m.Include)
			}
		}
		return nil
	})
	for _, l := range others {
		if !slices.Contains(made, l) && !kept(root, l, c) {
			fault("the result has no label %q", l)
		}
	}
	return faults
}

// made are the labels that an expression makes itself.
func made(root parser.Node) (names []string) {
	parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
		if call, ok := n.(*parser.Call); ok && (call.Func.Name == "label_replace" || call.Func.Name == "label_join") {
			if name, ok := call.Args[1].(*parser.StringLiteral); ok {
				names = append(names, name.Val)
			}
		}
		if a, ok := n.(*parser.AggregateExpr); ok && a.Op == parser.COUNT_VALUES {
			if name, ok := a.Param.(*parser.StringLiteral); ok {
				names = append(names, name.Val)
			}
		}
		return nil
	})
	return names
}

// kept reports whether a label of a metric can be there in an expression's result.
func kept(n parser.Node, label string, c Catalog) bool {
	switch n := n.(type) {
	case *parser.VectorSelector:
		return slices.Contains(c[n.Name], label) || slices.Contains(target, label)
	case *parser.AggregateExpr:
		switch n.Op {
		case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
		default:
			if slices.Contains(n.Grouping, label) == n.Without {
				return false
			}
		}
		return kept(n.Expr, label, c)
	case *parser.BinaryExpr:
		m := n.VectorMatching
		switch {
		case m == nil: // one side is a number
			return kept(n.LHS, label, c) || kept(n.RHS, label, c)
		case n.Op == parser.LOR:
			return kept(n.LHS, label, c) && kept(n.RHS, label, c)
		case n.Op == parser.LAND || n.Op == parser.LUNLESS:
			return kept(n.LHS, label, c)
		case slices.Contains(m.Include, label):
			return true
		case m.Card == parser.CardManyToOne:
			return kept(n.LHS, label, c)
		case m.Card == parser.CardOneToMany:
			return kept(n.RHS, label, c)
		case slices.Contains(m.MatchingLabels, label) != m.On && (m.On || len(m.MatchingLabels) > 0):
			return false
		}
		return kept(n.LHS, label, c)
	case *parser.Call:
		if n.Func.Name == "absent" || n.Func.Name == "absent_over_time" || n.Func.Name == "scalar" || n.Func.Name == "vector" {
			return false
		}
		if n.Func.Name == "histogram_quantile" && label == "le" {
			return false
		}
		return slices.ContainsFunc(n.Args, func(e parser.Expr) bool { return kept(e, label, c) })
	}
	for child := range parser.ChildrenIter(n) {
		if kept(child, label, c) {
			return true
		}
	}
	return false
}
