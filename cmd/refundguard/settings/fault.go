package settings

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// Hidden is shown in place of a secret.
const Hidden = "********"

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Where   string `json:"where,omitempty"` // the file, or the variable
	Line    int    `json:"line,omitempty"`  // from 1; 0: no line
	Column  int    `json:"column,omitempty"`
	Key     string `json:"key,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Snippet string `json:"-"` // the line and a caret, without secrets
}

func (f *Fault) Error() string {
	var b strings.Builder
	if f.Where != "" {
		b.WriteString(f.Where)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(f.Message)
	if f.Hint != "" {
		b.WriteString("; " + f.Hint)
	}
	if f.Snippet != "" {
		b.WriteString("\n" + f.Snippet)
	}
	return b.String()
}

// Faults are all faults of a configuration.
type Faults []*Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

func (f Faults) errors() []error {
	errs := make([]error, len(f))
	for i, fault := range f {
		errs[i] = fault
	}
	return errs
}

var leadingKey = regexp.MustCompile(`^[a-z0-9_]+(?:\.[A-Za-z0-9_-]+|\[\d+\])*`)

// Faults gives each error that err joins the place where its key was set. An
// error begins with its key, relative to prefix where that is not "".
func (l *Loaded) Faults(prefix string, err error) (faults Faults) {
	if err == nil {
		return nil
	}
	var known Faults
	if errors.As(err, &known) {
		return known
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			faults = append(faults, l.Faults(prefix, e)...)
		}
		return faults
	}
	message := err.Error()
	if prefix != "" && !within(leadingKey.FindString(message), prefix) {
		if strings.HasPrefix(message, "[") {
			message = prefix + message
		} else {
			message = prefix + "." + message
		}
	}
	fault := &Fault{Key: leadingKey.FindString(message), Message: message}
	for key := leadingKey.FindString(message); key != ""; key = parent(key) {
		if origin, ok := l.origins[key]; ok {
			fault.Where = origin
			break
		}
		if at, ok := l.places[key]; ok {
			l.source.locate(fault, at)
			break
		}
	}
	if fault.Where == "" && l.source != nil {
		fault.Where = l.source.file
	}
	return Faults{fault}
}

func parent(key string) string {
	return key[:max(0, strings.LastIndexAny(key, ".["))]
}

// Missing returns those of more that say nothing of a key that f already does:
// a value that could not be read is not also missing.
func (f Faults) Missing(more Faults) (missing Faults) {
	for _, m := range more {
		told := func(t *Fault) bool { return t.Key != "" && (within(m.Key, t.Key) || within(t.Key, m.Key)) }
		if !slices.ContainsFunc(f, told) {
			missing = append(missing, m)
		}
	}
	return missing
}

// Sort puts faults in the order of the file, those without a place last.
func (f Faults) Sort() {
	slices.SortStableFunc(f, func(a, b *Fault) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// nearest is the candidate most like name, or "".
func nearest(name string, candidates []string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	best, least := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		lower := strings.ToLower(c)
		if d := levenshtein.Distance(name, lower, nil); d < least || best == "" && strings.ReplaceAll(lower, "_", "") == name {
			best, least = c, d
		}
	}
	return best
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", name)
}
