package event

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Codes of refused records. They are part of the contract with whoever reads
// dead letters: README.md lists them.
const (
	CodeEmptyRecord  = "EMPTY_RECORD"
	CodeTooLarge     = "TOO_LARGE"
	CodeInvalidJSON  = "INVALID_JSON"
	CodeInvalidUTF8  = "INVALID_UTF8"
	CodeTooDeep      = "TOO_DEEP"
	CodeDuplicateKey = "DUPLICATE_KEY"
	CodeMissingField = "MISSING_FIELD"
	CodeWrongType    = "WRONG_TYPE"
	CodeInvalidValue = "INVALID_VALUE"
)

// Codes are all of them, for metrics that start their series at zero.
func Codes() []string {
	return []string{CodeEmptyRecord, CodeTooLarge, CodeInvalidJSON, CodeInvalidUTF8, CodeTooDeep, CodeDuplicateKey,
		CodeMissingField, CodeWrongType, CodeInvalidValue}
}

// constError is an error that costs no allocation.
type constError string

func (e constError) Error() string { return string(e) }

// RecordError says why a record was refused.
type RecordError struct {
	Code    string // one of the Code constants
	Field   string // name in the schema; "" when it is not about one
	Message string // what was wrong, and what is accepted; shows at most 64 bytes of the record
	Offset  int    // byte of the record at which it was found
}

