package panel

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Variable is one of the dashboard's, with the value that it is saved with.
type Variable struct {
	Name       string
	Label      string // for people; "": its name
	Type       string // query, custom, textbox, constant, interval, datasource, …
	Target     *Target
	Options    []string // of a custom one
	Multi      bool     // several may be chosen
	IncludeAll bool
	AllValue   string // what all of them is, in place of a list
	Current    []string
}

// all is Grafana's value for "all of them".
const all = "$__all"

// Value is what stands for a variable.
type Value struct {
	Values []string
	List   bool   // formatted as a list, even where it has one value
	All    bool   // all values are chosen
	Raw    string // what is put in place of all of them, as it is; "": the list

	// Own values come from the dashboard itself: they may hold SQL. Any other
	// is quoted, or refused.
	Own bool
}

type rawVariable struct {
	Name       string          `json:"name"`
	Label      string          `json:"label"`
	Type       string          `json:"type"`
	Datasource rawRef          `json:"datasource"`
	Query      json.RawMessage `json:"query"`
	Definition string          `json:"definition"`
	Multi      bool            `json:"multi"`
	IncludeAll bool            `json:"includeAll"`
	AllValue   string          `json:"allValue"`
	Current    struct {
		Value json.RawMessage `json:"value"`
	} `json:"current"`
}

func (r *rawVariable) variable() *Variable {
	v := &Variable{Name: r.Name, Label: r.Label, Type: r.Type, Multi: r.Multi, IncludeAll: r.IncludeAll, AllValue: r.AllValue}
	var text string
	isText := json.Unmarshal(r.Query, &text) == nil
	switch {
	case r.Type == "query" && isText:
		v.Target = &Target{Datasource: r.Datasource.Type, RawSQL: text}
	case r.Type == "query":
		var t rawTarget
		if json.Unmarshal(r.Query, &t) == nil {
			v.Target = t.target(r.Datasource)
		}
	case r.Type == "custom" || r.Type == "interval":
		for _, option := range strings.Split(text, ",") {
			// "label : value"
			if _, value, named := strings.Cut(option, " : "); named {
				option = value
			}
			v.Options = append(v.Options, strings.TrimSpace(option))
		}
	}
	if err := json.Unmarshal(r.Current.Value, &v.Current); err != nil {
		if json.Unmarshal(r.Current.Value, &text) == nil && (text != "" || r.Type == "textbox") {
			v.Current = []string{text}
		} else if isText && (r.Type == "textbox" || r.Type == "constant") {
			v.Current = []string{text}
		}
	}
	return v
}

// Value is the variable as the dashboard opens: what it was saved with, else
// all, else the first option. Options are those of a query, where it has one.
func (v *Variable) Value(options []string) Value {
	if v.Target == nil {
		options = v.Options
	}
	value := Value{Values: v.Current, List: v.Multi, Own: v.Target == nil}
	if len(value.Values) == 0 && v.IncludeAll || len(value.Values) == 1 && value.Values[0] == all {
		return Value{Values: options, List: true, All: true, Raw: v.AllValue, Own: value.Own}
	}
	if len(value.Values) == 0 && len(options) > 0 {
		value.Values = options[:1]
	}
	return value
}

// Given is the variable with values that a user gave.
func (v *Variable) Given(values ...string) Value {
	return Value{Values: values, List: v.Multi}
}

// Expand is the query as ClickHouse gets it.
func Expand(sql string, r Range, values map[string]Value) (string, error) {
	sql = conditionalAll(sql, values)
	sql, err := replaceVariables(sql, r, values)
	if err != nil {
		return "", err
	}
	return expandMacros(sql, r)
}

var inConditional = regexp.MustCompile(`\$\{(\w+)\}|\$(\w+)`)

// conditionalAll is the plugin's applyConditionalAll (src/data/CHDatasource.ts):
// the last one first, 1=1 where the variable is empty or all. It sees brackets
// and commas in quotes, too, and leaves a call with other than two arguments.
func conditionalAll(sql string, values map[string]Value) string {
	const macro = prefix + "conditionalAll("
	for {
		start := strings.LastIndex(sql, macro)
		if start < 0 {
			return sql
		}
		args, length := conditionalArgs(sql[start+len(macro):])
		if len(args) != 2 {
			return sql
		}
		phrase := args[0]
		if m := inConditional.FindStringSubmatch(strings.TrimSpace(args[1])); m != nil {
			if v, known := values[m[1]+m[2]]; known && v.unset() {
				phrase = "1=1"
			}
		}
		sql = sql[:start] + phrase + sql[start+len(macro)+length:]
	}
}

