package ruletest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/refundguard/refundguard/rules"
)

// Status says what became of a test.
type Status string

// The statuses. A test marked todo that fails is Todo; one that passes has
// Failed.
const (
	Passed Status = "passed"
	Failed Status = "failed"
	Todo   Status = "todo"
)

// Report is what a run of tests found.
type Report struct {
	OK      bool   `json:"ok"`
	Dir     string `json:"dir"`
	Ruleset string `json:"ruleset"` // version of the rules
	Passed  int    `json:"passed"`
	Failed  int    `json:"failed"` // files that could not be read count as one
	Todo    int    `json:"todo"`
	Events  int    `json:"events"`

	Errors   rules.Errors    `json:"errors,omitempty"` // of the rules: no test was run
	Files    []*File         `json:"files"`
	Coverage []*RuleCoverage `json:"coverage"` // in the order of the rules
}

// File is one test file.
type File struct {
	Name   string       `json:"name"`
	Errors rules.Errors `json:"errors,omitempty"` // why it was not run
	Tests  []*Test      `json:"tests,omitempty"`
}

// Test is one test that was run.
type Test struct {
	Name     string     `json:"name"`
	Line     int        `json:"line"`
	Status   Status     `json:"status"`
	Why      string     `json:"why,omitempty"` // of todo
	Events   int        `json:"events"`
	Refunds  int        `json:"refunds"` // that were decided
	Failures []*Failure `json:"failures,omitempty"`
}

// Failure is one event that was not as expected.
type Failure struct {
	Event    string    `json:"event"` // e.g. refund r1 at +1h
	Checks   []Check   `json:"checks"`
	Decision *Decision `json:"decision,omitempty"` // what was decided; nil: nothing was
	at       place
}

