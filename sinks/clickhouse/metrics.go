package clickhouse

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/refundguard/refundguard/sinks"
)

type metrics struct {
	rows       *prometheus.CounterVec
	batches    *prometheus.CounterVec
	retries    *prometheus.CounterVec
	unreadable *prometheus.CounterVec
	refused    *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, topics []string, lag func(topic string) float64) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		rows: f.NewCounterVec(prometheus.CounterOpts{
			Name: "refundguard_clickhouse_rows_total",
			Help: "Rows that ClickHouse has acknowledged, by table.",
		}, []string{"table"}),
		batches: f.NewCounterVec(prometheus.CounterOpts{
			Name: "refundguard_clickhouse_batches_total",
			Help: "Batches that ClickHouse has acknowledged in all their tables, by topic.",
		}, []string{"topic"}),
		retries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "refundguard_clickhouse_retries_total",
			Help: "Tries of the ClickHouse sink that failed and are made again, by reason.",
		}, []string{"reason"}),
		unreadable: f.NewCounterVec(prometheus.CounterOpts{
			Name: "refundguard_clickhouse_unreadable_total",
			Help: "Records that the ClickHouse sink could not read and kept in table unreadable, by topic.",
		}, []string{"topic"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "refundguard_clickhouse_refused_total",
			Help: "Records that ClickHouse refused for what they say, and that were dead-lettered, by topic.",
		}, []string{"topic"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "refundguard_clickhouse_batch_seconds",
			Help:                        "Time from a batch being announced to ClickHouse having acknowledged it, retries included, by topic.",
			NativeHistogramBucketFactor: 1.1,
			Buckets:                     []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"topic"}),
	}
	for _, table := range tableNames() {
		m.rows.WithLabelValues(table)
	}
	for _, reason := range sinks.Reasons() {
		m.retries.WithLabelValues(string(reason))
	}
	for _, topic := range topics {
		m.batches.WithLabelValues(topic)
		m.unreadable.WithLabelValues(topic)
		m.refused.WithLabelValues(topic)
		m.seconds.WithLabelValues(topic)
		f.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "refundguard_clickhouse_lag_records",
			Help:        "Offsets that this instance has to store yet, by topic.",
			ConstLabels: prometheus.Labels{"topic": topic},
		}, func() float64 { return lag(topic) })
	}
	return m
}

func (m *metrics) stored(topic string, took time.Duration) {
	m.batches.WithLabelValues(topic).Inc()
	m.seconds.WithLabelValues(topic).Observe(took.Seconds())
}

// retried counts a failure, and says how long ClickHouse wants to be left alone.
func (m *metrics) retried(err error) (after time.Duration) {
	why := sinks.Other
	if e := new(sinks.Error); errors.As(err, &e) {
		why, after = e.Reason, e.After
	}
	m.retries.WithLabelValues(string(why)).Inc()
	return after
}
