package webhook_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/webhook"
)

func TestDeliversToAReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 3)
		var got []string
		receiver, err := webhook.NewReceiver(secretA, func(a *event.Alert) { got = append(got, a.AlertID) })
		if err != nil {
			t.Fatal(err)
		}
		h.serve(8001, receiver)
		sink, stop := h.start(endpoint("soc", 8001))
		h.produce(many("a", 20)...)
		h.drained(sink, time.Minute)
		if err := sink.Ready(); err != nil {
			t.Errorf("Ready: %v", err)
		}
		h.metric("refundguard_webhook_deliveries_total", 20, "soc", "delivered")
		h.metric("refundguard_webhook_in_flight", 0, "soc")
		stop()
		if c := receiver.Counts(); c != (webhook.Counts{Alerts: 20}) || len(got) != 20 {
			t.Errorf("the receiver counts %+v, and %d calls", c, len(got))
		}
		if st := sink.Status(); st[0].State != webhook.Stopped {
			t.Errorf("after Run it is %s", st[0].State)
		}
	})
}

func TestSameIDOverRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{answer: func(w http.ResponseWriter, _ string, try int) {
			if try < 4 {
				http.Error(w, "not yet", http.StatusInternalServerError)
			}
		}}
		h.serve(8001, s)
		sink, _ := h.start(endpoint("soc", 8001))
		h.produce(alertOf("a1", "high"))
		h.drained(sink, 2*time.Hour)
		hits := s.all()
		if len(hits) != 4 {
			t.Fatalf("%d tries, want 4", len(hits))
		}
		for i, pause := range []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute} {
			got := hits[i+1].at.Sub(hits[i].at)
			if got < pause/2 || got > pause+time.Second {
				t.Errorf("pause %d is %v, want %v to %v", i+1, got, pause/2, pause)
			}
			if string(hits[i+1].body) != string(hits[0].body) {
				t.Errorf("try %d has another body: %s", i+2, hits[i+1].body)
			}
			if hits[i+1].head.Get("webhook-timestamp") == hits[i].head.Get("webhook-timestamp") {
				t.Errorf("try %d has the timestamp of the one before: a receiver may refuse it as too old", i+2)
			}
		}
		h.metric("refundguard_webhook_retries_total", 3, "soc", "server")
		h.metric("refundguard_webhook_deliveries_total", 1, "soc", "delivered")
	})
}

func TestMinSeverity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{}
		h.serve(8001, s)
		e := endpoint("soc", 8001)
		e.MinSeverity = "high"
		sink, _ := h.start(e)
		for _, severity := range []string{"low", "medium", "high", "critical", "apocalyptic"} {
			h.produce(alertOf(severity, severity))
		}
		h.drained(sink, time.Minute)
		for severity, want := range map[string]int{"low": 0, "medium": 0, "high": 1, "critical": 1, "apocalyptic": 1} {
			if got := s.tries(severity); got != want {
				t.Errorf("severity %s was sent %d times, want %d", severity, got, want)
			}
		}
		h.metric("refundguard_webhook_deliveries_total", 2, "soc", "skipped")
	})
}

func TestOneDeadEndpointDoesNotStopAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 2)
		s := &script{}
		h.serve(8001, s)
		sink, _ := h.start(endpoint("dead", 8002), endpoint("alive", 8001))
		h.produce(many("a", 50)...)
		for range 600 { // a minute of virtual time at most
			if len(s.all()) == 50 {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := len(s.all()); got != 50 {
			t.Fatalf("%d of 50 alerts reached the living endpoint", got)
		}
		time.Sleep(time.Hour)
		st := sink.Status()
		if st[0].State != webhook.Down || st[1].State != webhook.Active {
			t.Errorf("states are %s and %s", st[0].State, st[1].State)
		}
		if sink.Ready() == nil {
			t.Error("Ready doesn't name the dead endpoint")
		}
		h.metric("refundguard_webhook_endpoint_down", 1, "dead")
		h.metric("refundguard_webhook_endpoint_down", 0, "alive")
	})
}

func TestOutageUsesUpNoTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		sink, _ := h.start(endpoint("soc", 8001))
		h.produce(many("a", 1000)...)
		time.Sleep(8 * time.Hour) // six tries, if the schedule were used
		h.metric("refundguard_webhook_endpoint_down", 1, "soc")
		s := &script{}
		h.serve(8001, s)
		begun := time.Now()
		h.drained(sink, time.Hour)
		if took := time.Since(begun); took > webhook.MaxShut+time.Minute {
			t.Errorf("after an outage the last alert came after %v", took)
		}
		if got := len(s.all()); got != 1000 {
			t.Errorf("%d requests for 1000 alerts", got)
		}
		h.metric("refundguard_webhook_deliveries_total", 1000, "soc", "delivered")
		h.metric("refundguard_webhook_deliveries_total", 0, "soc", "dead_lettered")
		h.metric("refundguard_webhook_endpoint_down", 0, "soc")
	})
}

func TestOutageIsProbedOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{answer: func(w http.ResponseWriter, _ string, _ int) {
			http.Error(w, "no database", http.StatusInternalServerError)
		}}
		h.serve(8001, s)
		h.start(endpoint("soc", 8001))
		h.produce(many("a", 1000)...)
		time.Sleep(8 * time.Hour)
		// Every five minutes at the slowest, every half of it at the fastest.
		if got := len(s.all()); got < 8*12 || got > 8*24+webhook.DownAfter+20 {
			t.Errorf("%d requests in eight hours to an endpoint that is down", got)
		}
	})
}

func TestPoisonAlertIsBuriedAndTheRestDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{answer: func(w http.ResponseWriter, id string, _ int) {
			if id == "a-3" {
				http.Error(w, "can't parse this", http.StatusBadRequest)
			}
		}}
		h.serve(8001, s)
		sink, _ := h.start(endpoint("soc", 8001))
		alerts := many("a", 20)
		h.produce(alerts...)
		time.Sleep(time.Second)
		for _, a := range alerts {
			if s.tries(a.AlertID) != 1 {
				t.Errorf("%s was tried %d times in the first second", a.AlertID, s.tries(a.AlertID))
			}
		}
		h.drained(sink, 80*time.Hour)
		if got := s.tries("a-3"); got != 10 {
			t.Errorf("the poison alert was tried %d times, want 10", got)
		}
		letter := h.deadLetters(1)[0]
		if string(letter.Value) != string(alerts[3].Append(nil)) || string(letter.Key) != "3" {
			t.Errorf("the dead letter is %s with key %s", letter.Value, letter.Key)
		}
		headers := map[string]string{}
		for _, x := range letter.Headers {
			headers[x.Key] = string(x.Value)
		}
		for key, want := range map[string]string{
			"own": "header", "refundguard-code": "WEBHOOK_UNDELIVERED", "refundguard-endpoint": "soc",
			"__connect.errors.topic": "alerts", "__connect.errors.partition": "0", "__connect.errors.offset": "3",
			"refundguard-message": `10 tries failed, the last with: posting to 127.0.0.1:8001: rejected: status 400: "can't parse this"`,
		} {
			if headers[key] != want {
				t.Errorf("header %s is %q, want %q", key, headers[key], want)
			}
		}
		h.metric("refundguard_webhook_deliveries_total", 19, "soc", "delivered")
		h.metric("refundguard_webhook_deliveries_total", 1, "soc", "dead_lettered")
		h.metric("refundguard_webhook_retries_total", 9, "soc", "rejected")
	})
}

func TestForeignRecordsAreBuried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{}
		h.serve(8001, s)
		sink, _ := h.start(endpoint("soc", 8001))
		bad := [][]byte{
			[]byte(`not json`), []byte(`{}`), []byte(`{"alert_id":"x"} {}`), []byte(`{"alert_id":"a.b"}`),
			[]byte("{\"alert_id\":\"a\\r\\nb\"}"), []byte(`[1]`), {}, []byte("{\"alert_id\":\"x\",\"message\":\"\xff\"}"),
		}
		h.produceRaw(true, bad...)
		h.produceRaw(true, nil) // a tombstone
		h.produceRaw(false, alertOf("aborted", "high").Append(nil))
		h.produce(alertOf("good", "high"))
		h.drained(sink, time.Minute)
		letters := map[string]bool{}
		for _, letter := range h.deadLetters(len(bad)) {
			letters[string(letter.Value)] = true
		}
		for _, value := range bad {
			if !letters[string(value)] {
				t.Errorf("%q is not among the dead letters", value)
			}
		}
		if got := s.all(); len(got) != 1 || got[0].id != "good" {
			t.Errorf("%d requests, want one", len(got))
		}
	})
}