func (e *RecordError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// maxExcerpt is how much of a record a message shows.
const maxExcerpt = 48

// excerpt quotes the beginning of text.
func excerpt(text []byte) string {
	if len(text) <= maxExcerpt {
		return strconv.Quote(string(text))
	}
	end := maxExcerpt
	for end > maxExcerpt-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return strconv.Quote(string(text[:end])) + "…"
}

// kindAt names the JSON value at i.
func kindAt(data []byte, i int) string {
	switch c := data[i]; {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case startsWord(data[i:], "true") || startsWord(data[i:], "false"):
		return "a boolean"
	case startsWord(data[i:], "null"):
		return "null"
	case c == '-' || isDigit(c):
		return "a number"
	}
	return "no JSON value"
}

func startsWord(data []byte, word string) bool {
	return len(data) >= len(word) && string(data[:len(word)]) == word && (len(data) == len(word) || data[len(word)]|0x20 < 'a' || data[len(word)]|0x20 > 'z')
}

// expected says what a field accepts.
func expected(f *Field) string {
	switch f.Type {
	case TypeString:
		if f.ID {
			return "a string of 1 to 256 bytes"
		}
		return "a string"
	case TypeMoney:
		return "a number, or a string that holds one, greater than 0 and smaller than 10^14, with at most 4 decimals"
	case TypeNumber:
		return "a number, or a string that holds one, smaller than 10^14, with at most 4 decimals"
	case TypeInt:
		return "an integer of 64 bits, or a string that holds one"
	case TypeBool:
		return "true or false"
	case TypeCurrency:
		return "an upper-case code of ISO 4217, e.g. \"USD\""
	case TypeTime:
		return "a time of RFC 3339 with its zone, e.g. \"2024-05-01T12:00:00Z\", or milliseconds since 1970"
	case TypeEnum:
		if f.Strict {
			return "one of " + strings.Join(f.Values, ", ")
		}
		return "a string, e.g. " + strings.Join(f.Values, ", ")
	}
	return "nothing"
}

func notObject(data []byte, i int) *RecordError {
	switch {
	case len(data) == 0:
		return &RecordError{Code: CodeEmptyRecord, Message: "the record has no value; expected one JSON object"}
	case i >= len(data):
		return &RecordError{Code: CodeEmptyRecord, Message: "the record is only white space; expected one JSON object"}
	case strings.HasPrefix(string(data[i:min(i+3, len(data))]), "\xef\xbb\xbf"):
		return &RecordError{Code: CodeInvalidJSON, Offset: i, Message: "the record begins with a byte order mark; write UTF-8 without it"}
	}
	kind := kindAt(data, i)
	code := CodeWrongType
	if kind == "no JSON value" {
		code = CodeInvalidJSON
		kind += ": it begins with " + excerpt(data[i:])
	}
	return &RecordError{Code: code, Offset: i, Message: "the record is " + kind + "; expected one JSON object"}
}

func trailing(data []byte, i int) *RecordError {
	return &RecordError{Code: CodeInvalidJSON, Offset: i,
		Message: "more follows after the object: " + excerpt(data[i:]) + "; expected one JSON object a record"}
}

func duplicate(k *key, i int) *RecordError {
	return &RecordError{Code: CodeDuplicateKey, Field: k.field.Name, Offset: i,
		Message: "the key " + strconv.Quote(k.name()) + " is there twice, so the record has two meanings; write it once"}
}

func wrongObject(data []byte, i int, k *key) *RecordError {
	return &RecordError{Code: CodeWrongType, Field: k.field.Name, Offset: i,
		Message: strconv.Quote(k.name()) + " is " + kindAt(data, i) + "; expected an object, which the field is read from"}
}

func wrongType(data []byte, i int, f *Field) *RecordError {
	return &RecordError{Code: CodeWrongType, Field: f.Name, Offset: i, Message: "is " + kindAt(data, i) + "; expected " + expected(f)}
}

func surrogate(f *Field, i int) *RecordError {
	return &RecordError{Code: CodeInvalidUTF8, Field: f.Name, Offset: i,
		Message: "has half of a surrogate pair (\\ud800 to \\udfff), which is no character; expected " + expected(f)}
}

// refuse says what is wrong with a value that is well-formed JSON.
func refuse(data []byte, f *Field, p problem, text []byte, i int) *RecordError {
	if p == problemKind {
		return wrongType(data, i, f)
	}
	return &RecordError{Code: CodeInvalidValue, Field: f.Name, Offset: i, Message: excerpt(text) + " " + p.Error() + "; expected " + expected(f)}
}

func (d *Decoder) tooLarge(n int) *RecordError {
	return &RecordError{Code: CodeTooLarge, Message: fmt.Sprintf("the record has %d bytes; at most %d are accepted", n, d.limits.MaxBytes)}
}

func (d *Decoder) fieldTooLarge(f *Field, n, i int) *RecordError {
	return &RecordError{Code: CodeTooLarge, Field: f.Name, Offset: i,
		Message: fmt.Sprintf("has %d bytes; at most %d are accepted", n, d.limits.MaxFieldBytes)}
}

func (d *Decoder) missing(slot, i int) *RecordError {
	f := &d.stream.Fields[slot]
	where := ""
	if len(f.From) > 0 {
		where = " (it is read from " + strconv.Quote(strings.Join(f.From, ".")) + ")"
	}
	return &RecordError{Code: CodeMissingField, Field: f.Name, Offset: i, Message: "is missing or null" + where + "; expected " + expected(f)}
}

func (d *Decoder) fault(data []byte, i int, f fault) *RecordError {
	return syntaxError(data, i, f, d.limits.MaxDepth)
}

// syntaxError says why the bytes at i are refused.
func syntaxError(data []byte, i int, f fault, maxDepth int) *RecordError {
	e := &RecordError{Code: CodeInvalidJSON, Offset: i}
	here := "the record ends"
	if i < len(data) {
		here = "there is " + excerpt(data[i:min(i+16, len(data))])
	}
	switch f {
	case faultEnd:
		e.Message = "the record ends in the middle of a value"
	case faultControl:
		e.Message = fmt.Sprintf("a string holds the control character 0x%02x; write it as \\u%04x", data[i], data[i])
	case faultEscape:
		e.Message = here + " in a string, which is no escape sequence of JSON"
	case faultUTF8:
		e.Code = CodeInvalidUTF8
		e.Message = "a string holds bytes that are not UTF-8: " + excerpt(data[i:min(i+4, len(data))])
	case faultNumber:
		e.Message = here + " where a number must stand"
	case faultLiteral, faultValue:
		e.Message = here + " where a value must stand"
	case faultKey:
		e.Message = here + " where a key in double quotes must stand"
	case faultColon:
		e.Message = here + " where a colon must stand after a key"
	case faultObject:
		e.Message = here + " where a comma or a closing brace must stand"
	case faultArray:
		e.Message = here + " where a comma or a closing bracket must stand"
	case faultSurrogate:
		e.Code = CodeInvalidUTF8
		e.Message = "a string holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
	case faultDepth:
		e.Code = CodeTooDeep
		e.Message = fmt.Sprintf("the record nests deeper than %d levels", maxDepth)
	}
	return e
}
