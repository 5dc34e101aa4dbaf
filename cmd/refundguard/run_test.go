package main

import (
	"io"
	"log/slog"
	"runtime/debug"
	"testing"
)

// What a service that is behind keeps beside its state must fit, too, and what
// the collector needs for both.
func TestTheStateLeavesRoomForTheRest(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, limit := range []int64{256 << 20, 600 << 20, 1 << 30, 64 << 30} {
		debug.SetMemoryLimit(limit)
		var c config
		c.Pipeline.State.Dir = "state"
		c.boundState(log)
		got := c.Pipeline.State.Memory
		if got <= 0 || got > limit*2/5 || limit >= 1<<30 && 2*got+512<<20 > limit {
			t.Errorf("of %d bytes the state takes %d", limit, got)
		}
		c.Pipeline.State.Memory = 7
		if c.boundState(log); c.Pipeline.State.Memory != 7 {
			t.Errorf("state.memory was set, and is %d", c.Pipeline.State.Memory)
		}
	}
}
