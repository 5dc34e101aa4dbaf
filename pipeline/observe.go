package pipeline

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/refundguard/refundguard/rules"
)

// balanceMetric shows one balance, never a part of one and of the next.
type balanceMetric struct {
	last          atomic.Pointer[Balance]
	terms, broken *prometheus.Desc
}

func newBalanceMetric() *balanceMetric {
	b := &balanceMetric{
		terms: prometheus.NewDesc("refundguard_balance_refunds", "Records of the refunds topic by what became of them, as of the last commit: "+
			"approved, in_review, rejected, dead_lettered, duplicates, history; term read is the sum of the others.", []string{"term"}, nil),
		broken: prometheus.NewDesc("refundguard_balance_broken", "1 where the terms of the balance don't add up: nothing is committed then, and the service ends.", nil, nil),
	}
	b.last.Store(&Balance{})
	return b
}

func (b *balanceMetric) Describe(to chan<- *prometheus.Desc) {
	to <- b.terms
	to <- b.broken
}

func (b *balanceMetric) Collect(to chan<- prometheus.Metric) {
	l := b.last.Load()
	for term, n := range map[string]int64{"read": l.Read, "approved": l.Approved, "in_review": l.InReview, "rejected": l.Rejected,
		"dead_lettered": l.DeadLettered, "duplicates": l.Duplicates, "history": l.History} {
		to <- prometheus.MustNewConstMetric(b.terms, prometheus.GaugeValue, float64(n), term)
	}
	to <- prometheus.MustNewConstMetric(b.broken, prometheus.GaugeValue, oneIf(!l.OK()))
}

func (m *metrics) setBalance(b Balance) { m.balance.last.Store(&b) }

// goneAfter is how long the series of a rule stay that is in no set any more: long
// enough to be scraped once more.
const goneAfter = 15 * time.Minute

func (m *metrics) setRules(set *rules.Set, now time.Time) {
	m.rulesetInfo.Reset()
	m.rulesetInfo.WithLabelValues(set.Version).Set(1)
	m.rulesetLoaded.Set(float64(now.UnixMilli()) / 1000)
	all := set.Rules
	if set.Transactions != nil {
		all = slices.Concat(all, set.Transactions.Rules)
	}
	for id, since := range m.present {
		if since.IsZero() {
			m.present[id] = now
		}
	}
	modes := map[rules.Mode]int{rules.Live: 0, rules.Shadow: 0, rules.Off: 0}
	for _, r := range all {
		if modes[r.Mode]++; r.Mode == rules.Off {
			continue
		}
		m.present[r.ID] = time.Time{}
		m.hits.WithLabelValues(r.ID, r.Mode.String())
		m.ruleErrors.WithLabelValues(r.ID)
		m.ruleSeconds.WithLabelValues(r.ID)
		m.ruleEvaluations.WithLabelValues(r.ID)
		m.trips.WithLabelValues(r.ID)
	}
	for mode, n := range modes {
		m.rulesetRules.WithLabelValues(mode.String()).Set(float64(n))
	}
}

// dropGone ends the series of rules that have been gone for goneAfter.
func (m *metrics) dropGone(now time.Time) {
	for id, since := range m.present {
		if since.IsZero() || now.Sub(since) < goneAfter {
			continue
		}
		delete(m.present, id)
		for _, v := range []*prometheus.CounterVec{m.hits, m.ruleErrors, m.ruleSeconds, m.ruleEvaluations, m.trips} {
			v.DeletePartialMatch(prometheus.Labels{"rule": id})
		}
	}
}

// method bounds the label: what senders write is kept as they wrote it.
func (m *metrics) method(method string) string {
	if method == "" || slices.Contains(m.methods, method) {
		return method
	}
	return "other"
}

// observe sets the gauges that are read off the session.
func (m *metrics) observe(s *session) {
	now := s.cfg.now()
	for _, in := range s.inputs {
		lag, behind := int64(0), time.Duration(0)
		for _, p := range in.partitions {
			p.drained()
			lag += p.lag()
			behind = max(behind, p.behind(now))
		}
		m.lag.WithLabelValues(in.stream.Name, in.stream.Topic).Set(float64(lag))
		m.eventTimeLag.WithLabelValues(in.stream.Name, in.stream.Topic).Set(behind.Seconds())
	}
	waiting, oldest := 0, now.UnixMilli()
	for _, p := range s.refunds.partitions {
		if waiting += p.waiting(); p.waiting() > 0 {
			oldest = min(oldest, p.head().Received)
		}
	}
	m.waiting.Set(float64(waiting))
	m.waitingOldest.Set(float64(now.UnixMilli()-oldest) / 1000)
	m.openCases.Set(float64(s.lives.book.Open()))
	for severity := rules.Low; severity <= rules.Critical; severity++ {
		n, since := s.lives.book.Waiting(severity)
		age := 0.
		if n > 0 {
			age = max(0, float64(now.UnixMilli()-since)/1000)
		}
		m.reviews.WithLabelValues(severity.String()).Set(float64(n))
		m.reviewAge.WithLabelValues(severity.String()).Set(age)
		if due := s.lives.book.Deadline(severity); due != 0 {
			m.nextDeadline.WithLabelValues(severity.String()).Set(float64(due-now.UnixMilli()) / 1000)
		} else {
			m.nextDeadline.DeleteLabelValues(severity.String())
		}
	}
	st := s.engine.Stats()
	m.stateKeys.Set(float64(st.Keys))
	m.stateCold.Set(float64(st.Cold))
	m.stateEvents.Set(float64(st.Events))
	m.stateBytes.Set(float64(st.Bytes))
	m.stateLimit.Set(float64(s.cfg.State.Memory))
	m.observeTimings(s)
	m.dropGone(now)
}

func (m *metrics) observeTimings(s *session) {
	s.engine.Timings(func(rule string, n int64, took time.Duration) {
		m.ruleEvaluations.WithLabelValues(rule).Add(float64(n))
		m.ruleSeconds.WithLabelValues(rule).Add(took.Seconds())
	})
}

// behind is how long ago, by its event time, the first record happened that is
// read and waits; where none is read yet, that of what was applied last. It is 0
// at the partition's end.
func (p *partition) behind(now time.Time) time.Duration {
	at := p.watermark
	if r := p.head(); r != nil && r.err == nil {
		at = r.Event.Time
	} else if p.atEnd() {
		return 0
	} else if r := p.peek(); r != nil && r.err == nil {
		at = r.Event.Time
	}
	if at == noTime {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(at)))
}
