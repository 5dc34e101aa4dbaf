package report_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"html"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/dashboards/panel"
	"github.com/refundguard/refundguard/dashboards/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// hostile is what names and messages may hold: markup, ends of attributes, and
// marks that turn the text around.
const hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'><b>\u202eevil\u202c &lt; {{.}} ${x} \x00"

var october = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

func column(name, typ string, values ...any) panel.Column {
	return panel.Column{Name: name, Type: typ, Kind: panel.KindOf(typ), Values: values}
}

func frame(columns ...panel.Column) *panel.Frame {
	return &panel.Frame{Columns: columns, Rows: len(columns[0].Values)}
}

func num(text string) panel.Num {
	n := panel.Num{Text: text}
	fmt.Sscan(text, &n.Float)
	return n
}

// answers are what the queries of testdata/small.json give, by how they begin.
func answers() map[string]*panel.Frame {
	times, outcomes, counts := column("time", "DateTime('UTC')"), column("outcome", "LowCardinality(String)"), column("refunds", "UInt64")
	lags, p50, p95 := column("time", "DateTime('UTC')"), column("p50", "Float64"), column("p95", "Nullable(Float64)")
	for hour := range 48 {
		at := october.Add(time.Duration(hour) * time.Hour)
		for i, outcome := range []string{"approve", "review", "reject"} {
			times.Values, outcomes.Values = append(times.Values, at), append(outcomes.Values, outcome)
			counts.Values = append(counts.Values, num(fmt.Sprint((hour%24+3)*[]int{20, 3, 1}[i])))
		}
		if hour > 20 && hour < 26 {
			continue // a gap
		}
		lags.Values, p50.Values = append(lags.Values, at), append(p50.Values, num(fmt.Sprintf("%d.25", 10+hour%7)))
		if hour == 30 {
			p95.Values = append(p95.Values, nil)
		} else {
			p95.Values = append(p95.Values, num(fmt.Sprint(40+hour)))
		}
	}
	ids, merchants, amounts, states, secrets := column("refund_id", "String"), column("merchant_id", "String"), column("amount", "Decimal(18, 4)"), column("outcome", "LowCardinality(String)"), column("secret", "String")
	for i := range 63 {
		ids.Values, amounts.Values = append(ids.Values, fmt.Sprint("rf_", i)), append(amounts.Values, num(fmt.Sprintf("%d.125", 98765-i*1000)))
		merchants.Values = append(merchants.Values, []any{"mer_1", hostile, nil}[i%3])
		states.Values, secrets.Values = append(states.Values, "review"), append(secrets.Values, "not to be shown")
	}
	rules, hits := column("rule", "String"), column("hits", "UInt64")
	for i := range 23 {
		rules.Values, hits.Values = append(rules.Values, fmt.Sprint("rule-", i)), append(hits.Values, num(fmt.Sprint(2300-i*100)))
	}
	rules.Values[1] = hostile
	return map[string]*panel.Frame{
		"refunds of 'EUR'": frame(column("refunds", "UInt64", num("1234567"))),
		"held":             frame(column("share", "Float64", num("0.0375"))),
		"waited":           frame(column("seconds", "Nullable(Float64)", nil)),
		"outcomes":         frame(times, outcomes, counts),
		"latency":          frame(lags, p50, p95),
		"rules":            frame(rules, hits),
		"largest":          frame(ids, merchants, amounts, states, secrets),
		"nothing":          frame(column("refund_id", "String")),
		"currencies":       frame(column("currency", "String", "EUR", "USD")),
		"changes":          frame(column("time", "DateTime64(3, 'UTC')", october.Add(30*time.Hour)), column("text", "String", "Rule set 5f2c began to decide")),
		"SELECT ruleset":   frame(column("ruleset", "String", "sha256:5f2c"), column("since", "DateTime('UTC')", october), column("refunds", "UInt64", num("4242"))),
	}
}

