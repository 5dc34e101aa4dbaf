package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

//go:embed page.css
var styles string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"stamp": func(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04") },
	"short": func(t time.Time) string { return strings.TrimSuffix(t.UTC().Format("2 Jan 2006 15:04"), " 00:00") },
	// What failed is told whole in its place.
	"cut": func(text string) string {
		if all := []rune(text); len(all) > 140 {
			return string(all[:140]) + "…"
		}
		return text
	},
	"iso": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"heading": func(level int, id, title string) template.HTML {
		tag := map[int]string{3: "h3", 4: "h4"}[level]
		return template.HTML("<" + tag + ` id="` + template.HTMLEscapeString(id) + `-h">` + template.HTMLEscapeString(title) + "</" + tag + ">")
	},
}).Parse(pageText))

// WriteTo writes the page.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	sum := sha256.Sum256([]byte(styles))
	var out bytes.Buffer
	err := page.Execute(&out, struct {
		*Report
		CSS    template.CSS
		Policy string // what the browser may load and run: nothing but the styles
	}{r, template.CSS(styles), "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"})
	if err != nil {
		return 0, err
	}
	return out.WriteTo(w)
}
