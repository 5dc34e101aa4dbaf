package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/sinks"
	"github.com/refundguard/refundguard/sinks/clickhouse"
	"github.com/refundguard/refundguard/sinks/webhook"
)

// How a stop is shared out: the pipeline commits within 8 s, and meanwhile the
// sinks, which lose nothing by stopping, go on for a moment, then stop too.
const (
	stopWithin = 10 * time.Second
	sinksGoOn  = time.Second
)

// service is all of run, for one process or a part of one: it holds no globals,
// and several can run side by side.
type service struct {
	config   config
	log      *slog.Logger
	registry *prometheus.Registry
	kafka    []kgo.Opt
	pipeline *pipeline.Pipeline
	listener net.Listener // nil: no HTTP server

	clickhouse *clickhouse.Sink // nil: off
	webhooks   *webhook.Sink    // nil: off

	mu        sync.Mutex
	waiting   error // why the pipeline isn't started yet
	committed bool  // the pipeline has ended, with everything committed
}

// sink is what both sinks are.
type sink interface {
	Run(context.Context) error
	Ready() error
}

// sinks are those that are on, by name.
func (s *service) sinks() map[string]sink {
	on := map[string]sink{}
	if s.clickhouse != nil {
		on["clickhouse"] = s.clickhouse
	}
	if s.webhooks != nil {
		on["webhooks"] = s.webhooks
	}
	return on
}

// newService builds everything that the configuration says, which must have
// been checked. It connects to nothing but opens http.listen.
func newService(c config, log *slog.Logger) (*service, error) {
	s := &service{config: c, log: log, registry: newRegistry(), waiting: errors.New("starting")}
	var err error
	if s.kafka, err = c.Kafka.Options(log); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	s.pipeline, err = pipeline.New(c.Pipeline, pipeline.Deps{
		Options: s.counted("pipeline"), TransactionalID: c.Kafka.TransactionalID, CreateTopics: c.Kafka.CreateTopics,
		Logger: log, Registerer: s.registry,
	})
	if err != nil {
		return nil, err
	}
	if err := s.addSinks(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.listener, err = listen(c.HTTP.Listen); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close gives up what newService opened. Run does it in the end.
func (s *service) Close() (err error) {
	if s.clickhouse != nil {
		err = s.clickhouse.Close()
	}
	if s.webhooks != nil {
		s.webhooks.Close()
	}
	if s.listener != nil {
		// The HTTP server may have closed it already.
		if e := s.listener.Close(); !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	v := buildVersion()
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "refundguard_build_info", Help: "Which build this is; always 1.",
	}, []string{"version", "revision", "go"})
	info.WithLabelValues(v.Version, v.Revision, v.Go).Set(1)
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return registry
}

// counted is how to reach Kafka, for clients that metrics count under a name.
func (s *service) counted(client string) []kgo.Opt {
	return append(slices.Clone(s.kafka), kafka.ClientMetrics(s.registry, client))
}

// addSinks builds the sinks that are configured.
func (s *service) addSinks() (err error) {
	topics := s.config.Pipeline.Names()
	if len(s.config.ClickHouse.Addr) > 0 {
		deps := clickhouseDeps(s.config.Pipeline)
		deps.Options, deps.Logger, deps.Registerer = s.counted("clickhouse"), s.log.With("sink", "clickhouse"), s.registry
		if deps.Privacy, err = s.config.pseudonymizer(); err != nil {
			return fmt.Errorf("privacy: %w", err)
		}
		s.clickhouse, err = clickhouse.New(s.config.ClickHouse, deps)
		if err != nil {
			return fmt.Errorf("clickhouse: %w", err)
		}
	}
	if len(s.config.Webhooks) > 0 {
		s.webhooks, err = webhook.New(s.config.Webhooks, webhook.Deps{
			Options: s.counted("webhooks"), Logger: s.log.With("sink", "webhook"), Registerer: s.registry,
			AlertsTopic: topics.Alerts, DeadLettersTopic: topics.DeadLetters,
		})
	}
	if err != nil {
		return err
	}
	for name, one := range s.sinks() {
		promauto.With(s.registry).NewGaugeFunc(prometheus.GaugeOpts{Name: "refundguard_sink_ready", Help: "1 while a sink can do its work: clickhouse, webhooks.",
			ConstLabels: prometheus.Labels{"sink": name}}, func() float64 {
			if one.Ready() != nil {
				return 0
			}
			return 1
		})
	}
	return nil
}

// Address is where the HTTP server listens, or "".
func (s *service) Address() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Ready is nil while refunds are being decided.
func (s *service) Ready() error {
	s.mu.Lock()
	waiting := s.waiting
	s.mu.Unlock()
	if waiting != nil {
		return waiting
	}
	return s.pipeline.Ready()
}

func (s *service) setWaiting(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = err
}

// Run works until ctx ends, then finishes what is under way within stopWithin.
// It returns early only where the pipeline says that no waiting helps. A
// service runs once.
func (s *service) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	s.log.Info("stopping")
	select {
	case err := <-done:
		if err == nil {
			s.log.Info("stopped; everything decided is committed")
		}
		return err
	case <-time.After(stopWithin):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.committed {
		s.log.Warn("stopped; a sink was still busy, and repeats at the next start what it had not finished")
		return nil
	}
	return fmt.Errorf("could not stop within %v; what was not committed is done again at the next start", stopWithin)
}

func (s *service) run(ctx context.Context) error {
	sinksCtx, stopSinks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSinks()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(sinksGoOn, stopSinks) })()

	build := buildVersion()
	s.log.Info("starting", "version", build.Version, "kafka", s.config.Kafka.SeedBrokers, "rules", s.config.Pipeline.Rules.Dir,
		"observe", s.config.Pipeline.Observe)
	var background sync.WaitGroup
	server := newServer(s.probes(), s.registry)
	if s.listener != nil {
		s.log.Info("listening", "http", s.Address())
		background.Go(func() {
			if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				s.log.Error("the HTTP server ended; refunds go on being decided", "error", err)
			}
		})
	}
	for name, one := range s.sinks() {
		background.Go(func() {
			if err := one.Run(sinksCtx); err != nil {
				s.log.Error("a sink ended; refunds go on being decided, and it catches up after a restart", "sink", name, "error", err)
			}
		})
	}
	err := s.waitForKafka(ctx)
	telling, stopTelling := context.WithCancel(ctx)
	defer stopTelling()
	if err == nil {
		background.Go(func() { s.tellReady(telling) })
		err = s.pipeline.Run(ctx)
		stopTelling()
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	s.mu.Lock()
	s.committed = err == nil
	s.mu.Unlock()
	stopSinks()
	if shutdownErr := shutdown(server); shutdownErr != nil {
		s.log.Warn("the HTTP server did not end in order", "error", shutdownErr)
	}
	background.Wait()
	return errors.Join(err, s.Close())
}

