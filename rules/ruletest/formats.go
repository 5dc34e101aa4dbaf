package ruletest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/refundguard/refundguard/rules"
)

// WriteJSON prints the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// The parts of JUnit's format that build servers read.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string      `xml:"name,attr"`
		Class   string      `xml:"classname,attr"`
		File    string      `xml:"file,attr"`
		Line    int         `xml:"line,attr,omitempty"`
		Failure *junitFault `xml:"failure"`
		Error   *junitFault `xml:"error"`
		Skipped *junitFault `xml:"skipped"`
	}
	junitFault struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit prints the report as JUnit's XML, which build servers show. A todo
// that fails is a skipped test, a file that could not be read an error.
func (r *Report) WriteJUnit(w io.Writer) error {
	all := junitSuites{}
	if len(r.Errors) > 0 {
		all.add(junitSuite{Name: r.Dir, Errors: 1, Cases: []junitCase{faulty("the rules", r.Dir, r.Errors)}})
	}
	for _, f := range r.Files {
		s := junitSuite{Name: f.Name}
		if len(f.Errors) > 0 {
			s.Errors++
			s.Cases = append(s.Cases, faulty("the file", f.Name, f.Errors))
		}
		for _, t := range f.Tests {
			c := junitCase{Name: t.Name, Class: f.Name, File: f.Name, Line: t.Line}
			switch t.Status {
			case Failed:
				s.Failures++
				first := t.Failures[0]
				var b strings.Builder
				t.write(&b, f.Name)
				c.Failure = &junitFault{Message: fmt.Sprintf("%s: %s: want %s, got %s", first.Event, first.Checks[0].What, first.Checks[0].Want, first.Checks[0].Got), Text: clean(b.String())}
			case Todo:
				s.Skipped++
				c.Skipped = &junitFault{Message: strings.TrimSpace("todo " + t.Why)}
			}
			s.Cases = append(s.Cases, c)
		}
		all.add(s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (all *junitSuites) add(s junitSuite) {
	s.Tests = len(s.Cases)
	all.Tests, all.Failures, all.Errors, all.Skipped = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors, all.Skipped+s.Skipped
	all.Suites = append(all.Suites, s)
}

func faulty(name, class string, errs rules.Errors) junitCase {
	return junitCase{Name: name, Class: class, File: errs[0].File, Line: errs[0].Line,
		Error: &junitFault{Message: errs[0].Message, Text: clean(errs.Error())}}
}

// clean is a text that XML can hold.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return ' '
		}
		return r
	}, text)
}
