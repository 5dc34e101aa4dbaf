// Package describe says in words what a rule does: what it reads, what of the
// past it looks at and how exactly, what a missing value means, what a hit
// leads to and who owns it.
package describe

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// Book is a rule set with what its rules read.
type Book struct {
	Set      *rules.Set
	Readings []rules.Reading
	Schema   *event.Schema
	Exact    int // state.exact_events: how many events of a key are kept one by one
}

// Row is one rule of a list.
type Row struct {
	ID          string   `json:"id"`
	On          string   `json:"on"`
	Mode        string   `json:"mode"`
	Severity    string   `json:"severity"`
	Action      string   `json:"action"` // "" for none
	Score       int64    `json:"score"`
	Owner       string   `json:"owner"`
	Tags        []string `json:"tags"`
	Windows     []string `json:"windows"` // such as "refunds 7d", without repeats
	Description string   `json:"description"`
	File        string   `json:"file"`
	Line        int      `json:"line"`
}

// Rows lists all rules, in the order of the files.
func (b *Book) Rows() []Row {
	rows := make([]Row, len(b.Readings))
	for i := range b.Readings {
		rows[i] = row(&b.Readings[i])
	}
	return rows
}

func row(r *rules.Reading) Row {
	rule := r.Rule
	out := Row{
		ID: rule.ID, On: rule.On, Mode: rule.Mode.String(), Severity: rule.Severity.String(), Action: rule.Action.String(),
		Score: rule.Score, Owner: rule.Owner, Tags: slices.Clone(rule.Tags), Windows: []string{},
		Description: rule.Description, File: rule.File, Line: rule.Line,
	}
	if out.Tags == nil {
		out.Tags = []string{}
	}
	for _, p := range r.Past {
		w := p.Stream + " " + windowName(&p)
		if !slices.Contains(out.Windows, w) {
			out.Windows = append(out.Windows, w)
		}
	}
	return out
}

func windowName(p *rules.Past) string {
	switch {
	case p.Ever:
		return "ever"
	case p.Delayed > 0:
		return short(p.Within) + " delayed " + short(p.Delayed)
	}
	return short(p.Within)
}

// Find is what a rule reads; nil where there is no such rule.
func (b *Book) Find(id string) *rules.Reading {
	for i := range b.Readings {
		if b.Readings[i].Rule.ID == id {
			return &b.Readings[i]
		}
	}
	return nil
}

// Explain describes one rule of the book in English.
func (b *Book) Explain(w io.Writer, r *rules.Reading) error {
	p := page{Book: b, r: r, rule: r.Rule, subject: strings.TrimSuffix(r.Rule.On, "s")}
	if p.subject == "transaction" {
		p.subject = "payment"
	}
	p.head()
	p.condition()
	p.reads()
	p.past()
	p.missing()
	p.effect()
	_, err := io.WriteString(w, p.String())
	return err
}

// page is one explanation while it is written.
type page struct {
	*Book
	strings.Builder
	r       *rules.Reading
	rule    *rules.Rule
	subject string // what the rule judges: refund or payment
}

// width of a line.
const width = 100

func (p *page) title(s string) { fmt.Fprintf(p, "\n%s\n", s) }

// say writes a paragraph, indented, broken between words.
func (p *page) say(indent int, format string, args ...any) {
	pad := strings.Repeat(" ", indent)
	line := pad
	for _, word := range strings.Fields(fmt.Sprintf(format, args...)) {
		switch {
		case line == pad || line == pad+"  ":
			line += word
		case len([]rune(line))+1+len([]rune(word)) > width:
			p.WriteString(line + "\n")
			line = pad + "  " + word
		default:
			line += " " + word
		}
	}
	p.WriteString(line + "\n")
}

func (p *page) head() {
	fmt.Fprintf(p, "%s   %s:%d\n", p.rule.ID, p.rule.File, p.rule.Line)
	if p.rule.Description != "" {
		p.say(0, "%s", p.rule.Description)
	}
	owner := p.rule.Owner
	if owner == "" {
		owner = "nobody is named (add owner: …)"
	}
	p.title("Owner")
	p.say(2, "%s", owner)
	if len(p.rule.Tags) > 0 {
		p.say(2, "tags: %s", strings.Join(p.rule.Tags, ", "))
	}
}

func (p *page) condition() {
	p.title(fmt.Sprintf("It looks at each %s, and hits where this is true", p.subject))
	for _, line := range strings.Split(strings.TrimSpace(p.rule.When), "\n") {
		fmt.Fprintf(p, "  %s\n", line)
	}
	if len(p.r.Macros) > 0 {
		p.say(2, "(macros: %s; written out: %s)", strings.Join(p.r.Macros, ", "), p.r.Condition)
	}
	for i := range p.rule.Exceptions {
		x := &p.rule.Exceptions[i]
		p.say(2, "except where %s: %s%s%s", strings.TrimSpace(x.When), x.Reason, words(" (owner: ", x.Owner, ")"), expiry(x.Expires))
	}
}

func expiry(ms int64) string {
	if ms == 0 {
		return ""
	}
	return ", until " + time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

func words(before, s, after string) string {
	if s == "" {
		return ""
	}
	return before + s + after
}

func (p *page) reads() {
	p.title("It reads")
	stream := p.Schema.Stream(p.rule.On)
	for _, name := range p.r.Fields {
		p.say(2, "%s: %s", name, p.fieldDoc(stream, name))
	}
	payments := p.Schema.Stream("transactions")
	for _, name := range p.r.Original {
		if name == "" {
			p.say(2, "original: whether the payment that is refunded is known")
			continue
		}
		p.say(2, "original.%s: of the payment that is refunded, %s", name, p.fieldDoc(payments, name))
	}
	for _, l := range p.r.Lists {
		p.say(2, "lists.%s: %s in %s", l.Name, count(int64(l.Values), "value"), l.File)
	}
	if len(p.r.Fields)+len(p.r.Original)+len(p.r.Lists) == 0 {
		p.say(2, "nothing of the %s itself", p.subject)
	}
}

func (p *page) fieldDoc(s *event.Stream, name string) string {
	switch name {
	case "refunded":
		return "what was refunded of the same payment before, not rejected; missing without a transaction_id, or in two currencies"
	case "amount_base":
		return "the amount in the base currency; missing where no exchange rate is configured"
	}
	slot := s.Slot(name)
	if slot < 0 {
		return "unknown"
	}
	f := &s.Fields[slot]
	doc := f.Doc
	if doc == "" {
		doc = "a field that the configuration adds, of type " + f.TypeName()
	}
	if !f.Required {
		doc += " (can be missing)"
	}
	return doc
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(n) + " " + what + "s"
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