func small(t *testing.T) (page string, r *report.Report) {
	t.Helper()
	data, err := os.ReadFile("testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	d, err := panel.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	all := answers()
	r, err = report.Make(t.Context(), report.Options{
		Dashboards: []*panel.Dashboard{d}, From: october, To: october.AddDate(0, 0, 2), Made: october.AddDate(0, 1, 0), Version: "v0.1.0", Database: "refundguard",
		Query: func(_ context.Context, sql string) (*panel.Frame, error) {
			for begins, f := range all {
				if strings.HasPrefix(sql, begins) {
					return f, nil
				}
			}
			return nil, errors.New("code: 47, message: Unknown expression identifier <b>nope</b>")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := r.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.String(), r
}

func TestGolden(t *testing.T) {
	page, r := small(t)
	if failed := r.Failed(); len(failed) != 1 || !strings.Contains(failed[0], "Small, Broken: code: 47") {
		t.Errorf("failed: %q", failed)
	}
	const file = "testdata/small.html"
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != page {
		t.Errorf("%v; %s differs (go test -update rewrites it)", err, file)
	}
}

func TestWhatThePageSays(t *testing.T) {
	page, _ := small(t)
	text := html.UnescapeString(page)
	for _, want := range []string{
		`<data value="1234567">1,234,567</data>`, "alarm: 5,000 or more",
		`<data value="0.0375">3.8 %</data>`, "in order: below 20 %",
		"Nobody waits", "No refund is overdue",
		`<data value="98765.125">98,765.13</data>`,
		"and 13 more rows", "<p class=\"note\">and 3 more</p>",
		"This query failed:", "code: 47, message: Unknown expression identifier <b>nope</b>",
		"Asked of Prometheus, so only in Grafana: Lag.", "Rule set 5f2c began to decide",
		"<dt>currency</dt><dd><bdi>EUR</bdi>", "sha256:5f2c", "alarm from 60 s",
		"toStartOfInterval(toDateTime(hour), INTERVAL 3600 second)", // the query as it was sent
		hostile[:len(hostile)-2],
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page doesn't say %q", want)
		}
	}
	for _, not := range []string{"not to be shown", "Empty row", "${__field", "NaN", "%!"} {
		if strings.Contains(text, not) {
			t.Errorf("the page says %q", not)
		}
	}
}

var aTag = regexp.MustCompile(`</?([a-zA-Z][a-zA-Z0-9]*)((?:\s+[a-zA-Z][a-zA-Z0-9:-]*(?:="[^"]*")?)*)\s*/?>`)

// Nothing runs, nothing is loaded, and nothing of the data is markup.
func TestThePageIsInert(t *testing.T) {
	page, _ := small(t)
	if !strings.Contains(page, `content="default-src &#39;none&#39;; style-src &#39;sha256-`) {
		t.Error("no policy")
	}
	allowed := map[string]bool{}
	for _, tag := range strings.Fields("html head meta title style body header p h1 h2 h3 h4 span dl div dt dd time nav ol ul li a main section table caption thead tbody tr th td data bdi details summary pre code figure figcaption svg desc line text rect path circle strong") {
		allowed[tag] = true
	}
	body := page[strings.Index(page, "</style>"):]
	for _, m := range aTag.FindAllStringSubmatch(body, -1) {
		if !allowed[m[1]] {
			t.Errorf("tag %s", m[0])
		}
		if regexp.MustCompile(`\s(on\w+|style|src|action|srcdoc)=`).MatchString(m[2]) || strings.Contains(m[2], "href=") && !strings.Contains(m[2], `href="#`) {
			t.Errorf("attribute in %s", m[0])
		}
	}
	if rest := aTag.ReplaceAllString(body, ""); strings.Contains(strings.ReplaceAll(rest, "<!DOCTYPE html>", ""), "<") {
		i := strings.Index(rest, "<")
		t.Errorf("markup that is no tag of ours: %q", rest[i:min(len(rest), i+80)])
	}
}

// A page that everybody can read: each table has a caption and scopes, each
// drawing a title, headings go down by one, ids are there once.
func TestThePageIsAccessible(t *testing.T) {
	page, _ := small(t)
	for _, table := range regexp.MustCompile(`(?s)<table.*?</table>`).FindAllString(page, -1) {
		if !strings.Contains(table, "<caption") || !strings.Contains(table, `scope="col"`) || !strings.Contains(table, `scope="row"`) {
			t.Errorf("table %.200s", table)
		}
	}
	for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1) {
		if !strings.Contains(svg, `aria-hidden="true"`) && (!strings.Contains(svg, "<title") || !strings.Contains(svg, "<desc")) {
			t.Errorf("drawing %.200s", svg)
		}
	}
	last := 0
	for _, m := range regexp.MustCompile(`<h([1-6])`).FindAllStringSubmatch(page, -1) {
		level := int(m[1][0] - '0')
		if level > last+1 {
			t.Errorf("a heading of level %d after one of %d", level, last)
		}
		last = level
	}
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]]++; ids[m[1]] > 1 {
			t.Errorf("id %s twice", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?:href="#|aria-labelledby=")([^"]*)"`).FindAllStringSubmatch(page, -1) {
		for _, id := range strings.Fields(m[1]) {
			if ids[id] != 1 {
				t.Errorf("nothing has the id %q", id)
			}
		}
	}
}

// Every color of text keeps a contrast of 4.5 to what is behind it, in light and
// in dark; what is drawn one of 2.5, and has its name beside it.
func TestContrast(t *testing.T) {
	css, err := os.ReadFile("page.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(string(css), 2)
	for i, theme := range []string{"light", "dark"} {
		colors := map[string]string{}
		for _, m := range regexp.MustCompile(`--(\w+): (#[0-9a-f]{6})`).FindAllStringSubmatch(blocks[i][1], -1) {
			colors[m[1]] = m[2]
		}
		for _, name := range []string{"ink", "soft", "link"} {
			for _, behind := range []string{"paper", "card", "wrong"} {
				if c := contrast(colors[name], colors[behind]); c < 4.5 && (behind != "wrong" || name == "ink") {
					t.Errorf("%s: %s on %s: %.2f", theme, name, behind, c)
				}
			}
		}
		for _, name := range []string{"c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "green", "yellow", "orange", "red", "blue", "purple"} {
			if c := contrast(colors[name], colors["card"]); c < 2.5 {
				t.Errorf("%s: %s: %.2f", theme, name, c)
			}
		}
	}
}

func contrast(a, b string) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(color string) float64 {
	var sum float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		var v int
		fmt.Sscanf(color[1+2*i:3+2*i], "%02x", &v)
		c := float64(v) / 255
		if c <= 0.03928 {
			sum += weight * c / 12.92
		} else {
			sum += weight * math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return sum
}
