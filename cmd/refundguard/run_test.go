package main

import (
	"log/slog"
	"math"
	"runtime/debug"
	"testing"
)

// Where the configuration is silent, the state is bounded by what memory there is.
func TestStateIsBoundedByMemory(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	const gib = 1 << 30
	for _, c := range []struct{ limit, memory, want int64 }{
		{5 * gib, 0, 2 * gib}, {5 * gib, gib, gib}, {math.MaxInt64, 0, 0},
	} {
		debug.SetMemoryLimit(c.limit)
		var l config
		l.Pipeline.State.Dir, l.Pipeline.State.Memory = "state", c.memory
		l.boundState(slog.New(slog.DiscardHandler))
		if got := l.Pipeline.State.Memory; got != c.want {
			t.Errorf("a limit of %d and state.memory %d: %d, want %d", c.limit, c.memory, got, c.want)
		}
	}
}
