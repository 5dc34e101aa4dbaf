package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/refundguard/refundguard/pipeline/calendar"
	"github.com/refundguard/refundguard/pipeline/checkpoint"
	"github.com/refundguard/refundguard/pipeline/messages"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// maxRecordBytes is the greatest limits.max_record_bytes: a request's value may
// be so large, and its key and headers together again.
const maxRecordBytes = maxDeadLetter / 2

// severities in rising order.
var severities = []string{"low", "medium", "high", "critical"}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, check := range []func(faultf){c.checkStreams, c.checkTimes, c.checkState, c.checkLimits, c.checkHoldout, c.checkEngine, c.checkReview, c.checkMessages, c.checkMoney} {
		check(fault)
	}
	return errors.Join(errs...)
}

// A faultf takes one fault, as fmt.Errorf does.
type faultf func(format string, args ...any)

func (c Config) checkStreams(fault faultf) {
	seen := map[string]string{}
	for _, t := range c.Topics.all() {
		if *t.name == "" {
			fault("topics.%s is empty: name a topic", t.key)
		} else if other, dup := seen[*t.name]; dup {
			fault("topics.%s and topics.%s are both %q: each needs a topic of its own", other, t.key, *t.name)
		}
		seen[*t.name] = t.key
	}
	for name, s := range c.Streams {
		if s.DecideFrom == "" {
			continue
		}
		if name != "refunds" {
			fault("streams.%s.decide_from is set: it belongs to streams.refunds only", name)
		} else if _, err := parseDecideFrom(s.DecideFrom); err != nil {
			fault("%w", err)
		}
	}
	if schema, err := c.Schema(); err != nil {
		fault("%w", err)
	} else {
		// A dead letter that is read again is refused again, for ever.
		for _, in := range schema.Streams {
			if key := seen[in.Topic]; key != "" {
				fault("topics.%s: %q is read as the stream %s; write to a topic of its own", key, in.Topic, in.Name)
			}
		}
	}
	if c.Rules.Dir == "" {
		fault("rules.dir is empty: name the folder of the rule files")
	}
}

func (c Config) checkTimes(fault faultf) {
	for _, d := range []struct {
		key string
		v   time.Duration
	}{
		{"state.retention", c.State.Retention}, {"state.dedup", c.State.Dedup}, {"state.originals", c.State.Originals}, {"state.save_interval", c.State.SaveInterval},
		{"state.checkpoint_interval", c.State.CheckpointInterval},
		{"engine.commit_interval", c.Engine.CommitInterval}, {"engine.read_ahead", c.Engine.ReadAhead}, {"engine.align_timeout", c.Engine.AlignTimeout},
	} {
		if d.v <= 0 {
			fault("%s is %v: it must be above 0", d.key, d.v)
		}
	}
}

func (c Config) checkState(fault faultf) {
	if c.State.Checkpoint != "" {
		if _, err := checkpoint.New(c.State.Checkpoint, ""); err != nil {
			fault("state.checkpoint: %w", err)
		}
		if c.State.Dir == "" {
			fault("state.checkpoint is set and state.dir isn't: checkpoints are copies of what is saved there")
		}
	}
	if c.State.CheckpointKeep < 1 {
		fault("state.checkpoint_keep is %d: it must be above 0", c.State.CheckpointKeep)
	}
	switch {
	case c.State.Memory < 0:
		fault("state.memory is %d: it can't be negative", c.State.Memory)
	case c.State.Memory > 0 && c.State.Dir == "":
		fault("state.memory is set, and state.dir isn't: without a folder all of the state is in memory")
	}
	if c.State.ExactEvents < 1 {
		fault("state.exact_events is %d: it must be above 0", c.State.ExactEvents)
	}
}

func (c Config) checkLimits(fault faultf) {
	if c.Limits.MaxRecordBytes < 1024 || c.Limits.MaxFieldBytes < 256 || c.Limits.MaxDepth < 2 {
		fault("limits are too small: max_record_bytes ≥ 1024, max_field_bytes ≥ 256, max_depth ≥ 2")
	}
	if c.Limits.MaxRecordBytes > maxRecordBytes {
		fault("limits.max_record_bytes is %d: at most %d, so that an approved request and its headers fit into what Kafka takes as one record", c.Limits.MaxRecordBytes, maxRecordBytes)
	}
	if !slices.Contains([]string{"review", "decide"}, c.Limits.OnDegraded) {
		fault("limits.on_degraded is %q: write review or decide", c.Limits.OnDegraded)
	}
	if !slices.Contains([]string{"review", "decide"}, c.Limits.OnWarming) {
		fault("limits.on_warming is %q: write decide or review", c.Limits.OnWarming)
	}
}

