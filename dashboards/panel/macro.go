package panel

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Range is what a query is asked for.
type Range struct {
	From, To time.Time
	Interval time.Duration // of buckets of time
}

// macro is one of the ClickHouse data source's own (its pkg/macros/macros.go).
type macro struct {
	name   string
	args   int
	expand func(r Range, args []string) (string, error)
}

// macros are sorted so that none is taken for the beginning of a longer one.
var macros = func() []macro {
	plain := func(f func(Range) string) func(Range, []string) (string, error) {
		return func(r Range, _ []string) (string, error) { return f(r), nil }
	}
	between := func(literal func(time.Time) string) func(Range, []string) (string, error) {
		return func(r Range, args []string) (string, error) {
			return fmt.Sprintf("%[1]s >= %[2]s AND %[1]s <= %[3]s", args[0], literal(r.From), literal(r.To)), nil
		}
	}
	dateTimes := func(r Range, args []string) (string, error) {
		return fmt.Sprintf("(%[1]s >= %[2]s AND %[1]s <= %[3]s) AND (%[4]s >= %[5]s AND %[4]s <= %[6]s)",
			args[0], date(r.From), date(r.To), args[1], dateTime(r.From), dateTime(r.To)), nil
	}
	all := []macro{
		{"fromTime", 0, plain(func(r Range) string { return dateTime(r.From) })},
		{"toTime", 0, plain(func(r Range) string { return dateTime(r.To) })},
		{"fromTime_ms", 0, plain(func(r Range) string { return dateTime64(r.From) })},
		{"toTime_ms", 0, plain(func(r Range) string { return dateTime64(r.To) })},
		{"timeFilter", 1, between(dateTime)},
		{"timeFilter_ms", 1, between(dateTime64)},
		{"dateFilter", 1, between(date)},
		{"dateTimeFilter", 2, dateTimes},
		{"dt", 2, dateTimes},
		{"timeFrom", 1, func(r Range, args []string) (string, error) { return args[0] + " >= " + dateTime(r.From), nil }},
		{"timeTo", 1, func(r Range, args []string) (string, error) { return args[0] + " <= " + dateTime(r.To), nil }},
		{"timeGroup", 2, timeGroup},
		{"timeInterval", 1, func(r Range, args []string) (string, error) {
			return fmt.Sprintf("toStartOfInterval(toDateTime(%s), INTERVAL %d second)", args[0], seconds(r.Interval)), nil
		}},
		{"timeInterval_ms", 1, func(r Range, args []string) (string, error) {
			return fmt.Sprintf("toStartOfInterval(toDateTime64(%s, 3), INTERVAL %d millisecond)", args[0], max(r.Interval.Milliseconds(), 1)), nil
		}},
		{"interval_s", 0, plain(func(r Range) string { return strconv.FormatInt(seconds(r.Interval), 10) })},
	}
	slices.SortFunc(all, func(a, b macro) int { return len(b.name) - len(a.name) })
	return all
}()

func seconds(d time.Duration) int64 { return int64(math.Max(d.Seconds(), 1)) }
func date(t time.Time) string       { return "toDate('" + t.UTC().Format(time.DateOnly) + "')" }
func dateTime(t time.Time) string   { return fmt.Sprintf("toDateTime(%d)", t.Unix()) }
func dateTime64(t time.Time) string {
	return fmt.Sprintf("fromUnixTimestamp64Milli(%d)", t.UnixMilli())
}
func timeGroup(_ Range, args []string) (string, error) {
	d, err := time.ParseDuration(strings.Trim(args[1], `'"`))
	if err != nil || math.Round(d.Seconds()) <= 0 {
		return "", fmt.Errorf("%s is not a time such as 5m", args[1])
	}
	return fmt.Sprintf("toStartOfInterval(toDateTime(%s), INTERVAL %d second)", args[0], int64(math.Round(d.Seconds()))), nil
}

const prefix = "$__"

