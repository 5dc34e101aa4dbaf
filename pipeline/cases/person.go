package cases

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// samePerson reports whether two names are one, however they are typed: in
// capitals, with spaces, with letters of another width, or with such that nobody
// sees. That is for mistakes: who may write to the topic of reviews can give any
// name.
func samePerson(a, b string) bool { return a == b || strings.EqualFold(plain(a), plain(b)) }

func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r) {
			return -1
		}
		return r
	}, norm.NFKC.String(name))
}
