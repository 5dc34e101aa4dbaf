package ruletest

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSame(t *testing.T) {
	plain := func(text string) scalar { return scalar{text: text} }
	for _, c := range []struct {
		want  scalar
		got   string
		exact bool
		same  bool
	}{
		{plain("60"), "60.00", true, true},
		{plain("60.0"), "60", true, true},
		{plain("0060"), "60", true, true},
		{plain("-0"), "0", true, true},
		{plain("0.5"), "-0.5", true, false},
		{plain("60.01"), "60.00", false, false},
		{plain("0.3333"), "0.3333333333333333", false, true},
		{plain("0.33"), "0.3333333333333333", false, false},
		{plain("0.333333"), "0.3333333333333333", false, true},
		{plain("0.33333"), "0.33334", false, false},
		{plain("0.3333"), "0.33333", true, false},
		{plain("0.1234"), "0.1235", false, false},
		{plain("9007199254740993"), "9007199254740992", false, false},
		{plain("true"), "true", true, true},
		{plain("nil"), "nil", true, true},
		{scalar{kind: scalarNull}, "nil", true, true},
		{scalar{kind: scalarNull}, "0", true, false},
		{scalar{text: "1", quoted: true}, "1.00", true, false},
		{plain("1e3"), "1000", true, false},
	} {
		if same(&c.want, c.got, c.exact) != c.same {
			t.Errorf("%q against %q: %v", c.want.text, c.got, !c.same)
		}
	}
}

func TestOffsets(t *testing.T) {
	for text, ms := range map[string]int64{
		"0": 0, "0s": 0, "+5m": 300_000, "90m": 5_400_000, "+1d12h": 129_600_000, "-5s": -5000, "1w": 604_800_000, "250ms": 250, "1h1h": 7_200_000,
	} {
		if got, ok := parseOffset(text); !ok || got != ms {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "+", "-", "5", "m", "5 m", "1.5h", "++5m", "5M", "5y", "99999999999999999999s", "999999w", "1h-5m"} {
		if got, ok := parseOffset(text); ok {
			t.Errorf("%q is %d", text, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(-maxOffset, maxOffset).Draw(t, "ms")
		if got, ok := parseOffset(showOffset(ms)); !ok || got != ms {
			t.Fatalf("%s: %d", showOffset(ms), got)
		}
	})
}
