package window

import (
	"cmp"
	"math"
	"slices"
)

// level is one resolution of time buckets. Bucket k of it holds the times
// [k·width, (k+1)·width).
type level struct {
	width int64
	keep  uint64 // ms behind the newest event; 0: for ever
}

const (
	bucketsPerWindow = 256
	everWidth        = 24 * 60 * 60 * 1000 // ms, at least, of buckets that are kept for ever
)

// levels are the resolutions that a spec asks for, from the finest to the one
// that reaches back furthest. A finer one that reaches as far makes another
// needless.
func (s *Spec) levels() []level {
	if s.Windows == nil {
		return nil
	}
	var all []level
	widest := int64(1)
	for i, w := range s.Windows {
		if w <= 0 {
			continue
		}
		reach := w
		if i < len(s.Reaches) {
			reach = max(reach, s.Reaches[i])
		}
		width := max(w/bucketsPerWindow, 1)
		widest = max(widest, width)
		all = append(all, level{width: width, keep: 2 * uint64(reach)})
	}
	switch {
	case s.Horizon == 0:
		all = append(all, level{width: max(widest, everWidth)})
	case len(all) == 0:
		all = append(all, level{width: max(s.Horizon/bucketsPerWindow, 1), keep: 2 * uint64(s.Horizon)})
	}
	slices.SortFunc(all, func(a, b level) int {
		return cmp.Or(cmp.Compare(a.width, b.width), -cmp.Compare(a.keep-1, b.keep-1)) // 0 − 1 is the longest
	})
	var out []level
	for _, l := range all {
		if n := len(out); n == 0 || l.keep-1 > out[n-1].keep-1 {
			out = append(out, l)
		}
	}
	return out
}

// bucket is the number of the bucket that holds t.
func (l *level) bucket(t int64) int64 {
	k := t / l.width
	if t%l.width < 0 {
		k--
	}
	return k
}

// start is the first time of bucket k, or the earliest there is.
func (l *level) start(k int64) int64 {
	if k < math.MinInt64/l.width {
		return math.MinInt64
	}
	return k * l.width
}

// first is the first bucket that is kept while a key's newest event is at
// newest.
func (l *level) first(newest int64) int64 {
	if l.keep == 0 {
		return math.MinInt64
	}
	return l.bucket(before(newest, l.keep))
}

// oldest is the earliest time of which anything is kept while a key's newest
// event is at newest. Where there are buckets that is a little before the
// cutoff: a bucket that the cutoff divides is kept whole, and so must hold all
// of its events, in whatever order they come.
func (s *Store) oldest(newest int64) int64 {
	if s.keep == 0 {
		return math.MinInt64
	}
	t := before(newest, s.keep)
	for i := range s.levels {
		l := &s.levels[i]
		t = min(t, l.start(l.first(newest)))
	}
	return t
}
