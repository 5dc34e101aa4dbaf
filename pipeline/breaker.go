package pipeline

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// A rule that goes wrong, or whose threshold does, holds everybody's money at
// once. The breaker counts, over the last minutes of event time, the refunds that
// each live rule keeps from being approved by itself (rules.Result.Alone), and
// trips where these are more than limits.max_hold_share of all.

// The window: bucket by bucket, so 9.5 to 10 minutes.
const (
	breakerBucket  = 30_000 // milliseconds
	breakerBuckets = 20
	breakerFrom    = 500 // refunds in the window, below which nothing trips
)

// Bounds of what is written with each epoch: of more rules than countedRules,
// those that hold least begin to count anew after a restart.
const (
	maxTripped   = 100
	countedRules = 64
)

type breaker struct {
	limit  Share // 0: off
	newest int64 // the last bucket
	all    window
	rules  map[*rules.Rule]*ruleHolds // live ones
	active []*ruleHolds               // those of rules that hold something in the window
	trips  int                        // how many of rules are tripped
}

// window counts by bucket, at its number modulo breakerBuckets.
type window struct {
	in  [breakerBuckets]int64
	sum int64
}

func (w *window) add(bucket int64) {
	w.in[slot(bucket)]++
	w.sum++
}

func (w *window) drop(bucket int64) {
	w.sum -= w.in[slot(bucket)]
	w.in[slot(bucket)] = 0
}

func slot(bucket int64) int64 {
	return (bucket%breakerBuckets + breakerBuckets) % breakerBuckets
}

// ruleHolds is what one rule holds by itself.
type ruleHolds struct {
	rule *rules.Rule
	window
	trip *trip // nil: it isn't tripped
}

// trip is why a rule is tripped.
type trip struct {
	At       int64 `json:"at"`   // event time of the refund with which it did, Unix milliseconds
	Held     int64 `json:"held"` // by the rule alone, of
	All      int64 `json:"all"`
	Controls int64 `json:"controls"` // a reset from this offset on ends it
}

func newBreaker(limit Share, set *rules.Set) *breaker {
	b := &breaker{limit: limit, newest: math.MinInt64 / 4}
	b.setRules(set)
	return b
}

// setRules goes on with other rules. Those whose file is as it was keep what they
// held, and stay tripped.
func (b *breaker) setRules(set *rules.Set) {
	type kept struct{ id, source string }
	old := map[kept]*ruleHolds{}
	for r, h := range b.rules {
		old[kept{r.ID, r.Source}] = h
	}
	b.rules, b.active, b.trips = map[*rules.Rule]*ruleHolds{}, nil, 0
	for _, r := range set.Rules {
		if r.Mode != rules.Live || b.limit == 0 {
			continue
		}
		h := old[kept{r.ID, r.Source}]
		if h == nil {
			h = &ruleHolds{}
		}
		h.rule = r
		b.rules[r] = h
		if h.sum > 0 {
			b.active = append(b.active, h)
		}
		if h.trip != nil {
			b.trips++
		}
	}
}

// add counts a refund at t. What trips is given to tripped, before it is noted.
func (b *breaker) add(t int64, alone []*rules.Rule, controls int64, tripped func(*ruleHolds)) {
	if b.limit == 0 {
		return
	}
	bucket := bucketOf(t)
	if bucket <= b.newest-breakerBuckets {
		return
	}
	b.advance(bucket)
	b.all.add(bucket)
	for _, r := range alone {
		h := b.rules[r]
		if h == nil {
			continue
		}
		if h.sum == 0 && !slices.Contains(b.active, h) {
			b.active = append(b.active, h)
		}
		h.add(bucket)
		if h.trip == nil && b.trips < maxTripped && b.all.sum >= breakerFrom && h.sum*1_000_000 > int64(b.limit)*b.all.sum {
			h.trip = &trip{At: t, Held: h.sum, All: b.all.sum, Controls: controls}
			b.trips++
			tripped(h)
		}
	}
}

func bucketOf(t int64) int64 {
	bucket := t / breakerBucket
	if t%breakerBucket < 0 {
		bucket--
	}
	return bucket
}

// advance moves the window to a later bucket.
func (b *breaker) advance(to int64) {
	from := max(b.newest, to-breakerBuckets)
	for bucket := from + 1; bucket <= to; bucket++ {
		b.all.drop(bucket)
		for _, h := range b.active {
			h.drop(bucket)
		}
	}
	if to > b.newest {
		b.newest = to
		b.active = slices.DeleteFunc(b.active, func(h *ruleHolds) bool { return h.sum == 0 })
	}
}

// reset ends a rule's trip, if it is from before an offset of the controls, and
// has it counted anew. It reports whether there was one.
func (b *breaker) reset(rule string, offset int64) bool {
	for r, h := range b.rules {
		if r.ID == rule && h.trip != nil && offset >= h.trip.Controls {
			h.trip, h.window = nil, window{}
			b.trips--
			return true
		}
	}
	return false
}

// anyReset has any reset end a trip: the offsets are those of another topic.
func (b *breaker) anyReset() {
	for _, h := range b.rules {
		if h.trip != nil {
			t := *h.trip // the committed progress has the other
			t.Controls = 0
			h.trip = &t
		}
	}
}

