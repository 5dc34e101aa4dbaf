package rules

import (
	"slices"
	"sort"
	"strings"
)

// builder gathers what the conditions of a set need of past events, each thing
// once.
type builder struct {
	*stores
	lookups  []Lookup
	features []Feature
	baseUsed bool
	live     bool // what is compiled now belongs to a live rule

	lookupAt, featureAt map[string]int
}

// stores are the series that rules on refunds and rules on transactions share.
type stores struct {
	series []Series
	ever   []bool // by series: some window is everything
	at     map[string]int

	expressions int      // past-events expressions, of both
	wide        []string // series with too many columns
}

// maxColumns is how many columns a series can have: its events tell which are
// present in 32 bits.
const maxColumns = 32

func newStores() *stores { return &stores{at: map[string]int{}} }

// newBuilder makes a builder with stores of its own.
func newBuilder() *builder {
	return &builder{stores: newStores(), lookupAt: map[string]int{}, featureAt: map[string]int{}}
}

// feature gives a past-events expression its slot.
func (b *builder) feature(p *pastExpr) int {
	if slot, ok := b.featureAt[p.text]; ok {
		b.features[slot].Live = b.features[slot].Live || b.live
		return slot
	}
	s := b.addSeries(p)
	f := Feature{
		Text: p.text, Lookup: b.addLookup(p, s), Aggregate: p.aggregate, Column: -1,
		Within: p.within, Delayed: p.delayed, Ever: p.ever, Live: b.live,
	}
	if p.column != nil {
		f.Column = b.addColumn(s, p.column)
		f.kind = p.column.Kind
		f.Money = f.kind == ColumnMoney
	}
	slot := len(b.features)
	b.features = append(b.features, f)
	b.featureAt[p.text] = slot
	b.expressions++
	return slot
}

func (b *builder) addSeries(p *pastExpr) int {
	i, ok := b.at[p.series]
	if !ok {
		i = len(b.series)
		b.at[p.series] = i
		b.series = append(b.series, Series{
			Name: p.series, Source: p.source, Stream: p.stream,
			keys: p.keys, where: p.where, currency: currencySlot(p.stream),
		})
		b.ever = append(b.ever, false)
		if p.mayFail {
			b.addColumn(i, &Column{Kind: ColumnFault})
		}
	}
	s := &b.series[i]
	s.Horizon = max(s.Horizon, p.within+p.delayed)
	b.ever[i] = b.ever[i] || p.ever
	s.Names = s.Names || p.aggregate == First || p.aggregate == Last
	if at, known := slices.BinarySearch(s.Windows, p.within); !p.ever && !known {
		s.Windows = slices.Insert(s.Windows, at, p.within)
	}
	return i
}

func (b *builder) addLookup(p *pastExpr, series int) int {
	key := strings.Join(p.keyText, ", ")
	name := p.series + "\x00" + key
	i, ok := b.lookupAt[name]
	if !ok {
		i = len(b.lookups)
		b.lookupAt[name] = i
		b.lookups = append(b.lookups, Lookup{Series: series, Key: key, keys: p.keyExprs})
	}
	return i
}

func (b *builder) addColumn(series int, c *Column) int {
	s := &b.series[series]
	for i := range s.Columns {
		if s.Columns[i].Field == c.Field && s.Columns[i].Kind == c.Kind {
			return i
		}
	}
	s.Columns = append(s.Columns, *c)
	if len(s.Columns) == maxColumns+1 {
		b.wide = append(b.wide, s.Name)
	}
	return len(s.Columns) - 1
}

// finish hands everything to the set.
func (b *builder) finish(s *Set) {
	s.Series, s.Lookups, s.Features, s.baseUsed = b.series, b.lookups, b.features, b.baseUsed
	s.order = make([]int, len(b.features))
	for i := range s.order {
		s.order[i] = i
	}
	sort.Slice(s.order, func(i, j int) bool { return b.features[s.order[i]].Text < b.features[s.order[j]].Text })
}

// finish says what must be kept for ever.
func (s *stores) finish() {
	for i, ever := range s.ever {
		if ever {
			s.series[i].Horizon = 0
		}
	}
}
