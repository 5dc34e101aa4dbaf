package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// SavingResult is what saving the state does to the time from when a refund was
// to be sent until who reads what is committed has its decision.
type SavingResult struct {
	Rate    int     `json:"events_per_second"`
	With    Latency `json:"with"`
	Without Latency `json:"without"`
	Effect  float64 `json:"effect_on_p99_ms"`
}

// Latency is in milliseconds.
type Latency struct {
	Refunds int     `json:"refunds"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

// latencyRounds: with and without take turns, so that what else the machine
// does falls on both.
const latencyRounds = 2

// warmUp is not measured.
const warmUp = 2 * time.Second

func (r Recovery) saving(ctx context.Context, d *deployment) (*SavingResult, error) {
	var with, without []time.Duration
	for round := range latencyRounds {
		for _, v := range []struct {
			settings
			all *[]time.Duration
		}{{settings{state: "a", saveInterval: saveInterval}, &with}, {settings{}, &without}} {
			r.Tell(fmt.Sprintf("latency, round %d of %d, state folder %q", round+1, latencyRounds, v.state))
			took, err := r.latency(ctx, d, v.settings)
			if err != nil {
				return nil, err
			}
			*v.all = append(*v.all, took...)
		}
	}
	res := &SavingResult{Rate: r.Rate, With: summarize(with), Without: summarize(without)}
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

func summarize(all []time.Duration) Latency {
	if len(all) == 0 {
		return Latency{}
	}
	slices.Sort(all)
	return Latency{len(all), ms(all[len(all)/2]), ms(all[len(all)*99/100]), ms(all[len(all)-1])}
}
