package webhook

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/refundguard/refundguard/sinks"
)

// What becomes of an alert at one endpoint: values of the label result.
const (
	delivered    = "delivered"
	skipped      = "skipped" // below min_severity
	deadLettered = "dead_lettered"
)

// metrics is one endpoint's.
type metrics struct {
	results  map[string]prometheus.Counter
	retries  map[sinks.Reason]prometheus.Counter
	inFlight prometheus.Gauge
	pending  prometheus.Gauge
	seconds  prometheus.Observer
	down     prometheus.Gauge
	disabled prometheus.Gauge
}

type vectors struct {
	results  *prometheus.CounterVec
	retries  *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
	pending  *prometheus.GaugeVec
	seconds  *prometheus.HistogramVec
	down     *prometheus.GaugeVec
	disabled *prometheus.GaugeVec
}

func newVectors(reg prometheus.Registerer) (*vectors, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"endpoint"}, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"endpoint"})
	}
	v := &vectors{
		results:  counter("refundguard_webhook_deliveries_total", "Alerts that an endpoint is done with, by what became of them.", "result"),
		retries:  counter("refundguard_webhook_retries_total", "Failed tries after which the alert is tried again, by the failure's reason.", "reason"),
		inFlight: gauge("refundguard_webhook_in_flight", "Tries under way."),
		pending:  gauge("refundguard_webhook_pending", "Alerts read and not finished: under way, or waiting for their next try."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "refundguard_webhook_request_duration_seconds", Help: "Time of one try, successful or not.",
			Buckets:                     []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"endpoint"}),
		down:     gauge("refundguard_webhook_endpoint_down", "1 while nothing gets through to the endpoint; alerts wait in Kafka."),
		disabled: gauge("refundguard_webhook_endpoint_disabled", "1 once the endpoint has answered 410 Gone; nothing is sent until a restart."),
	}
	var errs []error
	for _, c := range []prometheus.Collector{v.results, v.retries, v.inFlight, v.pending, v.seconds, v.down, v.disabled} {
		errs = append(errs, reg.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("registering the webhooks' metrics: %w", err)
	}
	return v, nil
}

// endpoint starts the endpoint's series at zero.
func (v *vectors) endpoint(name string) *metrics {
	m := &metrics{
		results: map[string]prometheus.Counter{}, retries: map[sinks.Reason]prometheus.Counter{},
		inFlight: v.inFlight.WithLabelValues(name), pending: v.pending.WithLabelValues(name),
		seconds: v.seconds.WithLabelValues(name),
		down:    v.down.WithLabelValues(name), disabled: v.disabled.WithLabelValues(name),
	}
	for _, r := range []string{delivered, skipped, deadLettered} {
		m.results[r] = v.results.WithLabelValues(name, r)
	}
	for _, r := range sinks.Reasons() {
		m.retries[r] = v.retries.WithLabelValues(name, string(r))
	}
	return m
}

func (m *metrics) tried(d time.Duration) { m.seconds.Observe(d.Seconds()) }
