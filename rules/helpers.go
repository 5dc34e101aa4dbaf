package rules

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/zeebo/xxh3"
)

// divideOrNil is x / y, nil where y is 0.
func divideOrNil(x, y Value) Value {
	v := divide(x, y)
	if v.Kind == KindFault && v.Str == faultZero {
		return Value{}
	}
	return v
}

// zscore is how many standard deviations x is away from the mean.
func zscore(a [4]Value) Value {
	distance := subtract(a[0], a[1])
	if distance.broken() {
		return distance
	}
	v := divideOrNil(distance, a[2])
	v.Currency = 0
	return v
}

// sameCurrency: an amount without a currency, such as an empty sum, goes with
// any.
func sameCurrency(x, y Value) Value {
	_, ok := common(x, y)
	return boolValue(ok)
}

const faultBuckets = "hash_bucket needs at least 1 bucket"

// hashBucket is the same on every machine and in every version: people base
// experiments on it.
func hashBucket(x, y Value) Value {
	if y.Num < 1 {
		return FaultValue(faultBuckets)
	}
	bucket, _ := bits.Mul64(xxh3.HashString(x.Str), uint64(y.Num))
	return IntValue(int64(bucket))
}

// earthRadius is the mean one, in km.
const earthRadius = 6371.0088

// distance is the great-circle distance; nil where a coordinate is none.
func distance(a [4]Value) Value {
	lat1, lon1, lat2, lon2 := a[0].float(), a[1].float(), a[2].float(), a[3].float()
	if math.Abs(lat1) > 90 || math.Abs(lat2) > 90 || math.Abs(lon1) > 180 || math.Abs(lon2) > 180 {
		return Value{}
	}
	const rad = math.Pi / 180
	y, x := math.Sin((lat2-lat1)*rad/2), math.Sin((lon2-lon1)*rad/2)
	h := y*y + math.Cos(lat1*rad)*math.Cos(lat2*rad)*x*x
	return floatValue(2*earthRadius*math.Asin(math.Sqrt(min(h, 1))), 0)
}

// zoned is hour(t, tz) and weekday(t, tz): the zone is found at load.
func (c *compiler) zoned(n ast.Node, name string, args []ast.Node) operand {
	signature := functions[name].signature
	if len(args) != 2 {
		return c.fail(n, fmt.Sprintf("%s has %d arguments here", name, len(args)), "it is called as "+signature)
	}
	t, tz := c.expr(args[0]), c.expr(args[1])
	if t.typ == typeBad || tz.typ == typeBad {
		return bad(n)
	}
	if t.typ != typeTime {
		return c.failAt(t, name+" takes a time, not "+t.typ.String(), "it is called as "+signature+", such as "+name+`(occurred_at, "Europe/Berlin")`)
	}
	const hint = `write a name of the IANA database, such as "Europe/Berlin" or "UTC"`
	if tz.typ != typeText || !tz.konst {
		return c.failAt(tz, "the time zone must be written out", hint)
	}
	zone, err := time.LoadLocation(tz.value.Str)
	if err != nil || tz.value.Str == "" || tz.value.Str == "Local" {
		return c.failAt(tz, quote(tz.value.Str)+" is not a time zone", hint)
	}
	read := func(t time.Time) int { return t.Hour() }
	if name == "weekday" {
		read = func(t time.Time) int { return (int(t.Weekday())+6)%7 + 1 }
	}
	tn, tf := c.need(t, Value{}), t.fn
	return c.fold(operand{node: n, typ: typeInt, maybe: c.nilIn(t), fn: func(f *frame, e *event.Event) Value {
		v := tf(f, e)
		if v.unusable() {
			return v.orNil(tn)
		}
		return IntValue(int64(read(time.UnixMilli(v.Num).In(zone))))
	}}, t)
}
