package privacy

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// Record is a copy of rec without personal data: values of the fields are
// replaced wherever they stand, the order of keys stays, and what can't be read
// is left out. Carries names the fields that the record has where they are
// known: a message may show others, whose values can't be told, and is left out
// then. Rec itself stays as it is.
func (p *Pseudonymizer) Record(rec *kgo.Record, carries ...string) *kgo.Record {
	if p == nil {
		return rec
	}
	w := &rewriter{p: p, key: string(rec.Key), uncertain: slices.ContainsFunc(p.fields, func(field string) bool {
		return field != "ip" && !slices.Contains(carries, field) // addresses are known by their form
	})}
	shaped := *rec
	readable := len(rec.Value) == 0 || w.find(rec.Value)
	for _, h := range rec.Headers {
		if isObject(h.Value) {
			readable = w.find(h.Value) && readable
		}
	}
	w.prepare()
	switch {
	case !readable:
		shaped.Value = []byte(leftOut)
	case len(rec.Value) > 0:
		shaped.Value = w.replace(rec.Value)
	}
	if len(rec.Key) > 0 && (!readable || !w.keyID) {
		shaped.Key = []byte(p.Of(string(rec.Key)))
	}
	shaped.Headers = make([]kgo.RecordHeader, len(rec.Headers))
	about := personalField(p, rec.Headers)
	for i, h := range rec.Headers {
		shaped.Headers[i] = kgo.RecordHeader{Key: h.Key, Value: w.header(h, readable, about)}
	}
	return &shaped
}

// personalField reports whether a dead letter is about a field that is replaced:
// its message quotes it then, and maybe not all of it.
func personalField(p *Pseudonymizer, headers []kgo.RecordHeader) bool {
	return slices.ContainsFunc(headers, func(h kgo.RecordHeader) bool {
		if h.Key != event.HeaderField {
			return false
		}
		name := string(h.Value)
		return p.roles[strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])] == personal
	})
}

func (w *rewriter) header(h kgo.RecordHeader, readable, about bool) []byte {
	text := string(h.Value)
	ours := strings.HasPrefix(h.Key, "refundguard-") || strings.HasPrefix(h.Key, "__connect.errors.")
	said := h.Key == event.HeaderMessage || h.Key == event.HeaderErrorMessage
	switch {
	case text == "", ours && !said && !isObject(h.Value):
		return h.Value
	case w.p.roles[strings.ToLower(h.Key)] == personal:
		return []byte(w.p.Of(text))
	case !readable, said && about:
		return []byte(leftOut)
	case isObject(h.Value):
		return w.replace(h.Value)
	case hidesJSON(text):
		return []byte(leftOut)
	}
	return []byte(w.within(text))
}
