package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/refundguard/refundguard/rules/event"
)

// A hostile rule set is one condition in each of the roles that a condition can
// have, or a whole folder.
type hostile struct {
	name  string
	when  string // "" for a folder
	files fstest.MapFS
}

// hostileRules are the conditions of testdata/hostile/*.txt, the folders of
// testdata/hostile/*.yaml, and those of hostile_large_test.go.
func hostileRules(t testing.TB) []hostile {
	t.Helper()
	var all []hostile
	texts, _ := filepath.Glob("testdata/hostile/*.txt")
	for _, path := range texts {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
			if i == 0 {
				continue // what the file is about
			}
			all = append(all, hostile{name: fmt.Sprintf("%s:%d", filepath.Base(path), i+1), when: line})
		}
	}
	folders, _ := filepath.Glob("testdata/hostile/*.yaml")
	for _, path := range folders {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, hostile{name: filepath.Base(path), files: fstest.MapFS{"rules.yaml": {Data: data}}})
	}
	return append(all, largeRules()...)
}

// inRoles is a set with one condition in each role: what it holds, what its
// opposite holds, what is trusted where it is true, what it excepts from a
// hold and from trust, and where it may be skipped.
func inRoles(when string) fstest.MapFS {
	q := quoted
	var b strings.Builder
	b.WriteString(alone(when))
	fmt.Fprintf(&b, "- id: opposite\n  mode: shadow\n  action: review\n  when: %s\n", q("not ("+when+"\n)"))
	fmt.Fprintf(&b, "- id: trusts\n  mode: shadow\n  action: approve\n  when: %s\n", q(when))
	fmt.Fprintf(&b, "- id: excepts\n  mode: shadow\n  action: review\n  when: amount > 0\n  exceptions:\n  - reason: x\n    when: %s\n", q(when))
	fmt.Fprintf(&b, "- id: distrusts\n  mode: shadow\n  action: approve\n  when: amount > 0\n  exceptions:\n  - reason: x\n    when: %s\n", q(when))
	fmt.Fprintf(&b, "- id: skips\n  mode: shadow\n  action: review\n  on_missing: skip\n  when: %s\n", q(when))
	return fstest.MapFS{"rules.yaml": {Data: []byte(b.String())}}
}

