package quality_test

import (
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/rules/quality"
)

// refund is a life with what the model says of it.
type refund struct {
	life
	engine                           *event.Decision
	final                            event.Outcome
	labelled, fraud, judged, holdout bool
	analyst                          bool
}

// model measures slowly: each figure is a count over all refunds of what the
// README says it is.
func model(o quality.Options, lives []life) *quality.Report {
	out := &quality.Report{Base: o.Base.String(), Rules: []quality.Rule{}, Rulesets: []quality.Ruleset{}}
	var refunds []*refund
	for _, l := range lives {
		if r := look(o, l); r != nil {
			refunds = append(refunds, r)
		} else if len(l.labels) > 0 {
			out.Unmatched++
		}
	}
	number := func(is func(*refund) bool) (n int64) {
		for _, r := range refunds {
			if is(r) {
				n++
			}
		}
		return n
	}
	young := func(r *refund) bool { return r.engine.DecidedAt > o.JudgedUntil }
	out.Refunds = number(func(*refund) bool { return true })
	out.TooYoung = number(young)
	out.Holdout = number(func(r *refund) bool { return r.holdout && !young(r) })
	out.Labelled = number(func(r *refund) bool { return r.judged })
	out.Fraud = number(func(r *refund) bool { return r.judged && r.fraud })

	noRate := map[string]bool{}
	sum := func(is func(*refund) bool) quality.Sum {
		var all []*refund
		for _, r := range refunds {
			if is(r) {
				all = append(all, r)
				if _, ok := o.AmountBase(r.engine.Amount, r.engine.Currency); !ok {
					noRate[r.engine.Currency.String()] = true
				}
			}
		}
		return total(o, all)
	}
	share := func(is, of func(*refund) bool) quality.Share {
		s := quality.Share{Count: number(func(r *refund) bool { return of(r) && is(r) }), Of: number(of)}
		if s.Of > 0 {
			low, high := quality.Wilson(s.Count, s.Of)
			s.Interval = &quality.Interval{Share: float64(s.Count) / float64(s.Of), Low: low, High: high}
		}
		return s
	}
	fraud := func(r *refund) bool { return r.fraud }
	measure := func(hit, held func(*refund) bool, among func(*refund) bool) quality.Quality {
		q := quality.Quality{
			Hits:        number(hit),
			TooYoung:    number(func(r *refund) bool { return hit(r) && young(r) }),
			Labelled:    number(func(r *refund) bool { return hit(r) && r.judged }),
			HoldoutHits: number(func(r *refund) bool { return hit(r) && r.holdout && !young(r) }),
			Biased:      share(fraud, func(r *refund) bool { return hit(r) && r.judged }),
			Unbiased:    share(fraud, func(r *refund) bool { return hit(r) && r.judged && r.holdout }),
			Recall:      share(hit, func(r *refund) bool { return among(r) && r.judged && r.fraud }),
			Caught:      sum(func(r *refund) bool { return held(r) && r.fraud && r.final != event.Approve }),
			WronglyHeld: sum(func(r *refund) bool { return held(r) && r.labelled && !r.fraud }),
			Cases:       number(func(r *refund) bool { return held(r) && r.engine.Outcome == event.Review && r.analyst }),
		}
		q.Minutes = o.MinutesPerCase * float64(q.Cases)
		return q
	}
	stopped := func(r *refund) bool { return r.engine.Outcome != event.Approve }
	for _, rule := range []string{"r1", "r2", "r3"} {
		for _, mode := range []string{"live", "shadow"} {
			hit := func(r *refund) bool { return r.hit(rule, mode) != nil }
			held := func(r *refund) bool { return hit(r) && holds(*r.hit(rule, mode)) && stopped(r) }
			if number(hit) > 0 {
				out.Rules = append(out.Rules, quality.Rule{Rule: rule, Mode: mode, Quality: measure(hit, held, func(*refund) bool { return true })})
			}
		}
	}
	first := map[string]int64{}
	for _, r := range refunds {
		if was, seen := first[r.engine.Ruleset]; !seen || r.engine.DecidedAt < was {
			first[r.engine.Ruleset] = r.engine.DecidedAt
		}
	}
	versions := slices.Sorted(maps.Keys(first))
	slices.SortStableFunc(versions, func(a, b string) int { return int(first[a] - first[b]) })
	for _, version := range versions {
		among := func(r *refund) bool { return r.engine.Ruleset == version }
		held := func(r *refund) bool { return among(r) && slices.ContainsFunc(r.engine.Hits, holds) && stopped(r) }
		hit := func(r *refund) bool {
			return among(r) && slices.ContainsFunc(r.engine.Hits, holds) && (stopped(r) || r.holdout)
		}
		out.Rulesets = append(out.Rulesets, quality.Ruleset{Ruleset: version, Refunds: number(among),
			Labelled: number(func(r *refund) bool { return among(r) && r.judged }), Quality: measure(hit, held, among)})
	}
	out.NoRate = slices.Sorted(maps.Keys(noRate))
	return out
}