// expandMacros blanks comments and replaces macros. Unlike Grafana, which sends
// an unknown one to ClickHouse, it says so.
func expandMacros(sql string, r Range) (string, error) {
	sql = blankComments(sql)
	for _, m := range macros {
		var err error
		if sql, err = m.replace(sql, r); err != nil {
			return "", err
		}
	}
	if i := strings.Index(sql, prefix); i >= 0 {
		end := i + len(prefix)
		for end < len(sql) && nameChar(sql[end]) {
			end++
		}
		return "", fmt.Errorf("macro %s is unknown", sql[i:end])
	}
	return sql, nil
}

func (m *macro) replace(s string, r Range) (string, error) {
	token := prefix + m.name
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, token)
		if !found {
			b.WriteString(s)
			return b.String(), nil
		}
		b.WriteString(before)
		if after != "" && nameChar(after[0]) { // of a longer name
			b.WriteString(token)
			s = after
			continue
		}
		var args []string
		if strings.HasPrefix(after, "(") {
			if end := closing(after); end > 0 {
				args, after = arguments(after[1:end]), after[end+1:]
			}
		}
		if m.args > 0 && len(args) != m.args { // others pass over theirs
			return "", fmt.Errorf("macro %s has %d arguments, and needs %d", token, len(args), m.args)
		}
		text, err := m.expand(r, args)
		if err != nil {
			return "", fmt.Errorf("macro %s: %w", token, err)
		}
		b.WriteString(text)
		s = after
	}
}

func nameChar(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// outside calls f with each byte of s that is not in quotes, until it returns
// false.
func outside(s string, f func(i int) bool) {
	var quote byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case !f(i):
			return
		}
	}
}

// closing is where the bracket closes that s begins with, or -1.
func closing(s string) (end int) {
	depth, end := 0, -1
	outside(s, func(i int) bool {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			end = i
		}
		return depth > 0
	})
	return end
}

func arguments(s string) (all []string) {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	depth, start := 0, 0
	outside(s, func(i int) bool {
		switch {
		case s[i] == '(':
			depth++
		case s[i] == ')':
			depth--
		case s[i] == ',' && depth == 0:
			all = append(all, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
		return true
	})
	return append(all, strings.TrimSpace(s[start:]))
}

// blankComments puts spaces in place of comments, and leaves what only looks
// like one in strings, quoted names and $tag$ strings $tag$.
func blankComments(s string) string {
	out := []byte(s)
	for i := 0; i < len(s); {
		end := i + 1
		switch rest := s[i:]; {
		case strings.HasPrefix(rest, "--"):
			if end = i + strings.IndexByte(rest, '\n'); end < i {
				end = len(s)
			}
			blank(out[i:end])
		case strings.HasPrefix(rest, "/*"):
			end = endAfter(s, i+2, "*/")
			blank(out[i:end])
		case s[i] == '\'' || s[i] == '"' || s[i] == '`':
			end = quoted(s, i)
		case s[i] == '$' && dollarTag(rest) != "":
			tag := dollarTag(rest)
			end = endAfter(s, i+len(tag), tag)
		}
		i = end
	}
	return string(out)
}

func blank(b []byte) {
	for i := range b {
		if b[i] != '\n' {
			b[i] = ' '
		}
	}
}

func endAfter(s string, from int, what string) int {
	if i := strings.Index(s[from:], what); i >= 0 {
		return from + i + len(what)
	}
	return len(s)
}

// quoted is where the quotes end that begin at i.
func quoted(s string, i int) int {
	for end := i + 1; end < len(s); end++ {
		switch s[end] {
		case '\\':
			end++
		case s[i]:
			return end + 1
		}
	}
	return len(s)
}

// dollarTag is the $tag$ that s begins with, where it ends a string as well.
func dollarTag(s string) string {
	end := 1
	for end < len(s) && nameChar(s[end]) {
		end++
	}
	if end == len(s) || s[end] != '$' || !strings.Contains(s[end+1:], s[:end+1]) {
		return ""
	}
	return s[:end+1]
}
