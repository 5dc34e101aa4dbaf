package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

// drawnRule is a rule of a random set.
type drawnRule struct{ action, score, mode, when, exception string }

const (
	whenHit   = "amount > 5"
	whenNo    = "amount > 50"
	whenFails = "5 / (amount / amount - 1) > 5"
)

func drawRules(t *rapid.T) (all []drawnRule, policy string) {
	policy = rapid.SampledFrom([]string{"", "policy: {review_at: 40, reject_at: 80}\n", "policy: {review_at: 40}\n", "policy: {reject_at: 60}\n"}).Draw(t, "policy")
	for range rapid.IntRange(1, 7).Draw(t, "rules") {
		r := drawnRule{
			action: rapid.SampledFrom([]string{"", "approve", "review", "reject", "alert"}).Draw(t, "action"),
			score:  rapid.SampledFrom([]string{"", "", "10", "20", "40", "80", "-30"}).Draw(t, "score"),
			mode:   rapid.SampledFrom([]string{"live", "live", "live", "shadow", "off"}).Draw(t, "mode"),
			when:   rapid.SampledFrom([]string{whenHit, whenHit, whenNo, whenFails}).Draw(t, "when"),
		}
		if r.action+r.score == "" {
			r.score = "5"
		}
		r.exception = rapid.SampledFrom([]string{"", "", "", whenHit, whenNo, whenFails}).Draw(t, "exception")
		all = append(all, r)
	}
	return all, policy
}

