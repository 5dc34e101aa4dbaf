package rulefmt

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// text is a scalar as it is to be written: what stands behind the key, and for
// | and > the lines below.
type text struct {
	inline string
	block  []string
}

// conditionText writes a condition: on the key's line if it has one line, below
// a | otherwise.
func conditionText(n *node, width int) text {
	if n.style == other {
		return text{inline: n.value}
	}
	c := condition(n.condition(), width)
	if !strings.Contains(c, "\n") && !strings.Contains(c, "//") {
		if isPlain(c, false) {
			return text{inline: c}
		}
		if !strings.Contains(c, "'") && printable(c) {
			return text{inline: "'" + c + "'"}
		}
	}
	if t, ok := blockText("|", c+"\n"); ok && c != "" {
		return t
	}
	return text{inline: quote(c)}
}

// condition is the text of a scalar that holds a condition. YAML folds line
// breaks to spaces in some scalars; where that makes no difference they stay.
func (n *node) condition() string {
	if n.broken != "" {
		value, ok := meaning(n.value)
		broken, alike := meaning(n.broken)
		if ok && alike && value == broken {
			return n.broken
		}
	}
	return n.value
}

// scalarText writes any other scalar. What was a block stays one.
func scalarText(n *node, width int, inFlow bool) text {
	switch {
	case n.style == other:
		return text{inline: n.value}
	case inFlow:
	case n.style == folded || n.lines > 1 && utf8.RuneCountInString(n.value) > width:
		if t, ok := foldedText(n.value, width); ok {
			return t
		}
		fallthrough
	case n.style == literal:
		if t, ok := blockText("|", n.value); ok {
			return t
		}
	}
	if isPlain(n.value, inFlow) && !strings.Contains(n.value, "{{") { // messages look alike
		return text{inline: n.value}
	}
	return text{inline: quote(n.value)}
}

// blockText writes a value below a | as it is; false where that can't be.
func blockText(header, value string) (text, bool) {
	body := strings.TrimRight(value, "\n")
	if body == "" || body[0] == ' ' || body[0] == '\t' || !printable(strings.ReplaceAll(body, "\n", "")) {
		return text{}, false
	}
	lines := strings.Split(body, "\n")
	for _, line := range lines {
		if line != "" && strings.TrimSpace(line) == "" || strings.HasPrefix(line, "\t") {
			return text{}, false
		}
	}
	switch len(value) - len(body) {
	case 0:
		header += "-"
	case 1:
	default:
		return text{}, false
	}
	return text{inline: header, block: lines}, true
}

// foldedText writes a value of one long line below a >, broken between words.
func foldedText(value string, width int) (text, bool) {
	body := strings.TrimSuffix(value, "\n")
	words := wordsOf(body)
	var lines []string
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, "\n\t") || !printable(w) {
			return text{}, false
		}
		last := len(lines) - 1
		if i > 0 && utf8.RuneCountInString(lines[last])+1+utf8.RuneCountInString(w) <= width {
			lines[last] += " " + w
		} else {
			lines = append(lines, w)
		}
	}
	if len(body) == len(value) {
		return text{inline: ">-", block: lines}, true
	}
	return text{inline: ">", block: lines}, true
}

// wordsOf splits a text where a line can end: at spaces, but not in {{ }}.
func wordsOf(s string) (words []string) {
	start, from := 0, 0
	for {
		end := strings.IndexByte(s[from:], ' ')
		if end < 0 {
			return append(words, s[start:])
		}
		end += from
		if word := s[start:end]; strings.Count(word, "{{") <= strings.Count(word, "}}") {
			words, start = append(words, word), end+1
		}
		from = end + 1
	}
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// isPlain says whether a text can stand without quotes, by the parser's own
// judgement and for other parsers' sake a little stricter.
func isPlain(s string, inFlow bool) bool {
	if s == "" || !printable(s) || strings.TrimSpace(s) != s ||
		strings.ContainsAny(s[:1], "-?:,[]{}#&*!|>'\"%@`=~.<") ||
		strings.Contains(s, ": ") || strings.Contains(s, " #") || strings.HasSuffix(s, ":") {
		return false
	}
	around := "key: " + s + "\n"
	if inFlow {
		if strings.ContainsAny(s, ",[]{}:#") {
			return false
		}
		around = "key: [" + s + "]\n"
	}
	n, comments, err := parse(around)
	if err != nil || len(comments) > 0 || n == nil || len(n.entries) != 1 {
		return false
	}
	got := n.entries[0].value
	if inFlow {
		if len(got.entries) != 1 {
			return false
		}
		got = got.entries[0].value
	}
	return got.kind == scalar && got.style == plain && got.value == s
}

// quote writes a text in the quotes that need the fewest escapes.
func quote(s string) string {
	if !strings.ContainsAny(s, `"\`) && printable(s) {
		return `"` + s + `"`
	}
	if printable(s) && !strings.Contains(s, "'") {
		return "'" + s + "'"
	}
	return doubleQuote(s)
}

// doubleQuote uses only escapes that YAML and Go share.
func doubleQuote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r) && r != utf8.RuneError: // which we refuse to read
			b.WriteRune(r)
		default:
			escaped := strconv.QuoteRuneToASCII(r)
			b.WriteString(escaped[1 : len(escaped)-1])
		}
	}
	b.WriteByte('"')
	return b.String()
}
