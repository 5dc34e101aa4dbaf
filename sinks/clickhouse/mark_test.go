package clickhouse

import (
	"maps"
	"testing"
)

// Anyone may write a group's metadata. What parses is written again as it was
// understood.
func FuzzMark(f *testing.F) {
	for _, text := range []string{"", "{}", `{"topic_id":"AAAA","to":7}`, `{"topic_id":"AAAA","to":null}`, `{"topic_id":1}`, `{"topic_id":"x","to":1e3}`, `{"topic_id":"x","to":-9223372036854775808}`,
		`{"topic_id":"x","to":9,"taken":{"hits":7},"refused":3}`, `{"topic_id":"x","taken":[]}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, ok := parseMark(&text)
		if !ok {
			return
		}
		again, err := m.text()
		if err != nil {
			t.Fatal(err)
		}
		n, ok := parseMark(&again)
		if !ok || n.TopicID != m.TopicID || (n.To == nil) != (m.To == nil) || m.To != nil && *n.To != *m.To || !maps.Equal(n.Taken, m.Taken) || n.Refused != m.Refused {
			t.Errorf("%q is read as %+v, and that as %+v", text, m, n)
		}
	})
}
