package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	exprast "github.com/expr-lang/expr/ast"
	"github.com/goccy/go-yaml/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// Load reads, checks and compiles the rule files of a folder, or one rule file.
// Faults come back as Errors, all those of the set in one run.
func Load(dir string, o Options) (*Set, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, asErrors(err)
	}
	return load(f, o)
}

// LoadFS is Load from a file system such as starter.FS. Errors show the files'
// names after name.
func LoadFS(fsys fs.FS, name string, o Options) (*Set, error) {
	return load(newFolder(fsys, name), o)
}

func asErrors(err error) error {
	if e, ok := err.(*Error); ok {
		return Errors{e}
	}
	return err
}

// draft is a rule set while it is read: what the files say, before conditions
// are compiled.
type draft struct {
	folder *folder
	schema *event.Schema
	lists  map[string]*list
	macros map[string]*macro
	rules  []*ruleDraft
	ids    map[string]*ruleDraft
	policy *Policy
	errs   Errors

	policyAt text

	hits, decisions *event.Stream // derived ones
	now             int64         // for warnings of what has expired
}

// macro is a named part of conditions.
type macro struct {
	name text
	body text
	used bool
	tree exprast.Node //  nil where the body is faulty
	size int          // its nodes, the macros in it expanded
}

func load(f *folder, o Options) (*Set, error) {
	d, err := readDraft(f, o)
	if err != nil {
		return nil, err
	}
	if len(d.rules) == 0 && len(d.errs) == 0 {
		d.errs = append(d.errs, &Error{File: f.shown(f.only), Message: "there are no rules", Hint: "a set without rules would approve every refund: write at least one, with mode: off if need be"})
	}
	return d.compile(o)
}

