package event

import (
	"fmt"
	"strings"
)

// Markdown is the schema as tables, for documentation.
func (s *Schema) Markdown() string {
	var b strings.Builder
	for i, st := range s.Streams {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "### %s\n\n%s Topic `%s`", st.Name, st.Doc, st.Topic)
		if st.Key != "" {
			fmt.Fprintf(&b, ", keyed by `%s` (recommended)", st.Key)
		}
		b.WriteString(".\n\n| field | type | |\n| --- | --- | --- |\n")
		for j := range st.Fields {
			f := &st.Fields[j]
			fmt.Fprintf(&b, "| %s | %s | %s |\n", fieldCell(f), f.TypeName(), docCell(f))
		}
	}
	return b.String()
}

// fieldCell is the field's name, bold where it is required.
func fieldCell(f *Field) string {
	if f.Required {
		return "**" + f.Name + "**"
	}
	return f.Name
}

func docCell(f *Field) string {
	doc := f.Doc
	if f.Type == TypeEnum {
		doc += ": `" + strings.Join(f.Values, "`, `") + "`"
		if f.Strict {
			doc += "; nothing else"
		}
	}
	if len(f.From) > 0 {
		doc += " (from `" + strings.Join(f.From, ".") + "`)"
	}
	return strings.ReplaceAll(doc, "|", "\\|")
}