// Check is one expectation that was not met, and where it stands.
type Check struct {
	What    string `json:"what"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Want    string `json:"want"`
	Got     string `json:"got"`
	snippet string
}

// Decision is what was decided, and what the rules saw.
type Decision struct {
	Outcome  string   `json:"outcome,omitempty"` // "" for a transaction, which only alerts can be of
	Cause    string   `json:"cause,omitempty"`   // the line of the outcome table
	Score    int64    `json:"score"`
	Reason   string   `json:"reason,omitempty"`
	Hits     []string `json:"hits"`             // of live rules
	Shadow   []string `json:"shadow,omitempty"` // of shadow rules
	Skipped  []string `json:"skipped,omitempty"`
	Excepted []string `json:"excepted,omitempty"` // hits that exceptions turned off
	Errors   []string `json:"errors,omitempty"`
	Features []Value  `json:"features,omitempty"` // past-events expressions of the rules
	Values   []Value  `json:"values,omitempty"`   // expressions that the test asked for
}

// Value is an expression's value as messages show it.
type Value struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// RuleCoverage says how a rule was tested.
type RuleCoverage struct {
	Rule     string `json:"rule"`
	On       string `json:"on"` // refunds or transactions
	File     string `json:"file"`
	Line     int    `json:"line"`
	Mode     string `json:"mode"`
	Hits     int    `json:"hits"`     // refunds in tests that it hit
	Expected int    `json:"expected"` // expectations that it hits
	Excluded int    `json:"excluded"` // expectations that it does not
}

// Says what is missing; "" where nothing is.
func (c *RuleCoverage) missing() string {
	switch {
	case c.Mode == rules.Off.String():
		return ""
	case c.Expected == 0 && c.Excluded == 0 && c.Hits == 0:
		return "no test, never hit"
	case c.Expected == 0 && c.Hits == 0:
		return "never hit"
	case c.Expected == 0:
		return "no test expects a hit"
	case c.Hits == 0:
		return "never hit"
	case c.Excluded == 0:
		return "no test expects that it does not hit"
	}
	return ""
}

// cover begins the coverage of a set's rules, by id.
func (r *Report) cover(set *rules.Set) map[string]*RuleCoverage {
	byID := map[string]*RuleCoverage{}
	for _, on := range rulesOn(set) {
		for _, rule := range on.Rules {
			c := &RuleCoverage{Rule: rule.ID, On: rule.On, File: rule.File, Line: rule.Line, Mode: rule.Mode.String()}
			r.Coverage = append(r.Coverage, c)
			byID[rule.ID] = c
		}
	}
	return byID
}

// count sums up.
func (r *Report) count() {
	for _, f := range r.Files {
		if len(f.Errors) > 0 {
			r.Failed++
		}
		for _, t := range f.Tests {
			r.Events += t.Events
			switch t.Status {
			case Passed:
				r.Passed++
			case Failed:
				r.Failed++
			case Todo:
				r.Todo++
			}
		}
	}
	r.OK = r.Failed == 0
}

// refuse notes why the rules don't load. Any other error is returned.
func (r *Report) refuse(err error) error {
	if !errors.As(err, &r.Errors) {
		return err
	}
	r.Failed = 1
	return nil
}

func (r *Report) faulty() bool {
	return slices.ContainsFunc(r.Files, func(f *File) bool { return len(f.Errors) > 0 })
}

// WriteText prints the report for people; with cover, how each rule was tested.
func (r *Report) WriteText(w io.Writer, cover bool) error {
	var b strings.Builder
	for _, e := range r.Errors {
		fmt.Fprintf(&b, "%v\n\n", e)
	}
	if len(r.Errors) > 0 {
		fmt.Fprintf(&b, "FAILED: the rules of %s don't load: no test was run\n", r.Dir)
		_, err := io.WriteString(w, b.String())
		return err
	}
	for _, f := range r.Files {
		f.write(&b)
	}
	if cover {
		r.writeCoverage(&b)
	}
	word := "ok"
	if !r.OK {
		word = "FAILED"
	}
	fmt.Fprintf(&b, "%s: %d passed, %d failed, %d todo; %d events\n", word, r.Passed, r.Failed, r.Todo, r.Events)
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *File) write(b *strings.Builder) {
	for _, e := range f.Errors {
		fmt.Fprintf(b, "%v\n\n", e)
	}
	if len(f.Errors) > 0 {
		fmt.Fprintf(b, "%s: not run\n\n", f.Name)
		return
	}
	for _, t := range f.Tests {
		if t.Status == Failed {
			t.write(b, f.Name)
		}
	}
	if len(f.Tests) == 0 {
		return
	}
	events := 0
	n := map[Status]int{}
	for _, t := range f.Tests {
		events += t.Events
		n[t.Status]++
	}
	fmt.Fprintf(b, "%s: %d passed, %d failed, %d todo\n", f.Name, n[Passed], n[Failed], n[Todo])
	for _, t := range f.Tests {
		if t.Status == Todo {
			fmt.Fprintf(b, "  todo: line %d: %s", t.Line, t.Name)
			if t.Why != "" {
				fmt.Fprintf(b, " (%s)", t.Why)
			}
			b.WriteByte('\n')
		}
	}
	b.WriteByte('\n')
}

// write prints the failures of a test.
func (t *Test) write(b *strings.Builder, file string) {
	fmt.Fprintf(b, "%s:%d: test %q failed\n\n", file, t.Line, t.Name)
	for _, f := range t.Failures {
		for _, c := range f.Checks {
			e := rules.Error{File: file, Line: c.Line, Column: c.Column, Snippet: c.snippet, Message: f.Event + ": " + c.What}
			if f.Event == c.What {
				e.Message = c.What
			}
			fmt.Fprintf(b, "%v\n    want  %s\n    got   %s\n", &e, c.Want, c.Got)
		}
		if f.Decision != nil {
			f.Decision.write(b)
		}
		b.WriteByte('\n')
	}
}

func (d *Decision) write(b *strings.Builder) {
	if d.Outcome != "" {
		fmt.Fprintf(b, "  decision: %s", d.Outcome)
		if d.Cause != rules.CauseNone.String() {
			fmt.Fprintf(b, " by %s", d.Cause)
		}
		fmt.Fprintf(b, ", score %d", d.Score)
		if d.Reason != "" {
			fmt.Fprintf(b, ", reason %s", d.Reason)
		}
		b.WriteByte('\n')
	}
	for _, l := range []struct {
		name string
		list []string
	}{{"hits", d.Hits}, {"shadow hits", d.Shadow}, {"skipped", d.Skipped}, {"excepted", d.Excepted}} {
		if len(l.list) > 0 {
			fmt.Fprintf(b, "  %s: %s\n", l.name, strings.Join(l.list, ", "))
		}
	}
	for _, e := range d.Errors {
		fmt.Fprintf(b, "  failed rule: %s\n", e)
	}
	for _, v := range append(slices.Clone(d.Features), d.Values...) {
		fmt.Fprintf(b, "  %s = %s\n", v.Name, v.Value)
	}
}

func (r *Report) writeCoverage(b *strings.Builder) {
	width := len("rule")
	for _, c := range r.Coverage {
		width = max(width, len(c.Rule))
	}
	fmt.Fprintf(b, "%-*s  %8s  %8s  %8s\n", width, "rule", "hits", "expected", "excluded")
	covered, all := 0, 0
	for _, c := range r.Coverage {
		line := fmt.Sprintf("%-*s  %8d  %8d  %8d", width, c.Rule, c.Hits, c.Expected, c.Excluded)
		switch what := c.missing(); {
		case c.Mode == rules.Off.String():
			line += "  off"
		case what != "":
			line += "  " + what
		}
		b.WriteString(line + "\n")
		if c.Mode != rules.Off.String() {
			all++
			if c.Expected > 0 {
				covered++
			}
		}
	}
	fmt.Fprintf(b, "%d of %d rules have a test that expects them to hit\n\n", covered, all)
}

// tidy sorts faults by place and drops repeats.
func tidy(e rules.Errors) rules.Errors {
	sort.SliceStable(e, func(i, j int) bool {
		if e[i].Line != e[j].Line {
			return e[i].Line < e[j].Line
		}
		return e[i].Column < e[j].Column
	})
	return slices.CompactFunc(e, func(a, b *rules.Error) bool { return *a == *b })
}
