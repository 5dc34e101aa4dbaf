package engine

import (
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/window"
)

// absent is a feature over a key that no event has.
func absent(f *rules.Feature) rules.Value {
	switch f.Aggregate {
	case rules.Count, rules.Distinct:
		return rules.IntValue(0)
	case rules.Sum, rules.Avg:
		return f.Total(0, 0, 0)
	}
	return rules.Value{}
}

// aggregate computes a feature over past events at time t, the present event's.
func aggregate(wk *worker, f *rules.Feature, s *window.Store, x *window.Selection, column int, t int64) rules.Value {
	switch f.Aggregate {
	case rules.Count:
		return rules.IntValue(x.Count())
	case rules.Distinct:
		return rules.IntValue(x.Distinct(column, &wk.distinct))
	case rules.Sum, rules.Avg:
		total, n, currency, err := x.Sum(column)
		if err != nil {
			return fault(f, err)
		}
		return f.Total(total, n, event.Currency(currency))
	case rules.Min, rules.Max:
		least, greatest, n, currency, err := x.MinMax(column)
		switch {
		case err != nil:
			return fault(f, err)
		case n == 0:
			return rules.Value{}
		case f.Aggregate == rules.Min:
			return f.Single(least, event.Currency(currency), "")
		}
		return f.Single(greatest, event.Currency(currency), "")
	case rules.Stddev:
		sd, _, n, currency, err := x.Stddev(column)
		switch {
		case err != nil:
			return fault(f, err)
		case n == 0:
			return rules.Value{}
		}
		return f.Deviation(sd, event.Currency(currency))
	case rules.First:
		v, currency, ok := x.First(column)
		return single(f, s, v, currency, ok)
	case rules.Last:
		v, currency, ok := x.Last(column)
		return single(f, s, v, currency, ok)
	case rules.SinceLast:
		latest, ok := x.LastTime()
		if !ok {
			return rules.Value{}
		}
		return f.Since(t, latest)
	}
	return rules.FaultValue(f.Text + ": this version of the engine does not compute it")
}

func single(f *rules.Feature, s *window.Store, v int64, currency uint16, ok bool) rules.Value {
	if !ok {
		return rules.Value{}
	}
	return f.Single(v, event.Currency(currency), s.Text(v))
}

func fault(f *rules.Feature, err error) rules.Value {
	return rules.FaultValue(f.Text + ": " + err.Error())
}
