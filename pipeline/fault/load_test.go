package fault

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/integration/model"
)

const (
	partitions = 3
	stepSize   = 16 // records that are on their way at once, at most: steps are many, so that epochs are
)

// load writes a strange world out of order and with repeats, as fast as it is
// told, and what people say of its refunds.
type load struct {
	*model.Disorder
	people  *model.People
	rng     *rand.Rand
	client  *kgo.Client
	rate    float64 // records a second
	written atomic.Int64
}

func newLoad(t *testing.T, seed uint64, brokers []string, rate float64) *load {
	t.Helper()
	strange := model.NewStrange(t, ruleFile, seed)
	strange.NoTies, strange.Step = true, time.Minute
	strange.Customers, strange.Devices = 3000, 2000
	// A broker that restarts forgets a producer whose last record is a day old
	// by Kafka's time, and takes a repeated request of it for a new one.
	strange.Now = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	l := &load{Disorder: model.NewDisorder(strange, seed, partitions), rng: rand.New(rand.NewPCG(seed, 1)), rate: rate}
	strange.World.Lives = lives()
	l.people = model.NewPeople(strange, partitions, rand.New(rand.NewPCG(seed, 3)))
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.AlwaysRetryEOF(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	l.client = client
	t.Cleanup(client.Close)
	return l
}

// lives is what configuration says of reviews and payments.
func lives() *model.Lives {
	return &model.Lives{
		Ledger: true, SecondAbove: 60_0000,
		SLA:        map[string]time.Duration{"low": 2 * time.Second, "medium": 8 * time.Second, "high": 8 * time.Second, "critical": time.Minute},
		OnDeadline: map[string]string{"low": "approve", "medium": "escalate", "high": "reject", "critical": "escalate"},
		ETA:        map[string]time.Duration{"original": 2 * time.Second, "balance": time.Hour, "bank_transfer": time.Hour, "other": 6 * time.Second},
	}
}

// run writes until stop, and then what is still held back.
func (l *load) run(ctx context.Context, stop <-chan struct{}) error {
	next := l.Step
	for began := time.Now(); ; {
		select {
		case <-stop:
			next = l.Rest
		default:
		}
		step := next(1 + l.rng.IntN(stepSize))
		if len(step) == 0 {
			return nil
		}
		if err := l.client.ProduceSync(ctx, step...).FirstErr(); err != nil {
			return err
		}
		l.people.See(step)
		if err := l.client.ProduceSync(ctx, l.people.Speak()...).FirstErr(); err != nil {
			return err
		}
		l.written.Add(int64(len(step)))
		ahead := time.Duration(float64(l.written.Load())/l.rate*float64(time.Second)) - time.Since(began)
		select {
		case <-stop:
		case <-time.After(ahead):
		}
	}
}
