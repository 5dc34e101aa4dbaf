package ruletest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// ErrNoTests says that there was nothing to run.
var ErrNoTests = errors.New("there are no tests")

// home is where rules and their tests are.
type home struct {
	dir   string // as errors show it
	fsys  fs.FS
	only  string   // "" or the one rule file
	tests []string // names of the test files, sorted
}

// Run runs the tests of a path: a folder of rules, one rule file, or one test
// file (with the rules of its folder). No tests at all is ErrNoTests; what is
// wrong with rules and tests is in the report.
func Run(path string, o Options) (*Report, error) {
	in, err := find(path)
	if err != nil {
		return nil, err
	}
	if o.Rules.Schema == nil {
		o.Rules.Schema = event.Builtin()
	}
	where := in.dir
	if in.only != "" {
		where = filepath.Join(in.dir, in.only)
	}
	rep := &Report{Dir: in.dir}
	set, err := rules.Load(where, o.Rules)
	if err != nil {
		return rep, rep.refuse(err)
	}
	if len(in.tests) == 0 {
		return nil, fmt.Errorf("%s: %w; tests of refunds.yaml are in refunds_test.yaml beside it", path, ErrNoTests)
	}
	files, err := in.read(rep, set, &o)
	if err != nil {
		return rep, rep.refuse(err)
	}
	selected := 0
	for i, f := range rep.Files {
		if len(f.Errors) > 0 {
			continue
		}
		for _, t := range files[i].tests {
			if o.Run != nil && !o.Run.MatchString(t.name) {
				continue
			}
			selected++
			f.Tests = append(f.Tests, files[i].run(t))
		}
	}
	if selected == 0 && !rep.faulty() {
		return nil, fmt.Errorf("%s: %w whose name matches %s", path, ErrNoTests, o.Run)
	}
	rep.count()
	return rep, nil
}

// find says what a path means.
func find(path string) (home, error) {
	info, err := os.Stat(path)
	if err != nil {
		return home{}, err
	}
	if info.IsDir() {
		in := home{dir: path, fsys: os.DirFS(path)}
		entries, err := fs.ReadDir(in.fsys, ".")
		if err != nil {
			return home{}, err
		}
		for _, e := range entries { // by name
			if isTestFile(e.Name()) && !e.IsDir() {
				in.tests = append(in.tests, e.Name())
			}
		}
		return in, nil
	}
	name := filepath.Base(path)
	in := home{dir: filepath.Dir(path), fsys: os.DirFS(filepath.Dir(path))}
	if isTestFile(name) {
		in.tests = []string{name}
		return in, nil
	}
	in.only = name
	ext := filepath.Ext(name)
	for _, e := range []string{".yaml", ".yml"} {
		beside := strings.TrimSuffix(name, ext) + "_test" + e
		if _, err := fs.Stat(in.fsys, beside); err == nil {
			in.tests = append(in.tests, beside)
		}
	}
	return in, nil
}

