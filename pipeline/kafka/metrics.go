package kafka

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// ClientMetrics is an option that counts what clients do, as refundguard_kafka_….
// All clients that are made with it count as one, under the label client: they come
// and go, and a counter that begins again says nothing.
func ClientMetrics(reg prometheus.Registerer, client string) kgo.Opt {
	reg = unbuffered{prometheus.WrapRegistererWith(prometheus.Labels{"client": client}, reg)}
	return kgo.WithHooks(&clientMetrics{Metrics: kprom.NewMetrics("refundguard", kprom.Subsystem("kafka"), kprom.Registerer(reg),
		kprom.HistogramsFromOpts(kprom.HistogramOpts{Enable: kprom.RequestDurationE2E, Buckets: requestBuckets}))})
}

// requestBuckets reach from 1 ms to 16 s: a fetch without data takes kgo.FetchMaxWait,
// 5 s unless set, and what is above the last bucket can't be told apart.
var requestBuckets = prometheus.ExponentialBuckets(0.001, 2, 15)

// clientMetrics stay when a client is closed, and are made once.
type clientMetrics struct {
	*kprom.Metrics
	made sync.Once
}

func (m *clientMetrics) OnNewClient(cl *kgo.Client) { m.made.Do(func() { m.Metrics.OnNewClient(cl) }) }

func (m *clientMetrics) OnClientClosed(*kgo.Client) {}

// unbuffered leaves out the gauges that look into the first client only.
type unbuffered struct{ prometheus.Registerer }

func (r unbuffered) Register(c prometheus.Collector) error {
	if isBuffered(c) {
		return nil
	}
	return r.Registerer.Register(c)
}

func (r unbuffered) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if !isBuffered(c) {
			r.Registerer.MustRegister(c)
		}
	}
}

func isBuffered(c prometheus.Collector) bool {
	d, ok := c.(prometheus.Metric)
	return ok && strings.Contains(d.Desc().String(), "_buffered_")
}
