package clickhouse_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
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

	"github.com/refundguard/refundguard/pipeline/kafkatest"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
	"github.com/refundguard/refundguard/sinks/privacy"
)

var topics = clickhouse.Topics{Decisions: "refund-decisions", Alerts: "alerts", Labels: "refund-labels", Cases: "refundguard-cases", Status: "refund-status", DeadLetters: "dead-letters"}

func topicNames() []string {
	return []string{topics.Decisions, topics.Alerts, topics.Labels, topics.Cases, topics.Status, topics.DeadLetters, ledgerResults, transactions, refunds}
}

// world is a Kafka cluster and a database of one test's own.
type world struct {
	t       testing.TB
	fake    *kfake.Cluster // of newFakeWorld
	options []kgo.Opt
	cfg     clickhouse.Config
	schema  *event.Schema // nil: the built-in one
	log     *slog.Logger
	metrics *prometheus.Registry // of the sink that was made last
	privacy *privacy.Pseudonymizer
	step    int64 // milliseconds of event time between decisions

	mu             sync.Mutex
	decisionsAlone bool // no labels, cases and so on with them
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
	kafkatest.InProcess(t)
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
	s, err := clickhouse.New(w.cfg, clickhouse.Deps{Options: w.options, Topics: topics, Schema: w.schema, Logger: w.log, Registerer: w.metrics, Privacy: w.privacy})
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
