package privacy

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"unsafe"
)

const (
	// leftOut stands for a text in which personal data can't be told from the rest.
	leftOut = "(left out: it may hold personal data)"

	// minPart is how long a value is at least that is looked for inside of texts.
	minPart = 4

	// maxFound bounds what is looked for in one record: nobody has more ids.
	maxFound = 64
)

// rewriter goes twice over one record: it finds the values, then it replaces
// them wherever they are.
type rewriter struct {
	p         *Pseudonymizer
	uncertain bool // messages may show values that the record doesn't hold

	found  []string // what is replaced, once each
	key    string   // of the record
	keyID  bool     // it is an id that isn't replaced
	letter bool     // an alert about a dead letter: it quotes the record
	second bool     // the second time
	texts  *strings.Replacer

	data []byte
	out  []byte
	done int // data[:done] is in out
}

// find reads what a JSON object says. It is false where that can't be told.
func (w *rewriter) find(data []byte) bool {
	if i := space(data, 0); i == len(data) || data[i] != '{' || !json.Valid(data) {
		return false
	}
	w.data = data
	w.value(space(data, 0), plain, "")
	return len(w.found) <= maxFound
}

// prepare is called between the last find and the first replace.
func (w *rewriter) prepare() {
	w.second = true
	// Of two values of which one is within the other, the longer one is meant.
	slices.SortFunc(w.found, func(a, b string) int { return len(b) - len(a) })
}

// replace is data, on which find was called, with what stands for the values.
func (w *rewriter) replace(data []byte) []byte {
	w.data, w.done, w.out = data, 0, make([]byte, 0, len(data)+128)
	w.value(space(data, 0), plain, "")
	return append(w.out, data[w.done:]...)
}

func space(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
		i++
	}
	return i
}

// value handles the value at i of valid JSON, which is that of the key of, and
// returns the place behind it.
func (w *rewriter) value(i int, as role, of string) int {
	switch w.data[i] {
	case '{':
		return w.object(i, as, of)
	case '[':
		i = space(w.data, i+1)
		for w.data[i] != ']' {
			i = space(w.data, w.value(i, as, of))
			if w.data[i] == ',' {
				i = space(w.data, i+1)
			}
		}
		return i + 1
	case '"':
		text, end := w.text(i)
		w.handle(text, i, end, as)
		return end
	}
	end := i
	for end < len(w.data) && !strings.ContainsRune(",]} \t\r\n", rune(w.data[end])) {
		end++
	}
	if c := w.data[i]; as == personal && (c == '-' || c >= '0' && c <= '9') {
		w.handle(string(w.data[i:end]), i, end, as)
	}
	return end
}

func (w *rewriter) object(i int, as role, of string) int {
	i = space(w.data, i+1)
	for w.data[i] != '}' {
		key, end := w.text(i)
		inner := w.role(key, as, of)
		if as == features || inner == plain {
			w.handle(key, i, end, plain)
		}
		i = space(w.data, end) // the colon
		i = space(w.data, i+1) // the value
		if w.data[i] == '"' && (key == "rule" || strings.HasSuffix(key, "_id")) && inner == structural && !w.second {
			text, _ := w.text(i)
			w.letter = w.letter || key == "rule" && strings.HasPrefix(text, "dead-letter:")
			w.keyID = w.keyID || text == w.key
		}
		i = space(w.data, w.value(i, inner, key))
		if w.data[i] == ',' {
			i = space(w.data, i+1)
		}
	}
	return i + 1
}

// role is what the member of an object is.
func (w *rewriter) role(key string, as role, of string) role {
	switch as {
	case personal:
		return personal // whatever is in it
	case features:
		// The value of first, last, min or max is that of another record.
		if from := strings.LastIndexByte(key, '('); from >= 0 && strings.HasSuffix(key, ")") {
			if w.p.roles[strings.TrimSpace(key[from+1:len(key)-1])] == personal {
				return personal
			}
		}
		return plain
	}
	if len(w.p.paths) > 0 && w.p.paths[strings.ToLower(of+"."+key)] {
		return personal
	}
	if r, known := w.p.roles[key]; known {
		return r
	}
	return w.p.roles[strings.ToLower(key)]
}

// text is what the string at i means, which is valid until data changes.
func (w *rewriter) text(i int) (text string, end int) {
	end = i + 1
	escaped := false
	for w.data[end] != '"' {
		if w.data[end] == '\\' {
			escaped = true
			end++
		}
		end++
	}
	end++
	if escaped {
		return unescape(w.data[i:end]), end
	}
	inside := w.data[i+1 : end-1]
	return unsafe.String(unsafe.SliceData(inside), len(inside)), end
}

// unescape is what a quoted string means. What isn't UTF-8 is not kept: a record
// that is like this is a dead letter.
func unescape(quoted []byte) (text string) {
	_ = json.Unmarshal(quoted, &text)
	return text
}

// handle finds or replaces one string, or number, data[from:end].
func (w *rewriter) handle(text string, from, end int, as role) {
	if text == "" || as == structural || as == entity {
		return
	}
	if !w.second {
		if as == personal && len(w.found) <= maxFound && !slices.Contains(w.found, text) {
			w.found = append(w.found, strings.Clone(text))
		}
		return
	}
	now := text
	switch {
	case as == personal:
		now = w.p.Of(text)
	case as == written, as == message && (w.uncertain || w.letter):
		now = leftOut
	case hidesJSON(text):
		now = leftOut
	default:
		now = w.within(text)
	}
	if now == text {
		return
	}
	w.out = append(w.out, w.data[w.done:from]...)
	w.out = appendString(w.out, now)
	w.done = end
}

// hidesJSON is for records that hold another one as a text.
func hidesJSON(text string) bool {
	trimmed := strings.TrimSpace(text)
	return len(trimmed) > 1 && (trimmed[0] == '{' || trimmed[0] == '[') && json.Valid([]byte(trimmed))
}

// within replaces what was found, and addresses, inside of a text.
func (w *rewriter) within(text string) string {
	for _, value := range w.found {
		if text == value {
			return w.p.Of(value)
		}
		if len(value) >= minPart && strings.Contains(text, value) {
			text = w.replacer().Replace(text)
			break
		}
	}
	if w.p.ip && strings.ContainsAny(text, ".:") && strings.ContainsAny(text, "0123456789:") {
		return w.p.addresses(text)
	}
	return text
}

func (w *rewriter) replacer() *strings.Replacer {
	if w.texts == nil {
		var pairs []string
		for _, value := range w.found {
			if len(value) >= minPart {
				pairs = append(pairs, value, w.p.Of(value))
			}
		}
		w.texts = strings.NewReplacer(pairs...)
	}
	return w.texts
}

// addresses replaces what is an IP address, with or without a full stop or a
// colon behind it.
func (p *Pseudonymizer) addresses(text string) string {
	var out []byte
	done := 0
	for i := 0; i < len(text); {
		end := i
		for end < len(text) && ofAddress(text[end]) {
			end++
		}
		for cut := end; cut > i+2 && cut >= end-1; cut-- {
			if _, err := netip.ParseAddr(text[i:cut]); err == nil {
				out = append(append(out, text[done:i]...), p.Of(text[i:cut])...)
				done = cut
				break
			}
		}
		i = end + 1
	}
	if done == 0 {
		return text
	}
	return string(append(out, text[done:]...))
}

func ofAddress(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' || c == '.' || c == ':'
}

func appendString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

func isObject(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && data[0] == '{'
}
