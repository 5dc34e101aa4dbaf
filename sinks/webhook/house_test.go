package webhook_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/webhook"
)

const (
	secretA = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secretB = "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IQ=="
)

// house is a Kafka, receivers and sinks. Made by newHouse they live in one
// synctest bubble: waiting takes no time, and nothing leaves the process.
type house struct {
	t       *testing.T
	net     *kfake.VirtualNetwork // nil: loopback
	kafka   *kfake.Cluster
	writer  *kgo.Client
	logs    logs
	reg     *prometheus.Registry
	servers []*http.Server
	stops   []func()
}

func newHouse(t *testing.T, partitions int32) *house {
	h := &house{t: t, net: &kfake.VirtualNetwork{}}
	h.open(partitions, kfake.Ports(9092), kfake.ListenFn(h.net.Listen), kfake.GroupMaxSessionTimeout(6*time.Hour))
	return h
}

// newRealHouse uses the network and the clock of this machine.
func newRealHouse(t *testing.T, partitions int32) *house {
	h := &house{t: t}
	h.open(partitions)
	return h
}

func (h *house) open(partitions int32, opts ...kfake.Opt) {
	cluster, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1),
		kfake.SeedTopics(partitions, "alerts"), kfake.SeedTopics(1, "dead-letters"))...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.kafka = cluster
	h.t.Cleanup(cluster.Close)
	h.writer, err = kgo.NewClient(append(h.options(), kgo.TransactionalID("refundguard"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		for _, stop := range h.stops {
			stop()
		}
		for _, s := range h.servers {
			s.Close()
		}
		h.writer.Close()
	})
}

func (h *house) options() []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(h.kafka.ListenAddrs()...)}
	if h.net == nil {
		return append(opts, kgo.HeartbeatInterval(100*time.Millisecond), kgo.FetchMaxWait(100*time.Millisecond))
	}
	return append(opts, kgo.Dialer(h.net.DialContext), kgo.DisableClientMetrics(),
		// Days pass in these tests: without these, mostly in heartbeats.
		kgo.HeartbeatInterval(time.Hour), kgo.SessionTimeout(5*time.Hour), kgo.RebalanceTimeout(5*time.Hour),
		kgo.FetchMaxWait(time.Hour), kgo.MetadataMaxAge(time.Hour), kgo.ConnIdleTimeout(15*time.Minute))
}

// serve answers on 127.0.0.1:port.
func (h *house) serve(port int, handler http.Handler) (stop func()) {
	listener, err := h.net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		h.t.Fatal(err)
	}
	s := &http.Server{Handler: handler}
	go s.Serve(listener)
	h.servers = append(h.servers, s)
	return func() { s.Close() }
}

