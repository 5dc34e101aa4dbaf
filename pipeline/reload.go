package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// setRules keeps the running set for the next session.
func (p *Pipeline) setRules(set *rules.Set) { p.set = set }

// reload is what the rule files became.
type reload struct {
	set *rules.Set
	err error
}

// watch looks at the rule files and offers what changed to the session.
func (p *Pipeline) watch(ctx context.Context, to chan<- reload) {
	w := rules.NewWatcher(p.cfg.Rules.Dir, p.opts, p.set)
	for sleep(ctx, p.cfg.Rules.Reload) == nil {
		set, changed, err := w.Poll()
		if !changed {
			continue
		}
		select {
		case to <- reload{set, err}:
		case <-ctx.Done():
		}
	}
}

// reload takes a new rule set between two epochs, or tells why not.
func (s *session) reload(r reload) {
	began, now := time.Now(), s.cfg.now()
	err := r.err
	if err == nil {
		err = s.readable(r.set)
	}
	if err != nil {
		s.metrics.refusedRuleset.Set(1)
		s.log.Error("the changed rules were refused, the running ones stay", "ruleset", s.set.Version, "error", err)
		a := event.Alert{AlertID: event.AlertID("ruleset-refused", s.txnID, err.Error()), Rule: "ruleset-refused", Severity: "high", At: now.UnixMilli(),
			Message: "the changed rule files do not check; the running rules stay: " + clip(err.Error(), 2000)}
		s.alert(&a)
		return
	}
	s.metrics.refusedRuleset.Set(0)
	s.metrics.observeTimings(s)
	s.engine.SetRules(r.set)
	s.set = r.set
	s.breaker.setRules(r.set)
	s.guardsChanged = true
	s.cfg.rules(r.set)
	s.markRequired()
	s.planFill(nil)
	s.metrics.setRules(r.set, now)
	s.log.Info("rules reloaded", "ruleset", r.set.Version, "rules", len(r.set.Rules), "took", time.Since(began))
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// markRequired says which inputs decisions wait for.
func (s *session) markRequired() {
	s.deciding, s.gating = nil, nil
	for _, in := range s.inputs {
		in.required = in == s.refunds || in == s.payments || readsStream(s.set, in.stream.Name)
		in.gates = in == s.refunds || in == s.payments && s.engine.Evaluates()
		in.decides = in.gates || s.happens(in)
		if in.gates {
			s.gating = append(s.gating, in.partitions...)
		}
		if in.decides {
			s.deciding = append(s.deciding, in.partitions...)
		} else {
			in.dropPending()
		}
	}
}

func readsStream(set *rules.Set, name string) bool {
	for i := range set.Series {
		src := set.Series[i].Source
		if src == name || src == "updates" && name == "transactions" {
			return true
		}
	}
	return false
}

// readable refuses a rule set that reads a stream whose topic is missing.
func (s *session) readable(set *rules.Set) error {
	for _, st := range s.schema.Streams {
		if !readsStream(set, st.Name) {
			continue
		}
		found := false
		for _, in := range s.inputs {
			found = found || in.stream == st
		}
		if !found {
			return fmt.Errorf("a rule reads the stream %s, but its topic %q does not exist: create the topic and restart, or name another as streams.%s.topic", st.Name, st.Topic, st.Name)
		}
	}
	return nil
}
