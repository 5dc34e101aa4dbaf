package model

import (
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Disorder gives the records of a strange world out of order, as far as the
// result stays certain: an event is overtaken only by those that have nothing to
// do with it, and one that has is not in a Step with it, unless both go to one
// partition. If each step is acknowledged before the next is written, what a
// refund must see is the same whatever fails when, and the model can say it.
type Disorder struct {
	Strange *Strange
	Late    atomic.Int64 // records given behind a later one of their partition

	rng        *rand.Rand
	partitions int32
	seen       int // of the world's records
	delayed    []item
	ready      []item
	last       map[place]int64 // event time last given
}

const (
	delayOneIn = 6
	delayedBy  = 40 // events that overtake one, at most
)

// item is a record to be written.
type item struct {
	Sent
	about ids
	delay int // so many others may still overtake it
}

type place struct {
	topic     string
	partition int32
}

// NewDisorder wants a world without ties.
func NewDisorder(s *Strange, seed uint64, partitions int32) *Disorder {
	return &Disorder{Strange: s, rng: rand.New(rand.NewPCG(seed, 1)), partitions: partitions, last: make(map[place]int64)}
}

// Step has the world go on as far as is needed and gives the next records, at
// least one and at most so many, each with its partition.
func (d *Disorder) Step(most int) []*kgo.Record {
	for len(d.ready) < 2*most {
		d.draw()
	}
	return d.step(most)
}

// Rest gives what is still held back, without anything new: nil at the end.
func (d *Disorder) Rest(most int) []*kgo.Record {
	d.ready, d.delayed = append(d.ready, d.delayed...), nil
	return d.step(most)
}

// draw takes the world's next event. What it has to do with must go first.
func (d *Disorder) draw() {
	d.Strange.Next()
	sent := d.Strange.World.Sent
	for ; d.seen < len(sent); d.seen++ {
		next := item{Sent: sent[d.seen], about: touches(sent[d.seen].Record)}
		waiting := d.delayed[:0]
		for _, w := range d.delayed {
			if w.delay--; w.delay <= 0 || next.about.meet(w.about) {
				d.ready = append(d.ready, w)
			} else {
				waiting = append(waiting, w)
			}
		}
		d.delayed = waiting
		if d.rng.IntN(delayOneIn) == 0 {
			next.delay = 1 + d.rng.IntN(delayedBy)
			d.delayed = append(d.delayed, next)
		} else {
			d.ready = append(d.ready, next)
		}
	}
}

// step takes some records that may be on their way at the same time.
func (d *Disorder) step(most int) (records []*kgo.Record) {
	where := make(map[string]place)
	n := 0
	for _, next := range d.ready[:min(most, len(d.ready))] {
		r := next.Record
		r.Partition = d.partition(r)
		at := place{r.Topic, r.Partition}
		for id := range next.about {
			if other, taken := where[id]; taken && other != at {
				d.ready = d.ready[n:]
				return records
			}
		}
		for id := range next.about {
			where[id] = at
		}
		if next.At < d.last[at] {
			d.Late.Add(1)
		}
		d.last[at] = max(d.last[at], next.At)
		records = append(records, r)
		n++
	}
	d.ready = d.ready[n:]
	return records
}

// partition is a function of the key. A guest has none: then all records of one
// id stay together, because the first that is read is the event.
func (d *Disorder) partition(r *kgo.Record) int32 {
	by := r.Key
	if by == nil {
		own := strings.TrimSuffix(r.Topic, "s") + "_id"
		by = regexp.MustCompile(`"` + own + `":"[^"]*"`).Find(r.Value)
	}
	h := fnv.New32a()
	h.Write(by)
	return int32(h.Sum32() % uint32(d.partitions))
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
