package event

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// writer appends one JSON object.
type writer struct {
	buf   []byte
	comma bool
}

func (w *writer) open(c byte) {
	w.buf = append(w.buf, c)
	w.comma = false
}

func (w *writer) close(c byte) {
	w.buf = append(w.buf, c)
	w.comma = true
}

// item separates an element from the one before it.
func (w *writer) item() {
	if w.comma {
		w.buf = append(w.buf, ',')
	}
	w.comma = true
}

// key begins a member. name needs no escaping.
func (w *writer) key(name string) {
	w.item()
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, '"', ':')
}

func (w *writer) text(name, value string) {
	w.key(name)
	w.buf = appendString(w.buf, value)
}

// orNull writes a value that "" means the absence of.
func (w *writer) orNull(name, value string) {
	if value == "" {
		w.null(name)
		return
	}
	w.text(name, value)
}

// optional leaves "" out.
func (w *writer) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *writer) null(name string) {
	w.key(name)
	w.buf = append(w.buf, "null"...)
}

func (w *writer) int(name string, value int64) {
	w.key(name)
	w.buf = strconv.AppendInt(w.buf, value, 10)
}

func (w *writer) flag(name string, value bool) {
	if value {
		w.key(name)
		w.buf = append(w.buf, "true"...)
	}
}

func (w *writer) time(name string, ms int64) {
	w.key(name)
	w.buf = append(w.buf, '"')
	w.buf = AppendTime(w.buf, ms)
	w.buf = append(w.buf, '"')
}

func (w *writer) money(name string, m Money, c Currency) {
	w.key(name)
	w.moneyValue(m, c)
}

func (w *writer) moneyValue(m Money, c Currency) {
	w.buf = append(w.buf, '"')
	w.buf = m.Append(w.buf, c.MinorUnits())
	w.buf = append(w.buf, '"')
}

// currency writes null for no currency.
func (w *writer) currency(name string, c Currency) {
	if c == 0 || c > maxCurrency {
		w.null(name)
		return
	}
	w.key(name)
	l := c.letters()
	w.buf = append(w.buf, '"', l[0], l[1], l[2], '"')
}

func (w *writer) texts(name string, values []string) {
	w.key(name)
	w.open('[')
	for _, v := range values {
		w.item()
		w.buf = appendString(w.buf, v)
	}
	w.close(']')
}

const hexDigits = "0123456789abcdef"

// appendString writes s in quotes. Bytes that aren't UTF-8 become U+FFFD, so
// that what is written can always be read.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := plainLen(s); i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// plainLen is how many bytes of s, eight at a time, need no look: see
// scanString.
func plainLen(s string) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		if stops(w) != 0 {
			break
		}
	}
	return i
}

// appendFloat writes f in its shortest form, as JavaScript does; null where JSON
// has no number for it.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if f == 0 {
		return append(dst, '0') // -0 too
	}
	format := byte('f')
	if abs := math.Abs(f); abs < 1e-6 || abs >= 1e21 {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}
