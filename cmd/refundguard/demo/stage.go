package demo

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/clickhouse/local"
	"github.com/refundguard/refundguard/sinks/webhook"
)

// stage is everything that runs beside the service.
type stage struct {
	o      Options
	folder *folder
	log    *slog.Logger
	say    *teller
	audit  *Audit

	kafka    *kfake.Cluster
	inputs   []string // topics
	options  []kgo.Opt
	admin    *kadm.Client
	server   *local.Server
	receiver *webhook.Receiver
	hooks    *http.Server
	follower *follower
	feeder   *feeder
	cast     *cast

	prometheus prometheus

	endpoints Endpoints
	service   chan error // its end
	stop      context.CancelFunc
	stopOnce  sync.Once
	stopErr   error

	rowsAt   time.Time
	rowsLast map[string]int64

	mu        sync.Mutex
	lastAlert *event.Alert
}

// partitions of the input topics.
const partitions = 4

func (s *stage) open(ctx context.Context) error {
	var err error
	var src source
	if s.o.Data != "" {
		var f *files
		if f, err = openFiles(s.o.Data); err == nil {
			for id, attack := range f.labels {
				s.audit.Label(id, attack)
			}
			src = f
		}
	} else {
		src, err = generate(s.o.Shop)
	}
	if err != nil {
		return err
	}
	defer func() {
		if s.feeder == nil {
			src.close()
		}
	}()
	s.cast = newCast(s.o, src.streams(), s.audit.shopTime)
	if s.endpoints.HTTP = s.o.HTTP; s.endpoints.HTTP == "" {
		s.endpoints.HTTP = "127.0.0.1:0"
	}
	// Better told now than after ClickHouse was fetched.
	if err := tryAddress(s.endpoints.HTTP); err != nil {
		return err
	}
	if err := s.openKafka(); err != nil {
		return err
	}
	if err := s.openReceiver(); err != nil {
		return err
	}
	s.say.stage("Starting ClickHouse (the first time it is fetched: 180 MB)")
	s.server, err = local.Start(ctx, local.Config{Dir: s.folder.path("clickhouse"), Logger: s.log})
	if err != nil {
		return s.folder.engineHint(err)
	}
	s.endpoints.Kafka = s.kafka.ListenAddrs()
	s.endpoints.ClickHouse = s.server.Addr()
	s.endpoints.Username, s.endpoints.Password = local.Username, s.server.Password()
	s.endpoints.Rules, s.endpoints.State = s.folder.rules, s.folder.path("state")
	s.endpoints.Rates = map[string]string{"EUR": "1.087", "GBP": "1.266", "SEK": "0.0952", "JPY": "0.00667", "CHF": "1.136"}
	if s.cast.on[theLedger] {
		s.endpoints.ETA = demoETA
	}
	if s.cast.on[theAnalyst] {
		s.endpoints.SLA, s.endpoints.SecondAbove = demoSLA, secondAbove
	}
	if s.follower, err = follow(s.options, audited(), s.audit); err != nil {
		return err
	}
	speed := s.o.Speed
	if s.o.Once {
		speed = Max
	}
	s.feeder, err = newFeeder(s.options, src, s.audit, speed)
	return err
}

func (s *stage) openKafka() error {
	address := s.o.Kafka
	if address == "" {
		address = "127.0.0.1:0"
	}
	var err error
	// Where nobody tells what was paid, nothing is late: there is no such topic.
	for _, in := range inputs {
		if in.topic != topicResults || s.cast.on[theLedger] || slices.Contains(s.cast.brings, in.stream) {
			s.inputs = append(s.inputs, in.topic)
		}
	}
	var listening error
	s.kafka, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.SeedTopics(partitions, s.inputs...),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			var l net.Listener
			l, listening = net.Listen(network, address)
			return l, listening
		}))
	if err != nil {
		if listening != nil {
			err = listening
		}
		return fmt.Errorf("starting Kafka at %s: %w", address, err)
	}
	s.options = []kgo.Opt{kgo.SeedBrokers(s.kafka.ListenAddrs()...), kgo.ClientID("refundguard-demo"), kgo.AlwaysRetryEOF()}
	client, err := kgo.NewClient(s.options...)
	if err != nil {
		return fmt.Errorf("making the client that looks after the topics: %w", err)
	}
	s.admin = kadm.NewClient(client)
	return nil
}

func (s *stage) openReceiver() error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	s.endpoints.WebhookSecret = "whsec_" + base64.StdEncoding.EncodeToString(key)
	var err error
	s.receiver, err = webhook.NewReceiver(s.endpoints.WebhookSecret, func(a *event.Alert) {
		s.mu.Lock()
		copied := *a
		s.lastAlert = &copied
		s.mu.Unlock()
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("starting the receiver of webhooks: %w", err)
	}
	s.endpoints.Webhook = "http://" + l.Addr().String() + "/alerts"
	s.hooks = &http.Server{Handler: s.receiver, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.hooks.Serve(l) }() // ends with close
	return nil
}

// startService runs it until stopService; an end before that ends work.
func (s *stage) startService(work context.Context, end context.CancelCauseFunc) error {
	s.say.stage("Starting the service")
	service, err := s.o.NewService(s.endpoints, s.log)
	if err != nil {
		return err
	}
	s.endpoints.HTTP = service.Address()
	ctx, stop := context.WithCancel(work)
	s.stop = stop
	s.service = make(chan error, 1)
	go func() {
		err := service.Run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("it ended without being asked to")
			}
			end(fmt.Errorf("running the service: %w", err))
		}
		s.service <- err
	}()
	return nil
}

// stopService asks the service to commit what it has decided, and waits.
func (s *stage) stopService() error {
	s.stopOnce.Do(func() {
		if s.stop == nil {
			return
		}
		s.stop()
		select {
		case s.stopErr = <-s.service:
		case <-time.After(30 * time.Second):
			s.stopErr = errors.New("it did not end within 30 s")
		}
	})
	return s.stopErr
}

func (s *stage) close() {
	s.prometheus.close()
	if s.cast != nil {
		s.cast.close()
	}
	_ = s.stopService() // was reported, if there was a summary
	if s.feeder != nil {
		s.feeder.client.Close()
		s.feeder.src.close()
	}
	if s.follower != nil {
		s.follower.close()
	}
	if s.hooks != nil {
		s.hooks.Close()
	}
	if s.server != nil {
		if err := s.server.Close(); err != nil {
			s.log.Warn("ClickHouse did not end well", "error", err)
		}
	}
	if s.admin != nil {
		s.admin.Close()
	}
	if s.kafka != nil {
		s.kafka.Close()
	}
}

func tryAddress(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening for HTTP: %w", err)
	}
	return l.Close()
}
