package panel

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	chdriver "github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"
)

// Kind is what a column's values are, by Grafana's names.
type Kind string

// Kinds of columns.
const (
	Time   Kind = "time"
	Number Kind = "number"
	Text   Kind = "string"
	Bool   Kind = "boolean"
	Other  Kind = "other" // arrays, maps
)

// Column is one of a result. Each of Values is nil (NULL), or a time.Time, a
// Num, a string or a bool, by Kind; that of Other is a string.
type Column struct {
	Name   string
	Type   string // ClickHouse's
	Kind   Kind
	Values []any
}

// Num is a number: as exact as ClickHouse gave it, and for drawing.
type Num struct {
	Float float64
	Text  string // plain, without grouping
}

// Frame is what a query gave.
type Frame struct {
	Columns []Column
	Rows    int
	Cut     bool // there are more rows
}

// MaxRows are read of a query's result.
const MaxRows = 100_000

// Run sends a query that is expanded.
func Run(ctx context.Context, conn chdriver.Conn, sql string) (*Frame, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	f := &Frame{}
	var into []any
	for _, c := range rows.ColumnTypes() {
		f.Columns = append(f.Columns, Column{Name: c.Name(), Type: c.DatabaseTypeName(), Kind: KindOf(c.DatabaseTypeName())})
		into = append(into, reflect.New(c.ScanType()).Interface())
	}
	for rows.Next() {
		if f.Rows == MaxRows {
			f.Cut = true
			break
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i := range f.Columns {
			v, err := f.Columns[i].value(reflect.ValueOf(into[i]).Elem())
			if err != nil {
				return nil, err
			}
			f.Columns[i].Values = append(f.Columns[i].Values, v)
		}
		f.Rows++
	}
	return f, rows.Err() // a failed SELECT says so only here
}

var numeric = regexp.MustCompile(`^(U?Int|B?Float|Decimal)`)

// KindOf is the kind of a column of that ClickHouse type.
func KindOf(typ string) Kind {
	for _, wrapper := range []string{"LowCardinality(", "Nullable("} {
		if inner, wrapped := strings.CutPrefix(typ, wrapper); wrapped {
			return KindOf(strings.TrimSuffix(inner, ")"))
		}
	}
	switch {
	case strings.HasPrefix(typ, "Date"):
		return Time
	case numeric.MatchString(typ):
		return Number
	case typ == "Bool":
		return Bool
	case typ == "String", strings.HasPrefix(typ, "FixedString("), strings.HasPrefix(typ, "Enum"), typ == "UUID", typ == "IPv4", typ == "IPv6":
		return Text
	}
	return Other
}

func (c *Column) value(v reflect.Value) (any, error) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, nil
		}
		if _, isBig := v.Interface().(*big.Int); isBig {
			break
		}
		v = v.Elem()
	}
	if !v.IsValid() || v.Kind() == reflect.Interface && v.IsNil() {
		return nil, nil
	}
	switch x := v.Interface().(type) {
	case time.Time:
		return x.UTC(), nil
	case bool, string:
		return x, nil
	case decimal.Decimal:
		return Num{x.InexactFloat64(), x.String()}, nil
	case float32:
		return Num{float64(x), strconv.FormatFloat(float64(x), 'f', -1, 32)}, nil
	case float64:
		return Num{x, strconv.FormatFloat(x, 'f', -1, 64)}, nil
	case *big.Int:
		f, _ := new(big.Float).SetInt(x).Float64()
		return Num{f, x.String()}, nil
	case big.Int:
		f, _ := new(big.Float).SetInt(&x).Float64()
		return Num{f, x.String()}, nil
	}
	switch {
	case c.Kind != Number:
	case v.CanInt():
		return Num{float64(v.Int()), strconv.FormatInt(v.Int(), 10)}, nil
	case v.CanUint():
		return Num{float64(v.Uint()), strconv.FormatUint(v.Uint(), 10)}, nil
	default:
		return nil, fmt.Errorf("column %s of type %s: a %s is no number", c.Name, c.Type, v.Type())
	}
	if valuer, ok := v.Interface().(driver.Valuer); ok {
		inner, err := valuer.Value()
		if err != nil {
			return nil, fmt.Errorf("column %s of type %s: %w", c.Name, c.Type, err)
		}
		return fmt.Sprint(inner), nil
	}
	return textOf(v), nil
}

// textOf writes arrays and maps for people: "a, b" and "k: v, l: w".
func textOf(v reflect.Value) string {
	var parts []string
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			parts = append(parts, textOf(v.Index(i)))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			parts = append(parts, textOf(key)+": "+textOf(v.MapIndex(key)))
		}
		slices.Sort(parts)
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "null"
		}
		return textOf(v.Elem())
	default:
		return fmt.Sprint(v.Interface())
	}
	return strings.Join(parts, ", ")
}

// Options are a variable's, of what its query gave: of two columns the first is
// the value, as in the data source's metricFindQuery.
func (f *Frame) Options() (all []string) {
	if len(f.Columns) == 0 {
		return nil
	}
	for _, v := range f.Columns[0].Values {
		all = append(all, Plain(v))
	}
	return all
}

// Plain is a value as text: times in RFC 3339, NULL empty.
func Plain(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case Num:
		return x.Text
	case time.Time:
		return x.Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

func matchesPattern(pattern, name string) bool {
	pattern = strings.TrimSuffix(strings.TrimPrefix(pattern, "/"), "/")
	re, err := regexp.Compile(pattern)
	return err == nil && re.MatchString(name)
}
