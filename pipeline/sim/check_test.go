package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline/integration/model"
	"github.com/refundguard/refundguard/pipeline/kafka"
)

// read gives what is committed in a topic.
func (s *sim) read(topic string) (all []*kgo.Record) {
	err := kafka.Read(context.Background(), s.options(s.checker), topic, time.Time{}, func(r *kgo.Record) error {
		all = append(all, r)
		return nil
	})
	if err != nil && !strings.Contains(err.Error(), kafka.ErrNoTopic.Error()) {
		s.t.Fatal(err)
	}
	return all
}

// check holds the seed to what is promised, and hashes what it left.
func (s *sim) check() {
	c := model.Compare(s.t, topics{s}, s.world.Strange.World)
	if s.payments {
		s.checkPayments()
	}
	s.checkProgress()
	s.checkHeld(c)
	s.checkSaved(c)
	s.result.Lives = c.Lives
	s.result.Lost, s.result.Doubled, s.result.Decisions = c.Lost, c.Doubled, len(c.Decisions)
	for _, d := range c.Decisions {
		if d.Degraded {
			s.result.Degraded++
		}
	}
	sum := sha256.New()
	for _, topic := range []string{"refunds", "transactions", "reviews", "confirmations", "ledger-results", "refundguard-controls", "refund-labels", "refund-decisions", "refunds-approved", "refund-status", "alerts", "dead-letters", "refundguard-cases", "refundguard-progress"} {
		for _, r := range s.read(topic) {
			write(sum, topic, r.Partition, r.Offset, r.Timestamp.UnixNano(), string(r.Key), string(r.Value))
			for _, h := range r.Headers {
				write(sum, h.Key, string(h.Value))
			}
		}
	}
	write(sum, s.log.hash(), time.Now().UnixNano())
	s.result.Hash = hex.EncodeToString(sum.Sum(nil)[:8])
}

func write(h hash.Hash, parts ...any) {
	for _, p := range parts {
		fmt.Fprintf(h, "%q\x00", fmt.Sprint(p))
	}
}

// checkHeld wants nothing to be approved at once while everything is on hold.
func (s *sim) checkHeld(c *model.Comparison) {
	held := s.people.held
	for refund, d := range c.Decisions {
		if !held.IsZero() && d.At() > held.UnixMilli() && d.Outcome == "approve" {
			s.t.Errorf("refund %s is approved at %v, and everything is on hold since %v", refund, d.DecidedAt, held)
		}
	}
}

// checkProgress wants no commit to go back behind another.
func (s *sim) checkProgress() {
	read, decided := int64(0), map[int]int64{}
	for _, r := range s.read("refundguard-progress") {
		var p model.Progress
		if err := json.Unmarshal(r.Value, &p); err != nil {
			s.t.Fatalf("progress %s: %v", r.Value, err)
		}
		if p.Balance.Read < read {
			s.t.Errorf("at offset %d of the progress the balance goes back from %d refunds to %d", r.Offset, read, p.Balance.Read)
		}
		read = p.Balance.Read
		for _, st := range p.Streams {
			if st.Topic != "refunds" {
				continue // transactions are decided while there are rules on them
			}
			for id, part := range st.Partitions {
				if part.Decided < decided[id] {
					s.t.Errorf("at offset %d of the progress refunds partition %d goes back from %d to %d", r.Offset, id, decided[id], part.Decided)
				}
				decided[id] = part.Decided
			}
		}
	}
}

// checkPayments wants one alert for each payment that the rule is for.
func (s *sim) checkPayments() {
	want, got := map[string]int{}, map[string]int{}
	for _, sent := range s.world.Strange.World.Sent {
		if sent.Record.Topic == "transactions" && sent.Fate == model.IsEvent && strings.Contains(string(sent.Record.Value), `"status":"settled"`) {
			want[field(string(sent.Record.Value), "transaction_id")]++
		}
	}
	for _, r := range s.read("alerts") {
		if field(string(r.Value), "rule") == "sim-large" {
			got[field(string(r.Value), "transaction_id")]++
		}
	}
	for id := range want {
		if got[id] != 1 {
			s.t.Errorf("payment %s is settled, and has %d alerts", id, got[id])
		}
	}
	if len(got) > len(want) {
		s.t.Errorf("%d payments have alerts, %d should", len(got), len(want))
	}
}

// field is that of a flat JSON object, without spaces.
func field(object, name string) string {
	_, after, _ := strings.Cut(object, `"`+name+`":"`)
	value, _, _ := strings.Cut(after, `"`)
	return value
}
