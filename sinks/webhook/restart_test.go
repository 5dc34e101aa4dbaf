package webhook_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/sinks/webhook"
)

// once fails unless each of the alerts came exactly so often.
func (s *script) each(t *testing.T, want int, prefix string, n int) {
	t.Helper()
	for _, a := range many(prefix, n) {
		if got := s.tries(a.AlertID); got != want {
			t.Errorf("%s came %d times, want %d", a.AlertID, got, want)
		}
	}
}

func TestRestartRepeatsNothingBehindASlowAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 2)
		s := &script{answer: func(w http.ResponseWriter, id string, _ int) {
			if id == "a-0" || id == "a-7" {
				w.WriteHeader(http.StatusBadRequest)
			}
		}}
		h.serve(8001, s)
		_, stop := h.start(endpoint("soc", 8001))
		h.produce(many("a", 300)...)
		time.Sleep(time.Minute)
		first := s.tries("a-0")
		if first < 2 || first > 3 {
			t.Fatalf("the bad alert was tried %d times in a minute", first)
		}
		// Many restarts, each of which would repeat what was behind a-0, and give
		// it all its tries again.
		var sink *webhook.Sink
		for range 20 {
			stop()
			sink, stop = h.start(endpoint("soc", 8001))
			time.Sleep(time.Minute)
		}
		h.produce(many("b", 10)...)
		h.drained(sink, 80*time.Hour)
		for _, id := range []string{"a-0", "a-7"} {
			if got := s.tries(id); got != 10 {
				t.Errorf("%s was tried %d times over the restarts, want 10", id, got)
			}
		}
		if got := len(s.all()); got != 300-2+10+20 {
			t.Errorf("%d requests, want one for each alert and ten for each bad one", got)
		}
		h.deadLetters(2)
	})
}

func TestStopLetsTriesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{answer: func(http.ResponseWriter, string, int) { time.Sleep(3 * time.Second) }}
		h.serve(8001, s)
		_, stop := h.start(endpoint("soc", 8001))
		h.produce(many("a", 20)...)
		time.Sleep(4 * time.Second) // one has been taken, eight are under way
		stop()
		sink, _ := h.start(endpoint("soc", 8001))
		h.drained(sink, time.Hour)
		s.each(t, 1, "a", 20)
	})
}

func TestStopWaitsForNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		e := endpoint("soc", 8001)
		e.Timeout = time.Minute
		s := &script{answer: func(_ http.ResponseWriter, _ string, try int) {
			if try == 1 {
				time.Sleep(50 * time.Second)
			}
		}}
		h.serve(8001, s)
		_, stop := h.start(e)
		h.produce(many("a", 1)...)
		time.Sleep(time.Second)
		begun := time.Now()
		stop()
		if took := time.Since(begun); took > 6*time.Second {
			t.Errorf("stopping took %v", took)
		}
		sink, _ := h.start(e)
		h.drained(sink, time.Minute)
		s.each(t, 2, "a", 1)
		h.metric("refundguard_webhook_retries_total", 0, "soc", "canceled")
		time.Sleep(time.Minute)
	})
}

func TestWithoutCommitsNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{}
		h.serve(8001, s)
		var refuse atomic.Bool
		refuse.Store(true)
		h.kafka.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
			h.kafka.KeepControl()
			if !refuse.Load() {
				return nil, nil, false
			}
			commit := req.(*kmsg.OffsetCommitRequest)
			resp := commit.ResponseKind().(*kmsg.OffsetCommitResponse)
			for _, t := range commit.Topics {
				rt := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
				for _, p := range t.Partitions {
					rt.Partitions = append(rt.Partitions, kmsg.OffsetCommitResponseTopicPartition{
						Partition: p.Partition, ErrorCode: kerr.InvalidCommitOffsetSize.Code,
					})
				}
				resp.Topics = append(resp.Topics, rt)
			}
			return resp, nil, true
		})
		_, stop := h.start(endpoint("soc", 8001))
		h.produce(many("a", 20)...)
		time.Sleep(10 * time.Second)
		s.each(t, 1, "a", 20)
		stop()
		refuse.Store(false)
		sink, _ := h.start(endpoint("soc", 8001))
		h.drained(sink, time.Minute)
		s.each(t, 2, "a", 20)
	})
}

func TestKafkaMayComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{}
		h.serve(8001, s)
		h.produce(many("a", 5)...)
		var away atomic.Bool
		away.Store(true)
		h.kafka.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
			h.kafka.KeepControl()
			return nil, kerr.BrokerNotAvailable, away.Load()
		})
		sink, _ := h.start(endpoint("soc", 8001))
		time.Sleep(time.Hour)
		if err := sink.Ready(); err == nil {
			t.Error("Ready without Kafka")
		}
		away.Store(false)
		h.drained(sink, time.Hour)
		s.each(t, 1, "a", 5)
	})
}

func TestDeadLetterWaitsForKafka(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		var refuse atomic.Bool
		refuse.Store(true)
		h.kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			h.kafka.KeepControl()
			produce := req.(*kmsg.ProduceRequest)
			if !refuse.Load() || produce.TransactionID != nil {
				return nil, nil, false
			}
			resp := produce.ResponseKind().(*kmsg.ProduceResponse)
			for _, t := range produce.Topics {
				rt := kmsg.NewProduceResponseTopic()
				rt.Topic, rt.TopicID = t.Topic, t.TopicID
				for _, p := range t.Partitions {
					rp := kmsg.NewProduceResponseTopicPartition()
					rp.Partition, rp.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
					rt.Partitions = append(rt.Partitions, rp)
				}
				resp.Topics = append(resp.Topics, rt)
			}
			return resp, nil, true
		})
		s := &script{}
		h.serve(8001, s)
		sink, _ := h.start(endpoint("soc", 8001))
		h.produceRaw(true, []byte("not an alert"))
		h.produce(many("a", 20)...)
		time.Sleep(time.Minute)
		s.each(t, 1, "a", 20)
		if st := sink.Status()[0]; st.Pending != 1 {
			t.Errorf("%d alerts pending, want the one that can't be buried", st.Pending)
		}
		refuse.Store(false)
		h.drained(sink, time.Hour)
		h.deadLetters(1)
	})
}
