package panel_test

import (
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/dashboards/panel"
)

// The cases of the data source's own tests (grafana/clickhouse-datasource,
// pkg/macros/macros_test.go), in its range of time.
func TestMacrosAreThoseOfTheDataSource(t *testing.T) {
	span := panel.Range{Interval: 20 * time.Second}
	span.From, _ = time.Parse(time.RFC3339Nano, "2014-11-12T11:45:26.123Z")
	span.To, _ = time.Parse(time.RFC3339Nano, "2015-11-12T11:45:26.456Z")
	for _, c := range []struct{ sql, want string }{
		{"$__fromTime", "toDateTime(1415792726)"},
		{"$__toTime", "toDateTime(1447328726)"},
		{"$__fromTime_ms", "fromUnixTimestamp64Milli(1415792726123)"},
		{"$__toTime_ms", "fromUnixTimestamp64Milli(1447328726456)"},
		{"$__dateFilter(dateCol)", "dateCol >= toDate('2014-11-12') AND dateCol <= toDate('2015-11-12')"},
		{"$__dateTimeFilter(dateCol, timeCol)", "(dateCol >= toDate('2014-11-12') AND dateCol <= toDate('2015-11-12')) AND (timeCol >= toDateTime(1415792726) AND timeCol <= toDateTime(1447328726))"},
		{"$__dt(d,t)", "(d >= toDate('2014-11-12') AND d <= toDate('2015-11-12')) AND (t >= toDateTime(1415792726) AND t <= toDateTime(1447328726))"},
		{"$__timeInterval(col)", "toStartOfInterval(toDateTime(col), INTERVAL 20 second)"},
		{"$__timeInterval_ms(col)", "toStartOfInterval(toDateTime64(col, 3), INTERVAL 20000 millisecond)"},
		{"$__interval_s", "20"},
		{"$__timeFrom(ts)", "ts >= toDateTime(1415792726)"},
		{"$__timeTo(ts)", "ts <= toDateTime(1447328726)"},
		{"$__timeGroup(ts, 5m)", "toStartOfInterval(toDateTime(ts), INTERVAL 300 second)"},
		{"$__timeGroup(ts, '1h')", "toStartOfInterval(toDateTime(ts), INTERVAL 3600 second)"},
		{"select * from foo where $__timeFilter(cast(sth as timestamp))", "select * from foo where cast(sth as timestamp) >= toDateTime(1415792726) AND cast(sth as timestamp) <= toDateTime(1447328726)"},
		{"select * from foo where $__timeFilter(cast(sth as timestamp) )", "select * from foo where cast(sth as timestamp) >= toDateTime(1415792726) AND cast(sth as timestamp) <= toDateTime(1447328726)"},
		{"$__timeFilter_ms(ts)", "ts >= fromUnixTimestamp64Milli(1415792726123) AND ts <= fromUnixTimestamp64Milli(1447328726456)"},
		{"( date >= $__fromTime ) and ( date <= $__toTime ) limit 100", "( date >= toDateTime(1415792726) ) and ( date <= toDateTime(1447328726) ) limit 100"},
		{"SELECT $__timeInterval($__fromTime) AS from_time", "SELECT toStartOfInterval(toDateTime(toDateTime(1415792726)), INTERVAL 20 second) AS from_time"},
		{"$__timeFilter(coalesce(closed_at, $__toTime))", "coalesce(closed_at, toDateTime(1447328726)) >= toDateTime(1415792726) AND coalesce(closed_at, toDateTime(1447328726)) <= toDateTime(1447328726)"},
		{`msg = 'it\'s -- fine' and $__fromTime`, `msg = 'it\'s -- fine' and toDateTime(1415792726)`},
		{`msg = 'a\'/*x' and $__toTime`, `msg = 'a\'/*x' and toDateTime(1447328726)`},
		{`msg = 'it''s' and $__fromTime`, `msg = 'it''s' and toDateTime(1415792726)`},
		{"SELECT `it's` AS x, msg FROM t WHERE msg = 'a--b' AND $__timeFrom(ts)", "SELECT `it's` AS x, msg FROM t WHERE msg = 'a--b' AND ts >= toDateTime(1415792726)"},
		{"SELECT `a--b`, `c/*d` FROM t WHERE $__fromTime", "SELECT `a--b`, `c/*d` FROM t WHERE toDateTime(1415792726)"},
		{"SELECT $doc$a--b$doc$ AS x FROM t WHERE $__toTime", "SELECT $doc$a--b$doc$ AS x FROM t WHERE toDateTime(1447328726)"},
		{"SELECT 1 -- $__fromTime\nFROM t", "SELECT 1               \nFROM t"},
		{"SELECT /* $__nope(( */ 1", "SELECT                 1"},
		{"$__from $__to ${__from:date:seconds} $__range_s $__interval $__interval_ms", "1415792726123 1447328726456 1415792726 31536000 20s 20000"},
	} {
		if got, err := panel.Expand(c.sql, span, nil); err != nil || got != c.want {
			t.Errorf("%s\n got %s\nwant %s\n%v", c.sql, got, c.want, err)
		}
	}
	for sql, says := range map[string]string{
		"$__timeFilter":              "$__timeFilter has 0 arguments, and needs 1",
		"$__timeFilter(a, b)":        "2 arguments",
		"$__dateTimeFilter(d)":       "1 arguments",
		"$__timeGroup(ts, nope)":     "nope is not a time",
		"$__timeFliter(ts)":          "macro $__timeFliter is unknown",
		"$__timeFilter_msec(ts)":     "macro $__timeFilter_msec is unknown",
		"$__adHocFilters('t')":       "$__adHocFilters is unknown",
		"$__conditionalAll(a, b, c)": "$__conditionalAll is unknown", // Grafana leaves it as well
	} {
		if got, err := panel.Expand(sql, span, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %q, %v; want an error with %q", sql, got, err, says)
		}
	}
}