// shadows are the ids of the rules that act as shadow.
func (b *breaker) shadows() (ids []string) {
	for r, h := range b.rules {
		if h.trip != nil && r.OnTrip == rules.TripShadow {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// breakerProgress is a breaker as it is written with each epoch. Windows have
// their buckets in order, the last of them newest.
type breakerProgress struct {
	Newest int64          `json:"newest"`
	All    []int64        `json:"all"`
	Rules  []ruleProgress `json:"rules,omitempty"`
}

type ruleProgress struct {
	Rule    string  `json:"rule"`
	Source  string  `json:"source"` // of its file
	Held    []int64 `json:"held,omitempty"`
	Tripped *trip   `json:"tripped,omitempty"`
}

func (b *breaker) progress() *breakerProgress {
	if b.limit == 0 {
		return nil
	}
	p := &breakerProgress{Newest: b.newest, All: b.write(&b.all)}
	// Sorted in place: nothing else hangs on the order.
	slices.SortFunc(b.active, func(x, y *ruleHolds) int {
		return cmp.Or(cmp.Compare(y.sum, x.sum), cmp.Compare(x.rule.ID, y.rule.ID))
	})
	counted := b.active[:min(len(b.active), countedRules)]
	for _, h := range counted {
		p.Rules = append(p.Rules, ruleProgress{h.rule.ID, h.rule.Source, b.write(&h.window), h.trip})
	}
	if b.trips == 0 {
		return p
	}
	written := len(p.Rules)
	for r, h := range b.rules {
		if h.trip != nil && !slices.Contains(counted, h) {
			p.Rules = append(p.Rules, ruleProgress{r.ID, r.Source, nil, h.trip})
		}
	}
	slices.SortFunc(p.Rules[written:], func(x, y ruleProgress) int { return cmp.Compare(x.Rule, y.Rule) })
	return p
}

func (b *breaker) write(w *window) []int64 {
	out := make([]int64, breakerBuckets)
	for i := range out {
		out[i] = w.in[slot(b.newest-breakerBuckets+1+int64(i))]
	}
	return out
}

// resume goes on where a committed progress was. Of rules whose file has changed
// since, nothing is known.
func (b *breaker) resume(p *breakerProgress) {
	if p == nil || b.limit == 0 {
		return
	}
	b.newest, b.active, b.trips = p.Newest, nil, 0
	b.read(&b.all, p.All)
	for r, h := range b.rules {
		h.window, h.trip = window{}, nil
		for _, rp := range p.Rules {
			if rp.Rule == r.ID && rp.Source == r.Source {
				b.read(&h.window, rp.Held)
				h.trip = rp.Tripped
			}
		}
		if h.sum > 0 {
			b.active = append(b.active, h)
		}
		if h.trip != nil {
			b.trips++
		}
	}
}

func (b *breaker) read(w *window, in []int64) {
	*w = window{}
	for i, n := range in {
		if i < breakerBuckets && n > 0 {
			w.in[slot(b.newest-breakerBuckets+1+int64(i))] = n
			w.sum += n
		}
	}
}

// countHolds gives the breaker what was decided, by event time: partitions are
// decided one after the other, and each may be minutes behind the one before.
func (s *session) countHolds(outs []decided, now time.Time) {
	if s.breaker.limit == 0 {
		return
	}
	at := func(i int32) int64 { return s.dueRecs[i].Event.Time }
	s.byTime = s.byTime[:0]
	sorted := true
	for i := range outs {
		s.byTime = append(s.byTime, int32(i))
		sorted = sorted && (i == 0 || at(int32(i-1)) <= at(int32(i)))
	}
	if !sorted {
		slices.SortFunc(s.byTime, func(x, y int32) int { return cmp.Or(cmp.Compare(at(x), at(y)), cmp.Compare(x, y)) })
	}
	latest := now.Add(maxEarly).UnixMilli()
	for _, i := range s.byTime {
		if at(i) > latest {
			break // its producer says when, and one of the next century would end all counting
		}
		s.breaker.add(at(i), outs[i].alone, s.controls.next, func(h *ruleHolds) { s.trip(h, outs[i].id, now) })
	}
}

// trip tells of a rule that is tripped from the end of this epoch on.
func (s *session) trip(h *ruleHolds, decisionID string, now time.Time) {
	s.guardsChanged = true
	s.metrics.trips.WithLabelValues(h.rule.ID).Inc()
	what := "it stays live (on_trip: keep)"
	if h.rule.OnTrip == rules.TripShadow {
		what = "it acts as shadow"
	}
	message := fmt.Sprintf("rule %s alone held or rejected %d of the %d refunds in the 10 minutes up to %s, more than limits.max_hold_share (%s): %s. "+
		"Look at what it holds; it counts as tripped until `refundguard rules reset %s`, or until its file changes", h.rule.ID, h.trip.Held, h.trip.All,
		time.UnixMilli(h.trip.At).UTC().Format(time.RFC3339), s.cfg.Limits.MaxHoldShare, what, h.rule.ID)
	s.log.Error(message)
	s.alert(&event.Alert{AlertID: event.AlertID("breaker", decisionID, h.rule.ID), Rule: "breaker:" + h.rule.ID, Severity: "critical", Message: message, At: now.UnixMilli()})
}
