package sinks

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is a growing, bounded, jittered pause between tries. The zero value
// begins at 100 ms and ends at 30 s. It serves one goroutine.
type Backoff struct {
	Min, Max time.Duration

	failures int
}

// Failures is how many pauses there were since the last Reset.
func (b *Backoff) Failures() int { return b.failures }

// Reset is called after a success.
func (b *Backoff) Reset() { b.failures = 0 }

// Next is the next pause: between half and all of Min doubled per failure, and
// never more than Max.
func (b *Backoff) Next() time.Duration {
	least, most := b.Min, b.Max
	if least <= 0 {
		least = 100 * time.Millisecond
	}
	if most <= 0 {
		most = 30 * time.Second
	}
	pause := most
	if b.failures < 30 && least < most>>b.failures {
		pause = least << b.failures
	}
	b.failures++
	return pause/2 + rand.N(pause/2+1)
}

// Wait sleeps for the next pause, or for after if that is longer (what
// Error.After says), and returns ctx's error if that ends first.
func (b *Backoff) Wait(ctx context.Context, after time.Duration) error {
	timer := time.NewTimer(max(b.Next(), after))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
