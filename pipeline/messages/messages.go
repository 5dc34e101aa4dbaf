// Package messages is what customers read of their refunds.
//
// What a caller can't see: a text that asks for something which a refund doesn't
// have, such as an ETA, is passed over for the next in the order of Text, so that
// nobody reads half a sentence. Nothing but customer_message ever comes from a
// rule: not its message, its id or its lists, nor what an analyst wrote. Texts are
// plain: whoever puts them into HTML escapes them, ids of refunds in them
// included. Messages do not change; any number of goroutines can use them.
package messages

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/refundguard/refundguard/rules/event"
)

// Config says where texts are and in which languages.
type Config struct {
	File     string `koanf:"file"`     // "": the built-in texts
	Language string `koanf:"language"` // of who has none, or one that the file hasn't; "": en

	// LanguageField is the field of refunds that holds the customer's language,
	// such as de or de-AT; "": there is none.
	LanguageField string `koanf:"language_field"`
}

// builtinLanguage is the one of defaults.yaml.
const builtinLanguage = "en"

//go:embed defaults.yaml
var defaults string

// Messages holds the texts in all languages.
type Messages struct {
	language  string
	languages map[string]texts // of the file
	builtin   texts
}

// texts are those of one language.
type texts map[place]template

// place is what a text is for. A status of "" is any.
type place struct {
	next           bool // what the customer can do, rather than what happened
	reason, status string
}

// byStatus is the reason under which a file has what holds for any other.
const byStatus = "default"

// statuses as refund-status has them, and those of them after which the customer
// can do something.
var (
	statuses     = []string{"received", "in_review", "approved", "rejected", "executed", "failed", "overdue"}
	nextStatuses = []string{"rejected", "failed"}
)

// New reads the file that c names. The error joins all faults, each of which
// begins with its key; those of the file have line and column.
func New(c Config) (*Messages, error) {
	builtin, err := load("defaults.yaml", defaults)
	if err != nil {
		return nil, err // a test would have found it
	}
	m := &Messages{language: normal(c.Language), builtin: builtin[builtinLanguage]}
	if m.language == "" {
		m.language = builtinLanguage
	}
	if c.File == "" {
		if m.language != builtinLanguage {
			return nil, fmt.Errorf("language is %q, and the built-in texts are in %s only: name a file with others in messages.file", c.Language, builtinLanguage)
		}
		return m, nil
	}
	if m.languages, err = loadFile(c.File); err != nil {
		return nil, err
	}
	if m.languages[m.language] == nil && m.language != builtinLanguage {
		return nil, fmt.Errorf("language is %q, which %s doesn't have: it has %s", c.Language, c.File, strings.Join(slices.Sorted(maps.Keys(m.languages)), ", "))
	}
	return m, nil
}

// About is what a text is about. The zero value of a field is that there is none.
type About struct {
	Status, Reason string // as in refund-status
	RuleText       string // customer_message of the rule that decided this status
	Language       string // the customer's
	RefundID       string
	Amount         event.Money
	Currency       event.Currency
	ETA            time.Time // shown as a date where it stands
}

// Text is what happened, and what the customer can do next, which is "" unless
// the refund was rejected or failed. In the customer's language it is what the
// file has for the reason, then for the status; then in the default language
// RuleText, and the same of the file; then what is built in. A language is looked
// for without its country where it isn't there with it.
func (m *Messages) Text(a About) (text, next string) {
	var own texts
	if language := m.find(a.Language); language != m.language {
		own = m.languages[language]
	}
	text, ok := own.text(&a, false)
	if !ok {
		if text = a.RuleText; text == "" {
			text = m.inDefault(&a, false)
		}
	}
	if slices.Contains(nextStatuses, a.Status) {
		if next, ok = own.text(&a, true); !ok {
			next = m.inDefault(&a, true)
		}
	}
	return text, next
}

// inDefault is a text in the default language, or a built-in one.
func (m *Messages) inDefault(a *About, next bool) string {
	text, ok := m.languages[m.language].text(a, next)
	if !ok {
		text, _ = m.builtin.text(a, next)
	}
	return text
}

// find is the language of the file that is closest to a customer's.
func (m *Messages) find(language string) string {
	if len(m.languages) == 0 || language == "" || len(language) > maxLanguage {
		return m.language
	}
	for tag := normal(language); tag != ""; tag = tag[:max(0, strings.LastIndexByte(tag, '-'))] {
		if m.languages[tag] != nil {
			return tag
		}
	}
	return m.language
}

// normal is how languages are compared: de_AT is de-at.
func normal(language string) string {
	return strings.ToLower(strings.ReplaceAll(language, "_", "-"))
}

// text is the first that can be told.
func (t texts) text(a *About, next bool) (string, bool) {
	for _, p := range [...]place{{next, a.Reason, a.Status}, {next, a.Reason, ""}, {next, byStatus, a.Status}} {
		if found, ok := t[p]; ok {
			if text, ok := found.render(a); ok {
				return text, true
			}
		}
	}
	return "", false
}

// template is a text with names of values in it: at even places text, at odd ones
// a name.
type template []string

// values are the names that texts can use.
var values = []string{"amount", "currency", "eta", "refund_id"}

// value is "" where a refund lacks it.
func (a *About) value(name string) string {
	switch {
	case name == "refund_id":
		return a.RefundID
	case name == "eta" && !a.ETA.IsZero():
		return a.ETA.Format(time.DateOnly)
	case name == "amount" && a.Amount != 0 && a.Currency != 0:
		return a.Amount.Format(a.Currency)
	case name == "currency" && a.Currency != 0:
		return a.Currency.String()
	}
	return ""
}

// render is false where a value is missing.
func (t template) render(a *About) (string, bool) {
	if len(t) == 1 {
		return t[0], true
	}
	var b strings.Builder
	for i, part := range t {
		if i%2 == 1 {
			if part = a.value(part); part == "" {
				return "", false
			}
		}
		b.WriteString(part)
	}
	return b.String(), true
}
