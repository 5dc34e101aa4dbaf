package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// land takes in the end of a try.
func (e *endpoint) land(l landing) {
	x, p := l.entry, l.part
	x.flying = false
	p.flying--
	if l.burial {
		e.buried(x, l.err)
		return
	}
	e.flying--
	e.m.inFlight.Set(float64(e.flying))
	if x.lost {
		return
	}
	f := l.failure
	switch {
	case f == nil:
		e.delivered(x, l.round)
	case f.status == 0 && p.ctx.Err() != nil && errors.Is(f, context.Canceled):
		// We ended it: it says nothing of the alert or of the endpoint.
	case f.gone():
		e.disable(f)
	default:
		e.failed(x, f, l.round)
	}
}

func (e *endpoint) delivered(x *entry, round int) {
	x.tries++
	if x.lastErr != nil {
		e.log.Info("alert delivered after failures", "alert_id", x.alert.id, "tries", x.tries, "last_error", x.lastErr)
	}
	e.finish(x, delivered)
	outage, failed := time.Since(e.gate.since), e.gate.failed
	if !e.gate.opened(round) {
		return
	}
	e.log.Info("endpoint is back", "down_for", outage.Round(time.Second), "failed_tries", failed, "last_error", e.logged)
	e.logged = ""
	for _, p := range e.parts {
		for _, y := range p.open {
			if y.held {
				y.held, y.due = false, time.Now()
			}
		}
	}
}

// failed decides what a failure means: for the alert, or for the endpoint.
func (e *endpoint) failed(x *entry, f *failure, round int) {
	now := time.Now()
	x.tries++
	x.lastErr = f
	x.ledger.dirty = true
	e.warn("delivery failed", f, "alert_id", x.alert.id)

	counts := false
	current := round == e.gate.round // else the gate has been shut since the try began
	switch {
	case e.gate.down:
		x.held = true
		e.gate.failed++
		if current {
			e.gate.shut(now, f.err.After)
		}
	case !f.blames():
		if current {
			e.gate.shut(now, f.err.After)
		}
	case e.gate.blame(x, now):
		e.gate.shut(now, f.err.After)
		e.log.Error("endpoint is down; its alerts wait in Kafka, and it is tried now and then", "alerts_failed_in_a_row", downAfter, "error", f)
	default:
		counts = true
		if current && f.throttles() {
			e.gate.shut(now, f.err.After)
		}
	}

	switch {
	case counts && x.failed > len(e.cfg.Retries):
		e.bury(x, CodeUndelivered, fmt.Errorf("%d tries failed, the last with: %w", x.failed, f))
		return
	case counts:
		x.due = now.Add(jitter(e.cfg.Retries[x.failed-1]))
		if e.gate.until.After(x.due) {
			x.due = e.gate.until
		}
	case now.Sub(x.record.Timestamp) > e.cfg.GiveUpAfter:
		e.bury(x, CodeUndelivered, fmt.Errorf("it is older than %v (give_up_after), and %d tries failed, the last with: %w", e.cfg.GiveUpAfter, x.tries, f))
		return
	default:
		x.due = e.gate.until
	}
	e.m.retries[f.err.Reason].Inc()
}

// disable stops the endpoint until a restart. Its group keeps its place, so
// nothing is lost if the 410 was a mistake.
func (e *endpoint) disable(f *failure) {
	if e.disabled {
		return
	}
	e.disabled = true
	e.m.disabled.Set(1)
	e.log.Error("endpoint disabled: it answers that it is gone; remove it from webhooks, or correct it and restart: until then its alerts stay in Kafka",
		"error", f)
	e.watch.set(func(s *Status) { s.State, s.LastError = Disabled, f.Error() })
}

func (e *endpoint) finish(x *entry, result string) {
	x.ledger.finish(x)
	e.m.results[result].Inc()
}

// bury sends the alert to the dead letters; until it is there, it is open.
func (e *endpoint) bury(x *entry, code string, cause error) {
	x.bury = &verdict{code, cause}
	x.due = time.Now()
	x.lastErr = cause
}

func (e *endpoint) buried(x *entry, err error) {
	if x.lost {
		return
	}
	if err != nil {
		x.due = time.Now().Add(e.buryPause.Next())
		e.warn("writing a dead letter failed, and is tried again", err)
		return
	}
	e.buryPause.Reset()
	e.finish(x, deadLettered)
	id := fmt.Sprintf("%s/%d/%d", x.record.Topic, x.record.Partition, x.record.Offset)
	if x.alert != nil {
		id = x.alert.id
	}
	e.log.Warn("alert given up, it is in the dead letters", "alert_id", id, "code", x.bury.code, "error", x.bury.cause)
}

// warn logs a failure unless its text is that of the last one.
func (e *endpoint) warn(what string, err error, attrs ...any) {
	if text := err.Error(); text != e.logged {
		e.logged = text
		e.log.Warn(what, append(attrs, "error", err)...)
	}
	e.watch.set(func(s *Status) { s.LastError = err.Error() })
}