func (c Config) checkHoldout(fault faultf) {
	switch most, err := event.ParseMoney([]byte(c.Holdout.MaxAmount)); {
	case c.Holdout.MaxAmount == "" && c.Holdout.Share > 0:
		fault("holdout.max_amount is missing: name the greatest amount, in %s, that may be let through to measure the rules", c.Currency.Base)
	case c.Holdout.MaxAmount != "" && (err != nil || most <= 0):
		fault("holdout.max_amount is %q: write an amount above 0 with at most 4 decimals, such as 50", c.Holdout.MaxAmount)
	}
}

func (c Config) checkEngine(fault faultf) {
	if c.Engine.BufferRecords < 256 {
		fault("engine.buffer_records is %d: it must be at least 256", c.Engine.BufferRecords)
	}
	if c.Engine.TakeoverAfter != 0 && c.Engine.TakeoverAfter < 2*time.Second {
		fault("engine.takeover_after is %v: at least 2s, since an idle instance commits each second, or 0: take over at once", c.Engine.TakeoverAfter)
	}
	if c.Engine.Workers < 0 {
		fault("engine.workers is %d: it must be at least 0, which is one per processor", c.Engine.Workers)
	}
}

func (c Config) checkReview(fault faultf) {
	if m := c.Alerts.MinSeverity; m != "" && !slices.Contains(severities, m) {
		fault("alerts.min_severity is %q: write one of %s", m, strings.Join(severities, ", "))
	}
	cal, err := calendar.New(c.Review.Calendar)
	below("review.calendar", err, fault)
	for s, d := range c.Review.SLA {
		if !slices.Contains(severities, s) {
			fault("review.sla.%s: no such severity; write one of %s", s, strings.Join(severities, ", "))
		} else if d < time.Second {
			// A critical one that nobody answers alerts each time it has passed.
			fault("review.sla.%s is %v: it must be 1s at least", s, d)
		} else if err := cal.Check(d); err != nil {
			fault("review.sla.%s %w", s, err)
		}
	}
	if m := c.Review.MinutesPerCase; !(m > 0 && m <= 24*60) {
		fault("review.minutes_per_case is %v: write minutes above 0, up to a day's", m)
	}
	if c.Labels.Maturity < 0 {
		fault("labels.maturity is %v: it can't be negative; 0 judges every decision", c.Labels.Maturity)
	}
	for s, action := range c.Review.OnDeadline {
		if !slices.Contains(severities, s) {
			fault("review.on_deadline.%s: no such severity; write one of %s", s, strings.Join(severities, ", "))
		} else if !slices.Contains(deadlineActions, action) {
			fault("review.on_deadline.%s is %q: write one of %s", s, action, strings.Join(deadlineActions, ", "))
		}
	}
	if above := c.Review.SecondAbove; above != "" {
		if m, err := event.ParseMoney([]byte(above)); err != nil || m < 0 {
			fault("review.second_above is %q: write an amount in currency.base such as 1000, or \"\" for one analyst", above)
		}
	}
	for method, text := range c.ETA {
		if span, spanErr := calendar.ParseSpan(text); spanErr != nil {
			fault("eta.%s: %w", method, spanErr)
		} else if span.Business() && cal == nil && err == nil {
			fault("eta.%s is %q: business days need review.calendar; set it, or write days such as 5d", method, text)
		}
	}
}

// deadlineActions are what a passed deadline can do.
var deadlineActions = []string{"escalate", "approve", "reject"}

// below reports each fault of a section, whose errors begin with its own keys.
func below(key string, err error, fault faultf) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			below(key, e, fault)
		}
	} else if err != nil {
		fault("%s.%w", key, err)
	}
}

func (c Config) checkMessages(fault faultf) {
	_, err := messages.New(c.Messages)
	below("messages", err, fault)
	name := c.Messages.LanguageField
	schema, err := c.Schema()
	if name == "" || err != nil { // which checkStreams tells
		return
	}
	refunds := schema.Stream("refunds")
	if slot := refunds.Slot(name); slot < 0 {
		fault("messages.language_field is %q: refunds have no such field; add it to streams.refunds.fields, as {type: string}", name)
	} else if f := refunds.Fields[slot]; f.Type != event.TypeString {
		fault("messages.language_field is %q, which is of type %s: it must be a string", name, f.TypeName())
	}
}

func (c Config) checkMoney(fault faultf) {
	if _, ok := event.ParseCurrency(c.Currency.Base); !ok {
		fault("currency.base is %q: write an ISO 4217 code such as USD", c.Currency.Base)
	}
	for code, rate := range c.Currency.Rates {
		if _, ok := event.ParseCurrency(code); !ok {
			fault("currency.rates.%s: not an ISO 4217 code", code)
		}
		if err := rules.CheckRate(rate); err != nil {
			fault("currency.rates.%s is %q: %w", code, rate, err)
		}
	}
}