func TestVariables(t *testing.T) {
	span := panel.Range{From: time.Unix(0, 0), To: time.Unix(3600, 0), Interval: time.Minute}
	values := map[string]panel.Value{
		"one":   {Values: []string{"EUR"}},
		"quote": {Values: []string{`O'Brien \ "x"`}},
		"list":  {Values: []string{"a", "b'c"}, List: true},
		"all":   {Values: []string{"a", "b"}, List: true, All: true},
		"any":   {All: true, Raw: ".*"},
		"empty": {Values: []string{""}},
		"none":  {List: true},
		"own":   {Values: []string{"a > 1"}, Own: true},
	}
	for _, c := range []struct{ sql, want string }{
		{"$one ${one} [[one]] ${one:raw} ${one:csv} [[one:pipe]]", "EUR EUR EUR EUR EUR EUR"},
		{"${one:singlequote} ${one:sqlstring} ${one:doublequote}", `'EUR' 'EUR' "EUR"`},
		{"${quote:singlequote}", `'O\'Brien \\ "x"'`},
		{"${quote:sqlstring}", `'O''Brien \\ "x"'`},
		{"${quote:doublequote}", `"O'Brien \\ \"x\""`},
		{"in ($list) or in (${list:singlequote})", `in ('a','b\'c') or in ('a','b\'c')`},
		{"$all ${all:csv} ${all:pipe} $any", "'a','b' a,b a|b .*"},
		{"$own", "a > 1"},
		{"$nobody ${nobody:csv} $one_more", "$nobody ${nobody:csv} $one_more"},
		{"$__conditionalAll(x in (${list:singlequote}), $list)", `x in ('a','b\'c')`},
		{"$__conditionalAll(x in ($all), $all) and $__conditionalAll(y = f(${one:singlequote}, 1), ${one})", "1=1 and y = f('EUR', 1)"},
		{"$__conditionalAll(x = ${empty:singlequote}, $empty) $__conditionalAll(a, $none)", "1=1 1=1"},
		{"$__conditionalAll(x, $nobody)", "x"},
		{"$__conditionalAll($__conditionalAll(x, $one), $all)", "1=1"},
	} {
		if got, err := panel.Expand(c.sql, span, values); err != nil || got != c.want {
			t.Errorf("%s\n got %s\nwant %s\n%v", c.sql, got, c.want, err)
		}
	}
	// What stands without quotes must not be able to say anything.
	for _, evil := range []string{"x) OR 1=1 --", "a b", "'", "`", "a;b", "(", "a,b", "a\n", "/*"} {
		given := map[string]panel.Value{"v": {Values: []string{evil}}, "l": {Values: []string{evil}, List: true}}
		for _, sql := range []string{"$v", "${v:raw}", "${v:csv}", "${l:csv}", "[[v]]"} {
			if got, err := panel.Expand(sql, span, given); err == nil {
				t.Errorf("%s of %q gives %q", sql, evil, got)
			}
		}
	}
	if got, want := panel.Title("Held (${one}), of $list, ${all:csv}; $nobody, ${quote}", values), `Held (EUR), of a + b'c, All; $nobody, O'Brien \ "x"`; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
	if _, err := panel.Expand("${one:lucene}", span, values); err == nil {
		t.Error("an unknown format is passed over")
	}
}

// Whatever a value is, its quotes end where it ends.
func FuzzQuotedValuesStayInTheirQuotes(f *testing.F) {
	for _, seed := range []string{"a", "'", `\`, `\'`, `'; DROP TABLE x --`, "''", `\\'`, "a\x00b", "\u202e", "$__fromTime", "${v}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.Contains(value, "$") {
			t.Skip("Grafana's macros are expanded in strings, too")
		}
		for format, q := range map[string]byte{"singlequote": '\'', "sqlstring": '\'', "doublequote": '"'} {
			got, err := panel.Expand("<${v:"+format+"}>", panel.Range{}, map[string]panel.Value{"v": {Values: []string{value}}})
			if err != nil {
				t.Fatal(err)
			}
			read, rest := unquote(got[1:], q)
			if rest != ">" || read != value {
				t.Errorf("%s of %q is %s: read as %q, and then %q", format, value, got, read, rest)
			}
		}
	})
}

// unquote reads a string as ClickHouse does.
func unquote(s string, q byte) (value, rest string) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == q && i+1 < len(s) && s[i+1] == q:
			i++
			b.WriteByte(q)
		case s[i] == q:
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), "no end"
}

// Whatever a query holds, it is expanded or refused, and one without a dollar or
// bracket keeps its length.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"$__timeFilter(a)", "$__conditionalAll($__conditionalAll(a, $v), $v)", "$__conditionalAll(,", "$__timeFilter((", "/*", "--", "$a$ -- $a$", "[[v]]", "${v:csv}", "'\\", "$__timeFilter('('", "$__timeGroup(a,)"} {
		f.Add(seed)
	}
	values := map[string]panel.Value{"v": {Values: []string{"x"}}}
	f.Fuzz(func(t *testing.T, sql string) {
		got, err := panel.Expand(sql, panel.Range{From: time.Unix(0, 0), To: time.Unix(60, 0)}, values)
		if err == nil && strings.Contains(got, "$__") {
			t.Errorf("%q leaves a macro: %q", sql, got)
		}
		if !strings.ContainsAny(sql, "$[") && (err != nil || len(got) != len(sql)) {
			t.Errorf("%q became %q, %v", sql, got, err)
		}
	})
}
