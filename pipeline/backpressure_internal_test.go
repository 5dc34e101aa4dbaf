package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// A full buffer holds the next poll back for as long as the engine eats, and is
// paused once that starves, or after a while: then others are fetched without it.
func TestFullBufferHoldsThePollBack(t *testing.T) {
	client, err := kgo.NewClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"refunds": {0: kgo.NewOffset().At(0)}}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for name, c := range map[string]struct {
		then   func(r *reader, p *partition)
		paused bool
		waits  time.Duration
	}{
		"room":     {then: func(r *reader, p *partition) { p.buffered = 9; r.pressure.tell(false) }},
		"eats":     {then: func(r *reader, p *partition) { p.buffered = 11; r.pressure.tell(false) }, paused: true, waits: time.Second},
		"starving": {then: func(r *reader, p *partition) { r.pressure.tell(true) }, paused: true},
		"silence":  {then: func(*reader, *partition) {}, paused: true, waits: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := &input{stream: &event.Stream{Name: "refunds", Topic: "refunds"}}
				full, other := &partition{in: in, id: 0, buffered: 12}, &partition{in: in, id: 1, buffered: 3}
				in.partitions = []*partition{full, other}
				r := &reader{client: client, inputs: map[string]*input{"refunds": in}, capacity: 10, pressure: newBackpressure(4 * time.Second)}
				defer client.ResumeFetchPartitions(map[string][]int32{"refunds": {0, 1}})
				polls, began := make(chan time.Duration, 1), time.Now()
				go func() { r.awaitRoom(context.Background()); polls <- time.Since(began) }()
				synctest.Wait()
				if len(polls) > 0 {
					t.Fatal("it polls, though a buffer is full and the engine has something to do")
				}
				c.then(r, full)
				waited := <-polls
				told := len(client.PauseFetchPartitions(nil)["refunds"])
				if waited != c.waits || full.paused != c.paused || (told == 1) != c.paused || other.paused {
					t.Errorf("polls after %v, paused %v (the client knows of %d), the other %v; want %v, %v", waited, full.paused, told, other.paused, c.waits, c.paused)
				}
				full.buffered = 5
				if r.resume(full); full.paused || len(client.PauseFetchPartitions(nil)["refunds"]) != 0 {
					t.Error("it stays paused, though half of its buffer is free")
				}
			})
		})
	}
}

// A partition starves that has more and nothing buffered; one at its end doesn't,
// nor one that recovers no further.
func TestStarves(t *testing.T) {
	for _, c := range []struct {
		p    *partition
		want bool
	}{
		{&partition{stop: -1, position: 5}, true}, // nobody knows where it ends
		{&partition{stop: -1, position: 5, end: 6, endKnown: true}, true},
		{&partition{stop: -1, position: 6, end: 6, endKnown: true}, false},
		{&partition{stop: -1, position: 5, end: 6, endKnown: true, buffered: 1}, false},
		{&partition{stop: 7, position: 6, end: 9, endKnown: true}, true},
		{&partition{stop: 7, position: 7, end: 9, endKnown: true}, false},
	} {
		if got := c.p.starves(); got != c.want {
			t.Errorf("position %d, buffered %d, stop %d, end %d (%v): %v", c.p.position, c.p.buffered, c.p.stop, c.p.end, c.p.endKnown, got)
		}
	}
}

// A fetch has room for something of every partition, unless there are very many.
func TestAFetchBringsSomethingOfAll(t *testing.T) {
	for n := range 65 {
		if share := int(fetchShare(n)); share < 256<<10 || share > 2<<20 || n*share > fetchBytes {
			t.Errorf("%d partitions: %d bytes of each", n, share)
		}
	}
	if fetchShare(1_000_000) < 256<<10 {
		t.Error("too little to bring a batch of usual size")
	}
}