// alone is the first of the roles.
func alone(when string) string {
	return "rules:\n- id: holds\n  action: review\n  when: " + quoted(when) + "\n"
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func loadHostile(t testing.TB, files fstest.MapFS) (*Set, error) {
	t.Helper()
	return LoadFS(files, "hostile", Options{Schema: testSchema(t), Now: testTime})
}

// TestHostileRules: each is refused where its fault is, or ends whatever refund
// it meets, within maxHostileTime and maxHostileBytes, and approves nothing that
// it doesn't understand. What becomes of each is in testdata/hostile/verdicts.
func TestHostileRules(t *testing.T) {
	all := hostileRules(t)
	if len(all) < 200 {
		t.Fatalf("%d hostile rules", len(all))
	}
	inputs := hostileInputs(t)
	var verdicts strings.Builder
	refused, ended := 0, 0
	slowest, slow := time.Duration(0), ""
	for _, h := range all {
		files := h.files
		if h.when != "" || files == nil {
			files = inRoles(h.when)
		}
		var s *Set
		var err error
		within(t, "loading "+h.name, func() { s, err = loadHostile(t, files) })
		what := ""
		if err != nil {
			refused++
			what = "refused " + checkRefusal(t, h.name, err)
		} else {
			ended++
			what = "ends: " + meetAll(t, h.name, s, inputs, h.when != "")
			if h.when != "" {
				if s, err = loadHostile(t, fstest.MapFS{"rules.yaml": {Data: []byte(alone(h.when))}}); err != nil {
					t.Fatalf("%s: %v", h.name, err)
				}
			}
			if len(s.Rules) == 1 {
				if took := checkCosts(t, h.name, s, inputs); took > slowest {
					slowest, slow = took, h.name
				}
			}
		}
		fmt.Fprintf(&verdicts, "%s\t%.60s\n\t%s\n", h.name, strings.ReplaceAll(h.when, "\n", " "), what)
	}
	if refused == 0 || ended == 0 {
		t.Errorf("%d are refused and %d end", refused, ended)
	}
	t.Logf("%d are refused, %d end, the slowest after %v: %s", refused, ended, slowest, slow)
	golden(t, "testdata/hostile/verdicts", verdicts.String())
}

// checkRefusal says where and why; every fault has a place, and a caret under
// it.
func checkRefusal(t *testing.T, name string, err error) string {
	t.Helper()
	var faults Errors
	if !errors.As(err, &faults) {
		t.Fatalf("%s: an error that isn't of the rules: %v", name, err)
	}
	first := ""
	for _, e := range faults {
		if e.Line == 0 {
			if !e.Warning && !strings.Contains(e.Message, "can't be read") && !strings.Contains(e.Message, "there are no rules") {
				t.Errorf("%s: a fault without a place: %v", name, e)
			}
		} else {
			lines := strings.Split(e.Error(), "\n")
			at := -1
			for i, l := range lines {
				if strings.HasPrefix(l, "  | ") && strings.TrimSpace(l[4:]) == "^" {
					at = i // the last: a source line can be a caret, too
				}
			}
			if at < 1 || e.File == "" || e.Message == "" || e.Column < 1 || len([]rune(lines[at]))-len("  | ") != e.Column || !strings.Contains(lines[0], fmt.Sprintf(":%d:%d: ", e.Line, e.Column)) {
				t.Errorf("%s: no caret at column %d of\n%v", name, e.Column, e)
			}
		}
		if first == "" && !e.Warning {
			first = fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Message)
		}
	}
	if first == "" {
		t.Errorf("%s: refused for warnings: %v", name, err)
	}
	return fmt.Sprintf("%.150s", strings.ReplaceAll(first, "\n", " "))
}

// The bounds of one refund's evaluation.
const (
	maxHostileTime  = time.Millisecond
	maxHostileBytes = 1 << 20
)

// checkCosts measures a set that is one rule, and says how long that took at most.
func checkCosts(t *testing.T, name string, s *Set, inputs []hostileInput) (worst time.Duration) {
	t.Helper()
	v := s.NewEvaluator()
	for i := range inputs {
		in := &inputs[i]
		meet := func() {
			in.run(v, s)
			for j := range s.Series { // as the events that were before, and as those to come
				series := &s.Series[j]
				for _, e := range []*event.Event{in.Event, in.Original} {
					if e != nil && e.Stream == series.Stream && series.Match(e) {
						series.AppendKey(nil, e)
					}
				}
			}
		}
		if bytes := allocated(meet); bytes > maxHostileBytes {
			t.Errorf("%s: %d bytes for %s", name, bytes, in.name)
		}
		if raceDetector {
			continue // everything takes ten times as long
		}
		took := quickest(meet)
		if took > maxHostileTime {
			t.Errorf("%s: %v for %s", name, took, in.name)
		}
		worst = max(worst, took)
	}
	return worst
}

// meetAll evaluates the set on every input, and counts how that ended: for the
// condition, or for the refund where the set is a folder of its own.
func meetAll(t *testing.T, name string, s *Set, inputs []hostileInput, roles bool) string {
	t.Helper()
	v := s.NewEvaluator()
	count := map[string]int{}
	var kinds []string
	for i := range inputs {
		in := &inputs[i]
		r := in.run(v, s)
		if r.Outcome == event.Approve && holdsOn(s, r.Errors) {
			t.Errorf("%s: %s is approved with %+v", name, in.name, r.Errors)
		}
		said := r.Outcome.String()
		if roles {
			said = checkRoles(t, name+", "+in.name, r)
		}
		if count[said]++; count[said] == 1 {
			kinds = append(kinds, said)
		}
	}
	slices.Sort(kinds)
	for i, said := range kinds {
		kinds[i] = fmt.Sprintf("%d %s", count[said], said)
	}
	return strings.Join(kinds, ", ")
}

