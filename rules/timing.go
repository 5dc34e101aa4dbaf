package rules

import "time"

// timedEvery: one refund in so many has its conditions timed. Two looks at the
// clock cost as much as a short condition.
const timedEvery = 64

// timing is what the conditions of the timed refunds took, by rule.
type timing struct {
	runs int
	took []time.Duration // nil: nothing was timed since it was asked for last
	n    []int64
}

// next counts a refund, and reports whether it is to be timed.
func (t *timing) next(rules int) bool {
	t.runs++
	if t.runs%timedEvery != 0 {
		return false
	}
	if t.took == nil {
		t.took, t.n = make([]time.Duration, rules), make([]int64, rules)
	}
	return true
}

// timed is the condition of a rule, and notes how long it took.
func (v *Evaluator) timed(i int) Value {
	start := time.Now()
	val := v.set.conds[i](&v.frame, v.event)
	v.timing.took[i] += time.Since(start)
	v.timing.n[i]++
	return val
}

// Timings gives each rule's evaluations since the last call, and how long their
// conditions took: an estimate, from one refund in 64. Past events, which rules
// share, are looked up before and are not part of it.
func (v *Evaluator) Timings(each func(rule string, n int64, took time.Duration)) {
	t := &v.timing
	if t.took == nil {
		return
	}
	for i, n := range t.n {
		if n > 0 {
			each(v.set.active[i].ID, n*timedEvery, t.took[i]*timedEvery)
		}
	}
	t.took, t.n = nil, nil
}
