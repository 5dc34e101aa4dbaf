package messages_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/refundguard/refundguard/pipeline/messages"
	"github.com/refundguard/refundguard/rules/event"
)

var update = flag.Bool("update", false, "rewrite the expected texts in testdata")

func write(t testing.TB, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "messages.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func mustNew(t testing.TB, language, content string) *messages.Messages {
	t.Helper()
	c := messages.Config{Language: language}
	if content != "" {
		c.File = write(t, content)
	}
	m, err := messages.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func about(status, reason string) messages.About {
	usd, _ := event.ParseCurrency("USD")
	return messages.About{Status: status, Reason: reason, RefundID: "ref_1", Amount: 129_9000, Currency: usd,
		ETA: time.Date(2026, 11, 27, 17, 0, 0, 0, time.UTC)}
}

var allStatuses = []string{"received", "in_review", "approved", "rejected", "executed", "failed", "overdue"}

// builtinReasons finds in the source what reasons the program itself gives, so
// that none can be added without a text.
func builtinReasons(t *testing.T) (reasons []string) {
	t.Helper()
	given := regexp.MustCompile(`(?:\b[rR]eason[A-Z]\w*\s*=|\.Reason(?:, \w+\.\w+)?\s*=|\bHold\s*=|, d\.Reason = event\.\w+,)\s*"([A-Z][A-Z_]+)"`)
	for _, folder := range []string{"..", "../cases", "../../rules", "../../rules/engine"} {
		files, err := filepath.Glob(folder + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatal(folder, err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range given.FindAllStringSubmatch(string(source), -1) {
				reasons = append(reasons, m[1])
			}
		}
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

// Every reason that the program gives has a text of its own.
func TestEveryReasonHasAText(t *testing.T) {
	reasons := builtinReasons(t)
	for _, known := range []string{"RULE_FAILED", "DEGRADED", "WARMING", "EVENT_IN_FUTURE", "DECISION_TOO_LARGE", "REVIEW_DEADLINE", "LEDGER_FAILED"} {
		if !slices.Contains(reasons, known) {
			t.Errorf("the source no longer gives %s, or this test no longer finds it: %v", known, reasons)
		}
	}
	defaults, err := os.ReadFile("defaults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range reasons {
		if !regexp.MustCompile(`(?m)^  ` + reason + `:`).Match(defaults) {
			t.Errorf("defaults.yaml has no text for %s", reason)
		}
	}
}

// Whatever reason goes with whatever status, with all values and with none,
// something is told. The golden file shows what, where it isn't the same as
// without a reason.
func TestBuiltinTexts(t *testing.T) {
	m := mustNew(t, "", "")
	var b strings.Builder
	reasons := append(builtinReasons(t), "HOLD", "A_RULES_OWN", "")
	slices.Sort(reasons)
	for _, reason := range slices.Compact(reasons) {
		for _, status := range allStatuses {
			text, next := m.Text(about(status, reason))
			bare, bareNext := m.Text(messages.About{Status: status, Reason: reason})
			if text == "" || bare == "" || strings.ContainsAny(text+next+bare+bareNext, "{}") {
				t.Errorf("%s %s: %q, %q, %q, %q", status, reason, text, next, bare, bareNext)
			}
			if (status == "rejected" || status == "failed") != (next != "") {
				t.Errorf("%s %s: next is %q", status, reason, next)
			}
			if plain, plainNext := m.Text(about(status, "")); reason != "" && text == plain && next == plainNext {
				continue // what is told of the status
			}
			fmt.Fprintf(&b, "%-9s %-20s %s\n", status, reason, text)
			if bare != text {
				fmt.Fprintf(&b, "%30s or: %s\n", "", bare)
			}
			if next != "" {
				fmt.Fprintf(&b, "%30s next: %s\n", "", next)
			}
		}
	}
	if *update {
		if err := os.WriteFile("testdata/defaults.txt", []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := os.ReadFile("testdata/defaults.txt")
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}

const three = `en:
  VELOCITY: en velocity
  default: {in_review: en review, rejected: en rejected}
  next: {default: {rejected: en next}}
de:
  VELOCITY: {in_review: de velocity}
  OVERDUE: "bis {{eta}}: {{ amount }} {{currency}} ({{refund_id}})"
  default: {in_review: de review, overdue: de overdue}
pt-BR: {default: {in_review: br review}}
fr: {}
`

func TestTheOrderOfTexts(t *testing.T) {
	for _, c := range []struct{ name, language, own, status, reason, rule, text, next string }{
		{"the rule's comes first", "en", "", "in_review", "VELOCITY", "rule's", "rule's", ""},
		{"then by reason", "en", "", "in_review", "VELOCITY", "", "en velocity", ""},
		{"then by status", "en", "", "in_review", "OTHER", "", "en review", ""},
		{"then built in", "en", "", "approved", "OTHER", "", "Your refund is approved.", ""},
		{"even by reason", "en", "", "approved", "APPROVED_BY_ANALYST", "", "Your refund has been checked and is approved.", ""},
		{"the file's status before a built-in reason", "en", "", "in_review", "RULE_FAILED", "", "en review", ""},
		{"what can be done, too", "en", "", "rejected", "OTHER", "rule's", "rule's", "en next"},
		{"built in", "en", "", "failed", "OTHER", "", "Your refund could not be paid.", "Contact support, and name refund ref_1."},
		{"another language than the rule's", "en", "de", "in_review", "VELOCITY", "rule's", "de velocity", ""},
		{"its status", "en", "de", "in_review", "OTHER", "rule's", "de review", ""},
		{"a text of another status isn't told", "en", "de", "rejected", "VELOCITY", "", "en velocity", "en next"},
		{"what it lacks is told in the default one", "en", "de", "rejected", "OTHER", "rule's", "rule's", "en next"},
		{"which is the file's", "en", "fr", "rejected", "OTHER", "", "en rejected", "en next"},
		{"with a country", "en", "de_AT", "in_review", "OTHER", "", "de review", ""},
		{"in capitals", "en", "PT-br", "in_review", "OTHER", "", "br review", ""},
		{"another country's isn't taken", "en", "pt-PT", "in_review", "OTHER", "", "en review", ""},
		{"unknown", "en", "xx", "in_review", "OTHER", "rule's", "rule's", ""},
		{"nonsense", "en", strings.Repeat("de-", 2000), "in_review", "OTHER", "rule's", "rule's", ""},
		{"another default", "de", "", "in_review", "OTHER", "rule's", "rule's", ""},
		{"another default's text", "de", "", "in_review", "OTHER", "", "de review", ""},
		{"another default, and English", "de", "en", "in_review", "OTHER", "rule's", "en review", ""},
		{"a rule's braces stay", "en", "", "in_review", "OTHER", "{{refund_id}}", "{{refund_id}}", ""},
	} {
		a := about(c.status, c.reason)
		a.RuleText, a.Language = c.rule, c.own
		if text, next := mustNew(t, c.language, three).Text(a); text != c.text || next != c.next {
			t.Errorf("%s: %q, %q; want %q, %q", c.name, text, next, c.text, c.next)
		}
	}
}

func TestValues(t *testing.T) {
	m := mustNew(t, "de", three)
	a := about("overdue", "OVERDUE")
	if text, _ := m.Text(a); text != "bis 2026-11-27: 129.90 USD (ref_1)" {
		t.Error(text)
	}
	a.ETA = a.ETA.In(time.FixedZone("", 8*3600)) // the date there
	if text, _ := m.Text(a); text != "bis 2026-11-28: 129.90 USD (ref_1)" {
		t.Error(text)
	}
	a.RefundID = "{{amount}}" // is no text of ours
	if text, _ := m.Text(a); text != "bis 2026-11-28: 129.90 USD ({{amount}})" {
		t.Error(text)
	}
	for name, leaveOut := range map[string]func(*messages.About){
		"eta": func(a *messages.About) { a.ETA = time.Time{} }, "amount": func(a *messages.About) { a.Amount = 0 },
		"currency": func(a *messages.About) { a.Currency = 0 }, "refund_id": func(a *messages.About) { a.RefundID = "" },
	} {
		a := about("overdue", "OVERDUE")
		leaveOut(&a)
		if text, _ := m.Text(a); text != "de overdue" {
			t.Errorf("without %s: %q", name, text)
		}
	}
}

// Each bad file stands beside what is said of it.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		m, err := messages.New(messages.Config{File: file})
		if err == nil || m != nil {
			t.Errorf("%s: accepted", file)
			continue
		}
		golden, got := strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, _ := os.ReadFile(golden)
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "en-x%d: {A: b}\n", 10+i)
		}
		return b.String()
	}
	text := func(n int) string { return "en: {A: " + strings.Repeat("a", n) + "}" }
	for name, c := range map[string]struct {
		config messages.Config
		want   string
	}{
		"no file":         {messages.Config{File: "/no/such"}, `file is "/no/such": stat /no/such: no such file or directory`},
		"a device":        {messages.Config{File: "/dev/zero"}, `file is "/dev/zero": this is no file`},
		"no language":     {messages.Config{Language: "de"}, `language is "de", and the built-in texts are in en only: name a file with others in messages.file`},
		"other languages": {messages.Config{Language: "it", File: write(t, three)}, "which "},
		"a large file":    {messages.Config{File: write(t, strings.Repeat("# much\n", 150_000))}, "it is larger than 1 MiB"},
		"65 languages":    {messages.Config{File: write(t, many(65))}, ":65:1: more than 64 languages"},
		"513 bytes":       {messages.Config{File: write(t, text(513))}, "the text has 513 bytes"},
		"not UTF-8":       {messages.Config{File: write(t, "en: {A: \xff}")}, "it is not UTF-8"},
		"nothing":         {messages.Config{File: write(t, "# nothing\n")}, "it has no language"},
		"two documents":   {messages.Config{File: write(t, "en: {A: b}\n---\nde: {A: b}\n")}, ":3:1: a second document begins here"},
	} {
		if m, err := messages.New(c.config); err == nil || m != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	mustNew(t, "", many(64))
	mustNew(t, "", text(512))
}

// The example of README is a file.
func TestREADMEsExample(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "## What customers read")
	_, example, _ := strings.Cut(section, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	a := about("in_review", "OTHER")
	a.Language = "de-CH"
	if text, _ := mustNew(t, "en", example).Text(a); text != "Ihre Erstattung wird kurz geprüft." {
		t.Error(text)
	}
}

// Whatever a file holds is refused, or gives texts that are whole: without
// braces, and with the bounds of README.
func FuzzNew(f *testing.F) {
	defaults, err := os.ReadFile("defaults.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(defaults), "de")
	f.Add(three, "de-AT")
	bad, _ := filepath.Glob("testdata/*.bad.yaml")
	for _, file := range bad {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content), "en")
	}
	f.Fuzz(func(t *testing.T, content, language string) {
		m, err := messages.New(messages.Config{File: write(t, content)})
		if (m == nil) != (err != nil) {
			t.Fatal(m, err)
		}
		if err != nil {
			return
		}
		for _, status := range allStatuses {
			for _, reason := range []string{"", "VELOCITY", "OVERDUE", "A"} {
				a := about(status, reason)
				a.Language = language
				text, next := m.Text(a)
				if text == "" || !utf8.ValidString(text+next) || strings.ContainsAny(text+next, "{}") || len(text) > 512*10 {
					t.Errorf("%s %s: %q, %q", status, reason, text, next)
				}
			}
		}
	})
}

func BenchmarkText(b *testing.B) {
	m := mustNew(b, "", three)
	for name, a := range map[string]messages.About{"plain": about("approved", ""), "values": about("executed", "EXECUTED")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Text(a)
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	line := "  REASON_%d: " + strings.Repeat("a", 60) + " {{eta}}\n"
	var content strings.Builder
	content.WriteString("en:\n")
	for i := 0; content.Len() < 1<<20-100; i++ {
		fmt.Fprintf(&content, line, i)
	}
	file := write(b, content.String())
	for b.Loop() {
		if _, err := messages.New(messages.Config{File: file}); err != nil {
			b.Fatal(err)
		}
	}
}
