package pipeline

import (
	"context"
	"sync/atomic"
	"time"
)

// A full buffer holds its partition back, and only that. But the client fetches
// and decompresses ahead, and throws away what it has of a partition that is
// paused. So while the engine has something to do, a full buffer holds the next
// poll back instead, and what was fetched ahead waits in the client. With pausing
// alone, 5.4 million records were fetched and decompressed of a backlog of 3 million,
// now 3.2 million.

// fetchBytes is what a fetch brings at most, of one broker.
const fetchBytes = 16 << 20

// fetchShare is what it brings of one partition: a quarter of an even share, or a
// backlog of some partitions fills the fetch and the others starve. But of few
// partitions, and behind a slow network, too little is slow.
func fetchShare(partitions int) int32 {
	return int32(min(max(fetchBytes/4/max(partitions, 1), 256<<10), 2<<20))
}

// backpressure is what the engine tells who fetches.
type backpressure struct {
	starving atomic.Bool   // the engine may wait for what isn't fetched
	ate      chan struct{} // buffers have more room, or it starves
	patience time.Duration // how long a poll waits at most: silence of a partition must not be ours
}

func newBackpressure(alignTimeout time.Duration) backpressure {
	return backpressure{ate: make(chan struct{}, 1), patience: alignTimeout / 4}
}

// tell is called whenever the engine has taken what it could.
func (b *backpressure) tell(starving bool) {
	b.starving.Store(starving)
	select {
	case b.ate <- struct{}{}:
	default:
	}
}

// awaitRoom returns when every partition that is fetched has room. Where the
// engine can't go on with what is there, those without are paused instead.
func (r *reader) awaitRoom(ctx context.Context) {
	full := r.full()
	if len(full) == 0 {
		return
	}
	late := time.NewTimer(r.pressure.patience)
	defer late.Stop()
	for waits := true; waits && len(full) > 0 && !r.pressure.starving.Load(); full = r.full() {
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			waits = false
		case <-r.pressure.ate:
		}
	}
	for _, p := range full {
		r.pause(p)
	}
}

// full are the partitions that are fetched, and have no room.
func (r *reader) full() (full []*partition) {
	for _, in := range r.inputs {
		for _, p := range in.partitions {
			p.mu.Lock()
			if !p.paused && p.buffered >= r.capacity {
				full = append(full, p)
			}
			p.mu.Unlock()
		}
	}
	return full
}

func (r *reader) pause(p *partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = true
	r.client.PauseFetchPartitions(map[string][]int32{p.in.stream.Topic: {p.id}})
}

// resume lets a paused partition be fetched again once half its buffer is
// free.
func (r *reader) resume(p *partition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused && p.buffered <= r.capacity/2 {
		p.paused = false
		r.client.ResumeFetchPartitions(map[string][]int32{p.in.stream.Topic: {p.id}})
	}
}

// starves reports whether nothing is buffered of a partition that has more.
func (p *partition) starves() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.buffered > 0:
		return false
	case p.stop >= 0:
		return p.position < p.stop
	}
	return !p.endKnown || p.position < p.end
}

// decoding reports whether records are buffered, and the next one isn't decoded.
func (p *partition) decoding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buffered > 0 && !p.queue[0].ready()
}
