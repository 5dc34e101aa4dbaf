package event_test

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

func TestParseMoney(t *testing.T) {
	for text, want := range map[string]event.Money{
		"0": 0, "-0": 0, "0.0000000": 0, "0e999999999999999999999": 0,
		"1": 1_0000, "-1": -1_0000, "129.9": 129_9000, "129.90": 129_9000, "0.0001": 1,
		"1e2": 100_0000, "1E+2": 100_0000, "1.50E1": 15_0000, "123e-2": 1_2300, "10000e-8": 1,
		"0.1000000":                          1000,
		"99999999999999.9999":                999_999_999_999_999_999,
		"-99999999999999.9999":               -999_999_999_999_999_999,
		"0.0000000000000000000000000001e28":  1_0000,
		"1000000000000000000000000000e-26":   10_0000,
		"99999999999999.99990000000000000e0": 999_999_999_999_999_999,
	} {
		if got, err := event.ParseMoney([]byte(text)); err != nil || got != want {
			t.Errorf("ParseMoney(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestParseMoneyRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"": "number", "-": "number", "+1": "number", "01": "number", "-01": "number", "00": "number", ".5": "number", "1.": "number",
		"1e": "number", "1e+": "number", "NaN": "number", "Infinity": "number", "-Infinity": "number", "0x10": "number", "1_000": "number",
		"1,5": "number", " 1": "number", "1 ": "number", "1.5.5": "number", "1e5e5": "number", "١": "number", "--1": "number", "1e1.5": "number",
		"0.00001": "decimals", "1.23456": "decimals", "1e-5": "decimals", "99999999999999.99999": "decimals", "1e-999999999999999999999": "decimals",
		"100000000000000": "10^14", "-100000000000000": "10^14", "1e14": "10^14", "1e999999999999999999999": "10^14",
		"18446744073709551616": "10^14", "0.00000000000000000001e35": "10^14",
	} {
		if got, err := event.ParseMoney([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseMoney(%q) = %d, %v; want an error about %q", text, got, err, want)
		}
	}
}

func TestMoneyAppend(t *testing.T) {
	for _, c := range []struct {
		money event.Money
		minor int
		want  string
	}{
		{129_9000, 2, "129.90"}, {1234, 2, "0.1234"}, {129_0000, 0, "129"}, {129_0000, 3, "129.000"}, {129_0000, 4, "129.0000"},
		{1, 0, "0.0001"}, {100, 0, "0.01"}, {0, 2, "0.00"}, {0, 0, "0"}, {-129_9000, 2, "-129.90"}, {-1, 2, "-0.0001"},
		{129_9000, 9, "129.9000"}, {129_9000, -1, "129.9"},
		{999_999_999_999_999_999, 2, "99999999999999.9999"},
		{-1 << 63, 2, "-922337203685477.5808"},
	} {
		if got := string(c.money.Append([]byte("x"), c.minor)); got != "x"+c.want {
			t.Errorf("Money(%d).Append(%d) = %q, want %q after x", int64(c.money), c.minor, got, c.want)
		}
	}
	for code, want := range map[string]string{"USD": "5.00", "JPY": "5", "KWD": "5.000", "CLF": "5.0000"} {
		if got := event.Money(5_0000).Format(currency(t, code)); got != want {
			t.Errorf("5 %s = %q, want %q", code, got, want)
		}
	}
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// exactMoney is ParseMoney written with the standard library's rationals. Texts
// with large exponents, which would fill the memory, are not known.
func exactMoney(text string) (m event.Money, ok, known bool) {
	if !jsonNumber.MatchString(text) {
		return 0, false, true
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		if e, err := strconv.Atoi(text[i+1:]); err != nil || e > 1000 || e < -1000 {
			return 0, false, false
		}
	}
	r, _ := new(big.Rat).SetString(text)
	if new(big.Rat).Abs(r).Cmp(big.NewRat(1e14, 1)) >= 0 {
		return 0, false, true
	}
	r.Mul(r, big.NewRat(10000, 1))
	if !r.IsInt() {
		return 0, false, true
	}
	return event.Money(r.Num().Int64()), true, true
}

func checkMoney(t interface{ Fatalf(string, ...any) }, text string) {
	want, ok, known := exactMoney(text)
	got, err := event.ParseMoney([]byte(text))
	if known && (ok != (err == nil) || got != want) {
		t.Fatalf("ParseMoney(%q) = %d, %v; want %d, %v", text, got, err, want, ok)
	}
	if err != nil {
		return
	}
	for minor := range 5 {
		written := got.Append(nil, minor)
		if again, err := event.ParseMoney(written); err != nil || again != got {
			t.Fatalf("%d was written as %q, which is read as %d, %v", got, written, again, err)
		}
		if _, decimals, _ := strings.Cut(string(written), "."); len(decimals) < minor || len(decimals) > 4 {
			t.Fatalf("%d was written as %q with %d decimals asked for", got, written, minor)
		}
	}
}

func TestMoneyIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkMoney(t, rapid.StringMatching(`-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,6}0{0,20})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number"))
	})
	rapid.Check(t, func(t *rapid.T) {
		m := event.Money(rapid.Int64Range(-999_999_999_999_999_999, 999_999_999_999_999_999).Draw(t, "money"))
		checkMoney(t, string(m.Append(nil, 2)))
	})
}

func FuzzParseMoney(f *testing.F) {
	for _, text := range []string{"0", "-1.5", "99999999999999.9999", "1.50E1", "10000e-8", "0.00001", "1e14", "01", "1.", "0e9", "12345678901234567890"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkMoney(t, text) })
}

func TestMoneyAllocatesNothing(t *testing.T) {
	good, bad, buf := []byte("-99999999999999.9999"), []byte("1.23456"), make([]byte, 0, 64)
	allocs := testing.AllocsPerRun(100, func() {
		m, _ := event.ParseMoney(good)
		_, _ = event.ParseMoney(bad)
		buf = m.Append(buf[:0], 2)
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}