// asFile is the set as its file says it, with some rules in another mode.
func asFile(all []drawnRule, policy string, modes map[int]string) string {
	b := &strings.Builder{}
	b.WriteString(policy + "rules:\n")
	for i, r := range all {
		mode := r.mode
		if modes[i] != "" {
			mode = modes[i]
		}
		fmt.Fprintf(b, "  - {id: r%d, reason: R%d, severity: %s, mode: %s, when: %q", i, i, severityNames[1+i%4], mode, r.when)
		if r.action != "" {
			fmt.Fprintf(b, ", action: %s", r.action)
		}
		if r.score != "" {
			fmt.Fprintf(b, ", score: %s", r.score)
		}
		if r.exception != "" {
			fmt.Fprintf(b, ", exceptions: [{reason: x, when: %q}]", r.exception)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// A rule is alone where the same set without it approves what is held or rejected
// with it.
func TestAloneIsWithoutWhichItIsApproved(t *testing.T) {
	check := func(rt interface{ Fatalf(string, ...any) }, all []drawnRule, policy string, hold bool) []string {
		run := func(modes map[int]string) *Result {
			v := mustLoad(t, asFile(all, policy, modes)).NewEvaluator()
			v.Begin(&Input{Event: refund(t)})
			return v.Run(hold)
		}
		with := run(nil)
		var got, want []string
		for _, r := range with.Alone {
			got = append(got, r.ID)
		}
		for i, r := range all {
			if r.mode == "live" && with.Outcome != event.Approve && run(map[int]string{i: "off"}).Outcome == event.Approve {
				want = append(want, fmt.Sprint("r", i))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			rt.Fatalf("alone are %v, want %v, of\n%s", got, want, asFile(all, policy, nil))
		}
		return got
	}
	review, reject, trust := drawnRule{action: "review", mode: "live", when: whenHit}, drawnRule{action: "reject", mode: "live", when: whenHit}, drawnRule{action: "approve", mode: "live", when: whenHit}
	points, fails := drawnRule{score: "20", mode: "live", when: whenHit}, drawnRule{action: "review", mode: "live", when: whenFails}
	for _, c := range []struct {
		rules []drawnRule
		want  string
	}{
		{[]drawnRule{review}, "[r0]"}, {[]drawnRule{review, review}, "[]"}, {[]drawnRule{reject, review, trust}, "[r0]"}, {[]drawnRule{reject, review}, "[]"},
		{[]drawnRule{points, points}, "[r0 r1]"}, {[]drawnRule{points, points, points}, "[]"}, {[]drawnRule{fails}, "[r0]"}, {[]drawnRule{fails, trust, review}, "[r0]"},
	} {
		if got := fmt.Sprint(check(t, c.rules, "policy: {review_at: 40, reject_at: 80}\n", false)); got != c.want {
			t.Errorf("%v: alone are %s, want %s", c.rules, got, c.want)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		all, policy := drawRules(rt)
		check(rt, all, policy, rapid.IntRange(0, 5).Draw(rt, "hold") == 0)
	})
}

// A rule that is overridden leaves everything as if its file said mode: shadow;
// snoozed, only for whom it is, and the result names the snooze.
func TestOverridesActAsShadow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all, policy := drawRules(rt)
		modes, shown := map[int]string{}, map[int]string{}
		var shadow, controls []string
		var snoozes []Snooze
		e := refund(t, "customer_id=c1", "device_id=d1")
		for i, r := range all {
			id := fmt.Sprint("r", i)
			switch rapid.IntRange(0, 4).Draw(rt, "override") {
			case 0:
				shadow = append(shadow, id)
				modes[i], shown[i] = "shadow", "shadow"
			case 1:
				snoozes = append(snoozes, Snooze{"of " + id, id, rapid.SampledFrom([]string{"customer_id", "device_id"}).Draw(rt, "field"), ""})
				s := &snoozes[len(snoozes)-1]
				s.Value = map[string]string{"customer_id": "c1", "device_id": "d1"}[s.Field]
				modes[i], shown[i] = "shadow", ModeSnoozed
			case 2: // somebody else
				snoozes = append(snoozes, Snooze{"not " + id, id, "customer_id", "c2"}, Snooze{"nor " + id, id, "merchant_id", "c1"}, Snooze{"nobody " + id, id, "merchant_id", ""})
			}
			if r.mode != "live" {
				delete(modes, i)
				delete(shown, i)
			}
		}
		run := func(text string, o *Overrides) (*Result, Result) {
			v := mustLoad(t, text).NewEvaluator()
			v.Override(o)
			v.Begin(&Input{Event: e})
			r := v.Run(false)
			return r, *r
		}
		_, want := run(asFile(all, policy, modes), nil)
		_, got := run(asFile(all, policy, nil), NewOverrides(append(shadow, "unknown"), snoozes))
		summary := func(r Result) string {
			b := &strings.Builder{}
			fmt.Fprintln(b, r.Outcome, r.Cause, r.Score, r.Severity, r.Reason, r.Errors, r.Skipped, r.Excepted)
			for _, a := range r.Alone {
				fmt.Fprintln(b, "alone", a.ID)
			}
			return b.String()
		}
		if g, w := summary(got), summary(want); g != w {
			rt.Fatalf("got\n%swant\n%sof\n%s", g, w, asFile(all, policy, modes))
		}
		for i, h := range got.Hits {
			var n int
			fmt.Sscanf(h.Rule, "r%d", &n)
			mode := want.Hits[i].Mode
			if shown[n] != "" {
				mode = shown[n]
			}
			if h.Rule != want.Hits[i].Rule || h.Mode != mode {
				rt.Fatalf("hit %+v, want the mode %s", h, mode)
			}
			if mode == ModeSnoozed {
				controls = append(controls, "of "+h.Rule)
			}
		}
		for _, x := range got.Errors {
			var n int
			fmt.Sscanf(x.Rule, "r%d", &n)
			if id := "of " + x.Rule; shown[n] == ModeSnoozed && !(all[n].action == "alert" && all[n].score == "") && !slices.Contains(controls, id) {
				controls = append(controls, id)
			}
		}
		slices.Sort(controls)
		slices.Sort(got.Controls)
		if !slices.Equal(controls, got.Controls) {
			rt.Fatalf("controls %v, want %v", got.Controls, controls)
		}
	})
}
