package rules

import (
	"os"
	"strings"
	"testing"
)

// TestReadme loads every example of README.md, and holds its tables against the
// catalogue.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(data)
	files, conditions := 0, 0
	for _, block := range strings.Split(readme, "\n```")[1:] {
		kind, body, _ := strings.Cut(block, "\n")
		switch kind {
		case "yaml":
			files++
			if s, err := loadText(t, body+"\n", func(o *Options) { o.Strict = true }); err != nil || len(s.Warnings) > 0 {
				t.Errorf("%s\n%v%v", body, err, s)
			}
		case "expr":
			for _, when := range strings.Split(strings.TrimSpace(body), "\n") {
				conditions++
				if s, err := loadText(t, one(when)); err != nil || len(s.Warnings) > 0 {
					t.Errorf("%s\n%v", when, err)
				}
			}
		}
	}
	if files < 4 || conditions < 15 {
		t.Errorf("%d files and %d conditions were found", files, conditions)
	}
	for _, f := range Functions() {
		if !strings.Contains(readme, "| `"+f.Signature+"` | ") {
			t.Errorf("the table of functions lacks %s", f.Signature)
		}
	}
	for name, a := range aggregates {
		if (a != 0) != strings.Contains(readme, "| `"+name+"(") && name != "min" && name != "max" {
			t.Errorf("the table of aggregates is wrong about %s", name)
		}
	}
	for _, key := range ruleKeys {
		if key != "on" && !strings.Contains(readme, "`"+key+"`") {
			t.Errorf("the table of keys lacks %s", key)
		}
	}
}
