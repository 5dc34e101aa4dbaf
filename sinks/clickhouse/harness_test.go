package clickhouse_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/pipeline/kafkatest"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

func TestMain(m *testing.M) {
	local.RunIfChild()
	code := m.Run()
	if err := shared.remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// shared is the server of all tests that don't kill theirs.
var shared sharedServer

type sharedServer struct {
	once   sync.Once
	dir    string
	server *local.Server
	err    error
}

func (s *sharedServer) start() (*local.Server, error) {
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "refundguard-clickhouse-"); s.err == nil {
			s.server, s.err = local.Start(context.Background(), local.Config{Dir: s.dir})
		}
	})
	return s.server, s.err
}

func (s *sharedServer) remove() error {
	if s.server != nil {
		s.server.Kill() // the data is of no use any more
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

func server(t testing.TB) *local.Server {
	t.Helper()
	s, err := shared.start()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// A test before may have ended it: see local.Server.
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		answer, err := http.Get("http://" + s.HTTPAddr() + "/ping")
		if err == nil {
			answer.Body.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server is gone: %v, %v", err, s.Err())
		}
	}
}

// patience bounds every wait: far longer than any takes on a loaded machine.
const patience = 90 * time.Second

var topics = clickhouse.Topics{Decisions: "refund-decisions", Alerts: "alerts", Labels: "refund-labels", Cases: "refundguard-cases", DeadLetters: "dead-letters"}

func topicNames() []string {
	return []string{topics.Decisions, topics.Alerts, topics.Labels, topics.Cases, topics.DeadLetters}
}

// world is a Kafka cluster and a database of one test's own.
type world struct {
	t       testing.TB
	fake    *kfake.Cluster // of newFakeWorld
	options []kgo.Opt
	cfg     clickhouse.Config
	log     *slog.Logger
	metrics *prometheus.Registry // of the sink that was made last
	step    int64                // milliseconds of event time between decisions

	mu             sync.Mutex
	decisionsAlone bool // no labels and cases with them
	produced       int  // of decisions so far, for their ids
	cased          int  // of these, those with a case
}

var notLetters = regexp.MustCompile(`[^A-Za-z0-9]+`)

// newWorld has the topics, on whichever Kafka the tests run with.
func newWorld(t testing.TB, s *local.Server) *world {
	t.Helper()
	kafka := kafkatest.Start(t)
	kafka.CreateTopics(3, nil, topicNames()...)
	return worldOf(t, s, kafka.Brokers())
}

// newFakeWorld has a Kafka that can be interfered with.
func newFakeWorld(t testing.TB, s *local.Server) *world {
	t.Helper()
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, topicNames()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	w := worldOf(t, s, kafka.ListenAddrs())
	w.fake = kafka
	return w
}

func worldOf(t testing.TB, s *local.Server, brokers []string) *world {
	cfg := clickhouse.DefaultConfig()
	cfg.Addr = []string{s.Addr()}
	cfg.Username, cfg.Password = local.Username, s.Password()
	cfg.Database = "t_" + strings.ToLower(notLetters.ReplaceAllString(t.Name(), "_")+"_"+rand.Text())
	cfg.BatchInterval = 20 * time.Millisecond
	return &world{
		t: t, step: 3_600_000, cfg: cfg,
		options: []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(50 * time.Millisecond)},
		log:     slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (w *world) newSink() *clickhouse.Sink {
	w.t.Helper()
	w.metrics = prometheus.NewRegistry()
	s, err := clickhouse.New(w.cfg, clickhouse.Deps{Options: w.options, Topics: topics, Logger: w.log, Registerer: w.metrics})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// start runs a sink until the returned function is called, or the test ends.
func (w *world) start() (s *clickhouse.Sink, stop func()) {
	w.t.Helper()
	s = w.newSink()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
		s.Close()
	})
	w.t.Cleanup(stop)
	return s, stop
}

// decision is the record of one decision with two hits.
func (w *world) decision(i int) *kgo.Record {
	at := int64(1_700_000_000_000) + int64(i)*w.step
	d := event.Decision{
		DecisionID: event.DecisionID(fmt.Sprintf("re_%d", i), 0), RefundID: fmt.Sprintf("re_%d", i),
		TransactionID: fmt.Sprintf("tx_%d", i), CustomerID: fmt.Sprintf("cus_%d", i%100),
		Amount: event.Money(1_299_000 + i), Currency: mustCurrency("USD"), Outcome: event.Review, DecidedBy: "engine", Score: 60,
		Hits: []event.Hit{
			{Rule: "refund-velocity", Mode: "live", Action: "review", Score: 40, Severity: "high", Reason: "VELOCITY_CUSTOMER", Message: "many"},
			{Rule: "new-device", Mode: "shadow", Score: 20, Severity: "medium"},
		},
		Skipped:    []string{"needs-mfa"},
		Errors:     []event.RuleError{{Rule: "broken", Error: "division by zero"}},
		Features:   []event.Feature{{Name: `refunds.by(customer_id).within("7d").count()`, Kind: event.FeatureInt, Num: 6}},
		Original:   &event.Original{TransactionID: fmt.Sprintf("tx_%d", i), Amount: 2_000_000, Currency: mustCurrency("USD"), OccurredAt: at - 86_400_000, InstrumentID: "card_1"},
		Ruleset:    "sha256:00",
		OccurredAt: at, ReceivedAt: at + 100, DecidedAt: at + 200,
		Source: event.Source{Topic: "refunds", Partition: 1, Offset: int64(i)},
	}
	return &kgo.Record{Topic: topics.Decisions, Key: []byte(d.RefundID), Value: d.Append(nil)}
}

func mustCurrency(code string) event.Currency {
	c, ok := event.ParseCurrency(code)
	if !ok {
		panic(code)
	}
	return c
}

func alert(i int) *kgo.Record {
	a := event.Alert{AlertID: event.AlertID("test", fmt.Sprint(i)), Rule: "refund-velocity", Severity: "high",
		RefundID: fmt.Sprintf("re_%d", i), Outcome: "review", Amount: 1_299_000, Currency: mustCurrency("EUR"), Message: "many", At: 1_700_000_000_000 + int64(i)}
	return &kgo.Record{Topic: topics.Alerts, Key: []byte(a.AlertID), Value: a.Append(nil)}
}

func label(i int) *kgo.Record {
	l := event.Label{LabelID: event.LabelID(event.LabelByAnalyst, fmt.Sprint(i)), RefundID: fmt.Sprintf("re_%d", i), Label: event.LabelFraud, Source: event.LabelByAnalyst,
		By: "ann", At: 1_700_000_000_000 + int64(i), Weight: 10, Note: "seen before"}
	return &kgo.Record{Topic: topics.Labels, Key: []byte(l.RefundID), Value: l.Append(nil)}
}

// caseOf is the record of a case: one of its changes.
func (w *world) caseOf(i int, state string, change int64) *kgo.Record {
	at := int64(1_700_000_000_000) + int64(i)*w.step
	c := event.CaseSummary{RefundID: fmt.Sprintf("re_%d", i), CustomerID: fmt.Sprintf("cus_%d", i%100), Amount: event.Money(1_299_000 + i), Currency: mustCurrency("USD"), State: state,
		Severity: "high", DecidedBy: "engine", DecisionID: event.DecisionID(fmt.Sprintf("re_%d", i), 1), OccurredAt: at, ReceivedAt: at + 100, OpenedAt: at + 200, Since: at + 200 + change, ChangedAt: at + 200 + change}
	return caseRecord(&c)
}

func caseRecord(c *event.CaseSummary) *kgo.Record {
	return &kgo.Record{Topic: topics.Cases, Key: []byte(c.RefundID), Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: "refundguard-state", Value: []byte(c.State)}, {Key: event.HeaderCase, Value: c.Append(nil)}}}
}

