// Package pipeline reads refunds and what happens around them from Kafka,
// decides every refund once, and writes the decisions, in one transaction with
// its own progress.
//
// Work goes in epochs, each one Kafka transaction: read into bounded buffers,
// apply to the keyed state, decide what is due, commit. README.md tells how
// alignment, commits and recovery work, and what is promised.
package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/calendar"
	"github.com/refundguard/refundguard/pipeline/messages"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// Deps is what the pipeline is given.
type Deps struct {
	Options         []kgo.Opt // how to reach the cluster
	TransactionalID string    // one per deployment
	CreateTopics    bool      // create what is missing
	Logger          *slog.Logger
	Registerer      prometheus.Registerer
	Now             func() time.Time // the machine's clock, for what is stamped with it; nil: time.Now
	Host            string           // names this process to people; "": the machine and the process id
	Files           vfs.FS           // where state.dir is; nil: this machine's disks
}

// Pipeline is one instance of the service's core. Several can run in one
// process.
type Pipeline struct {
	cfg     Config
	deps    Deps
	schema  *event.Schema
	set     *rules.Set // as loaded by New; reloads go to the session
	opts    rules.Options
	metrics *metrics
	log     *slog.Logger

	checkpoints *checkpoints       // nil: none
	calendar    *calendar.Calendar // likewise
	messages    *messages.Messages

	mu    sync.Mutex
	state error     // why it isn't ready; nil: live
	told  time.Time // when that was said
	last  *progress // committed last
}

// New checks the configuration and loads the rules. It makes no connection.
// The error may join several faults; those of rules are rules.Errors.
func New(cfg Config, deps Deps) (*Pipeline, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Engine.Workers == 0 {
		cfg.Engine.Workers = runtime.GOMAXPROCS(0)
	}
	cfg.Holdout.Key = cmp.Or(cfg.Holdout.Key, "holdout of "+deps.TransactionalID)
	schema, err := cfg.Schema()
	if err != nil {
		return nil, err
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	p := &Pipeline{cfg: cfg, deps: deps, schema: schema, log: deps.Logger, state: errors.New("starting")}
	if p.calendar, err = calendar.New(cfg.Review.Calendar); err != nil {
		return nil, fmt.Errorf("review.calendar.%w", err)
	}
	if p.messages, err = messages.New(cfg.Messages); err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	p.opts = cfg.RuleOptions(schema)
	if p.set, err = rules.Load(cfg.Rules.Dir, p.opts); err != nil {
		return nil, fmt.Errorf("rules in %s:\n%w", cfg.Rules.Dir, err)
	}
	for _, w := range p.set.Warnings {
		p.log.Warn("rules", "warning", w)
	}
	p.metrics = newMetrics(deps.Registerer, schema, p.Ready)
	p.metrics.setRules(p.set, deps.Now())
	if cfg.State.Checkpoint != "" {
		bucket, err := OpenCheckpoints(cfg, deps.TransactionalID, "")
		if err != nil {
			return nil, err
		}
		p.checkpoints = &checkpoints{bucket: bucket, every: cfg.State.CheckpointInterval, keep: cfg.State.CheckpointKeep, began: time.Now(), log: p.log, metrics: p.metrics}
	}
	return p, nil
}

// Ready is nil while refunds are being decided, else why they aren't.
func (p *Pipeline) Ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// It is said each second. What hangs says nothing: a disk that gives no
	// answer may be waited for in the middle of a decision.
	if silent := time.Since(p.told); p.state == nil && silent > 2*stuck {
		return fmt.Errorf("nothing has moved for %s: does the disk of state.dir answer?", silent.Round(time.Second))
	}
	return p.state
}

// Balance is the balance as of the last commit of this process.
func (p *Pipeline) Balance() Balance {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return Balance{}
	}
	return p.last.Balance
}

// epoch is the last that this process committed.
func (p *Pipeline) epoch() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		return 0
	}
	return p.last.Epoch
}

func (p *Pipeline) setState(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.told = err, time.Now()
}

// Run decides refunds until ctx ends; what was decided by then is committed
// within 8 s. After an error it starts over from what is committed, with
// backoff; errors that waiting doesn't mend are returned. While another instance
// works, it stands by; where it mayn't (Engine.TakeoverAfter is 0), being
// replaced is such an error, ErrFenced.
func (p *Pipeline) Run(ctx context.Context) error {
	reloads := make(chan reload)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if p.cfg.Rules.Reload > 0 {
		go p.watch(ctx, reloads)
	}
	txnID := p.deps.TransactionalID
	if p.cfg.Observe {
		txnID += "-observe"
	}
	if p.checkpoints != nil {
		defer p.checkpoints.close()
	}
	writer := writerID{Instance: fmt.Sprintf("%016x", rand.Uint64())}
	host := p.deps.Host
	if host == "" {
		machine, _ := os.Hostname()
		host = fmt.Sprintf("%s:%d", machine, os.Getpid())
	}
	sizes := newSizes()
	var succeeded *writerID
	said, wasLive, cluster := "", false, ""
	var untaken *reload // changed rules that no session has come to take
	backoff := time.Duration(0)
	for {
		liveSince := time.Time{}
		writer.Session++
		cfg := sessionConfig{Config: p.cfg, createTopics: p.deps.CreateTopics, options: p.deps.Options, now: p.deps.Now, files: p.deps.Files, reloads: reloads,
			writer: writer, host: host, sizes: sizes, cluster: cluster, epoch: p.epoch(), succeeded: succeeded, rules: p.setRules, checkpoints: p.checkpoints, calendar: p.calendar, messages: p.messages,
			claimed: func(before writerID) { succeeded = &before },
			state: func(err error) {
				if err == nil && liveSince.IsZero() {
					liveSince = time.Now()
				}
				p.setState(err)
			},
			committed: func(pr *progress) {
				p.mu.Lock()
				p.last = pr
				p.mu.Unlock()
			}}
		ses := newSession(cfg, txnID, p.set, p.schema, p.log, p.metrics)
		ses.nextRules = untaken
		err := ses.run(ctx)
		untaken = ses.nextRules
		if cluster == "" && succeeded != nil {
			cluster = ses.clusterID
		}
		if ctx.Err() != nil {
			p.setState(errors.New("stopped"))
			switch {
			case errors.Is(err, context.Canceled):
				return nil
			case errors.Is(err, net.ErrClosed) && liveSince.IsZero():
				return nil // what was being asked when ctx ended; nothing was under way
			case errors.Is(err, ErrFenced) && p.cfg.Engine.TakeoverAfter > 0:
				p.log.Warn("another instance took over while this one stopped", "error", err)
				return nil
			}
			return err
		}
		p.setState(err)
		p.metrics.leader.Set(0)
		if errors.Is(err, ErrFenced) && p.cfg.Engine.TakeoverAfter > 0 {
			p.log.Warn("another instance took over: standing by", "error", err)
			succeeded, backoff = nil, 0
			continue
		}
		wasLive = wasLive || !liveSince.IsZero()
		if isFatal(err) || unauthorized(err) && !wasLive {
			return err
		}
		p.metrics.restarts.Inc()
		if !liveSince.IsZero() && time.Since(liveSince) > time.Minute {
			backoff, said = 0, ""
		}
		backoff = min(max(2*backoff, 500*time.Millisecond), 15*time.Second)
		if err.Error() != said {
			said = err.Error()
			p.log.Error("waiting to start over from what is committed", "error", err, "in", backoff)
		}
		if sleep(ctx, backoff/2+rand.N(backoff/2)) != nil {
			return nil
		}
	}
}
