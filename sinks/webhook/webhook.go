// Package webhook delivers alerts to HTTP endpoints as Standard Webhooks:
// signed, retried, and bounded.
//
// Each endpoint is a read_committed consumer group of its own on the alerts
// topic, so one that fails for long never holds up another, and Kafka keeps
// what is undelivered. Delivery is at least once: a receiver drops repeats by
// the header webhook-id, which is the alert's id in every try. Alerts may
// arrive in another order than they were made. README.md says what becomes of
// an alert after each answer.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Deps is what a Sink needs of the program around it.
type Deps struct {
	// Options are the Kafka client's: brokers, TLS, SASL. They must not set a
	// transactional id or a group.
	Options          []kgo.Opt
	AlertsTopic      string
	DeadLettersTopic string
	Logger           *slog.Logger          // nil: none
	Registerer       prometheus.Registerer // nil: none

	dial dialer // see WithDial
}

// WithDial has every endpoint connect with dial, past the guard of addresses. It
// is for tests, whose network is their own.
func (d Deps) WithDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) Deps {
	d.dial = dial
	return d
}

// Sink delivers to all endpoints of a configuration.
type Sink struct {
	endpoints []*endpoint
	run       sync.Once
}

// New checks the configuration and builds what Run needs. It makes no
// connection. A Sink whose Run is never called must be closed.
func New(cfg Config, deps Deps) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring the webhooks: %w", err)
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if deps.Registerer == nil {
		deps.Registerer = prometheus.NewRegistry()
	}
	vectors, err := newVectors(deps.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Sink{}
	for _, c := range cfg {
		c = c.withDefaults()
		e, err := newEndpoint(c, deps, vectors.endpoint(c.Name))
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("building webhook %s: %w", c.Name, err)
		}
		s.endpoints = append(s.endpoints, e)
	}
	return s, nil
}

func newEndpoint(c Endpoint, deps Deps, m *metrics) (*endpoint, error) {
	poster, err := newPoster(c, deps.dial)
	if err != nil {
		return nil, err
	}
	consumer, err := newConsumer(deps.Options, c.Group, deps.AlertsTopic, deps.DeadLettersTopic)
	if err != nil {
		return nil, err
	}
	return &endpoint{
		cfg: c, kafka: consumer, poster: poster, m: m,
		log:   deps.Logger.With("endpoint", c.Name),
		watch: newWatch(c.Name), parts: map[int32]*partition{}, gate: newGate(),
		landed: make(chan landing, 2*maxPending),
	}, nil
}

// Run delivers until ctx ends. Tries under way then have five seconds to end;
// what is finished is committed. It returns nil: whatever fails, of Kafka or
// of an endpoint, is waited for, and Status and the metrics say so. A Sink
// runs once.
func (s *Sink) Run(ctx context.Context) error {
	err := errors.New("running the webhooks: they have run, or were closed, before")
	s.run.Do(func() {
		err = nil
		var all sync.WaitGroup
		for _, e := range s.endpoints {
			all.Go(func() {
				e.run(ctx)
				e.close()
			})
		}
		all.Wait()
	})
	return err
}

// Close frees a Sink that is not to be run, e.g. after a check. It does
// nothing once Run was called.
func (s *Sink) Close() {
	s.run.Do(func() {
		for _, e := range s.endpoints {
			e.close()
		}
	})
}

func (e *endpoint) close() {
	e.kafka.close()
	e.poster.client.CloseIdleConnections()
}

// Status is that of each endpoint, in the configuration's order.
func (s *Sink) Status() []Status {
	all := make([]Status, 0, len(s.endpoints))
	for _, e := range s.endpoints {
		status, _, _ := e.watch.see()
		all = append(all, status)
	}
	return all
}

// Ready names every endpoint that isn't delivering, and why; nil: there is
// none. That an endpoint is down is no reason to stop deciding refunds.
func (s *Sink) Ready() error {
	var errs []error
	for _, st := range s.Status() {
		switch {
		case st.State == Active || st.State == Throttled:
		case st.LastError != "":
			errs = append(errs, fmt.Errorf("webhook %s is %s: %s", st.Endpoint, st.State, st.LastError))
		default:
			errs = append(errs, fmt.Errorf("webhook %s is %s", st.Endpoint, st.State))
		}
	}
	return errors.Join(errs...)
}

// Drained waits until every endpoint is done with the alerts before ends: the
// end offset of each partition of the alerts topic, as a read_committed reader
// sees it. It fails early where that can't come to be.
func (s *Sink) Drained(ctx context.Context, ends map[int32]int64) error {
	for _, e := range s.endpoints {
		for {
			status, offsets, changed := e.watch.see()
			missing, partition := int64(0), int32(0)
			for p, end := range ends {
				if at := max(offsets[p], 0); end-at > missing {
					missing, partition = end-at, p
				}
			}
			if missing == 0 {
				break
			}
			behind := fmt.Errorf("webhook %s is %s, and %d records of partition %d are not done", e.cfg.Name, status.State, missing, partition)
			if status.State == Disabled || status.State == Stopped {
				return behind
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", behind, ctx.Err())
			}
		}
	}
	return nil
}