func deadLetter(i int) *kgo.Record {
	d := event.DeadLetter{Code: event.CodeInvalidJSON, Field: "amount", Message: "no number", Topic: "refunds", Partition: 2, Offset: int64(i), Timestamp: 1_700_000_000_000}
	rec := &kgo.Record{Topic: topics.DeadLetters, Key: []byte("cus_1"), Value: []byte("{not json")}
	for _, h := range d.AppendHeaders([]event.Header{{Key: "trace", Value: []byte("abc")}}) {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return rec
}

// produceDecisions writes n more decisions, in transactions of at most 100, and
// for each committed one an aborted one.
func (w *world) produceDecisions(n int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for n > 0 {
		batch := min(n, 100)
		var records []*kgo.Record
		for range batch {
			records = append(records, w.decision(w.produced))
			if !w.decisionsAlone {
				records = append(records, label(w.produced), w.caseOf(w.produced, "in_review", 0), w.caseOf(w.produced, "approved", 1))
				w.cased++
			}
			w.produced++
		}
		w.transaction(kgo.TryAbort, &kgo.Record{Topic: topics.Decisions, Value: []byte(`{"aborted":true}`)})
		w.transaction(kgo.TryCommit, records...)
		n -= batch
	}
}

func (w *world) transaction(end kgo.TransactionEndTry, records ...*kgo.Record) {
	w.t.Helper()
	client, err := kgo.NewClient(append(w.options, kgo.TransactionalID("pipeline"))...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := client.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	if err := connect.EndTransaction(ctx, client, end, records...); err != nil {
		w.t.Fatal(err)
	}
}

// ends are the ends of all topics, once the transactions are over: a broker
// answers before the last of their markers are written.
func (w *world) ends() map[string]map[int32]int64 {
	w.t.Helper()
	client, err := kgo.NewClient(w.options...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	ends := map[string]map[int32]int64{}
	w.wait("transactions to be over", func() bool {
		names := topicNames()
		end, err := adm.ListEndOffsets(context.Background(), names...)
		if err != nil {
			w.t.Fatal(err)
		}
		stable, err := adm.ListCommittedOffsets(context.Background(), names...)
		if err != nil {
			w.t.Fatal(err)
		}
		over := true
		end.Each(func(o kadm.ListedOffset) {
			if ends[o.Topic] == nil {
				ends[o.Topic] = map[int32]int64{}
			}
			ends[o.Topic][o.Partition] = o.Offset
			s, ok := stable.Lookup(o.Topic, o.Partition)
			over = over && ok && s.Offset == o.Offset
		})
		return over
	})
	return ends
}

// drain waits until everything that is in Kafka now is stored and committed.
func (w *world) drain(s *clickhouse.Sink) {
	w.t.Helper()
	ends := w.ends()
	w.wait("all to be stored", func() bool {
		done, err := s.Drained(context.Background(), ends)
		if err != nil {
			w.t.Fatal(err)
		}
		return done
	})
}

func (w *world) wait(what string, done func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func (w *world) conn() driver.Conn {
	w.t.Helper()
	conn, err := ch.Open(&ch.Options{Addr: w.cfg.Addr, Auth: ch.Auth{Database: w.cfg.Database, Username: w.cfg.Username, Password: w.cfg.Password},
		Protocol: map[string]ch.Protocol{clickhouse.Native: ch.Native, clickhouse.HTTP: ch.HTTP}[w.cfg.Protocol]})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	// A client that hung up at a bad moment may have ended it: see local.Server.
	w.wait("the server", func() bool {
		err := conn.Ping(context.Background())
		return err == nil || errors.As(err, new(*ch.Exception))
	})
	return conn
}

// query is the one text that a query gives.
func (w *world) query(query string) (text string) {
	w.t.Helper()
	if err := w.conn().QueryRow(context.Background(), "SELECT toString(("+query+"))").Scan(&text); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return text
}

// expect compares the rows of every table, as they lie there: without FINAL, so
// that a repeat would show.
func (w *world) expect(want map[string]uint64) {
	w.t.Helper()
	for table, n := range want {
		if got := w.query("SELECT count() FROM " + table); got != fmt.Sprint(n) {
			w.t.Errorf("%s has %s rows, want %d", table, got, n)
		}
	}
}

func (w *world) expectDecisions(n int) {
	w.t.Helper()
	w.expect(map[string]uint64{"decisions": uint64(n), "hits": uint64(2 * n), "unreadable": 0})
	if got := w.query("SELECT (count(), countIf(state = 'approved')) FROM cases FINAL"); got != fmt.Sprintf("(%d,%d)", w.cased, w.cased) {
		w.t.Errorf("cases, and those that are approved: %s of %d", got, w.cased)
	}
	if got := w.query("SELECT uniqExact(decision_id) FROM decisions"); got != fmt.Sprint(n) {
		w.t.Errorf("%s different decisions, want %d", got, n)
	}
}

// metric is the value of one series, written as Prometheus does.
func (w *world) metric(series string) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, line := range strings.Split(text.String(), "\n") {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				w.t.Fatal(err)
			}
			return v
		}
	}
	w.t.Fatalf("no metric %s", series)
	return 0
}
