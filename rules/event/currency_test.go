package event_test

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	xcurrency "golang.org/x/text/currency"

	"github.com/refundguard/refundguard/rules/event"
)

// allCodes calls f for each of the 17,576 codes that could be.
func allCodes(f func(code string)) {
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			for c := 'A'; c <= 'Z'; c++ {
				f(string([]rune{a, b, c}))
			}
		}
	}
}

func TestCurrencies(t *testing.T) {
	known, previous := 0, event.Currency(0)
	allCodes(func(code string) {
		c, ok := event.ParseCurrency(code)
		if !ok {
			if c != 0 {
				t.Errorf("ParseCurrency(%q) = %d, false", code, c)
			}
			return
		}
		known++
		if c <= previous || c.String() != code || c.MinorUnits() < 0 || c.MinorUnits() > 4 {
			t.Errorf("%s: packed %d after %d, String %q, MinorUnits %d", code, c, previous, c, c.MinorUnits())
		}
		previous = c
	})
	if known != 178 {
		t.Errorf("%d currencies, want the 178 of ISO 4217", known)
	}
	if aaa := event.Currency(1); aaa.String() != "AAA" || aaa.MinorUnits() != 2 {
		t.Errorf("1 is %q with %d minor units, want AAA with 2", aaa, aaa.MinorUnits())
	}
	for _, none := range []event.Currency{0, 26*26*26 + 1, 65535} {
		if none.String() != "" || none.MinorUnits() != 2 {
			t.Errorf("Currency(%d) = %q with %d minor units", uint16(none), none, none.MinorUnits())
		}
	}
	for _, code := range []string{"", "US", "USDX", "usd", "Usd", "U$D", "AAA", "ZZZ", "US\x00", "ÜSD", "DEM", "BTC"} {
		if c, ok := event.ParseCurrency(code); ok {
			t.Errorf("ParseCurrency(%q) = %d, want none", code, c)
		}
	}
}

func TestMinorUnitsAgainstText(t *testing.T) {
	// golang.org/x/text goes by what coins are in use, not by ISO 4217.
	differ := map[string]bool{}
	for _, code := range strings.Fields("AFN ALL AMD COP GYD IDR IQD IRR KPW LAK LBP MGA MMK MNT MUR PKR RSD SOS SYP TZS UZS YER") {
		differ[code] = true
	}
	compared := 0
	allCodes(func(code string) {
		c, ok := event.ParseCurrency(code)
		unit, err := xcurrency.ParseISO(code)
		if !ok || err != nil || differ[code] {
			return
		}
		compared++
		if scale, _ := xcurrency.Standard.Rounding(unit); scale != c.MinorUnits() {
			t.Errorf("%s: %d minor units, golang.org/x/text says %d", code, c.MinorUnits(), scale)
		}
	})
	if compared < 148 {
		t.Errorf("only %d currencies compared, want 148", compared)
	}
}

// TestMinorUnitsAgainstVectors compares the whole table with a list of ISO 4217
// (AlphabeticCode, NumericCode, MinorUnit), where one is at hand.
func TestMinorUnitsAgainstVectors(t *testing.T) {
	dir := os.Getenv("REFUNDGUARD_VECTORS")
	if dir == "" {
		t.Skip("REFUNDGUARD_VECTORS is not set")
	}
	file, err := os.Open(filepath.Join(dir, "iso4217_minor_units.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for _, row := range rows[1:] {
		n, err := strconv.Atoi(row[2])
		if err != nil {
			n = 2 // no minor unit
		}
		want[row[0]] = n
	}
	allCodes(func(code string) {
		c, ok := event.ParseCurrency(code)
		n, listed := want[code]
		if ok != listed || ok && c.MinorUnits() != n {
			t.Errorf("%s: known %v with %d minor units; listed %v with %d", code, ok, c.MinorUnits(), listed, n)
		}
	})
}
