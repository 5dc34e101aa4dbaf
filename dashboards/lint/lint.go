// Package lint holds what every dashboard of refundguard must have, beyond what
// Grafana itself asks for.
package lint

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

type board struct {
	UID, Title, Description, Timezone, Refresh string
	SchemaVersion                              int
	Time                                       struct{ From, To string }
	Templating                                 struct{ List []variable }
	Annotations                                struct{ List []annotation }
	Panels                                     []panel
}

type variable struct {
	Name, Type, Label, Description string
	Datasource                     *source
}

type annotation struct {
	Name       string
	BuiltIn    int
	Datasource *source
	Target     target
}

type source struct{ Type, UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ H, W, X, Y int }
	Datasource               *source
	Targets                  []target
	FieldConfig              struct {
		Defaults struct{ Unit, NoValue string }
	}
}

type target struct {
	RefID, RawSQL, QueryType, EditorType, Expr string
	Format                                     any
	Datasource                                 *source
}

// sources are the variables that name each kind of data source.
var sources = map[string]string{"grafana-clickhouse-datasource": "${clickhouse}", "prometheus": "${prometheus}"}

var (
	reference = regexp.MustCompile(`\$\{([a-zA-Z_][\w.]*)(?::(\w+))?\}|\$([a-zA-Z_]\w*)`)
	boardLink = regexp.MustCompile(`/d/([\w-]+)`)
	from      = regexp.MustCompile(`(?i)\b(?:from|join)\s+([\w.` + "`" + `]+)`)
)

// Faults says what is wrong with the dashboards, given as JSON by file name; none
// is nil. Files are looked at together, since they link to each other.
func Faults(files map[string][]byte) (faults []string) {
	boards, byUID := map[string]board{}, map[string]string{}
	for _, name := range sorted(files) {
		var b board
		if err := json.Unmarshal(files[name], &b); err != nil {
			faults = append(faults, fmt.Sprintf("%s: reading it as a dashboard: %v", name, err))
			continue
		}
		if other, taken := byUID[b.UID]; taken {
			faults = append(faults, fmt.Sprintf("%s: uid %q is that of %s, too", name, b.UID, other))
		}
		boards[name], byUID[b.UID] = b, name
	}
	for _, name := range sorted(boards) {
		fault := func(format string, args ...any) {
			faults = append(faults, name+": "+fmt.Sprintf(format, args...))
		}
		boards[name].check(name, fault)
		for _, to := range boardLink.FindAllStringSubmatch(string(files[name]), -1) {
			if _, there := byUID[to[1]]; !there {
				fault("a link leads to uid %q, which no dashboard has", to[1])
			}
		}
		boards[name].checkVariables(string(files[name]), fault)
	}
	return faults
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (b board) check(name string, fault func(string, ...any)) {
	if want := "refundguard-" + strings.TrimSuffix(path.Base(name), ".json"); b.UID != want {
		fault("uid %q: want %q, after the file", b.UID, want)
	}
	if b.Title == "" || b.Description == "" {
		fault("it needs a title and a description")
	}
	if b.Timezone != "browser" || b.Refresh != "30s" || !strings.HasPrefix(b.Time.From, "now-") || b.Time.To != "now" {
		fault("timezone %q, refresh %q, time %q to %q: want browser, 30s, now-… to now", b.Timezone, b.Refresh, b.Time.From, b.Time.To)
	}
	if b.SchemaVersion < 41 {
		fault("schemaVersion %d: want 41 (Grafana 12) or later", b.SchemaVersion)
	}
	ids, titles := map[int]string{}, map[string]bool{}
	for i, p := range b.Panels {
		if other, taken := ids[p.ID]; taken || p.ID <= 0 {
			fault("panel %q: id %d is not above 0, or that of %q, too", p.Title, p.ID, other)
		}
		if titles[p.Title] {
			fault("panel %q: another has the same title", p.Title)
		}
		ids[p.ID], titles[p.Title] = p.Title, true
		p.check(func(format string, args ...any) { fault("panel %q: "+format, append([]any{p.Title}, args...)...) })
		for _, q := range b.Panels[:i] {
			if p.GridPos.X < q.GridPos.X+q.GridPos.W && q.GridPos.X < p.GridPos.X+p.GridPos.W && p.GridPos.Y < q.GridPos.Y+q.GridPos.H && q.GridPos.Y < p.GridPos.Y+p.GridPos.H {
				fault("panel %q lies over %q", p.Title, q.Title)
			}
		}
	}
	for _, a := range b.Annotations.List {
		if a.BuiltIn == 0 {
			a.Target.check(a.Datasource, func(format string, args ...any) { fault("annotation %q: "+format, append([]any{a.Name}, args...)...) })
		}
	}
}

func (p panel) check(fault func(string, ...any)) {
	if g := p.GridPos; g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
		fault("gridPos %+v is not within 24 columns", g)
	}
	if p.Title == "" {
		fault("it needs a title")
	}
	if p.Type == "row" {
		return
	}
	if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.FieldConfig.Defaults.NoValue == "" {
		fault("it needs a description, a unit, and a text for no value")
	}
	if len(p.Targets) == 0 {
		fault("it asks for nothing")
	}
	refs := map[string]bool{}
	for _, t := range p.Targets {
		if t.RefID == "" || refs[t.RefID] {
			fault("refId %q is empty or twice there", t.RefID)
		}
		refs[t.RefID] = true
		if p.Datasource == nil || t.Datasource == nil || *p.Datasource != *t.Datasource {
			fault("query %s has another data source than the panel", t.RefID)
		}
		if t.RawSQL != "" && (p.Type == "timeseries") != (t.QueryType == "timeseries") {
			fault("query %s: queryType %q in a panel of type %s", t.RefID, t.QueryType, p.Type)
		}
		t.check(t.Datasource, fault)
	}
}