func TestGoneDisables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		var gone atomic.Bool
		gone.Store(true)
		s := &script{answer: func(w http.ResponseWriter, _ string, _ int) {
			if gone.Load() {
				w.WriteHeader(http.StatusGone)
			}
		}}
		h.serve(8001, s)
		sink, stop := h.start(endpoint("soc", 8001))
		h.produce(many("a", 30)...)
		time.Sleep(24 * time.Hour)
		if got := len(s.all()); got != 1 {
			t.Errorf("%d requests to an endpoint that is gone, want 1", got)
		}
		if st := sink.Status()[0]; st.State != webhook.Disabled {
			t.Errorf("the state is %s", st.State)
		}
		if err := sink.Drained(t.Context(), h.ends()); err == nil {
			t.Error("Drained waits for an endpoint that is disabled")
		}
		h.metric("refundguard_webhook_endpoint_disabled", 1, "soc")
		stop()
		gone.Store(false)
		sink, _ = h.start(endpoint("soc", 8001))
		h.drained(sink, time.Minute)
		if got := len(s.all()); got != 31 {
			t.Errorf("after a restart %d requests in all, want 31", got)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		after  func() string
		least  time.Duration
		most   time.Duration
	}{
		"seconds":         {http.StatusTooManyRequests, func() string { return "120" }, 120 * time.Second, 121 * time.Second},
		"date":            {http.StatusServiceUnavailable, func() string { return time.Now().Add(10 * time.Minute).UTC().Format(http.TimeFormat) }, 599 * time.Second, 601 * time.Second},
		"capped":          {http.StatusTooManyRequests, func() string { return "99999999" }, time.Hour, time.Hour + time.Second},
		"none":            {http.StatusTooManyRequests, func() string { return "" }, 400 * time.Millisecond, 2 * time.Second},
		"nonsense":        {http.StatusTooManyRequests, func() string { return "-5, soon" }, 400 * time.Millisecond, 2 * time.Second},
		"not for a 500":   {http.StatusInternalServerError, func() string { return "3000" }, 2 * time.Second, 6 * time.Second},
		"502 before 5 s":  {http.StatusBadGateway, func() string { return "1" }, 2 * time.Second, 6 * time.Second},
		"504 after a day": {http.StatusGatewayTimeout, func() string { return "1800" }, 30 * time.Minute, 30*time.Minute + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, 1)
				s := &script{answer: func(w http.ResponseWriter, _ string, try int) {
					if try == 1 {
						w.Header().Set("Retry-After", c.after())
						w.WriteHeader(c.status)
					}
				}}
				h.serve(8001, s)
				sink, _ := h.start(endpoint("soc", 8001))
				h.produce(alertOf("a", "high"))
				h.drained(sink, 2*time.Hour)
				hits := s.all()
				if len(hits) != 2 {
					t.Fatalf("%d tries, want 2", len(hits))
				}
				if got := hits[1].at.Sub(hits[0].at); got < c.least || got > c.most {
					t.Errorf("tried again after %v, want %v to %v", got, c.least, c.most)
				}
			})
		})
	}
}

func TestThrottlingUsesUpNoTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{answer: func(w http.ResponseWriter, _ string, try int) {
			if try <= 30 {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}}
		h.serve(8001, s)
		sink, _ := h.start(endpoint("soc", 8001))
		h.produce(alertOf("a", "high"))
		h.drained(sink, time.Hour)
		h.metric("refundguard_webhook_deliveries_total", 1, "soc", "delivered")
		h.metric("refundguard_webhook_retries_total", 30, "soc", "overloaded")
	})
}

func TestAgeEndsWhatRetriesDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{answer: func(w http.ResponseWriter, _ string, _ int) { w.WriteHeader(http.StatusTooManyRequests) }}
		h.serve(8001, s)
		e := endpoint("soc", 8001)
		e.GiveUpAfter = time.Hour
		sink, _ := h.start(e)
		h.produce(alertOf("a", "high"))
		h.drained(sink, 2*time.Hour)
		h.deadLetters(1)
	})
}

func TestSeveralInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{answer: func(http.ResponseWriter, string, int) { time.Sleep(time.Second) }}
		h.serve(8001, s)
		sink, _ := h.start(endpoint("soc", 8001))
		h.produce(many("a", 81)...)
		begun := time.Now()
		h.drained(sink, time.Hour)
		// The first goes alone, to see whether the endpoint answers at all.
		if took := time.Since(begun); took < 11*time.Second || took > 13*time.Second {
			t.Errorf("81 alerts of a second each, eight at a time, took %v", took)
		}
	})
}

func TestRetriesAreLoggedQuietly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		h.start(endpoint("soc", 8001))
		h.produce(many("a", 100)...)
		time.Sleep(6 * time.Hour)
		if got := strings.Count(h.logs.String(), "\n"); got > 5 {
			t.Errorf("%d log lines in six hours' outage:\n%s", got, h.logs.String())
		}
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		s := &script{answer: func(_ http.ResponseWriter, _ string, try int) {
			if try == 1 {
				time.Sleep(time.Hour)
			}
		}}
		h.serve(8001, s)
		sink, _ := h.start(endpoint("soc", 8001))
		h.produce(alertOf("a", "high"))
		h.drained(sink, time.Minute)
		hits := s.all()
		if got := hits[1].at.Sub(hits[0].at); got < 17*time.Second || got > 21*time.Second {
			t.Errorf("tried again after %v, want 15 s and a pause", got)
		}
		h.metric("refundguard_webhook_retries_total", 1, "soc", "timeout")
		time.Sleep(time.Hour)
	})
}
