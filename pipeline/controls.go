package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/kafka"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// What people put in force beside the rules is in a compacted topic of one
// partition, by id: see event.Control. A session has read all of it before it
// decides, and then takes what comes between two epochs. What is decided is never
// decided again, so no decision needs to know what was in force for an earlier one.

// Bounds of what is in force. More snoozes than that are refused; where more
// merchants are on hold, everything is.
const (
	maxSnoozes    = 10_000
	maxHolds      = 10_000
	maxControl    = 16 << 10 // bytes of a record
	maxControlKey = 1 << 10
	maxCame       = 10_000  // records that wait for the end of an epoch, about
	maxTold       = 8 << 10 // bytes of the holds that are written with each epoch
)

// controls are those that are in force, and those that came since.
type controls struct {
	next    int64 // offset up to which they are in force
	snoozes map[string]*event.Control
	holds   map[string]hold
	told    []hold // those whose beginning was alerted and whose end wasn't, by id
	expires int64  // when the next snooze ends, Unix milliseconds

	came []*kgo.Record // to be put in force when the epoch is closed
	in   chan []*kgo.Record
}

// hold is a control that keeps refunds from being approved.
type hold struct {
	ID       string `json:"id"`
	Merchant string `json:"merchant_id,omitempty"` // "": everything
	Offset   int64  `json:"offset"`                // of its record

	reason, by string
}

// controlsProgress is how far the controls were in force for an epoch.
type controlsProgress struct {
	Topic   string `json:"topic"`
	TopicID string `json:"topic_id"`
	Next    int64  `json:"next"`
	Holds   []hold `json:"holds,omitempty"` // that were told of
}

func (s *session) controlsProgress() *controlsProgress {
	return &controlsProgress{Topic: s.topics.Controls, TopicID: s.outputs[s.topics.Controls], Next: s.controls.next, Holds: s.controls.told}
}

// readControls puts in force what the topic holds, and follows it from there.
func (s *session) readControls(ctx, work context.Context, last *controlsProgress) error {
	topic := s.topics.Controls
	s.controls = controls{snoozes: map[string]*event.Control{}, holds: map[string]hold{}, expires: math.MaxInt64, in: make(chan []*kgo.Record)}
	c := &s.controls
	spans, err := wholeTopic(ctx, s.adm, topic)
	if err != nil {
		return err
	}
	span := spans[0]
	since := int64(0) // what came before was taken by an earlier session
	if last != nil {
		c.told = slices.Clone(last.Holds)
	}
	switch {
	case last == nil || last.Topic != topic:
		s.breaker.anyReset()
	case last.TopicID == s.outputs[topic] && last.Next <= span.To:
		since = last.Next
		for _, h := range c.told {
			c.holds[h.ID] = h // until the topic says otherwise: see take
		}
	case len(last.Holds) > 0:
		return fatalf("topic %s was deleted or cut: it ends at offset %d, and was read up to %d. %d holds were in force, and whether they still are can't be told. "+
			"Restore it; or name another topic as topics.controls, and put there what is to be on hold", topic, span.To, last.Next, len(last.Holds))
	default:
		s.log.Error("the topic of controls was deleted or cut: snoozes that it held have ended", "topic", topic)
		s.breaker.anyReset()
	}
	there := map[string]bool{}
	err = kafka.ReadRanges(ctx, s.cfg.options, topic, map[int32]kafka.Span{0: span}, func(r *kgo.Record) error {
		there[string(r.Key)] = true
		s.take(r, since)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the controls %s: %w", topic, err)
	}
	for id, h := range c.holds {
		// It was ended, and compaction took the record that said so; unless all of
		// that time is gone.
		if !there[id] && h.Offset >= span.From {
			delete(c.holds, id)
		}
	}
	c.next = span.To
	s.guardsChanged = true
	return s.followControls(work)
}

// take puts one record in force. One that says nothing that could be leaves all as
// it is; it is told of where it is new.
func (s *session) take(r *kgo.Record, since int64) {
	c, id := &s.controls, string(r.Key)
	refuse := func(why error) {
		if r.Offset >= since {
			s.metrics.controlsRefused.Inc()
			s.log.Error("a control can't be read, and changes nothing", "topic", r.Topic, "offset", r.Offset, "id", clip(id, 200), "error", why)
		}
	}
	switch {
	case id == "" || len(id) > maxControlKey:
		refuse(fmt.Errorf("its key is the control's id, of 1 to %d bytes, and has %d", maxControlKey, len(id)))
		return
	case len(r.Value) == 0:
		delete(c.snoozes, id)
		delete(c.holds, id)
		return
	case len(r.Value) > maxControl:
		refuse(fmt.Errorf("it has %d bytes: at most %d", len(r.Value), maxControl))
		return
	}
	control, err := event.ParseControl(r.Value)
	if err != nil {
		refuse(err)
		return
	}
	if _, known := c.snoozes[id]; control.Kind == event.ControlSnooze && !known && len(c.snoozes) >= maxSnoozes {
		refuse(fmt.Errorf("%d snoozes are in force, which is the most", maxSnoozes))
		return
	}
	delete(c.snoozes, id)
	if control.Kind != event.ControlHold {
		delete(c.holds, id)
	}
	switch control.Kind {
	case event.ControlSnooze:
		c.snoozes[id] = control
	case event.ControlHold:
		c.holds[id] = hold{ID: id, Merchant: control.MerchantID, Offset: r.Offset, reason: control.Reason, by: control.By}
	case event.ControlReset:
		if s.breaker.reset(control.Rule, r.Offset) {
			s.log.Info("a tripped rule was reset", "rule", control.Rule, "by", control.By)
		}
	}
}

// takeControls puts in force what came, for the next epoch.
func (s *session) takeControls() {
	c := &s.controls
	for _, r := range c.came {
		s.take(r, 0)
		c.next = r.Offset + 1
	}
	s.guardsChanged = s.guardsChanged || len(c.came) > 0 || s.cfg.now().UnixMilli() >= c.expires
	c.came = nil
}

// source is where controls come from; nil while enough of them wait.
func (c *controls) source() <-chan []*kgo.Record {
	if len(c.came) >= maxCame {
		return nil
	}
	return c.in
}

// followControls reads what comes after what is in force, until ctx ends.
func (s *session) followControls(ctx context.Context) error {
	topic, from := s.topics.Controls, s.controls.next
	cl, err := kgo.NewClient(append(slices.Clone(s.cfg.options),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.MaxDecompressBatchBytes(maxDecompressed))...)
	if err != nil {
		return fatalf("kafka client: %w", err)
	}
	in := s.controls.in
	s.commitWork.Go(func() {
		defer cl.Close()
		for {
			fetches := cl.PollFetches(ctx)
			if ctx.Err() != nil {
				return
			}
			if records := fetches.Records(); len(records) > 0 {
				select {
				case in <- records:
				case <-ctx.Done():
					return
				}
			}
			err := fetches.Err()
			if batch := (*kgo.ErrDecompressTooLarge)(nil); errors.As(err, &batch) {
				s.metrics.controlsRefused.Inc()
				s.log.Error("a batch of controls is too large decompressed, and changes nothing", "topic", topic, "offset", batch.Offset)
				cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: batch.Epoch, Offset: batch.NextOffset}}})
				continue
			}
			// Without them nothing is decided: one may be a hold.
			if err != nil {
				s.reader.end(fmt.Errorf("reading the controls %s: %w", topic, readError(err)))
				return
			}
		}
	})
	return nil
}