// readDraft reads all rule files of a folder. What is wrong in them is in the
// draft's errs.
func readDraft(f *folder, o Options) (*draft, error) {
	if o.Schema == nil {
		o.Schema = event.Builtin()
	}
	refunds := o.Schema.Stream("refunds")
	if refunds == nil || o.Schema.Stream("transactions") == nil {
		return nil, fmt.Errorf("the schema lacks the stream refunds or transactions")
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	names, err := f.names()
	if err != nil {
		return nil, asErrors(err)
	}
	d := &draft{
		folder: f, schema: o.Schema, hits: event.Hits(refunds), decisions: event.Decisions(refunds), now: o.Now.UnixMilli(),
		lists: map[string]*list{}, macros: map[string]*macro{}, ids: map[string]*ruleDraft{},
	}
	for _, name := range names {
		d.readFile(name)
	}
	return d, nil
}

func (d *draft) readFile(name string) {
	shown := d.folder.shown(name)
	data, err := d.folder.content(name, maxRuleFile)
	if err == nil && !utf8.Valid(data) {
		err = fmt.Errorf("it is not UTF-8 text")
	}
	if err != nil {
		d.errs = append(d.errs, &Error{File: shown, Message: "the file can't be read: " + err.Error()})
		return
	}
	sum := sha256.Sum256(data)
	r := &reader{file: &file{name: shown, data: strings.TrimPrefix(string(data), "\ufeff"), source: hex.EncodeToString(sum[:8])}}
	if i := controlCharacter(r.file.data); i >= 0 {
		line, column, snippet := r.file.place(i)
		r.errs = append(r.errs, &Error{File: shown, Line: line, Column: column, Snippet: strings.Map(printable, cmp.Or(snippet, "\r")),
			Message: fmt.Sprintf("YAML: the control character %U can't be in it", r.file.data[i]), Hint: "remove it; lines end as on Unix or Windows"})
	} else if node := r.parse(); node != nil {
		d.readSections(r, node)
	}
	d.errs = append(d.errs, r.errs...)
}

// controlCharacter finds what YAML doesn't allow in a file, a carriage return that
// ends no line included: the parser would count lines that nobody sees. It is -1
// if there is none.
func controlCharacter(data string) int {
	for i := range len(data) {
		c := data[i]
		if c == 0x7f || c < ' ' && c != '\t' && c != '\n' && (c != '\r' || i+1 < len(data) && data[i+1] != '\n') {
			return i
		}
	}
	return -1
}

// printable keeps a snippet on its line.
func printable(c rune) rune {
	if c < ' ' && c != '\t' || c == 0x7f {
		return '\ufffd'
	}
	return c
}

// maxFaults bounds what is said of one file: a file that is none of rules can
// have a fault in every word.
const maxFaults = 1_000

var sectionNames = []string{"lists", "macros", "rules", "policy"}

func (d *draft) readSections(r *reader, n ast.Node) {
	for _, p := range r.mapping(n, "a rule file") {
		if _, ok := p.value.(*ast.NullNode); ok {
			continue // a section that is still empty
		}
		switch p.key.value {
		case "lists":
			d.readLists(r, p.value)
		case "macros":
			d.readMacros(r, p.value)
		case "rules":
			for _, item := range r.sequence(p.value, "rules") {
				if len(r.errs) >= maxFaults {
					r.fail(item, fmt.Sprintf("%d faults so far: the rules from here on were not read", len(r.errs)), "")
					break
				}
				d.readRule(r, item)
			}
		case "policy":
			d.readPolicy(r, p)
		default:
			r.errs = append(r.errs, p.key.report("", 0, "unknown section "+p.key.value, suggestOr(p.key.value, sectionNames, "a rule file has lists, macros, rules and policy")))
		}
	}
}

func (d *draft) readMacros(r *reader, n ast.Node) {
	for _, p := range r.mapping(n, "macros") {
		if !r.name(p.key, "a macro's") {
			continue
		}
		name := p.key.value
		if first, ok := d.macros[name]; ok {
			r.errs = append(r.errs, p.key.report("", 0, fmt.Sprintf("macro %s is already defined in %s", name, first.name.file.name), "rename one of them"))
			continue
		}
		if what := d.taken(name); what != "" {
			r.errs = append(r.errs, p.key.report("", 0, fmt.Sprintf("macro %s has the name of %s", name, what), "rename the macro"))
			continue
		}
		if body, ok := r.text(p.value, "macro "+name); ok {
			body.macro = name
			d.macros[name] = &macro{name: p.key, body: body}
		}
	}
}

// taken says what a name means in conditions already; "" if nothing.
func (d *draft) taken(name string) string {
	switch {
	case name == "original" || name == "refunded" || name == "lists" || name == "amount_base":
		return "something that conditions have already"
	case d.source(name) != nil:
		return "a stream"
	case functions[name] != nil:
		return "a function"
	}
	for _, s := range append([]*event.Stream{d.schema.Stream("refunds")}, append(d.schema.Streams, d.hits, d.decisions)...) {
		if s.Slot(name) >= 0 { // where(…) means the field
			return "a field of " + s.Name
		}
	}
	return ""
}

func (d *draft) readPolicy(r *reader, section pair) {
	if d.policy != nil {
		line, _, _ := d.policyAt.file.place(d.policyAt.start)
		r.errs = append(r.errs, section.key.report("", 0, fmt.Sprintf("a second policy: the first is in %s:%d", d.policyAt.file.name, line), "a rule set has one policy: remove one"))
		return
	}
	d.policy, d.policyAt = &Policy{}, section.key
	for _, p := range r.mapping(section.value, "policy") {
		var to **int64
		switch p.key.value {
		case "review_at":
			to = &d.policy.ReviewAt
		case "reject_at":
			to = &d.policy.RejectAt
		default:
			r.errs = append(r.errs, p.key.report("", 0, "unknown key "+p.key.value+" of policy", suggestOr(p.key.value, []string{"review_at", "reject_at"}, "a policy has review_at and reject_at")))
			continue
		}
		t, ok := r.text(p.value, p.key.value)
		if !ok {
			continue
		}
		v, err := strconv.ParseInt(t.value, 10, 64)
		if err != nil || v < 1 || v > maxScore {
			r.errs = append(r.errs, t.report("", 0, fmt.Sprintf("%s is %s", p.key.value, t.value), fmt.Sprintf("it is a whole number from 1 to %d", maxScore)))
			continue
		}
		*to = &v
	}
	if p := d.policy; p.ReviewAt != nil && p.RejectAt != nil && *p.RejectAt <= *p.ReviewAt {
		e := section.key.report("", 0, "reject_at is not above review_at: no score leads to a review", "")
		e.Warning = true
		r.errs = append(r.errs, e)
	}
}

// name checks the name of a list or a macro.
func (r *reader) name(t text, whose string) bool {
	for i, c := range t.value {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			r.errs = append(r.errs, t.report("", 0, fmt.Sprintf("%s name can't be %q", whose, t.value), "names are letters, digits and _"))
			return false
		}
	}
	return t.value != ""
}
