package event

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// fault is why a scan stopped, in the order of README.md's table of codes.
type fault uint8

const (
	fine           fault = iota
	faultEnd             // the record ends inside of a value
	faultControl         // a control character that must be escaped
	faultEscape          // an escape sequence that JSON doesn't have
	faultUTF8            // bytes that aren't UTF-8
	faultNumber          // not a number in JSON's grammar
	faultLiteral         // not true, false or null
	faultValue           // not the beginning of a value
	faultKey             // not the beginning of a key
	faultColon           // no colon after a key
	faultObject          // no comma or closing brace after a member
	faultArray           // no comma or closing bracket after an element
	faultDepth           // nested too deep
	faultSurrogate       // half of a surrogate pair
)

// stops marks, in the high bit of each, the bytes of a string that need a look:
// quotes, backslashes, control characters, and those that aren't ASCII. (Of the
// ASCII bytes c, c^2 < 0x21 holds for control characters and the quote alone.)
// Borrows mark bytes above a true mark too, so only the lowest is sure.
func stops(w uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	return (((w ^ ones*2) - ones*0x21) | ((w ^ ones*'\\') - ones) | w) & highs
}

// scanString reads a string from the byte after its opening quote, eight bytes
// at a time where it can. It returns
// the position of the closing quote, or of the fault.
func scanString(data []byte, i int) (end int, escaped bool, f fault) {
	for {
		for i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			m := stops(w)
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
			if data[i] == '"' {
				return i, escaped, fine
			}
			break
		}
		if i >= len(data) {
			return i, escaped, faultEnd
		}
		switch c := data[i]; {
		case c == '"':
			return i, escaped, fine
		case c == '\\':
			escaped = true
			n := escapeLen(data[i:])
			if n == 0 {
				return i, escaped, faultEscape
			}
			i += n
		case c < 0x20:
			return i, escaped, faultControl
		case c < utf8.RuneSelf:
			i++
		default:
			_, n := utf8.DecodeRune(data[i:])
			if n == 1 {
				return i, escaped, faultUTF8
			}
			i += n
		}
	}
}

// escapeLen is the length of the escape sequence that text begins with, or 0.
func escapeLen(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(text); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads \uXXXX.
func hex4(text []byte) (r rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, c := range text[2:6] {
		switch {
		case isDigit(c):
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape appends what the inside of a scanned string means. It fails on half
// of a surrogate pair, which no text can hold.
func unescape(dst, text []byte) ([]byte, bool) {
	for i := 0; i < len(text); {
		c := text[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		c = text[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(text[i-2:])
			i += 4
			if r >= 0xd800 && r < 0xe000 {
				low, ok := hex4(text[i:])
				if r >= 0xdc00 || !ok || low < 0xdc00 || low >= 0xe000 {
					return dst, false
				}
				i += 6
				r = 0x10000 + (r-0xd800)<<10 + (low - 0xdc00)
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst, true
}

// skipSpace is the position of the next byte that isn't JSON's white space.
func skipSpace(data []byte, i int) int {
	for i < len(data) && data[i] <= ' ' && (data[i] == ' ' || data[i] == '\n' || data[i] == '\r' || data[i] == '\t') {
		i++
	}
	return i
}

// skipValue checks the value at i, which may nest levels deep, and returns the
// position behind it, or of the fault.
func skipValue(data []byte, i, levels int) (int, fault) {
	if i >= len(data) {
		return i, faultEnd
	}
	switch c := data[i]; {
	case c == '"':
		end, _, f := scanString(data, i+1)
		if f != fine {
			return end, f
		}
		return end + 1, fine
	case c == '{':
		return skipObject(data, i+1, levels-1)
	case c == '[':
		return skipArray(data, i+1, levels-1)
	case c == '-' || isDigit(c):
		n := numberLen(data[i:])
		if n == 0 {
			return i, faultNumber
		}
		return i + n, fine
	default:
		return skipLiteral(data, i)
	}
}

func skipObject(data []byte, i, levels int) (int, fault) {
	if levels < 0 {
		return i - 1, faultDepth
	}
	i = skipSpace(data, i)
	if i < len(data) && data[i] == '}' {
		return i + 1, fine
	}
	for {
		if i >= len(data) || data[i] != '"' {
			return i, orEnd(data, i, faultKey)
		}
		end, _, f := scanString(data, i+1)
		if f != fine {
			return end, f
		}
		i = skipSpace(data, end+1)
		if i >= len(data) || data[i] != ':' {
			return i, orEnd(data, i, faultColon)
		}
		i, f = skipValue(data, skipSpace(data, i+1), levels)
		if f != fine {
			return i, f
		}
		i = skipSpace(data, i)
		switch {
		case i < len(data) && data[i] == ',':
			i = skipSpace(data, i+1)
		case i < len(data) && data[i] == '}':
			return i + 1, fine
		default:
			return i, orEnd(data, i, faultObject)
		}
	}
}

func skipArray(data []byte, i, levels int) (int, fault) {
	if levels < 0 {
		return i - 1, faultDepth
	}
	i = skipSpace(data, i)
	if i < len(data) && data[i] == ']' {
		return i + 1, fine
	}
	for {
		var f fault
		i, f = skipValue(data, i, levels)
		if f != fine {
			return i, f
		}
		i = skipSpace(data, i)
		switch {
		case i < len(data) && data[i] == ',':
			i = skipSpace(data, i+1)
		case i < len(data) && data[i] == ']':
			return i + 1, fine
		default:
			return i, orEnd(data, i, faultArray)
		}
	}
}

// skipLiteral reads true, false or null.
func skipLiteral(data []byte, i int) (int, fault) {
	for _, word := range [...]string{"null", "true", "false"} {
		if data[i] == word[0] {
			if len(data)-i >= len(word) && string(data[i:i+len(word)]) == word {
				return i + len(word), fine
			}
			return i, faultLiteral
		}
	}
	return i, faultValue
}

// numberLen is the length of the number that text begins with, or 0.
func numberLen(text []byte) int {
	i := 0
	if text[0] == '-' {
		i++
	}
	start := i
	i += digitsLen(text[i:])
	if i == start || text[start] == '0' && i > start+1 {
		return 0
	}
	if i < len(text) && text[i] == '.' {
		n := digitsLen(text[i+1:])
		if n == 0 {
			return 0
		}
		i += 1 + n
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		_, n := scanExponent(text[i+1:])
		if n == 0 {
			return 0
		}
		i += 1 + n
	}
	return i
}

func digitsLen(text []byte) int {
	i := 0
	for i < len(text) && isDigit(text[i]) {
		i++
	}
	return i
}

// orEnd is f, or that the record has ended.
func orEnd(data []byte, i int, f fault) fault {
	if i >= len(data) {
		return faultEnd
	}
	return f
}
