package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks"
	"github.com/refundguard/refundguard/sinks/privacy"
)

// maxInserts is how many batches are encoded and sent at a time.
const maxInserts = 4

// Topics are the names of the topics that are copied, but for those of streams.
type Topics struct {
	Decisions, Alerts, Labels, Cases, Status, DeadLetters string
}

func (t Topics) names() []string {
	return []string{t.Decisions, t.Alerts, t.Labels, t.Cases, t.Status, t.DeadLetters}
}

func (t Topics) kind(topic string) kind {
	switch topic {
	case t.Decisions:
		return decisionRecords
	case t.Alerts:
		return alertRecords
	case t.Labels:
		return labelRecords
	case t.Cases:
		return caseRecords
	case t.Status:
		return statusRecords
	}
	return deadLetterRecords
}

// Deps is what a Sink is given.
type Deps struct {
	Options    []kgo.Opt // of every Kafka client: brokers, TLS, SASL, hooks
	Topics     Topics
	Schema     *event.Schema          // of the streams that are copied as they were sent; nil: the built-in one
	Limits     event.Limits           // of their records, as the service has them
	Logger     *slog.Logger           // nil: silent
	Registerer prometheus.Registerer  // nil: metrics are not exported
	Privacy    *privacy.Pseudonymizer // nil: rows say what records say
}

// Sink copies topics to ClickHouse. Any number of them may share the group.
type Sink struct {
	cfg     Config
	topics  Topics
	inputs  []*event.Stream
	limits  event.Limits
	options []kgo.Opt
	log     *slog.Logger
	privacy *privacy.Pseudonymizer
	metrics *metrics
	opts    *ch.Options
	conn    driver.Conn
	native  *native
	slots   chan struct{} // one per insert under way
	trouble troubles
	session atomic.Pointer[session] // the present or last one
}

// New checks the configuration and makes no connection. Close the Sink in the
// end.
func New(cfg Config, deps Deps) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	opts, err := cfg.options()
	if err != nil {
		return nil, err
	}
	if deps.Schema == nil {
		deps.Schema = event.Builtin()
	}
	streams := inputs(deps.Schema, cfg.Raw)
	names := append(deps.Topics.names(), topicsOf(streams)...)
	seen := make(map[string]bool)
	for _, topic := range names {
		if topic == "" || seen[topic] {
			return nil, fmt.Errorf("topics: %q must be %d different names", names, len(names))
		}
		seen[topic] = true
	}
	if err := kgo.ValidateOpts(deps.Options...); err != nil {
		return nil, fmt.Errorf("options of the Kafka client: %w", err)
	}
	// No database is named at login: one that is not there yet must not keep
	// us from asking.
	anywhere := *opts
	anywhere.Auth.Database = ""
	conn, err := ch.Open(&anywhere)
	if err != nil {
		return nil, fmt.Errorf("options of the ClickHouse client: %w", err)
	}
	s := &Sink{
		cfg: cfg, topics: deps.Topics, inputs: streams, limits: deps.Limits, options: deps.Options, log: deps.Logger, privacy: deps.Privacy,
		opts: opts, conn: conn, native: newNative(opts), slots: make(chan struct{}, maxInserts),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.trouble.begin("clickhouse", errors.New("not reached yet"))
	s.metrics = newMetrics(deps.Registerer, names, func(topic string) float64 {
		if ses := s.session.Load(); ses != nil {
			return float64(ses.lag(topic))
		}
		return 0
	})
	return s, nil
}

// reader is that of a topic.
func (s *Sink) reader(topic string) *reader {
	for _, stream := range s.inputs {
		if stream.Topic == topic {
			return &reader{inputRecords, stream, event.NewDecoder(stream, s.limits), s.privacy}
		}
	}
	return &reader{kind: s.topics.kind(topic), privacy: s.privacy}
}

func (s *Sink) target() target {
	return target{s.conn, s.native, s.cfg.Database, s.cfg.Cluster}
}

// Close gives the connections up. Run has returned by then.
func (s *Sink) Close() error {
	if s.native != nil {
		s.native.close()
	}
	return s.conn.Close()
}

// Run copies until ctx ends, and returns nil then. Whatever fails meanwhile is
// tried again; Ready says what. Within 10 s after ctx has ended it has stopped,
// with nothing lost: what was under way is repeated by the next start.
func (s *Sink) Run(ctx context.Context) error {
	if err := s.persist(ctx, "clickhouse", s.prepare); err != nil {
		return nil
	}
	var rollups sync.WaitGroup
	defer rollups.Wait()
	rollups.Go(func() { s.keepRollups(ctx) })
	backoff := sinks.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second}
	for {
		started := time.Now()
		err := s.consume(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(started) > time.Minute {
			backoff.Reset()
		}
		s.trouble.report(s.log, "kafka", err)
		if backoff.Wait(ctx, 0) != nil {
			return nil
		}
	}
}

// prepare waits for no one: it fails where ClickHouse is gone.
func (s *Sink) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if !s.cfg.Migrate {
		if err := writable(s.conn.QueryRow(ctx, asksWhetherReadonly), s.cfg.Username); err != nil {
			return err
		}
		return currentSchema(ctx, s.conn, s.cfg.Database)
	}
	applied, err := migrate(ctx, s.cfg, s.opts)
	if len(applied) > 0 {
		s.log.Info("ClickHouse tables made or changed", "database", s.cfg.Database, "migrations", applied)
	}
	return err
}

// Ping asks whether ClickHouse answers and knows our user.
func (s *Sink) Ping(ctx context.Context) error {
	return fault("ask ClickHouse whether it is there", s.conn.Ping(ctx))
}

// Ready is nil while all goes well, else what doesn't work and since when.
func (s *Sink) Ready() error { return s.trouble.first() }

// Counts is how many rows each table has, repeats counted once.
func (s *Sink) Counts(ctx context.Context) (map[string]uint64, error) {
	counts := make(map[string]uint64)
	for _, table := range tableNames() {
		var n uint64
		query := "SELECT count() FROM " + s.cfg.Database + "." + table + " FINAL SETTINGS do_not_merge_across_partitions_select_final = 1"
		if err := s.conn.QueryRow(ctx, query).Scan(&n); err != nil {
			return nil, fault("count the rows of "+table, err)
		}
		counts[table] = n
	}
	return counts, nil
}

// Drained reports whether all before these offsets (by topic and partition,
// each one past the last) is stored and committed.
func (s *Sink) Drained(ctx context.Context, ends map[string]map[int32]int64) (bool, error) {
	client, err := kgo.NewClient(s.options...)
	if err != nil {
		return false, fmt.Errorf("make a Kafka client: %w", err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	committed, err := adm.FetchOffsets(ctx, s.cfg.Group)
	if err = errors.Join(err, committed.Error()); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return false, kafkaFault("ask for the offsets of group "+s.cfg.Group, err)
	}
	topics := make([]string, 0, len(ends))
	for topic := range ends {
		topics = append(topics, topic)
	}
	starts, err := adm.ListStartOffsets(ctx, topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return false, kafkaFault("ask where topics begin", err)
	}
	for topic, partitions := range ends {
		for partition, end := range partitions {
			var at int64
			if start, ok := starts.Lookup(topic, partition); ok {
				at = start.Offset
			}
			if o, ok := committed.Lookup(topic, partition); ok {
				at = max(at, o.At)
			}
			if at < end {
				return false, nil
			}
		}
	}
	return true, nil
}
