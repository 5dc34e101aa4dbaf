package integration

import (
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// warehouse is a real ClickHouse and the sink that fills it.
type warehouse struct {
	t      *testing.T
	server *local.Server
	config local.Config
	sink   clickhouse.Config
	kafka  kafka.Config
	log    *logBuffer
}

func newWarehouse(t *testing.T, brokers []string) *warehouse {
	t.Helper()
	if testing.Short() {
		t.Skip("a real ClickHouse is not for the short run")
	}
	w := &warehouse{
		t: t, log: &logBuffer{}, config: local.Config{Dir: t.TempDir(), Memory: 1 << 30},
		sink: clickhouse.DefaultConfig(), kafka: kafka.DefaultConfig(),
	}
	server, err := local.Start(t.Context(), w.config)
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("no ClickHouse: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	t.Cleanup(func() { w.server.Close() })
	w.kafka.SeedBrokers = brokers
	w.sink.Addr, w.sink.Username, w.sink.Password = []string{server.Addr()}, local.Username, server.Password()
	w.sink.BatchRows, w.sink.BatchInterval = 500, 50*time.Millisecond
	return w
}

func newSink(config clickhouse.Config, options []kgo.Opt, log *slog.Logger) (*clickhouse.Sink, error) {
	return clickhouse.New(config, clickhouse.Deps{
		Options: options, Logger: log,
		Topics: clickhouse.Topics{Decisions: "refund-decisions", Alerts: "alerts", Labels: "refund-labels", Cases: "refundguard-cases", Status: "refund-status", DeadLetters: "dead-letters"},
	})
}

// fill runs the sink until stop is called.
func (w *warehouse) fill() (stop func()) {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.log, nil))
	options, err := w.kafka.Options(log)
	if err != nil {
		w.t.Fatal(err)
	}
	sink, err := newSink(w.sink, options, log)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	return func() {
		w.t.Helper()
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the ClickHouse sink stopped with: %v", err)
		}
		if err := sink.Close(); err != nil {
			w.t.Errorf("close the ClickHouse sink: %v", err)
		}
	}
}

// crash kills the server and brings it back on the same ports and data.
func (w *warehouse) crash() {
	w.t.Helper()
	again := w.config
	again.Password = w.server.Password()
	again.Port, again.HTTPPort = w.server.Ports()
	w.server.Kill()
	server, err := local.Start(w.t.Context(), again)
	if err != nil {
		w.t.Fatalf("start ClickHouse again: %v", err)
	}
	w.server = server
}

