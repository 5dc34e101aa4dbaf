package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/describe"
)

// ruleReport is what rules check found, as it prints it in JSON.
type ruleReport struct {
	OK       bool         `json:"ok"`
	Dir      string       `json:"dir"`
	Rules    int          `json:"rules"`
	Version  string       `json:"version,omitempty"`
	Past     *pastReport  `json:"past,omitempty"`
	Findings rules.Errors `json:"findings"`

	set *rules.Set // nil: there are errors
}

// pastReport is what the rules ask of past events. An expression that is new
// when the service loads it is marked as warming until its window is full,
// unless the topics still hold its past.
type pastReport struct {
	Expressions int    `json:"expressions"`
	Series      int    `json:"series"`            // kept of past events, shared by expressions
	Longest     string `json:"longest,omitempty"` // the expression whose window takes longest to fill, those of ever() aside
	LongestMs   int64  `json:"longest_ms,omitempty"`
	Ever        int    `json:"ever,omitempty"` // expressions without an end of the window
}

// pastOf sums up a set; nil where no rule looks back.
func pastOf(set *rules.Set) *pastReport {
	r := &pastReport{Series: len(set.Series)}
	seen := map[string]bool{}
	for _, s := range []*rules.Set{set, set.Transactions} {
		if s == nil {
			continue
		}
		for i := range s.Features {
			f := &s.Features[i]
			if seen[f.Text] {
				continue
			}
			seen[f.Text] = true
			r.Expressions++
			if f.Ever {
				r.Ever++
			} else if span := f.Within + f.Delayed; span > r.LongestMs {
				r.Longest, r.LongestMs = f.Text, span
			}
		}
	}
	if r.Expressions == 0 {
		return nil
	}
	return r
}

// String says how long a new expression is marked.
func (r *pastReport) String() string {
	s := fmt.Sprintf("past events: %s over %d series", count(r.Expressions, "expression"), r.Series)
	if r.Longest != "" {
		s += fmt.Sprintf("; a new one is marked as warming until its window is full: at most %s, for %s", describe.Span(r.LongestMs), r.Longest)
	}
	return s
}

// all are the rules of the set, those on transactions too.
func (r *ruleReport) all() []*rules.Rule {
	if r.set == nil {
		return nil
	}
	if r.set.Transactions == nil {
		return r.set.Rules
	}
	return append(r.set.Rules[:len(r.set.Rules):len(r.set.Rules)], r.set.Transactions.Rules...)
}

func (r *ruleReport) warnings() (n int) {
	for _, finding := range r.Findings {
		if finding.Warning {
			n++
		}
	}
	return n
}

var reportFormats = map[string]func(*cobra.Command, *ruleReport) error{
	"text": reportText, "json": reportJSON, "github": reportGitHub, "junit": reportJUnit,
}

func reportJSON(cmd *cobra.Command, r *ruleReport) error { return writeJSON(cmd, r) }

func reportText(cmd *cobra.Command, r *ruleReport) error {
	out := cmd.OutOrStdout()
	for _, finding := range r.Findings {
		if _, err := fmt.Fprintf(out, "%v\n\n", finding); err != nil {
			return err
		}
	}
	warnings := r.warnings()
	if r.Past != nil {
		if _, err := fmt.Fprintln(out, r.Past); err != nil {
			return err
		}
	}
	var err error
	if r.OK {
		_, err = fmt.Fprintf(out, "%s: %s, %s, %s\n", r.Dir, count(r.Rules, "rule"), count(warnings, "warning"), r.Version)
	} else {
		_, err = fmt.Fprintf(out, "%s: %s, %s\n", r.Dir, count(len(r.Findings)-warnings, "error"), count(warnings, "warning"))
	}
	return err
}

// reportGitHub prints workflow commands, which GitHub turns into annotations.
func reportGitHub(cmd *cobra.Command, r *ruleReport) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range r.Findings {
		level := "error"
		if f.Warning {
			level = "warning"
		}
		var places []string
		if f.File != "" {
			places = append(places, "file="+property.Replace(fromHere(f.File)))
		}
		if f.Line > 0 {
			places = append(places, fmt.Sprintf("line=%d,col=%d", f.Line, f.Column))
		}
		if f.Rule != "" {
			places = append(places, "title="+property.Replace("rule "+f.Rule))
		}
		text := f.Message
		if f.Hint != "" {
			text += "\n" + f.Hint
		}
		head := strings.TrimRight("::"+level+" "+strings.Join(places, ","), " ")
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s::%s\n", head, data.Replace(text)); err != nil {
			return err
		}
	}
	return nil
}

// fromHere is a path below the working folder, as GitHub wants it; any other
// path stays as it is.
func fromHere(path string) string {
	if !filepath.IsAbs(path) {
		return filepath.ToSlash(path)
	}
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return path
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"` // a rule file
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string         `xml:"name,attr"` // a rule
	Classname string         `xml:"classname,attr"`
	File      string         `xml:"file,attr,omitempty"`
	Line      int            `xml:"line,attr,omitempty"`
	Failures  []junitFailure `xml:"failure"`
	Out       string         `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// reportJUnit prints a test report: a suite for each file, a case for each rule
// and one for what belongs to no rule. Of a set with errors only the faulty
// rules are known.
func reportJUnit(cmd *cobra.Command, r *ruleReport) error {
	var report junitSuites
	suite := func(file string) *junitSuite {
		for i := range report.Suites {
			if report.Suites[i].Name == file {
				return &report.Suites[i]
			}
		}
		report.Suites = append(report.Suites, junitSuite{Name: file})
		return &report.Suites[len(report.Suites)-1]
	}
	find := func(file, rule string) *junitCase {
		s := suite(file)
		for i := range s.Cases {
			if s.Cases[i].Name == rule {
				return &s.Cases[i]
			}
		}
		s.Cases = append(s.Cases, junitCase{Name: rule, Classname: file})
		return &s.Cases[len(s.Cases)-1]
	}
	for _, rule := range r.all() {
		c := find(rule.File, rule.ID)
		c.File, c.Line = rule.File, rule.Line
	}
	for _, f := range r.Findings {
		file, rule := f.File, f.Rule
		if file == "" {
			file = r.Dir
		}
		if rule == "" {
			rule = "(file)"
		}
		c := find(file, rule)
		if f.Warning {
			c.Out += f.Error() + "\n"
			continue
		}
		c.Failures = append(c.Failures, junitFailure{Message: f.Message, Type: "error", Text: f.Error()})
	}
	for i := range report.Suites {
		s := &report.Suites[i]
		s.Tests = len(s.Cases)
		for _, c := range s.Cases {
			if len(c.Failures) > 0 {
				s.Failures++
			}
		}
		report.Tests += s.Tests
		report.Failures += s.Failures
	}
	out := cmd.OutOrStdout()
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(out)
	encoder.Indent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}
