package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// deadlineOf is what a record of a case waits for, 0 for nothing.
func deadlineOf(r *kgo.Record) int64 {
	at, err := time.Parse(time.RFC3339, Header(r, "refundguard-deadline"))
	if err != nil {
		return 0
	}
	return at.UnixMilli()
}

// readLives finds the history of each refund.
func (c *Comparison) readLives() {
	c.histories = make(map[string]*history)
	of := func(id string) *history {
		h := c.histories[id]
		if h == nil {
			h = &history{id: id, pending: map[string][]happened{}, alerts: map[string][]alert{}}
			c.histories[id] = h
		}
		return h
	}
	for _, r := range c.topics.ReadCommitted("refundguard-cases") {
		h := of(string(r.Key))
		h.cases = append(h.cases, r)
	}
	for _, r := range c.topics.ReadCommitted("refund-status") {
		var s status
		if err := json.Unmarshal(r.Value, &s); err != nil {
			c.Fatalf("status %s: %v", r.Value, err)
		}
		if s.Status != "received" {
			h := of(s.RefundID)
			h.statuses = append(h.statuses, s)
		}
	}
	for _, r := range c.topics.ReadCommitted("alerts") {
		var a alert
		if err := json.Unmarshal(r.Value, &a); err != nil {
			c.Fatalf("alert %s: %v", r.Value, err)
		}
		if ofLives(a.Rule) {
			h := of(a.RefundID)
			h.alerts[a.Rule] = append(h.alerts[a.Rule], a)
		}
	}
	codes := make(map[source]string)
	for _, r := range c.topics.ReadCommitted("dead-letters") {
		codes[deadFrom(r)] = Header(r, "refundguard-code")
	}
	for topic := range lifeTopics {
		c.readHappened(topic, codes, of)
	}
	for _, h := range c.histories {
		for _, all := range h.alerts {
			slices.SortStableFunc(all, func(a, b alert) int { return a.At.Compare(b.At) })
		}
	}
}

// deadFrom is where a dead letter stood.
func deadFrom(r *kgo.Record) source {
	partition, err1 := strconv.ParseInt(Header(r, "__connect.errors.partition"), 10, 32)
	offset, err2 := strconv.ParseInt(Header(r, "__connect.errors.offset"), 10, 64)
	if err1 != nil || err2 != nil {
		offset = -1
	}
	return source{Header(r, "__connect.errors.topic"), int32(partition), offset}
}

// readHappened reads what happens to refunds. A record whose field "expect" names
// a code must be refused with that; a repeat is one, or a conflict.
func (c *Comparison) readHappened(topic string, codes map[source]string, of func(string) *history) {
	known := make(map[string]string)
	for _, r := range c.topics.ReadCommitted(topic) {
		at := sourceOf(r)
		c.inputs[at] = r
		var f map[string]any
		if err := json.Unmarshal(r.Value, &f); err != nil {
			c.Fatalf("%s: %v", r.Value, err)
		}
		text := func(name string) string {
			if f[name] == nil {
				return ""
			}
			return fmt.Sprint(f[name])
		}
		id := text(lifeTopics[topic])
		was, repeated := known[id]
		switch expect := text("expect"); {
		case expect != "":
			c.refusals[at] = expect
			continue
		case repeated && was != string(r.Value):
			c.refusals[at] = "DUPLICATE_CONFLICT"
			continue
		case repeated:
			continue
		}
		known[id] = string(r.Value)
		x := happened{at: at, in: r, code: codes[at], happening: happening{who: text("analyst"), label: text("label"), source: "analyst", currency: text("currency")}}
		if a := text("amount"); a != "" {
			x.amount = Units(c.T, a)
		}
		switch topic {
		case "reviews":
			x.kind = text("verdict")
		case "ledger-results":
			x.kind = text("status")
		default:
			if x.kind, x.label = "confirmed", ""; f["confirmed"] == false {
				x.kind, x.label, x.source = "denied", "fraud", "customer"
			}
		}
		h := of(text("refund_id"))
		h.pending[topic] = append(h.pending[topic], x)
	}
}