// tellReady logs when refunds stop being decided, and when they are again: what
// the Kafka client says meanwhile are details.
func (s *service) tellReady(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	ready, since := false, time.Time{} // since when it isn't; zero before the first time
	for {
		switch err := s.Ready(); {
		case err == nil && !ready:
			if ready = true; !since.IsZero() {
				s.log.Info("ready again", "after", time.Since(since).Round(time.Second))
			}
		case err != nil && ready:
			ready, since = false, time.Now()
			s.log.Error("not ready: no refund is decided until this ends", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *service) probes() []probe {
	probes := []probe{{"pipeline", true, s.Ready}}
	on := s.sinks()
	for _, name := range slices.Sorted(maps.Keys(on)) {
		probes = append(probes, probe{name, false, on[name].Ready})
	}
	return probes
}

// waitForKafka returns when the cluster can be worked with, or with ctx's
// error. The client library would wait as well, but not say why.
func (s *service) waitForKafka(ctx context.Context) error {
	backoff := sinks.Backoff{Max: 10 * time.Second}
	said := ""
	for {
		checkCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
		usable, err := kafka.Check(checkCtx, s.kafka)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case usable:
			if err != nil {
				s.log.Warn("some brokers can't be reached", "error", err)
			} else if said != "" {
				s.log.Info("kafka is reachable", "tries", backoff.Failures())
			}
			s.setWaiting(nil)
			return nil
		case err == nil:
			err = errors.New("kafka: no broker answered")
		}
		s.setWaiting(fmt.Errorf("waiting for kafka: %w", err))
		if err.Error() != said {
			said = err.Error()
			s.log.Error("kafka can't be reached; trying again", "error", said)
		}
		if err := backoff.Wait(ctx, 0); err != nil {
			return err
		}
	}
}
