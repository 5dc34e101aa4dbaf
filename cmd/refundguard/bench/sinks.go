package bench

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
	"github.com/refundguard/refundguard/sinks/webhook"
)

// SinksResult is what the sinks did beside a gate, which ends when all is stored.
type SinksResult struct {
	Decided float64           `json:"decided_seconds"` // when the last refund was decided
	Rows    map[string]uint64 `json:"rows"`            // that ClickHouse holds in the end, by table
	Alerts  int               `json:"alerts_received"` // by the webhooks' receiver, after what is measured
}

// alerting is the gate's rules with one that alerts, where there are sinks.
var alerting = strings.Replace(gateRules, "{id: other-instrument,", "{id: other-instrument, severity: high,", 1)

// gateSinks are ClickHouse, a process of its own, what fills it, and what sends
// alerts to a receiver in this process.
type gateSinks struct {
	clickhouse *clickhouse.Sink
	raw        bool // it gets what was sent, too
	webhook    *webhook.Sink
	receiver   *webhook.Receiver
	running    sync.WaitGroup
}

// addSinks starts all but the sinks themselves.
func (run *gateRun) addSinks(ctx context.Context, dir string, raw bool) error {
	schema, err := run.cfg.Schema()
	if err != nil {
		return err
	}
	server, err := local.Start(ctx, local.Config{Dir: filepath.Join(dir, "clickhouse")})
	if err != nil {
		return fmt.Errorf("starting ClickHouse: %w", err)
	}
	run.closes = append(run.closes, func() { _ = server.Close() })
	s := gateSinks{raw: raw}
	cfg := clickhouse.DefaultConfig()
	cfg.Raw = raw
	cfg.Addr, cfg.Username, cfg.Password, cfg.Group = []string{server.Addr()}, local.Username, server.Password(), run.prefix+"clickhouse"
	if _, err := clickhouse.Migrate(ctx, cfg); err != nil { // which is not what is measured
		return fmt.Errorf("making ClickHouse's tables: %w", err)
	}
	brokers, t := []kgo.Opt{kgo.SeedBrokers(run.brokers...)}, run.cfg.Topics
	s.clickhouse, err = clickhouse.New(cfg, clickhouse.Deps{Options: brokers, Schema: schema, Limits: event.DefaultLimits(),
		Topics: clickhouse.Topics{Decisions: t.Decisions, Alerts: t.Alerts, Labels: t.Labels, Cases: t.Cases, Status: t.Status, DeadLetters: t.DeadLetters}})
	if err != nil {
		return err
	}
	run.closes = append(run.closes, func() { _ = s.clickhouse.Close() }, func() { forgetGroup(ctx, run.brokers, cfg.Group) })
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
	if s.receiver, err = webhook.NewReceiver(secret, func(*event.Alert) {}); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for webhooks: %w", err)
	}
	hooks := &http.Server{Handler: s.receiver, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = hooks.Serve(l) }() // until it is closed
	run.closes = append(run.closes, func() { _ = hooks.Close() })
	s.webhook, err = webhook.New(webhook.Config{{Name: "bench", URL: "http://" + l.Addr().String(), Format: "standard", Secret: secret, Group: run.prefix + "webhook", AllowPrivate: []string{"true"}}},
		webhook.Deps{Options: brokers, AlertsTopic: t.Alerts, DeadLettersTopic: t.DeadLetters})
	if err != nil {
		return err
	}
	run.closes = append(run.closes, s.webhook.Close, func() { forgetGroup(ctx, run.brokers, run.prefix+"webhook") })
	run.sinks = &s
	return nil
}

// start has them run until the context ends.
func (s *gateSinks) start(ctx context.Context) {
	s.running.Go(func() { _ = s.clickhouse.Run(ctx) }) // neither fails
	s.running.Go(func() { _ = s.webhook.Run(ctx) })
}

// stored waits until ClickHouse has all that is committed.
func (run *gateRun) stored(ctx context.Context) error {
	t := run.cfg.Topics
	topics := []string{t.Decisions, t.Alerts, t.Labels, t.Cases, t.Status, t.DeadLetters}
	if run.sinks.raw {
		topics = append(topics, run.events...)
	}
	ends, err := run.adm.ListCommittedOffsets(ctx, topics...)
	if err = errors.Join(err, ends.Error()); err != nil {
		return fmt.Errorf("asking where the topics end: %w", err)
	}
	all := map[string]map[int32]int64{}
	for topic, partitions := range ends {
		all[topic] = map[int32]int64{}
		for p, end := range partitions {
			all[topic][p] = end.Offset
		}
	}
	for began := time.Now(); ; {
		switch done, err := run.sinks.clickhouse.Drained(ctx, all); {
		case err != nil:
			return err
		case done:
			return nil
		case time.Since(began) > storedWithin:
			return fmt.Errorf("not all was stored in ClickHouse within %v: %w", storedWithin, run.sinks.clickhouse.Ready())
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

const storedWithin = 10 * time.Minute

// count is after all is stored. It waits for the webhooks.
func (run *gateRun) count(ctx context.Context, refunds int) (r *SinksResult, err error) {
	r = &SinksResult{}
	if r.Rows, err = run.sinks.clickhouse.Counts(ctx); err != nil {
		return nil, err
	}
	if r.Rows["decisions"] != uint64(refunds) {
		return nil, fmt.Errorf("ClickHouse holds %d decisions of %d refunds", r.Rows["decisions"], refunds)
	}
	ends, err := run.adm.ListCommittedOffsets(ctx, run.cfg.Topics.Alerts)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, fmt.Errorf("asking where the alerts end: %w", err)
	}
	alerts := map[int32]int64{}
	for p, end := range ends[run.cfg.Topics.Alerts] {
		alerts[p] = end.Offset
	}
	if err := run.sinks.webhook.Drained(ctx, alerts); err != nil {
		return nil, fmt.Errorf("delivering alerts: %w", err)
	}
	r.Alerts = run.sinks.receiver.Counts().Alerts
	if uint64(r.Alerts) != r.Rows["alerts"] {
		return nil, fmt.Errorf("%d alerts were received, and ClickHouse holds %d", r.Alerts, r.Rows["alerts"])
	}
	return r, nil
}
