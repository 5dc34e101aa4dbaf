package engine

import (
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/window"
)

// aggregate computes a feature at time t, the present event's.
func aggregate(wk *worker, f *rules.Feature, at *found, column int, span window.Span, t int64) rules.Value {
	if !at.ok {
		switch f.Aggregate {
		case rules.Count, rules.Distinct:
			return rules.IntValue(0)
		case rules.Sum, rules.Avg:
			return f.Total(0, 0, 0)
		}
		return rules.Value{}
	}
	s, k := at.store, at.key
	switch f.Aggregate {
	case rules.Count:
		return rules.IntValue(s.Count(k, span))
	case rules.Distinct:
		return rules.IntValue(s.Distinct(k, column, span, &wk.distinct))
	case rules.Sum, rules.Avg:
		total, n, currency, err := s.Sum(k, column, span)
		if err != nil {
			return fault(f, err)
		}
		return f.Total(total, n, event.Currency(currency))
	case rules.Min, rules.Max:
		least, greatest, n, currency, err := s.MinMax(k, column, span)
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
		sd, _, n, currency, err := s.Stddev(k, column, span)
		switch {
		case err != nil:
			return fault(f, err)
		case n == 0:
			return rules.Value{}
		}
		return f.Deviation(sd, event.Currency(currency))
	case rules.First:
		v, currency, ok := s.First(k, column, span)
		return single(f, s, v, currency, ok)
	case rules.Last:
		v, currency, ok := s.Last(k, column, span)
		return single(f, s, v, currency, ok)
	case rules.SinceLast:
		latest, ok := s.LastTime(k, span)
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
