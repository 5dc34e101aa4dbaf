package report_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/refundguard/refundguard/dashboards/panel"
	"github.com/refundguard/refundguard/dashboards/report/reporttest"
)

// A browser shows the page as it was meant: nothing is forbidden or fails, the
// picture isn't empty, and every number in it is one that a query gave.
func TestInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Chromium")
	}
	text, _ := small(t)
	file := filepath.Join(t.TempDir(), "small.html")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	page := reporttest.Open(t, file)
	if len(page.Console) > 0 {
		t.Errorf("the browser complains: %q", page.Console)
	}
	if cells, colors := page.Drawn(); cells < 0.25 || colors < 50 {
		t.Errorf("%.0f %% of the picture is drawn on, in %d colors", 100*cells, colors)
	}
	got := page.Panels()
	all := answers()
	for id, query := range map[string]string{"small-1": "refunds of 'EUR'", "small-2": "held", "small-5": "outcomes", "small-6": "latency", "small-8": "rules", "small-9": "largest"} {
		var given []string
		for _, c := range all[query].Columns {
			for _, v := range c.Values {
				if c.Kind == panel.Number && v != nil {
					given = append(given, panel.Plain(v))
				}
			}
		}
		if len(got[id].Values) == 0 {
			t.Errorf("%s has no numbers", id)
		}
		for _, v := range got[id].Values {
			i := slices.Index(given, v.Raw)
			if i < 0 {
				t.Errorf("%s shows %s (%s), which its query doesn't give, or not so often", id, v.Raw, v.Text)
				continue
			}
			given = slices.Delete(given, i, i+1)
		}
		switch left := map[string]int{"small-8": 3, "small-9": 13}[id]; { // what is said to be "more"
		case len(given) != left:
			t.Errorf("%s leaves out %d numbers, want %d: %v", id, len(given), left, given)
		}
	}
}

// The browser of the tests does see what is wrong with a page.
func TestTheBrowserSeesFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Chromium")
	}
	file := filepath.Join(t.TempDir(), "bad.html")
	if err := os.WriteFile(file, []byte(`<!DOCTYPE html><meta http-equiv="Content-Security-Policy" content="default-src 'none'"><style>p{color:red}</style><p>x<script>nope()</script>`), 0o600); err != nil {
		t.Fatal(err)
	}
	page := reporttest.Open(t, file)
	if len(page.Console) < 2 {
		t.Errorf("it says only %q of a style and a script that are forbidden", page.Console)
	}
	if cells, _ := page.Drawn(); cells > 0.02 {
		t.Errorf("%.2f of an empty page is drawn on", cells)
	}
}
