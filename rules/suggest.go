package rules

import (
	"strings"

	"github.com/agext/levenshtein"
)

// suggest is the "did you mean" of a name that is not among the known ones; ""
// where none is near.
func suggest(name string, known []string) string {
	best, bestDistance := "", max(1, (len(name)+1)/3)
	for _, k := range known {
		if d := levenshtein.Distance(strings.ToLower(name), strings.ToLower(k), nil); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = k, d
		}
	}
	if best == "" || best == name {
		return ""
	}
	return "did you mean " + best + "?"
}

// suggestOr is suggest, or another hint where no name is near.
func suggestOr(name string, known []string, other string) string {
	if s := suggest(name, known); s != "" {
		return s
	}
	return other
}
