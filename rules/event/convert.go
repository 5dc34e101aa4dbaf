package event

// problem is what is wrong with a value.
type problem uint8

const (
	noProblem problem = iota
	problemKind
	problemEmpty
	problemLong
	problemEnum
	problemCurrency
	problemNumber
	problemDecimals
	problemRange
	problemSign
	problemInt
	problemTime
	problemUnix
)

// problems are what a message says after the value.
var problems = [...]string{
	problemKind:     "has the wrong type", // of JSON value
	problemEmpty:    "is empty",
	problemLong:     "is longer than 256 bytes",
	problemEnum:     "is not a known value",
	problemCurrency: "is not a currency of ISO 4217",
	problemNumber:   "is not a number as JSON writes it",
	problemDecimals: "has more than 4 decimals",
	problemRange:    "is not smaller than 100000000000000 (10^14)",
	problemSign:     "is not greater than 0",
	problemInt:      "is not an integer of 64 bits",
	problemTime:     "is not a time",
	problemUnix:     "is not a plausible number of milliseconds since 1970",
}

func (p problem) Error() string { return problems[p] }

// maxIDBytes is how long an identifier can be.
const maxIDBytes = 256

// convertText sets v to what the content of a JSON string means for f.
func convertText(f *Field, v *Value, text []byte) problem {
	switch f.Type {
	case TypeString:
		if f.ID && len(text) == 0 {
			return problemEmpty
		}
		if f.ID && len(text) > maxIDBytes {
			return problemLong
		}
		v.Str = alias(text)
	case TypeEnum:
		v.Str = alias(text)
		v.Num = int64(enumIndex(f, v.Str))
		if v.Num < 0 && f.Strict {
			return problemEnum
		}
	case TypeCurrency:
		c, ok := ParseCurrency(alias(text))
		if !ok {
			return problemCurrency
		}
		v.Str, v.Num = alias(text), int64(c)
	case TypeMoney, TypeNumber, TypeInt:
		return convertNumberText(f, v, text)
	case TypeTime:
		ms, ok := parseTime(text)
		if !ok {
			p := convertNumberText(f, v, text)
			if p == problemNumber {
				p = problemTime
			}
			return p
		}
		v.Num = ms
	default:
		return problemKind
	}
	return noProblem
}

// convertNumberText is for numbers that are written as strings, which some
// writers do to keep them exact.
func convertNumberText(f *Field, v *Value, text []byte) problem {
	d, n := scanDecimal(text)
	if n == 0 || n != len(text) {
		return problemNumber
	}
	return convertNumber(f, v, &d)
}

// convertNumber sets v to what a JSON number means for f.
func convertNumber(f *Field, v *Value, d *decimal) problem {
	switch f.Type {
	case TypeMoney, TypeNumber:
		m, p := d.money()
		if p != noProblem {
			return p
		}
		if m <= 0 && f.Type == TypeMoney {
			return problemSign
		}
		v.Num = int64(m)
	case TypeInt:
		n, ok := d.int64()
		if !ok {
			return problemInt
		}
		v.Num = n
	case TypeTime:
		n, ok := d.floor()
		if !ok || n < minUnixMilli || n >= maxUnixMilli {
			return problemUnix
		}
		v.Num = int64(n)
	default:
		return problemKind
	}
	return noProblem
}

// enumIndex is the index of a value in f.Values, or -1.
func enumIndex(f *Field, value string) int {
	for i, known := range f.Values {
		if known == value {
			return i
		}
	}
	return -1
}