// snoozed are the snoozes that haven't ended.
func (c *controls) snoozed(now int64) (snoozes []rules.Snooze) {
	c.expires = math.MaxInt64
	for id, control := range c.snoozes {
		if now >= control.Until {
			delete(c.snoozes, id)
			continue
		}
		c.expires = min(c.expires, control.Until)
		field, value := control.Subject()
		snoozes = append(snoozes, rules.Snooze{Control: id, Rule: control.Rule, Field: field, Value: value})
	}
	// Of two for the same rule and the same customer, the same one is named each time.
	slices.SortFunc(snoozes, func(a, b rules.Snooze) int { return cmp.Compare(a.Control, b.Control) })
	return snoozes
}

// held are the holds as the engine wants them: that of everything, or "", and
// those of merchants.
func (c *controls) held() (all string, merchants map[string]string) {
	merchants = map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(c.holds)) {
		if m := c.holds[id].Merchant; m != "" {
			merchants[m] = id
		} else if all == "" {
			all = id
		}
	}
	if len(merchants) > maxHolds && all == "" {
		all = slices.Min(slices.Collect(maps.Values(merchants)))
	}
	return all, merchants
}

// tellHolds alerts once where a hold begins, and once where it ends.
func (s *session) tellHolds() {
	c, now := &s.controls, s.cfg.now().UnixMilli()
	tell := func(h hold, rule, message string) {
		severity := "high"
		if h.Merchant == "" {
			severity = "critical"
		}
		s.log.Warn(message)
		s.alert(&event.Alert{AlertID: event.AlertID(rule, s.outputs[s.topics.Controls], h.ID, fmt.Sprint(h.Offset)), Rule: rule, Severity: severity,
			MerchantID: h.Merchant, Message: message, At: now})
	}
	what := func(h hold) string {
		if h.Merchant == "" {
			return "everything"
		}
		return fmt.Sprintf("merchant %s", h.Merchant)
	}
	var told []hold
	known, size := map[string]bool{}, 0
	for _, h := range c.told {
		if _, still := c.holds[h.ID]; !still {
			tell(h, "hold-ends", fmt.Sprintf("%s is no longer on hold (%s)", what(h), h.ID))
			continue
		}
		told, known[h.ID], size = append(told, h), true, size+h.size()
	}
	for _, id := range slices.Sorted(maps.Keys(c.holds)) {
		h := c.holds[id]
		if known[id] || size+h.size() > maxTold {
			continue
		}
		size += h.size()
		tell(h, "hold-begins", fmt.Sprintf("%s is on hold by %q: %q. What would be approved goes to review until it is resumed (%s)", what(h), h.by, clip(h.reason, 1000), h.ID))
		told = append(told, h)
	}
	slices.SortFunc(told, func(a, b hold) int { return cmp.Compare(a.ID, b.ID) })
	c.told = told
}

func (h *hold) size() int { return len(h.ID) + len(h.Merchant) + 64 }

// onePartition refuses a topic of several: a record in another partition would
// never be read.
func onePartition(details kadm.TopicDetails, topic, key string) error {
	if n := len(details[topic].Partitions); n != 1 {
		return fatalf("topic %s has %d partitions: it must have exactly 1. Name another as topics.%s", topic, n, key)
	}
	return nil
}
