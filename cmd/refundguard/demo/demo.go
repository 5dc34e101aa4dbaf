// Package demo runs all of refundguard on one machine: an embedded Kafka, an
// embedded ClickHouse, the service, a receiver of its webhooks, and a shop
// whose purchases and refunds are played through them. It checks from outside
// that what the service promises holds.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/refundguard/refundguard/cmd/refundguard/shop"
)

// Options says what to run. NewService, Starter, Out and Err are needed.
type Options struct {
	Data  string      // folder of files to play; "": a generated shop
	Shop  shop.Config // where Data is empty
	Speed Speed
	Once  bool // play all of it as fast as possible, then end

	Without []string // programs that stay away: see Programs

	Dir   string // for everything written; "": a temporary folder, removed at the end
	Rules string // "": Dir/rules, with the starter rules where it is empty
	Kafka string // address to listen at; "": a free port on the loopback interface
	HTTP  string // the same for the service's own HTTP

	Starter    fs.FS
	AlertRules []byte // Prometheus' rule file
	NewService func(Endpoints, *slog.Logger) (Service, error)

	Out      io.Writer // the summary
	Err      io.Writer // everything else
	JSON     bool      // the summary as one JSON object
	Terminal bool      // Err is a terminal
	Verbose  bool      // the service's whole log to Err
}

// Endpoints is where the service finds what it works with.
type Endpoints struct {
	Kafka         []string
	ClickHouse    string // native protocol
	Username      string
	Password      string
	Webhook       string
	WebhookSecret string
	HTTP          string // to listen at; port 0 is a free one
	Rules         string
	State         string
	Rates         map[string]string // of the generated shop's currencies, to USD

	ETA         map[string]string        // by method; nil: nobody pays
	SLA         map[string]time.Duration // of reviews, by severity; nil: nobody looks at them
	SecondAbove string                   // in USD: two analysts must approve
}

// Service is refundguard itself.
type Service interface {
	Run(context.Context) error
	Address() string // where it serves HTTP
}

// ErrNotOK is returned when everything ran, and the promise did not hold. The
// summary says what was found.
var ErrNotOK = errors.New("the demo found faults")

// Run runs the demo until ctx ends or, with Once, until all is decided and
// delivered. It prints the summary itself.
func Run(ctx context.Context, o Options) (err error) {
	say := newTeller(o)
	f, err := openFolder(o.Dir, o.Rules, o.Starter)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, ErrNotOK) && f.gone && f.logged() {
			f.gone = false // the log tells more
			fmt.Fprintf(o.Err, "The log is %s\n", f.path(logName))
		}
		if e := f.close(); e != nil && err == nil {
			err = e
		}
	}()
	logFile, err := os.Create(f.path(logName))
	if err != nil {
		return hint(fmt.Errorf("making the log: %w", err))
	}
	defer logFile.Close()
	log := slog.New(newTee(logFile, say.told, o.Verbose))

	s := &stage{o: o, folder: f, log: log, say: say, audit: NewAudit()}
	defer s.close()
	if err := s.open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // ended before it began
		}
		return hint(err)
	}
	sum, err := s.play(ctx)
	if err != nil {
		return hint(err)
	}
	if err := sum.print(o.Out, o.JSON); err != nil {
		return fmt.Errorf("printing the summary: %w", err)
	}
	for _, fault := range sum.Faults {
		fmt.Fprintln(o.Err, "fault:", fault)
	}
	if !sum.OK {
		return ErrNotOK
	}
	return nil
}

// play runs the service over the source.
func (s *stage) play(ctx context.Context) (*Summary, error) {
	if s.o.Once {
		s.say.stage("Playing %s into Kafka", s.feeder.src.about())
		if err := s.feeder.run(ctx); err != nil {
			return nil, err
		}
	}
	// What runs ends by itself or when we say so, not with ctx: what was sent
	// is to be decided first.
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	began := time.Now()
	if err := s.startService(work, cancel); err != nil {
		return nil, err
	}
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		if s.o.Once {
			return
		}
		if err := s.feeder.run(ctx); err != nil {
			cancel(err)
		}
	}()
	if err := s.cast.start(s.options); err != nil {
		return nil, err
	}
	if !s.o.Once { // which is over before anybody could look
		if err := s.startPrometheus(); err != nil {
			return nil, err
		}
	}
	s.say.begin(s)
	took, left := s.wait(ctx, work, began, fed)
	s.say.end()
	s.cast.close() // so that nothing is done any more that nobody would find
	if err := context.Cause(work); err != nil {
		s.stopService()
		return nil, err
	}
	rows, rowsErr := s.countRows(work)
	if err := s.stopService(); err != nil {
		return nil, fmt.Errorf("stopping the service: %w", err)
	}
	if err := s.catchUp(work); err != nil {
		return nil, err
	}
	for _, note := range s.feeder.src.notes() {
		s.say.note(note)
	}
	sum := s.summary(took, rows, rowsErr, left)
	if s.o.Once && !s.feeder.ended.Load() {
		sum.OK = false
		sum.Faults = append(sum.Faults, "interrupted: only a part was played")
	}
	return sum, nil
}

// patience is how long nothing may move before the demo gives up on something.
const patience = time.Minute

// wait shows how it goes until everything is done (with Once), or until ctx
// ends and then everything that was sent is. It returns how long it took to
// decide, by the timestamps of the service's commits, and, in words, what was
// never done.
func (s *stage) wait(ctx, work context.Context, began time.Time, fed <-chan struct{}) (took time.Duration, left string) {
	leaving := false
	changed, last, limit := time.Now(), "", patience
	for {
		<-time.After(25 * time.Millisecond)
		if work.Err() != nil {
			return 0, "the service ended"
		}
		s.say.refresh(s)
		if ctx.Err() != nil && !leaving {
			leaving, changed, limit = true, time.Now(), 20*time.Second // above what the programs wait for
			s.say.leaving()
			<-fed
		}
		if !s.o.Once && !leaving {
			continue
		}
		open := s.left(work)
		s.say.waiting(open)
		if open != last {
			changed, last = time.Now(), open
		}
		if open == "" || time.Since(changed) > limit {
			return max(0, s.audit.Tally().moved.Sub(began)), open
		}
	}
}
