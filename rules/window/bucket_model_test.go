package window_test

import (
	"math"
	"slices"

	"github.com/refundguard/refundguard/rules/window"
)

// resolution is what a spec's level of buckets is, worked out in another way
// than the store does it.
type resolution struct {
	width int64
	reach int64 // 0: for ever
}

func resolutions(spec window.Spec) []resolution {
	var all []resolution
	widest := int64(1)
	for i, w := range spec.Windows {
		if w > 0 {
			all = append(all, resolution{max(w/256, 1), spec.Reaches[i]})
			widest = max(widest, w/256)
		}
	}
	if spec.Horizon == 0 {
		all = append(all, resolution{max(widest, 86_400_000), 0})
	}
	// One is not kept where a finer one, or its like, reaches as far.
	return slices.DeleteFunc(slices.Clone(all), func(a resolution) bool {
		return slices.ContainsFunc(all, func(b resolution) bool {
			return a != b && b.width <= a.width && (b.reach == 0 || a.reach != 0 && b.reach >= a.reach)
		})
	})
}

func floorDiv(t, w int64) int64 {
	k := t / w
	if k*w > t {
		k--
	}
	return k
}

func minus(t, d int64) int64 {
	if t < math.MinInt64+d {
		return math.MinInt64
	}
	return t - d
}

// covers reports whether the level tells of time t.
func (r resolution) covers(t, newest int64) bool {
	return r.reach == 0 || floorDiv(t, r.width) >= floorDiv(minus(minus(newest, r.reach), r.reach), r.width)
}

// everything are all events of a key there ever were, in order.
func (m *model) everything(key string) []window.Event {
	all := slices.Clone(m.keys[key])
	slices.SortFunc(all, order)
	return slices.CompactFunc(all, func(a, b window.Event) bool { return a.Time == b.Time && a.ID == b.ID })
}

// chosen is what an answer over a span is made of, as selection says: events
// one by one, and events in buckets.
func (m *model) chosen(key string, sp window.Span) (single, bucketed []window.Event) {
	all := m.everything(key)
	if len(all) == 0 {
		return nil, nil
	}
	newest := all[len(all)-1].Time
	border := max(len(all)-m.spec.Exact, 0)
	from := sp.From
	if m.spec.Horizon != 0 {
		cutoff := minus(minus(newest, m.spec.Horizon), m.spec.Horizon)
		from = max(from, minus(cutoff, 1))
	}
	if sp.To <= from {
		return nil, nil
	}
	for _, e := range all[border:] {
		if e.Time > from && e.Time <= sp.To && !(sp.HasSkip && e.Time == sp.SkipTime && e.ID == sp.Skip) {
			single = append(single, e)
		}
	}
	since := all[border].Time
	if from >= since {
		return single, nil
	}
	levels := resolutions(m.spec)
	slices.SortFunc(levels, func(a, b resolution) int { return int(a.width - b.width) })
	level := resolution{width: -1}
	furthest := levels[0]
	for _, l := range levels {
		if level.width < 0 && l.covers(from, newest) {
			level = l
		}
		if furthest.reach != 0 && (l.reach == 0 || l.reach > furthest.reach) {
			furthest = l
		}
	}
	if level.width < 0 {
		level = furthest
	}
	for _, e := range all[:border] {
		k := floorDiv(e.Time, level.width)
		if k >= floorDiv(from, level.width) && level.covers(e.Time, newest) && (sp.To > since || k < floorDiv(sp.To, level.width)) {
			bucketed = append(bucketed, e)
		}
	}
	return single, bucketed
}