func (v *Value) unset() bool {
	return v.All || strings.Join(v.Values, ",") == ""
}

// conditionalArgs are the arguments up to the bracket that closes, and where
// that ends.
func conditionalArgs(s string) (args []string, length int) {
	depth, start := 1, 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		}
		if s[i] == ',' && depth == 1 || depth == 0 {
			args = append(args, s[start:i])
			start = i + 1
		}
		if depth == 0 {
			return args, i + 1
		}
	}
	return nil, 0
}

// aVariable is Grafana's own pattern: $name, [[name:format]], ${name:format}.
var aVariable = regexp.MustCompile(`\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}`)

// replaceVariables leaves what isn't known, as Grafana does: it may be a macro.
func replaceVariables(sql string, r Range, values map[string]Value) (string, error) {
	var failed error
	sql = aVariable.ReplaceAllStringFunc(sql, func(whole string) string {
		m := aVariable.FindStringSubmatch(whole)
		name, format := m[1]+m[2]+m[4], m[3]+m[6]
		if text, global := globals(name, format, r); global {
			return text
		}
		v, known := values[name]
		if !known {
			return whole
		}
		text, err := v.format(format)
		if err != nil && failed == nil {
			failed = fmt.Errorf("variable %s: %w", name, err)
		}
		return text
	})
	return sql, failed
}

// Title is a title or a description with its variables filled in.
func Title(text string, values map[string]Value) string {
	return aVariable.ReplaceAllStringFunc(text, func(whole string) string {
		m := aVariable.FindStringSubmatch(whole)
		v, known := values[m[1]+m[2]+m[4]]
		switch {
		case !known:
			return whole
		case v.All:
			return "All"
		}
		return strings.Join(v.Values, " + ")
	})
}

// globals are Grafana's own variables.
func globals(name, format string, r Range) (string, bool) {
	at := func(t time.Time) string {
		switch format {
		case "date", "date:iso":
			return t.UTC().Format("2006-01-02T15:04:05.000Z")
		case "date:seconds":
			return strconv.FormatInt(t.Unix(), 10)
		}
		return strconv.FormatInt(t.UnixMilli(), 10)
	}
	span := r.To.Sub(r.From)
	switch name {
	case "__from":
		return at(r.From), true
	case "__to":
		return at(r.To), true
	case "__interval":
		return formatInterval(r.Interval), true
	case "__interval_ms":
		return strconv.FormatInt(r.Interval.Milliseconds(), 10), true
	case "__range":
		return strconv.FormatInt(int64(span.Seconds()), 10) + "s", true
	case "__range_s":
		return strconv.FormatInt(int64(span.Seconds()), 10), true
	case "__range_ms":
		return strconv.FormatInt(span.Milliseconds(), 10), true
	case "__timezone":
		return "UTC", true
	}
	return "", false
}

// harmless values can stand in a query without quotes.
var harmless = regexp.MustCompile(`^[\p{L}\p{N}_.:@+-]*$`)

// format writes the value as Grafana's formats do (@grafana/scenes,
// formatRegistry.ts). It escapes backslashes too, where Grafana leaves them and
// with them a way out of the quotes.
func (v *Value) format(as string) (string, error) {
	if v.All && v.Raw != "" {
		return v.Raw, nil
	}
	quote := func(q, escaped string) string {
		quoted := make([]string, len(v.Values))
		for i, value := range v.Values {
			quoted[i] = q + strings.NewReplacer(`\`, `\\`, q, escaped).Replace(value) + q
		}
		if len(quoted) == 0 && !v.List {
			return q + q
		}
		return strings.Join(quoted, ",")
	}
	join := func(separator string) (string, error) {
		for _, value := range v.Values {
			if !v.Own && !harmless.MatchString(value) {
				return "", fmt.Errorf("%q is not a plain word, and stands in the query without quotes", value)
			}
		}
		return strings.Join(v.Values, separator), nil
	}
	switch as {
	case "singlequote":
		return quote("'", `\'`), nil
	case "sqlstring":
		return quote("'", "''"), nil
	case "doublequote":
		return quote(`"`, `\"`), nil
	case "raw", "csv", "text":
		return join(",")
	case "pipe":
		return join("|")
	case "":
		// The data source's own default (CHDatasource.ts, format).
		if v.List {
			return quote("'", `\'`), nil
		}
		return join(",")
	}
	return "", fmt.Errorf("the format %s is not known here; singlequote, sqlstring, doublequote, raw, csv, text and pipe are", as)
}
