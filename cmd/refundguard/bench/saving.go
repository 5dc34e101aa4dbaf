package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// SavingResult is what saving the state does to the time from when a refund was
// to be sent until who reads what is committed has its decision. Of the rounds of
// each the one with the least p99 counts: what else the machine does only adds.
type SavingResult struct {
	Rate    int     `json:"events_per_second"`
	With    Latency `json:"with"`
	Without Latency `json:"without"`
	Effect  float64 `json:"effect_on_p99_ms"`

	RoundsWith    []Latency `json:"rounds_with"`
	RoundsWithout []Latency `json:"rounds_without"`
}

// Latency is in milliseconds.
type Latency struct {
	Refunds int     `json:"refunds"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

// latencyRounds: with and without take turns. A round must be long enough for a
// save to begin and end in it.
const latencyRounds = 3

// warmUp is not measured.
const warmUp = 2 * time.Second

func (r Recovery) saving(ctx context.Context, d *deployment) (*SavingResult, error) {
	res := &SavingResult{Rate: r.Rate}
	for round := range latencyRounds {
		for _, v := range []struct {
			settings
			all *[]Latency
		}{{settings{state: "a", saveInterval: saveInterval}, &res.RoundsWith}, {settings{}, &res.RoundsWithout}} {
			r.Tell(fmt.Sprintf("latency, round %d of %d, state folder %q", round+1, latencyRounds, v.state))
			took, err := r.latency(ctx, d, v.settings)
			if err != nil {
				return nil, err
			}
			*v.all = append(*v.all, summarize(took))
		}
	}
	least := func(a, b Latency) int { return cmp.Compare(a.P99, b.P99) }
	res.With, res.Without = slices.MinFunc(res.RoundsWith, least), slices.MinFunc(res.RoundsWithout, least)
	res.Effect = res.With.P99 - res.Without.P99
	return res, nil
}

func (r Recovery) latency(ctx context.Context, d *deployment, s settings) ([]time.Duration, error) {
	in, err := d.start(s)
	if err != nil {
		return nil, err
	}
	if _, err := in.ready(ctx, false); err != nil {
		return nil, err
	}
	if s.state != "" {
		// The first save holds what was read again, too: others are smaller.
		if _, err := in.saved(ctx); err != nil {
			return nil, err
		}
	}
	stop, sent := make(chan struct{}), make(chan error, 1)
	since := time.Now().Add(warmUp)
	go func() { sent <- d.pace(ctx, r.Rate, stop) }()
	err = sleep(ctx, warmUp+r.Latency)
	close(stop)
	if err := errors.Join(err, <-sent, d.decided(ctx), in.stop(ctx)); err != nil {
		return nil, err
	}
	return d.ledger.latencies(since), nil
}

// summarize takes sorted latencies.
func summarize(all []time.Duration) Latency {
	if len(all) == 0 {
		return Latency{}
	}
	return Latency{len(all), ms(all[len(all)/2]), ms(all[len(all)*99/100]), ms(all[len(all)-1])}
}
