package describe

import (
	"fmt"
	"strings"
	"time"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// What windows keep, roughly, as package window measures it: a key with its
// first event, and each further event of it. A column adds a number to both.
const (
	keyBytes       = 65
	keyColumnBytes = 8
	eventBytes     = 14
	columnBytes    = 5
)

func (p *page) past() {
	if len(p.r.Past) == 0 {
		return
	}
	p.title("What it looks up in the past")
	for i := range p.r.Past {
		e := &p.r.Past[i]
		p.say(2, "%s", e.Text)
		p.say(4, "%s %s, %s%s%s.", p.what(e), p.whose(e), p.when(e), words(", where ", e.Where, ""), only(e))
		p.say(4, "Without such events: %s. %s", none(e), keyless(e))
		p.say(4, "How exact: %s", p.exact(e))
		p.say(4, "Memory: %s", p.memory(e))
	}
}

func only(e *rules.Past) string {
	if e.MessageOnly {
		return " (its messages show it; the condition does not read it)"
	}
	return ""
}

var nouns = map[string]string{
	"refunds": "refund requests", "transactions": "payments", "complaints": "complaints", "confirmations": "customers' confirmations",
	"reviews": "analysts' verdicts", "ledger_results": "ledger results", "updates": "changes of payments' status",
	"hits": "hits of rules", "decisions": "decisions",
}

// what the expression computes.
func (p *page) what(e *rules.Past) string {
	noun := nouns[e.Stream]
	if noun == "" {
		noun = "events of " + e.Stream
	}
	switch e.Aggregate {
	case "count":
		return "The number of " + noun
	case "sum":
		return "The sum of " + e.Field + " over the " + noun
	case "avg":
		return "The average " + e.Field + " of the " + noun
	case "min":
		return "The smallest " + e.Field + " of the " + noun
	case "max":
		return "The greatest " + e.Field + " of the " + noun
	case "stddev":
		return "How far " + e.Field + " spreads (the standard deviation, STDEV.P in a spreadsheet) over the " + noun
	case "distinct":
		return "The number of different values of " + e.Field + " in the " + noun
	case "first", "last":
		return "The " + e.Field + " of the " + e.Aggregate + " of the " + noun
	case "since_last":
		return "The seconds since the latest of the " + noun
	}
	return e.Aggregate + " of the " + noun
}

// whose events count.
func (p *page) whose(e *rules.Past) string {
	var same, other []string
	for _, k := range e.By {
		if k.Theirs == k.Ours {
			same = append(same, k.Theirs)
		} else {
			other = append(other, fmt.Sprintf("whose %s is this %s's %s", k.Theirs, p.subject, k.Ours))
		}
	}
	var all []string
	if len(same) > 0 {
		all = append(all, "with the same "+strings.Join(same, " and "))
	}
	return strings.Join(append(all, other...), " and ")
}

func (p *page) when(e *rules.Past) string {
	switch {
	case e.Ever:
		return "ever, as far back as the service has read (this " + p.subject + " itself is not counted)"
	case e.Delayed > 0:
		return fmt.Sprintf("in the %s that ended %s before this %s", long(e.Within), Span(e.Delayed), p.subject)
	}
	return fmt.Sprintf("in the %s up to this %s (which itself is not counted)", long(e.Within), p.subject)
}

func none(e *rules.Past) string {
	switch e.Aggregate {
	case "count", "sum", "distinct":
		return "0"
	}
	return "missing (nil)"
}

func keyless(e *rules.Past) string {
	var ours []string
	for _, k := range e.By {
		ours = append(ours, k.Ours)
	}
	return "Where " + strings.Join(ours, " or ") + " is missing, so is the result."
}

func (p *page) exact(e *rules.Past) string {
	keys := p.keys(e)
	many := fmt.Sprintf("to the event, for every %s with at most %s kept", keys, count(int64(p.Exact), "event"))
	edge := "; of one with more, the oldest are kept in steps of time"
	if e.Within > 0 {
		edge += fmt.Sprintf(" of at most %s, and only events that near to the window's edge can be miscounted", duration(max(e.Within/256, 1)))
	}
	switch e.Aggregate {
	case "distinct":
		edge += ", and above 4,096 different values the number is an estimate (standard error 2 %)"
	}
	if p.mixesCurrencies(e) {
		edge += ". Amounts of two currencies in one window make the rule fail (add currency to by)"
	}
	return many + edge + "."
}

// mixesCurrencies says that the expression may meet amounts of two currencies.
func (p *page) mixesCurrencies(e *rules.Past) bool {
	for _, k := range e.By {
		if k.Theirs == "currency" {
			return false
		}
	}
	name := e.Stream
	switch name {
	case "updates":
		name = "transactions"
	case "decisions":
		name = "refunds"
	}
	s := p.Schema.Stream(name)
	if s == nil || s.Slot(e.Field) < 0 || s.Fields[s.Slot(e.Field)].Type != event.TypeMoney {
		return false
	}
	switch e.Aggregate {
	case "sum", "avg", "min", "max", "stddev":
		return true
	}
	return false
}

func (p *page) keys(e *rules.Past) string {
	var theirs []string
	for _, k := range e.By {
		theirs = append(theirs, k.Theirs)
	}
	return strings.Join(theirs, " + ")
}

func (p *page) memory(e *rules.Past) string {
	if p.rule.Mode == rules.Off {
		return "none, because the rule is off."
	}
	horizon, columns, others := p.series(e)
	kept := "for ever"
	if horizon > 0 {
		kept = Span(2 * horizon)
	}
	s := fmt.Sprintf("roughly %d bytes for each %s, and %d for each further event of it, kept %s",
		keyBytes+columns*keyColumnBytes, p.keys(e), eventBytes+columns*columnBytes, kept)
	if others > 0 {
		s += fmt.Sprintf("; shared with %s", count(int64(others), "other expression"))
	}
	return s + "."
}

// series finds what is kept for an expression: how far back, how many columns,
// and how many other expressions use it.
func (p *page) series(e *rules.Past) (horizon int64, columns, others int) {
	mine := -1
	sets := []*rules.Set{p.Set, p.Set.Transactions}
	for _, s := range sets {
		if s == nil {
			continue
		}
		for i := range s.Features {
			if s.Features[i].Text == e.Text {
				mine = s.Lookups[s.Features[i].Lookup].Series
			}
		}
	}
	if mine < 0 {
		return e.Within + e.Delayed, 0, 0
	}
	seen := map[string]bool{e.Text: true}
	for _, s := range sets {
		if s == nil {
			continue
		}
		for i := range s.Features {
			f := &s.Features[i]
			if s.Lookups[f.Lookup].Series == mine && !seen[f.Text] {
				seen[f.Text] = true
				others++
			}
		}
	}
	for _, c := range p.Set.Series[mine].Columns {
		if c.Kind != rules.ColumnFault { // takes room only where it happens
			columns++
		}
	}
	return p.Set.Series[mine].Horizon, columns, others
}

var units = []struct {
	ms   int64
	name string
}{{7 * 86_400_000, "week"}, {86_400_000, "day"}, {3_600_000, "hour"}, {60_000, "minute"}, {1_000, "second"}}

// short is a window as conditions write it: 7d.
func short(ms int64) string {
	for _, u := range units[1:] {
		if ms%u.ms == 0 {
			return fmt.Sprintf("%d%c", ms/u.ms, u.name[0])
		}
	}
	return fmt.Sprintf("%dms", ms)
}

// long is a window in words: 7 days.
func long(ms int64) string {
	for _, u := range units[1:] {
		if ms == u.ms {
			return u.name
		}
		if ms%u.ms == 0 {
			return count(ms/u.ms, u.name)
		}
	}
	return fmt.Sprintf("%d milliseconds", ms)
}

// Span is a length of time in words, such as 7 days.
func Span(ms int64) string {
	s := long(ms)
	if s[0] > '9' {
		s = "1 " + s
	}
	return s
}

// duration is a step of time, rounded for reading.
func duration(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%.1f hours", d.Hours())
	case d >= time.Minute:
		return fmt.Sprintf("%.1f minutes", d.Minutes())
	}
	return fmt.Sprintf("%.3g seconds", d.Seconds())
}