// holdsOn says that one of the errors is of a live rule that decides.
func holdsOn(s *Set, errs []event.RuleError) bool {
	for _, e := range errs {
		for _, r := range s.Rules {
			if r.ID == e.Rule && r.Mode == Live && !r.AlertOnly() {
				return true
			}
		}
	}
	return false
}

// checkRoles compares what a condition does in its roles, and says what that is.
func checkRoles(t *testing.T, name string, r *Result) string {
	t.Helper()
	said := map[string]string{}
	for _, id := range []string{"holds", "opposite", "trusts", "excepts", "distrusts", "skips"} {
		said[id] = "no"
	}
	for _, hit := range r.Hits {
		said[hit.Rule] = "hit"
	}
	for _, e := range r.Errors {
		if said[e.Rule] = e.Error; strings.HasPrefix(e.Error, "missing a value") {
			said[e.Rule] = "missing"
		}
	}
	for _, id := range r.Skipped {
		said[id] = "missing"
	}
	got := said["holds"]
	want := map[string]string{"hit": "no", "no": "hit"}[got]
	if want == "" {
		want = got
	}
	if said["opposite"] != want {
		t.Errorf("%s: the condition is %q and its opposite %q", name, got, said["opposite"])
	}
	if said["trusts"] != got || said["skips"] != got {
		t.Errorf("%s: %q, but %q where it trusts and %q where it skips", name, got, said["trusts"], said["skips"])
	}
	// An exception turns the hit off only where it is true; one that fails
	// fails the rule.
	excepts := map[string]string{"hit": "no", "no": "hit", "missing": "hit"}[got]
	if excepts == "" {
		excepts = "an exception: " + got
	}
	if said["excepts"] != excepts {
		t.Errorf("%s: %q, but %q where it excepts", name, got, said["excepts"])
	}
	// It turns trust off in doubt, too.
	trusted := map[string]bool{"hit": said["distrusts"] == "no", "no": said["distrusts"] == "hit", "missing": strings.HasPrefix(said["distrusts"], "an exception: missing a value")}
	if ok, known := trusted[got]; !ok && (known || said["distrusts"] != "an exception: "+got) {
		t.Errorf("%s: %q, but %q where it excepts from trust", name, got, said["distrusts"])
	}
	if (r.Outcome == event.Approve) != (got == "no") {
		t.Errorf("%s: %q, and the outcome is %v", name, got, r.Outcome)
	}
	return got
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// quickest is how long f takes, undisturbed: it is tried until it takes no longer
// than it may, or 100 times.
func quickest(f func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	for range 100 {
		start := time.Now()
		f()
		if best = min(best, time.Since(start)); best <= maxHostileTime {
			break
		}
	}
	return best
}

// hostileInput is a refund that is no refund of an honest customer, and what is
// known of the past.
type hostileInput struct {
	name string
	Input
	past func(f *Feature, t int64) Value
}

func (in *hostileInput) run(v *Evaluator, s *Set) *Result {
	keys := v.Begin(&in.Input)
	for i := range s.Features {
		if f := &s.Features[i]; !keys[f.Lookup].Nil {
			v.Values()[i] = in.past(f, in.Event.Time)
		}
	}
	return v.Run(false)
}

// noPast is what the features are of a customer whom nobody knows.
func noPast(f *Feature, _ int64) Value {
	switch f.Aggregate {
	case Count, Distinct:
		return IntValue(0)
	case Sum:
		return f.Total(0, 0, 0)
	}
	return Value{}
}

// greatPast has the greatest values that there can be, in another currency than
// the refund's.
func greatPast(f *Feature, t int64) Value {
	switch f.Aggregate {
	case Count, Distinct:
		return IntValue(math.MaxInt64)
	case Sum, Avg:
		return f.Total(math.MaxInt64, 3, event.Currency(1))
	case Stddev:
		return f.Deviation(math.MaxFloat64, event.Currency(1))
	case SinceLast:
		return f.Since(t, math.MinInt64)
	}
	return f.Single(math.MaxInt64, event.Currency(1), strings.Repeat("z", 4<<10))
}

// oddPast has nils and failures.
func oddPast(f *Feature, _ int64) Value {
	if f.Aggregate == Count {
		return FaultValue("two currencies")
	}
	return Value{}
}

func hostileInputs(t testing.TB) []hostileInput {
	t.Helper()
	all := []hostileInput{
		{name: "a refund of nothing but what it must have", Input: Input{Event: refund(t)}, past: noPast},
		{name: "a failing past", Input: Input{Event: refund(t, "customer_id=c", "device_id=d")}, past: oddPast},
	}
	numbers := []struct {
		name  string
		money int64
		units int64
		at    int64
	}{
		{"the greatest numbers", 99999999999999_9999, math.MaxInt64, time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC).UnixMilli()},
		{"the smallest numbers", 1, math.MinInt64, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()},
		{"zeros", 1, 0, 0},
		{"minus ones", 10_000, -1, testTime.UnixMilli()},
	}
	for _, n := range numbers {
		e, o := refund(t, "customer_id=c", "device_id=d", "units=1", "weight=1", "mfa=true", "gift=false"), payment(t, "units=1", "weight=1", "device_id=e")
		for _, ev := range []*event.Event{e, o} {
			ev.Vals[ev.Stream.Slot("amount")].Num = n.money
			ev.Vals[ev.Stream.Slot("units")].Num = n.units
			ev.Vals[ev.Stream.Slot("weight")].Num = n.units
			ev.Vals[ev.Stream.TimeSlot()].Num, ev.Time = n.at, n.at
		}
		all = append(all, hostileInput{n.name, Input{Event: e, Original: o, Refunded: Refunded{State: RefundedKnown, Amount: math.MaxInt64, Currency: event.Currency(e.Vals[e.Stream.Slot("currency")].Num)}}, greatPast},
			hostileInput{n.name + ", nothing before", Input{Event: e, Refunded: Refunded{State: RefundedKnown}}, noPast},
			hostileInput{n.name + ", currencies mixed", Input{Event: e, Original: o, Refunded: Refunded{State: RefundedMixed}}, oddPast})
	}
	texts := map[string]string{
		"empty texts": "", "long texts": strings.Repeat("a", 4<<10), "long texts in capitals": strings.Repeat("A", 4<<10),
		"long texts of blanks": strings.Repeat(" ", 4<<10), "long texts of wide letters": strings.Repeat("İſ", 1<<10), "long texts of four bytes": strings.Repeat("𐐀", 1<<10),
		"texts with a zero": "\x00\u202e\u2028", "long texts in capitals and not": strings.Repeat("aB", 2<<10) + "!",
	}
	for _, n := range []int{100, 250, 500, 1_000, 2_000} { // around where limits begin
		texts[fmt.Sprintf("texts of %d letters", n)], texts[fmt.Sprintf("texts of %d wide letters", n)] = strings.Repeat("a", n), strings.Repeat("İ", n)
	}
	for name, text := range texts {
		e, o := refund(t), payment(t)
		for _, ev := range []*event.Event{e, o} {
			for slot, f := range ev.Stream.Fields {
				if f.Type == event.TypeString || f.Type == event.TypeEnum {
					ev.Present |= 1 << uint(slot)
					ev.Vals[slot] = event.Value{Str: text, Num: -1}
				}
			}
		}
		all = append(all, hostileInput{name, Input{Event: e, Original: o}, greatPast})
	}
	slices.SortFunc(all, func(a, b hostileInput) int { return strings.Compare(a.name, b.name) })
	return all
}
