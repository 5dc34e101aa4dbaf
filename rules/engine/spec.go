package engine

import (
	"slices"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/window"
)

// spec says what a store of the whole series must keep, by its index in the set.
func (e *Engine) spec(series int) window.Spec {
	def := &e.set.Series[series]
	s := window.Spec{Horizon: e.horizon(def.Horizon), Columns: len(def.Columns), Exact: e.cfg.ExactEvents}
	for _, set := range []*rules.Set{e.set, e.set.Transactions} {
		if set == nil {
			continue
		}
		for i := range set.Features {
			if f := &set.Features[i]; set.Lookups[f.Lookup].Series == series {
				e.ask(&s, f)
			}
		}
	}
	s.Plain, s.Texts, s.Counted = masks(def.Columns)
	if s.Counted == 0 && s.Columns < window.MaxColumns {
		s.Counted = 1 << s.Columns // none
	}
	return s
}

// masks are the columns of which sums need no currency, of texts, and those that
// distinct is asked of.
func masks(columns []rules.Column) (plain, texts, counted uint32) {
	for i, c := range columns {
		if c.Kind != rules.ColumnMoney {
			plain |= 1 << i
		}
		switch c.Kind {
		case rules.ColumnText:
			texts |= 1 << i
		case rules.ColumnHash:
			counted |= 1 << i
		}
	}
	return plain, texts, counted
}

// ask adds what a feature asks of a store, its column aside.
func (e *Engine) ask(s *window.Spec, f *rules.Feature) {
	s.Names = s.Names || f.Aggregate == rules.First || f.Aggregate == rules.Last
	if f.Ever {
		s.Windows, s.Reaches = append(s.Windows, 0), append(s.Reaches, 0)
		return
	}
	s.Windows, s.Reaches = append(s.Windows, f.Within), append(s.Reaches, e.horizon(f.Within+f.Delayed))
}

// need is what one feature needs of a store of its series; the column that it
// computes comes first, if it has one.
func (e *Engine) need(f *rules.Feature, def *rules.Series) (window.Spec, []rules.Column) {
	s := window.Spec{Exact: e.cfg.ExactEvents}
	e.ask(&s, f)
	if !f.Ever {
		s.Horizon = s.Reaches[0]
	}
	var columns []rules.Column
	if f.Column >= 0 {
		columns = append(columns, def.Columns[f.Column])
	}
	if i := faultColumn(def); i >= 0 {
		columns = append(columns, def.Columns[i])
	}
	return s, columns
}

// faultColumn is the index of a series' ColumnFault; -1 without one.
func faultColumn(def *rules.Series) int {
	return slices.IndexFunc(def.Columns, func(c rules.Column) bool { return c.Kind == rules.ColumnFault })
}

// canServe reports whether a store of one spec has what the other needs, their
// columns aside: those are found by what they hold, wherever they stand.
func canServe(has, need window.Spec) bool {
	need.Columns, need.Counted = 0, 1
	return window.CanServe(has, need)
}

// horizon is what a store must keep for windows that reach back so far (0:
// ever). The store keeps twice as much behind a key's newest event, so that
// refunds up to a window late are exact; a short window must reach over what is
// read ahead, too.
func (e *Engine) horizon(reach int64) int64 {
	if reach == 0 {
		return 0
	}
	return max(reach, (reach+e.cfg.ReadAhead+1)/2)
}

// intern gives the texts of an event their numbers in the store.
func intern(to *window.Store, def *rules.Series, from *event.Event, ev *window.Event) {
	for i := range def.Columns {
		if def.Columns[i].Kind == rules.ColumnText && ev.Present>>i&1 != 0 {
			ev.Values[i] = to.Intern(def.Text(from, i))
		}
	}
}
