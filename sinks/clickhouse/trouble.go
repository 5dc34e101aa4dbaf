package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/refundguard/refundguard/sinks"
)

// troubles is what does not work at the moment, by name of what it concerns.
// Each is logged when it becomes another one, and when it is over.
type troubles struct {
	mu   sync.Mutex
	open map[string]*trouble
}

type trouble struct {
	err   error
	since time.Time
	tries int
}

// begin is a report of what was not tried yet: it is not logged.
func (t *troubles) begin(name string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = map[string]*trouble{name: {err: err, since: time.Now()}}
}

func (t *troubles) report(log *slog.Logger, name string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tr := t.open[name]
	if tr == nil {
		tr = &trouble{since: time.Now()}
		t.open[name] = tr
	}
	tr.tries++
	if tr.err == nil || !same(tr.err, err) {
		log.Warn("ClickHouse sink: trying again", "at", name, "error", err)
	}
	tr.err = err
}

// same reports whether two errors are of one kind: their words may differ by
// no more than the number of a connection or of a port.
func same(a, b error) bool {
	x, y := new(sinks.Error), new(sinks.Error)
	if !errors.As(a, &x) || !errors.As(b, &y) {
		return a.Error() == b.Error()
	}
	was, _ := serverCode(a)
	is, _ := serverCode(b)
	return x.Op == y.Op && x.Reason == y.Reason && was == is
}

// clear forgets the trouble of this name.
func (t *troubles) clear(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, name)
}

// over says that what was tried under this name has worked.
func (t *troubles) over(log *slog.Logger, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tr := t.open[name]; tr != nil {
		if tr.tries > 0 {
			log.Info("ClickHouse sink: works again", "at", name, "tries", tr.tries, "took", time.Since(tr.since).Round(time.Millisecond), "last", tr.err)
		}
		delete(t.open, name)
	}
}

func (t *troubles) overPrefix(log *slog.Logger, prefix string) {
	t.mu.Lock()
	var names []string
	for name := range t.open {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	t.mu.Unlock()
	for _, name := range names {
		t.over(log, name)
	}
}

// first is the trouble that comes first by name, or nil.
func (t *troubles) first() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for name := range t.open {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil
	}
	tr := t.open[slices.Min(names)]
	return fmt.Errorf("%s (%d tries since %s): %w", slices.Min(names), tr.tries, tr.since.UTC().Format(time.RFC3339), tr.err)
}

// persist calls f until it works or ctx ends, and returns ctx's error then.
func (s *Sink) persist(ctx context.Context, name string, f func(context.Context) error) error {
	backoff := sinks.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second}
	for {
		err := f(ctx)
		if err == nil {
			s.trouble.over(s.log, name)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		after := s.metrics.retried(err)
		s.trouble.report(s.log, name, err)
		if err := backoff.Wait(ctx, after); err != nil {
			return err
		}
	}
}

// kafkaFault says why op, which was asked of Kafka, failed.
func kafkaFault(op string, err error) error {
	e := &sinks.Error{Op: op, Reason: sinks.NetworkReason(err), Retryable: true, Err: err}
	if answer := new(kerr.Error); errors.As(err, &answer) {
		switch answer {
		case kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.SaslAuthenticationFailed:
			e.Reason = sinks.Denied
		default:
			e.Reason = sinks.Server
		}
	}
	return e
}