func isTestFile(name string) bool {
	ext := path.Ext(name)
	return (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(name, ".") && strings.HasSuffix(strings.TrimSuffix(name, ext), "_test")
}

// suite is one test file, ready to run.
type suite struct {
	tests  []*test
	src    *source
	set    *rules.Set
	schema *event.Schema
	seen   map[featureKey]bool      // past-events expressions of the rules themselves
	cover  map[string]*RuleCoverage // shared
}

// featureKey is a past-events expression of rules on refunds, or of those on
// transactions.
type featureKey struct {
	refunds bool
	text    string
}

// rulesOn are the rules on refunds, and those on transactions where there are
// any.
func rulesOn(set *rules.Set) []*rules.Set {
	if set.Transactions == nil {
		return []*rules.Set{set}
	}
	return []*rules.Set{set, set.Transactions}
}

// read reads all test files, and loads the rules again with what the tests ask
// for.
func (in *home) read(rep *Report, set *rules.Set, o *Options) ([]*suite, error) {
	rep.Ruleset = set.Version
	schema := o.Rules.Schema
	kinds, names := kindsOf(schema)
	asked := &probes{index: map[probeKey]int{}}
	cover := rep.cover(set)
	byID := map[string]*rules.Rule{}
	seen := map[featureKey]bool{}
	for _, on := range rulesOn(set) {
		for _, rule := range on.Rules {
			if isProbe(rule.ID) {
				return nil, rules.Errors{{File: rule.File, Line: rule.Line, Column: 1, Rule: rule.ID, Message: "the id begins with " + probePrefix + ", as those of tests do", Hint: "rename the rule"}}
			}
			byID[rule.ID] = rule
		}
		for i := range on.Features {
			seen[featureKey{on == set, on.Features[i].Text}] = true
		}
	}
	var suites []*suite
	for _, name := range in.tests {
		src := &source{name: filepath.Join(in.dir, name)}
		s := &suite{src: src, schema: schema, seen: seen, cover: cover}
		if data, err := readFile(in.fsys, name); err != nil {
			src.fail(place{}, "the file can't be read: "+err.Error(), "")
		} else {
			text := strings.TrimPrefix(string(data), "\ufeff")
			src.lines = strings.Split(text, "\n")
			r := &reader{source: src, schema: schema, set: set, byID: byID, kinds: kinds, names: names, probes: asked}
			s.tests = r.read(text)
		}
		suites = append(suites, s)
	}
	if len(asked.all) > 0 {
		var err error
		if set, err = asked.load(in, o.Rules); err != nil {
			return nil, err
		}
	}
	for _, s := range suites {
		s.set = set
		rep.Files = append(rep.Files, &File{Name: s.src.name, Errors: tidy(s.src.errs)})
	}
	return suites, nil
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return data, err
}

// run runs one test on an engine of its own.
func (s *suite) run(t *test) *Test {
	res := &Test{Name: t.name, Line: t.at.line, Status: Passed, Why: t.why}
	records := newWriter(s.schema, &t.settings).records(t)
	e := engine.New(engine.Config{Schema: s.schema, Workers: 1}, s.set)
	defer e.Close()
	c := &checker{suite: s, test: t, result: res, failed: map[*draft]map[string]bool{}}
	m := moment{engine: e, checker: c}
	for start := 0; start < len(records); {
		end := start + 1
		for end < len(records) && records[end].item.Event.Time == records[start].item.Event.Time {
			end++
		}
		m.pass(records[start:end])
		start = end
	}
	res.Events, res.Refunds = len(records), c.refunds
	c.finish()
	return res
}

// moment takes the records of one event time through the engine. It is an epoch
// of the service: all of them are applied before the first is decided, and what
// is decided is seen by later ones only.
type moment struct {
	engine  *engine.Engine
	checker *checker

	items, refunds, payments      []*engine.Item
	refundRecords, paymentRecords []*record
	pasts                         []past
}

// past waits to enter the streams hits and decisions.
type past struct {
	item *engine.Item
	engine.Decided
}

func (m *moment) pass(records []*record) {
	m.items, m.refunds, m.payments, m.pasts = m.items[:0], m.refunds[:0], m.payments[:0], m.pasts[:0]
	m.refundRecords, m.paymentRecords = m.refundRecords[:0], m.paymentRecords[:0]
	for _, r := range records {
		if r.err == nil {
			m.items = append(m.items, &r.item)
		}
	}
	m.engine.Apply(m.items)
	for _, r := range records {
		m.checker.applied(r)
		if r.err != nil || r.item.Fate != engine.Fresh {
			continue
		}
		switch m.checker.schema.Streams[r.item.Stream].Name {
		case onRefunds:
			m.refunds, m.refundRecords = append(m.refunds, &r.item), append(m.refundRecords, r)
		case onTransactions:
			m.payments, m.paymentRecords = append(m.payments, &r.item), append(m.paymentRecords, r)
		}
	}
	derives := m.engine.Derives()
	m.engine.Evaluate(m.payments, func(_, i int, res *rules.Result) {
		m.checker.evaluated(m.paymentRecords[i], res)
		if derives {
			m.pasts = append(m.pasts, past{m.payments[i], engine.Decided{Hits: ofRules(res, rules.Live)}})
		}
	})
	m.engine.Decide(m.refunds, func(_, i int, d *event.Decision, res *rules.Result) {
		m.checker.decided(m.refundRecords[i], d, res)
		if derives {
			m.pasts = append(m.pasts, past{m.refunds[i], engine.Decided{DecisionID: d.DecisionID, Outcome: d.Outcome, Score: d.Score, Hits: ofRules(res, 0)}})
		}
	})
	// Not Derive: it would enter the hits of probes, too.
	for i := range m.pasts {
		m.engine.Recall(m.pasts[i].item, m.pasts[i].Decided)
	}
}

// ofRules are the hits of rules that are not probes; with a mode, of that mode.
func ofRules(res *rules.Result, mode rules.Mode) (hits []event.Hit) {
	for i, rule := range res.HitRules {
		if !isProbe(rule.ID) && (mode == 0 || rule.Mode == mode) {
			hits = append(hits, res.Hits[i])
		}
	}
	return hits
}