func (w *warehouse) open() driver.Conn {
	w.t.Helper()
	conn, err := ch.Open(&ch.Options{
		Addr: w.sink.Addr,
		// No database is named: it may not be there yet, and the server in the
		// library ends when a handshake fails.
		Auth: ch.Auth{Username: w.sink.Username, Password: w.sink.Password},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// text is the answer to a query of one row and one column; "" where there is
// none yet.
func (w *warehouse) text(conn driver.Conn, query string) (string, error) {
	var answer string
	err := conn.QueryRow(w.t.Context(), query).Scan(&answer)
	return answer, err
}

// fingerprints tell whether a table holds exactly what the topics say: how many
// rows as they lie there, how many without repeats, and what they add up to.
var fingerprints = map[string]string{
	"decisions": `SELECT concat(toString(count()), ' ', toString(uniqExact(decision_id)), ' ', toString(sum(amount)), ' ', toString(sum(score)),
		' ', toString(countIf(outcome = 'approve')), ' ', toString(countIf(outcome = 'review')), ' ', toString(countIf(outcome = 'reject'))) FROM refundguard.decisions`,
	"hits":         `SELECT concat(toString(count()), ' ', toString(uniqExact(decision_id, rule))) FROM refundguard.hits`,
	"alerts":       `SELECT concat(toString(count()), ' ', toString(uniqExact(alert_id))) FROM refundguard.alerts`,
	"dead_letters": `SELECT concat(toString(count()), ' ', toString(uniqExact(source_topic, source_partition, source_offset)), ' ', toString(sum(length(value)))) FROM refundguard.dead_letters`,
	"unreadable":   `SELECT toString(count()) FROM refundguard.unreadable`,
	"labels":       `SELECT concat(toString(count()), ' ', toString(uniqExact(label_id)), ' ', toString(sum(length(raw)))) FROM refundguard.labels`,
	"cases":        `SELECT concat(toString(count()), ' ', toString(sum(length(raw))), ' ', toString(sum(CRC32(raw)))) FROM refundguard.cases FINAL`,
}

// stores waits until each table has the fingerprint that follows from the
// topics, and fails with what it has instead.
func (w *warehouse) stores(c *model.Comparison, topics model.Topics) {
	c.Helper()
	want := fingerprintsOf(c, topics)
	conn := w.open()
	got := make(map[string]string)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		same := true
		for table, query := range fingerprints {
			answer, err := w.text(conn, query)
			if err != nil {
				answer = err.Error()
			}
			got[table] = answer
			same = same && answer == want[table]
		}
		if same {
			return
		}
	}
	for table := range fingerprints {
		if got[table] != want[table] {
			c.Errorf("table %s has %s, want %s", table, got[table], want[table])
		}
	}
	c.Logf("the sink said:\n%s", w.log)
}

func fingerprintsOf(c *model.Comparison, topics model.Topics) map[string]string {
	var amount, score int64
	hits := 0
	outcomes := make(map[string]int)
	for _, d := range c.Decisions {
		amount += model.Units(c.T, d.Amount)
		score += d.Score
		hits += len(d.Hits)
		outcomes[d.Outcome]++
	}
	sum := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%04d", amount/10_000, amount%10_000), "0"), ".")
	letters, length := topics.ReadCommitted("dead-letters"), 0
	for _, r := range letters {
		length += len(r.Value)
	}
	alerts := len(topics.ReadCommitted("alerts"))
	labels, labelled, labelBytes := topics.ReadCommitted("refund-labels"), make(map[string]bool), 0
	for _, r := range labels {
		l, err := event.ParseLabel(r.Value)
		if err != nil {
			c.Fatal(err)
		}
		labelled[l.LabelID] = true
		labelBytes += len(r.Value)
	}
	cases, caseBytes, sums := make(map[string][]byte), 0, uint64(0) // by refund, whose records are in one partition: the last
	for _, r := range topics.ReadCommitted("refundguard-cases") {
		for _, h := range r.Headers {
			if h.Key == event.HeaderCase {
				cases[string(r.Key)] = h.Value
			}
		}
	}
	for _, summary := range cases {
		caseBytes += len(summary)
		sums += uint64(crc32.ChecksumIEEE(summary))
	}
	return map[string]string{
		"decisions": fmt.Sprintf("%d %d %s %d %d %d %d", len(c.Decisions), len(c.Decisions), sum, score,
			outcomes["approve"], outcomes["review"], outcomes["reject"]),
		"hits":         fmt.Sprintf("%d %d", hits, hits),
		"alerts":       fmt.Sprintf("%d %d", alerts, alerts),
		"dead_letters": fmt.Sprintf("%d %d %d", len(letters), len(letters), length),
		"unreadable":   "0",
		"labels":       fmt.Sprintf("%d %d %d", len(labels), len(labelled), labelBytes),
		"cases":        fmt.Sprintf("%d %d %d", len(cases), caseBytes, sums),
	}
}

// TestClickHouseHasWhatTheTopicsSay runs the sink beside the service, stops it
// and kills its server on the way.
func TestClickHouseHasWhatTheTopicsSay(t *testing.T) {
	s := newScene(t, strangeWorld(t, 20, 4000), 3)
	w := newWarehouse(t, s.cluster.Brokers())
	stop := w.fill()
	s.write(0.4)
	sv := start(t, s.settings)
	s.untilCaughtUp(sv)
	sv.stop()
	stop()
	s.write(0.7)
	stop = w.fill()
	sv = start(t, s.settings)
	s.untilCaughtUp(sv)
	w.crash()
	sv.stop()
	s.write(1)
	c := s.finish(start(t, s.settings))
	w.stores(c, s.cluster)
	stop()
}

func TestClickHouseHasTheRetailYear(t *testing.T) {
	s := newScene(t, retailWorld(t), 3)
	w := newWarehouse(t, s.cluster.Brokers())
	s.write(1)
	stop := w.fill()
	c := s.finish(start(t, s.settings))
	w.stores(c, s.cluster)
	stop()
}

// TestClickHouseTakesEventsOfAnyAge writes refunds of thirty years at once:
// tables are partitioned by month, and a server takes inserts into a hundred
// partitions at most unless it is told otherwise.
func TestClickHouseTakesEventsOfAnyAge(t *testing.T) {
	w := model.NewStrange(t, strangeRuleFile, 0).World
	for i := range 360 {
		at := time.Date(1995, time.Month(1+i), 1, 0, 0, 0, 0, time.UTC)
		w.Add(t, &kgo.Record{Topic: "refunds", Value: fmt.Appendf(nil,
			`{"refund_id":"r%d","customer_id":"c%d","amount":1,"currency":"USD","occurred_at":%d}`, i, i%7, at.UnixMilli())}, model.IsEvent)
	}
	s := newScene(t, w, 1)
	warehouse := newWarehouse(t, s.cluster.Brokers())
	warehouse.sink.BatchRows, warehouse.sink.BatchInterval = 10_000, time.Second
	s.write(1)
	c := s.finish(start(t, s.settings))
	stop := warehouse.fill()
	warehouse.stores(c, s.cluster)
	stop()
}
