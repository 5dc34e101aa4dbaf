package window

// Selection is what of a key belongs to a span: entries that lie in it, and
// beyond Exact whole buckets that nearly do. Some of the latter are entries
// still, which count as the buckets that they will be part of. Its methods
// compute over it; any number of goroutines may use selections of a store that
// is not being written. It is valid until the next insert.
type Selection struct {
	store *Store
	r     record

	lo, hi, skip int // entries in the span
	low, high    int // entries that count as in buckets
	buckets      []bucket
}

// rough reports whether anything but single events is in the selection.
func (x *Selection) rough() bool { return x.low < x.high || len(x.buckets) > 0 }

// Select finds what of a key belongs to a span, into x.
//
// Of the buckets, that of From is in and that of To isn't, so that spans which
// adjoin share no bucket and leave none out, and the event that asks, at To, is
// not in what it asks for. Should events one by one begin before To, all
// buckets up to them are in.
func (s *Store) Select(k Key, sp Span, x *Selection) {
	*x = Selection{store: s, r: s.open(uint64(k))}
	r := &x.r
	x.lo, x.hi, x.skip = s.span(r, sp)
	if s.levels == nil || r.n <= s.spec.Exact && r.b[offFlags]&flagPast == 0 {
		return
	}
	border := max(r.n-s.spec.Exact, 0)
	if x.lo < border {
		x.lo, x.hi = border, max(x.hi, border)
		if x.skip < border {
			x.skip = -1
		}
	}
	from := max(sp.From, before(s.cutoff(r), 1))
	since := r.time(border)
	if sp.To <= from || from >= since {
		return
	}
	newest := r.time(r.n - 1)
	i := s.levelFor(from, newest)
	l := &s.levels[i]
	first := max(l.bucket(from), l.first(newest))
	low, high := r.from(l.start(first)), border
	p := s.pastOf(r)
	if p != nil {
		x.buckets = p[i]
	}
	if sp.To <= since {
		end := l.bucket(sp.To)
		high = min(high, r.from(l.start(end)))
		n, _ := find(x.buckets, end)
		x.buckets = x.buckets[:n]
	}
	n, _ := find(x.buckets, first)
	x.buckets = x.buckets[n:]
	x.low, x.high = min(low, high), high
}

// levelFor is the finest level that reaches back to t, or else the one that
// reaches furthest.
func (s *Store) levelFor(t, newest int64) int {
	for i := range s.levels {
		if l := &s.levels[i]; l.bucket(t) >= l.first(newest) {
			return i
		}
	}
	return len(s.levels) - 1
}
