package lint_test

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/dashboards"
	"github.com/refundguard/refundguard/dashboards/lint"
)

func shipped(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := fs.Glob(dashboards.FS, "*.json")
	if err != nil || len(names) != 6 {
		t.Fatalf("dashboards %v, %v: want six", names, err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[name], err = dashboards.FS.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestDashboards(t *testing.T) {
	for _, fault := range lint.Faults(shipped(t)) {
		t.Error(fault)
	}
}

type object = map[string]any

// Each change breaks one thing of the overview, and must be found.
func TestBrokenDashboards(t *testing.T) {
	panel := func(b object, i int) object { return b["panels"].([]any)[i].(object) }
	query := func(b object, i int) object { return panel(b, i)["targets"].([]any)[0].(object) }
	const sqlPanel = 3 // Money lost
	for want, change := range map[string]func(b object){
		"uid \"x\": want":                          func(b object) { b["uid"] = "x" },
		"it needs a title and a description":       func(b object) { b["description"] = "" },
		"refresh \"5s\"":                           func(b object) { b["refresh"] = "5s" },
		"want browser":                             func(b object) { b["timezone"] = "utc" },
		"now-… to now":                             func(b object) { b["time"] = object{"from": "2026-01-01", "to": "now"} },
		"schemaVersion 40":                         func(b object) { b["schemaVersion"] = 40 },
		"that of \"Balance\", too":                 func(b object) { panel(b, 2)["id"] = panel(b, 1)["id"] },
		"another has the same title":               func(b object) { panel(b, 2)["title"] = panel(b, 1)["title"] },
		"lies over":                                func(b object) { panel(b, 2)["gridPos"] = panel(b, 1)["gridPos"] },
		"not within 24 columns":                    func(b object) { panel(b, 1)["gridPos"] = object{"x": 23, "y": 900, "w": 2, "h": 1} },
		"it needs a title":                         func(b object) { panel(b, 0)["title"] = "" },
		"a unit, and a text":                       func(b object) { panel(b, 1)["description"] = "" },
		"\"Balance\": it needs a description, a u": func(b object) { panel(b, 1)["fieldConfig"].(object)["defaults"].(object)["unit"] = "" },
		"it asks for nothing":                      func(b object) { panel(b, 1)["targets"] = []any{} },
		"refId \"\"":                               func(b object) { query(b, 1)["refId"] = "" },
		"another data source than the panel":       func(b object) { panel(b, 1)["datasource"] = object{"type": "prometheus", "uid": "abc"} },
		"must be ${clickhouse} or ${prometheus}, with the type": func(b object) {
			query(b, sqlPanel)["datasource"] = object{"type": "prometheus", "uid": "${clickhouse}"}
		},
		"want rawSql with editorType sql": func(b object) { query(b, sqlPanel)["editorType"] = "builder" },
		"want 0 of timeseries":            func(b object) { query(b, sqlPanel)["format"] = 0 },
		"in a panel of type stat":         func(b object) { query(b, sqlPanel)["queryType"] = "timeseries" },
		"stands in SQL unquoted":          func(b object) { query(b, sqlPanel)["rawSql"] = "SELECT 1 FROM v_x WHERE currency = '${currency}'" },
		"currency stands in SQL unquoted": func(b object) { query(b, sqlPanel)["rawSql"] = "SELECT 1 FROM v_x WHERE currency = '$currency'" },
		"reads decisions":                 func(b object) { query(b, sqlPanel)["rawSql"] = "SELECT 1 FROM decisions" },
		"reads refundguard.v_decisions":   func(b object) { query(b, sqlPanel)["rawSql"] = "SELECT 1 FROM refundguard.v_decisions" },
		"which no dashboard has":          func(b object) { b["links"] = []any{object{"url": "/d/refundguard-nope/x"}} },
		"variable nope is used and not":   func(b object) { panel(b, 1)["title"] = "In $nope" },
		"variable more is used nowhere": func(b object) {
			list := b["templating"].(object)
			list["list"] = append(list["list"].([]any), object{"name": "more", "label": "More", "description": "More", "type": "textbox"})
		},
		"variable clickhouse needs a label": func(b object) { b["templating"].(object)["list"].([]any)[0].(object)["label"] = "" },
		"annotation \"Rule set changed\"":   func(b object) { b["annotations"].(object)["list"].([]any)[1].(object)["datasource"] = nil },
	} {
		files := shipped(t)
		var b object
		if err := json.Unmarshal(files["overview.json"], &b); err != nil {
			t.Fatal(err)
		}
		change(b)
		var err error
		if files["overview.json"], err = json.Marshal(b); err != nil {
			t.Fatal(err)
		}
		if faults := strings.Join(lint.Faults(files), "\n"); !strings.Contains(faults, want) {
			t.Errorf("no fault says %q; faults:\n%s", want, faults)
		}
	}
	files := shipped(t)
	files["copy.json"] = files["overview.json"]
	files["torn.json"] = []byte(`{"uid":`)
	for _, want := range []string{"is that of copy.json, too", "torn.json: reading it as a dashboard"} {
		if faults := strings.Join(lint.Faults(files), "\n"); !strings.Contains(faults, want) {
			t.Errorf("no fault says %q; faults:\n%s", want, faults)
		}
	}
}