func (t target) check(s *source, fault func(string, ...any)) {
	if s == nil || sources[s.Type] == "" || s.UID != sources[s.Type] {
		fault("query %s: its data source must be ${clickhouse} or ${prometheus}, with the type", t.RefID)
		return
	}
	if sql := s.Type != "prometheus"; sql && (t.RawSQL == "" || t.Expr != "" || t.EditorType != "sql") || !sql && (t.Expr == "" || t.RawSQL != "") {
		fault("query %s: want rawSql with editorType sql for ClickHouse, and expr for Prometheus", t.RefID)
	}
	if format, queryType := t.Format, t.QueryType; t.RawSQL != "" && !(queryType == "timeseries" && format == 0. || queryType == "table" && format == 1.) {
		fault("query %s: format %v of queryType %q: want 0 of timeseries, or 1 of table", t.RefID, format, queryType)
	}
	// What a variable holds comes from whoever writes a link: in SQL it must be quoted.
	for _, found := range reference.FindAllStringSubmatch(t.RawSQL, -1) {
		name, format, bare := found[1], found[2], found[3]
		switch {
		case strings.HasPrefix(name+bare, "__") || name == "maturity_days" && format == "":
		case bare != "" && strings.Contains(t.RawSQL, ", $"+bare+")"): // of $__conditionalAll
		case format != "singlequote":
			fault("query %s: variable %s stands in SQL unquoted: write ${%s:singlequote}", t.RefID, name+bare, name+bare)
		}
	}
	for _, found := range from.FindAllStringSubmatch(t.RawSQL, -1) {
		if !strings.HasPrefix(found[1], "v_") || strings.Contains(found[1], ".") {
			fault("query %s reads %s: dashboards read views (v_…) of the data source's own database", t.RefID, found[1])
		}
	}
}

// checkVariables holds together which variables there are and which are used.
func (b board) checkVariables(text string, fault func(string, ...any)) {
	used := map[string]bool{}
	for _, found := range reference.FindAllStringSubmatch(text, -1) {
		name := found[1] + found[3]
		if !strings.HasPrefix(name, "__") {
			used[name] = true
		}
	}
	defined := map[string]bool{}
	for _, v := range b.Templating.List {
		if defined[v.Name] {
			fault("variable %s is there twice", v.Name)
		}
		defined[v.Name] = true
		if v.Label == "" || v.Description == "" {
			fault("variable %s needs a label and a description", v.Name)
		}
		if v.Type == "query" && (v.Datasource == nil || sources[v.Datasource.Type] != v.Datasource.UID) {
			fault("variable %s: its data source must be ${clickhouse} or ${prometheus}", v.Name)
		}
		if !used[v.Name] {
			fault("variable %s is used nowhere", v.Name)
		}
	}
	for _, name := range sorted(used) {
		if !defined[name] {
			fault("variable %s is used and not defined", name)
		}
	}
}