func holds(h event.Hit) bool {
	return h.Mode == "live" && (h.Action == "review" || h.Action == "reject" || h.Score > 0)
}

func (r *refund) hit(rule, mode string) *event.Hit {
	for i := range r.engine.Hits {
		if h := &r.engine.Hits[i]; h.Rule == rule && h.Mode == mode {
			return h
		}
	}
	return nil
}

// look is nil for a refund that isn't measured.
func look(o quality.Options, l life) *refund {
	r := &refund{life: l}
	for _, d := range l.decisions {
		if d.DecidedBy == "engine" {
			measured := d.DecidedAt >= o.From && (o.To == 0 || d.DecidedAt < o.To) &&
				strings.HasPrefix(d.Ruleset, "sha256:"+strings.TrimPrefix(o.Ruleset, "sha256:"))
			if r.engine == nil && measured {
				r.engine = d
			}
			continue
		}
		r.final = d.Outcome // they are in order
		r.analyst = r.analyst || d.DecidedBy == "analyst:ann" && d.Outcome != event.Review
	}
	if r.engine == nil {
		return nil
	}
	r.holdout = r.engine.Holdout
	if r.labelled = len(l.labels) > 0; r.labelled {
		best := slices.MaxFunc(l.labels, func(a, b *event.Label) int {
			switch {
			case a.Outranks(b):
				return 1
			case b.Outranks(a):
				return -1
			}
			return 0
		})
		r.fraud = best.Label == event.LabelFraud
		r.judged = r.engine.DecidedAt <= o.JudgedUntil
	}
	return r
}

// total sums up with rationals.
func total(o quality.Options, refunds []*refund) quality.Sum {
	by, base := map[string]*big.Rat{}, new(big.Rat)
	add := func(sum *big.Rat, m event.Money) {
		one, _ := new(big.Rat).SetString(m.String())
		sum.Add(sum, one)
	}
	for _, r := range refunds {
		code := r.engine.Currency.String()
		if by[code] == nil {
			by[code] = new(big.Rat)
		}
		add(by[code], r.engine.Amount)
		if m, ok := o.AmountBase(r.engine.Amount, r.engine.Currency); ok {
			add(base, m)
		}
	}
	s := quality.Sum{Refunds: int64(len(refunds)), ByCurrency: map[string]string{}, Base: decimal(base, 2)}
	for code, sum := range by {
		s.ByCurrency[code] = decimal(sum, map[string]int{"USD": 2, "EUR": 2, "JPY": 0}[code])
	}
	return s
}

// decimal has four decimals, less the zeros beyond the minor unit.
func decimal(sum *big.Rat, minor int) string {
	text := sum.FloatString(4)
	for range 4 - minor {
		text = strings.TrimSuffix(text, "0")
	}
	return strings.TrimSuffix(text, ".")
}
