package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// within fails the test where f takes longer than any rule may.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal(what + " does not end")
	}
}

// TestNestedMembershipIsLinear: each in asks for its left side once, whatever
// the number of items, so that some in others don't multiply.
func TestNestedMembershipIsLinear(t *testing.T) {
	when := "amount"
	for range 40 {
		when = "((" + when + " in [901, 902, 903]) ? 1 : 2)"
	}
	s := mustLoad(t, one(when+" == 2"))
	within(t, "the evaluation", func() {
		if got := verdict(evaluate(t, s, Input{Event: refund(t)}, nil)); got != "hit" {
			t.Error(got)
		}
	})
}

// TestChainedComparisonsAreCounted: the parser shares the middle of a < b < c,
// and a short text then stands for a tree without end.
func TestChainedComparisonsAreCounted(t *testing.T) {
	when := "amount"
	for range 60 {
		when = "((1 < " + when + " < 3) ? 1 : 2)"
	}
	for name, content := range map[string]string{
		"condition": one(when + " == 1"),
		"macro":     "macros: {m: '" + when + " == 1'}\n" + one("m"),
		"message":   "rules: [{id: r, when: amount > 5, score: 1, message: '{{" + when + "}}'}]",
	} {
		within(t, "the check of a "+name, func() {
			if _, err := loadText(t, content); err == nil || !strings.Contains(err.Error(), "more parts than the limit of 500") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// TestPlacesAreFoundInOneGo: a file is read in time that grows with its size,
// whether its values stand in many lines or in one.
func TestPlacesAreFoundInOneGo(t *testing.T) {
	values := make([]string, 60_000)
	for i := range values {
		values[i] = fmt.Sprintf("v%d", i)
	}
	for name, list := range map[string]string{
		"one line":   "lists: {a: [" + strings.Join(values, ", ") + "]}\n",
		"many lines": "lists:\n  a:\n    - " + strings.Join(values, "\n    - ") + "\n",
	} {
		within(t, "the check of "+name, func() {
			if _, err := loadText(t, list+one("currency in lists.a")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFaultsOfOneFileAreBounded: some file that is none of rules is refused
// without an error for each of its words.
func TestFaultsOfOneFileAreBounded(t *testing.T) {
	_, err := loadText(t, "rules:\n"+strings.Repeat("  - word\n", 50_000))
	var faults Errors
	if !errors.As(err, &faults) || len(faults) != maxFaults+1 || !strings.Contains(faults[maxFaults].Message, "not read") {
		t.Errorf("%d faults", len(faults))
	}
}

// TestKeysAreBounded: of the texts that a rule reads, its keys and its message
// take their share, whatever the refund before took.
func TestKeysAreBounded(t *testing.T) {
	s := mustLoad(t, `
rules:
  - id: r
    on_missing: skip
    score: 1
    message: "{{lower(ip)}}"
    when: 'refunds.by({device_id: lower(device_id)}).within("1h").count() + refunds.by({device_id: lower(channel)}).within("1h").count() == 0'
`)
	long := strings.Repeat("A", 4<<10)
	in := Input{Event: refund(t, "device_id="+long, "channel="+long, "ip="+long)}
	v := s.NewEvaluator()
	for range 2 {
		for i, k := range v.Begin(&in) {
			if k.Nil {
				t.Errorf("key %d is nil", i)
			}
		}
		clear(v.Values())
		for i := range v.Values() {
			v.Values()[i] = IntValue(0)
		}
		if got := verdict(v.Run(false)); got != "hit" {
			t.Error(got)
		}
	}
}
