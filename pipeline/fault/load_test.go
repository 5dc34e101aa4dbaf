package fault

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/integration/model"
)

const (
	partitions = 3
	stepSize   = 16 // records that are on their way at once, at most: steps are many, so that epochs are
	inStock    = 2 * stepSize
	delayOneIn = 6
	delayedBy  = 40 // events that overtake one, at most
)

// load writes a strange world as fast as it is told, out of order and with
// repeats. It is out of order as far as the result stays certain: an event is
// overtaken only by those that have nothing to do with it, and is acknowledged
// before one that has is sent to another partition. What a refund must see is
// then the same whatever is killed when, and the model can say it.
type load struct {
	strange *model.Strange
	rng     *rand.Rand
	client  *kgo.Client
	rate    float64 // records a second

	seen    int // of the world's records
	delayed []item
	ready   []item
	last    map[place]int64 // event time last sent
	late    atomic.Int64    // records sent behind a later one of their partition
	written atomic.Int64
}

// item is a record to be written.
type item struct {
	model.Sent
	about ids
	delay int // so many others may still overtake it
}

type place struct {
	topic     string
	partition int32
}

func newLoad(t *testing.T, seed uint64, brokers []string, rate float64) *load {
	t.Helper()
	l := &load{strange: model.NewStrange(t, ruleFile, seed), rng: rand.New(rand.NewPCG(seed, 1)), rate: rate, last: make(map[place]int64)}
	l.strange.NoTies, l.strange.Step = true, time.Minute
	l.strange.Customers, l.strange.Devices = 3000, 2000
	// A broker that restarts forgets a producer whose last record is a day old
	// by Kafka's time, and takes a repeated request of it for a new one.
	l.strange.Now = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.AlwaysRetryEOF(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	l.client = client
	t.Cleanup(client.Close)
	return l
}

// run writes until stop, and then what is still held back.
func (l *load) run(ctx context.Context, stop <-chan struct{}) error {
	for began := time.Now(); ; {
		stopping := false
		select {
		case <-stop:
			stopping = true
			l.ready, l.delayed = append(l.ready, l.delayed...), nil
		default:
		}
		for !stopping && len(l.ready) < inStock {
			l.draw()
		}
		if len(l.ready) == 0 {
			return nil
		}
		step := l.step(1 + l.rng.IntN(stepSize))
		if err := l.client.ProduceSync(ctx, step...).FirstErr(); err != nil {
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

// draw takes the world's next event. What it has to do with must go first.
func (l *load) draw() {
	l.strange.Next()
	sent := l.strange.World.Sent
	for ; l.seen < len(sent); l.seen++ {
		next := item{Sent: sent[l.seen], about: touches(sent[l.seen].Record)}
		waiting := l.delayed[:0]
		for _, d := range l.delayed {
			if d.delay--; d.delay <= 0 || next.about.meet(d.about) {
				l.ready = append(l.ready, d)
			} else {
				waiting = append(waiting, d)
			}
		}
		l.delayed = waiting
		if l.rng.IntN(delayOneIn) == 0 {
			next.delay = 1 + l.rng.IntN(delayedBy)
			l.delayed = append(l.delayed, next)
		} else {
			l.ready = append(l.ready, next)
		}
	}
}

// step takes some records that may be on their way at the same time.
func (l *load) step(most int) (records []*kgo.Record) {
	where := make(map[string]place)
	n := 0
	for _, next := range l.ready[:min(most, len(l.ready))] {
		r := next.Record
		r.Partition = l.partition(r)
		at := place{r.Topic, r.Partition}
		for id := range next.about {
			if other, taken := where[id]; taken && other != at {
				l.ready = l.ready[n:]
				return records
			}
		}
		for id := range next.about {
			where[id] = at
		}
		if next.At < l.last[at] {
			l.late.Add(1)
		}
		l.last[at] = max(l.last[at], next.At)
		records = append(records, r)
		n++
	}
	l.ready = l.ready[n:]
	return records
}

// partition is a function of the key. A guest has none: then all records of one
// id stay together, because the first that is read is the event.
func (l *load) partition(r *kgo.Record) int32 {
	by := r.Key
	if by == nil {
		own := strings.TrimSuffix(r.Topic, "s") + "_id"
		by = regexp.MustCompile(`"` + own + `":"[^"]*"`).Find(r.Value)
	}
	h := fnv.New32a()
	h.Write(by)
	return int32(h.Sum32() % partitions)
}

// ids are what a record is about, through which another could matter to it.
type ids map[string]bool

var idText = regexp.MustCompile(`"(customer_id|device_id|transaction_id|refund_id)":"([^"]*)"`)

func touches(r *kgo.Record) ids {
	found := make(ids)
	for _, m := range idText.FindAllSubmatch(r.Value, -1) {
		found[string(m[1])+" "+string(m[2])] = true
	}
	return found
}

func (a ids) meet(b ids) bool {
	for id := range a {
		if b[id] {
			return true
		}
	}
	return false
}
