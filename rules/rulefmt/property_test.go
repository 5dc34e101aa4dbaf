package rulefmt_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/rulefmt"
)

// spelling writes one condition in two ways that differ in nothing but white
// space, quotes and the signs for and, or, not.
type spelling struct {
	t    *rapid.T
	a, b strings.Builder
}

func (s *spelling) both(texts ...string) {
	s.a.WriteString(rapid.SampledFrom(texts).Draw(s.t, "spelling"))
	s.b.WriteString(rapid.SampledFrom(texts).Draw(s.t, "spelling"))
}

func (s *spelling) gap() { s.both("", " ", "  ") }

func (s *spelling) condition(depth int) {
	switch kind := rapid.IntRange(0, 8).Draw(s.t, "kind"); {
	case depth == 0 || kind < 2:
		s.value(depth)
		s.both(" ")
		op := rapid.SampledFrom([]string{"==", "!=", ">", ">=", "in", "not in", "contains", "??"}).Draw(s.t, "op")
		s.both(op+" ", " "+op+" ")
		s.value(depth)
	case kind == 2:
		s.both("not ", "!", "! ", "not  ")
		s.bracket(depth - 1)
	case kind < 5:
		s.bracket(depth - 1)
		s.both(" and ", "&&", " && ", "  and  ")
		s.bracket(depth - 1)
	case kind < 7:
		s.bracket(depth - 1)
		s.both(" or ", "||", " ||  ")
		s.bracket(depth - 1)
	default:
		s.bracket(depth - 1)
		s.both("? ", " ? ")
		s.value(0)
		s.both(": ", " : ")
		s.value(0)
	}
}

func (s *spelling) bracket(depth int) {
	s.both("(", "( ")
	s.condition(depth)
	s.both(")", " )")
}

func (s *spelling) value(depth int) {
	switch rapid.IntRange(0, 6).Draw(s.t, "value") {
	case 0:
		s.both(rapid.SampledFrom([]string{"5", "1_000", "0.50", "1e3", "true", "nil", "-3"}).Draw(s.t, "literal"))
	case 1:
		text := rapid.SampledFrom([]string{"x", "", "a b", "^é+$", "it is: # {}"}).Draw(s.t, "text")
		s.both(`"`+text+`"`, "'"+text+"'")
	case 2:
		s.both("original?.amount", "original ?. amount", "original?. amount")
	case 3:
		s.both("[1,2]", "[ 1 , 2 ]", "[1, 2]")
	case 4:
		s.both("refunds")
		s.gap()
		s.both(".by(", ". by( ")
		s.both(`{a:b}`, `{ a : b }`, `{a: b}`)
		s.both(`).within("7d").count()`, `) .within('7d').count( )`)
	case 5:
		s.both("min(a,-b)", "min( a, - b )", "min(a , -b)")
	default:
		s.both("customer_id")
	}
}

func format(t *rapid.T, condition string) string {
	out, err := rulefmt.Format([]byte("macros:\n  m: |\n    " + condition + "\n"))
	if err != nil {
		t.Fatalf("%s: %v", condition, err)
	}
	return string(out)
}

func TestOneConditionHasOneForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := spelling{t: t}
		s.condition(3)
		if a, b := format(t, s.a.String()), format(t, s.b.String()); a != b {
			t.Fatalf("%s\n%s\nbecame\n%s\n%s", s.a.String(), s.b.String(), a, b)
		}
	})
}

// TestCommentsStay puts comments wherever they can stand.
func TestCommentsStay(t *testing.T) {
	const base = `lists:
  a: [x, y]
  b:
    - x
    - 'y'
rules:
- owner: me
  id: first
  when: amount > 5
  exceptions:
    - reason: r
      when: mfa
  tags: [
    a,
    b]
- {id: second,
   when: mfa}
policy:
    review_at: 5
macros: {m: n}
`
	lines := strings.Split(strings.TrimSuffix(base, "\n"), "\n")
	rapid.Check(t, func(t *rapid.T) {
		var source strings.Builder
		n := 0
		for _, line := range lines {
			for range rapid.IntRange(0, 2).Draw(t, "above") {
				n++
				fmt.Fprintf(&source, "%s# c%d.\n%s", strings.Repeat(" ", rapid.IntRange(0, 8).Draw(t, "indent")), n, rapid.SampledFrom([]string{"", "\n"}).Draw(t, "blank"))
			}
			source.WriteString(line)
			if rapid.Bool().Draw(t, "behind") {
				n++
				fmt.Fprintf(&source, " # c%d.", n)
			}
			source.WriteByte('\n')
		}
		out, err := rulefmt.Format([]byte(source.String()))
		if err != nil {
			t.Fatalf("%v\n%s", err, source.String())
		}
		for i := 1; i <= n; i++ {
			if c := fmt.Sprintf("# c%d.\n", i); strings.Count(string(out), c) != 1 {
				t.Fatalf("%q is not there once in\n%s\nfrom\n%s", c, out, source.String())
			}
		}
	})
}