// start runs a sink; stop ends it and waits for its end.
func (h *house) start(cfg ...webhook.Endpoint) (sink *webhook.Sink, stop func()) {
	h.reg = prometheus.NewRegistry()
	deps := webhook.Deps{
		Options: h.options(), AlertsTopic: "alerts", DeadLettersTopic: "dead-letters",
		Logger: slog.New(slog.NewTextHandler(&h.logs, nil)), Registerer: h.reg,
	}
	if h.net != nil {
		deps = deps.WithDial(h.net.DialContext)
	}
	sink, err := webhook.New(cfg, deps)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := sink.Run(ctx); err != nil {
			h.t.Errorf("Run: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	h.stops = append(h.stops, stop)
	return sink, stop
}

func endpoint(name string, port int) webhook.Endpoint {
	return webhook.Endpoint{Name: name, URL: fmt.Sprintf("http://127.0.0.1:%d/alerts", port), Secret: secretA}
}

func alertOf(id, severity string) *event.Alert {
	return &event.Alert{
		AlertID: id, Rule: "refund-velocity", Severity: severity, RefundID: "ref_" + id, CustomerID: "cus_1",
		Message: "cus_1 asked for 6 refunds in 7 days", At: time.Now().UnixMilli(),
	}
}

// produce writes alerts in one transaction, round robin over the partitions.
func (h *house) produce(alerts ...*event.Alert) {
	var values [][]byte
	for _, a := range alerts {
		values = append(values, a.Append(nil))
	}
	h.produceRaw(kgo.TryCommit, values...)
}

func (h *house) produceRaw(end kgo.TransactionEndTry, values ...[]byte) {
	h.t.Helper()
	partitions := int32(len(h.ends()))
	if err := h.writer.BeginTransaction(); err != nil {
		h.t.Fatal(err)
	}
	var written []*kgo.Record
	for i, v := range values {
		r := &kgo.Record{Topic: "alerts", Key: fmt.Append(nil, i), Value: v, Partition: int32(i) % partitions,
			Headers: []kgo.RecordHeader{{Key: "own", Value: []byte("header")}}}
		if err := h.writer.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			h.t.Fatal(err)
		}
		written = append(written, r)
	}
	if err := connect.EndTransaction(context.Background(), h.writer, end, written...); err != nil {
		h.t.Fatal(err)
	}
}

// many are n alerts, prefix-0 and on.
func many(prefix string, n int) (alerts []*event.Alert) {
	for i := range n {
		alerts = append(alerts, alertOf(fmt.Sprintf("%s-%d", prefix, i), "high"))
	}
	return alerts
}

func (h *house) ends() map[int32]int64 {
	h.t.Helper()
	list, err := kadm.NewClient(h.writer).ListCommittedOffsets(context.Background(), "alerts")
	if err != nil {
		h.t.Fatal(err)
	}
	ends := map[int32]int64{}
	list.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends
}

// drained waits, at most so long, until the sink is done with all there is.
func (h *house) drained(sink *webhook.Sink, within time.Duration) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := sink.Drained(ctx, h.ends()); err != nil {
		h.t.Fatalf("%v\n%s", err, h.logs.String())
	}
}

// deadLetters reads that topic from its beginning.
func (h *house) deadLetters(want int) []*kgo.Record {
	h.t.Helper()
	client, err := kgo.NewClient(append(h.options(), kgo.ConsumeTopics("dead-letters"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		h.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var records []*kgo.Record
	for len(records) < want && ctx.Err() == nil {
		records = append(records, client.PollFetches(ctx).Records()...)
	}
	if len(records) != want {
		h.t.Fatalf("%d dead letters, want %d", len(records), want)
	}
	return records
}

func (h *house) metric(name string, want float64, labels ...string) {
	h.t.Helper()
	families, err := h.reg.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			var have []string
			for _, l := range m.Label {
				have = append(have, l.GetValue())
			}
			if strings.Join(have, " ") == strings.Join(labels, " ") {
				if got := m.GetCounter().GetValue() + m.GetGauge().GetValue(); got != want {
					h.t.Errorf("%s%v is %v, want %v", name, labels, got, want)
				}
				return
			}
		}
	}
	h.t.Errorf("no series %s%v", name, labels)
}

// hit is one request that a server got.
type hit struct {
	at   time.Time
	id   string
	head http.Header
	body []byte
}

// script answers by id and by how often the id came, and keeps what it got.
type script struct {
	answer func(w http.ResponseWriter, id string, try int)

	mu   sync.Mutex
	hits []hit
	seen map[string]int
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	id := r.Header.Get("webhook-id")
	s.mu.Lock()
	if s.seen == nil {
		s.seen = map[string]int{}
	}
	s.seen[id]++
	try := s.seen[id]
	s.hits = append(s.hits, hit{time.Now(), id, r.Header.Clone(), body})
	s.mu.Unlock()
	if s.answer != nil {
		s.answer(w, id, try)
	}
}

// tries is how often the id came.
func (s *script) tries(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[id]
}

func (s *script) all() []hit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]hit(nil), s.hits...)
}

// logs is a writer that can be read meanwhile.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
