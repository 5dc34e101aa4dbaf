package rules

import "github.com/refundguard/refundguard/rules/event"

// Total is the value of a Sum or Avg from the column's exact total and the
// number n of events in the window that have the column. The currency is
// ignored where the feature is not money.
func (f *Feature) Total(total, n int64, currency event.Currency) Value {
	if !f.Money || n == 0 {
		currency = 0
	}
	if f.Aggregate == Avg {
		if n == 0 {
			return Value{}
		}
		v := float64(total) / float64(n)
		if f.kind != ColumnInt {
			v = float64(total) / float64(scale) / float64(n)
		}
		return floatValue(v, currency)
	}
	return f.Single(total, currency, "")
}

// Single is the value of a Min, Max, First or Last: what the column holds of one
// event, with its currency where the feature is money, and the text that v
// stands for in a column of texts.
func (f *Feature) Single(v int64, currency event.Currency, text string) Value {
	switch f.kind {
	case ColumnMoney:
		return Value{Kind: KindMoney, Num: v, Currency: currency}
	case ColumnNumber:
		return Value{Kind: KindDecimal, Num: v}
	case ColumnText:
		return Value{Kind: KindString, Str: text}
	case ColumnTime:
		return Value{Kind: KindTime, Num: v}
	case ColumnBool:
		return boolValue(v != 0)
	}
	return IntValue(v)
}

// Deviation is the value of a Stddev from the standard deviation in the column's
// units.
func (f *Feature) Deviation(sd float64, currency event.Currency) Value {
	if f.kind != ColumnInt {
		sd /= scale
	}
	if !f.Money {
		currency = 0
	}
	return floatValue(sd, currency)
}

// Since is the value of a SinceLast at time t: the seconds since the latest
// event, both in Unix milliseconds.
func (f *Feature) Since(t, latest int64) Value {
	return subtract(Value{Kind: KindTime, Num: t}, Value{Kind: KindTime, Num: latest})
}
