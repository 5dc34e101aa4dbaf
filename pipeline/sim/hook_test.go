package sim

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/refundguard/refundguard/sinks/webhook"
)

// hook is the webhook sink, in a process of its own, and its receiver, which
// fails at times, and refuses some alerts always.
type hook struct {
	s    *sim
	mu   sync.Mutex
	n    int   // starts
	host *host // of the last of them
	stop context.CancelFunc
	done chan struct{}

	failing time.Time       // until then
	how     int             // it fails
	got     map[string]bool // alerts that it said yes to
}

const (
	receiverAt = "receiver.example:80"
	group      = "refundguard-webhook-soc"
)

func newHook(s *sim) *hook {
	h := &hook{s: s, got: map[string]bool{}}
	listener, err := s.net.listen("tcp", receiverAt)
	if err != nil {
		s.t.Fatal(err)
	}
	go (&http.Server{Handler: h}).Serve(listener)
	return h
}

// refuses reports whether the receiver will never take an alert.
func refuses(alertID string) bool {
	sum := fnv.New32a()
	sum.Write([]byte(alertID))
	return sum.Sum32()%13 == 0
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Webhook-Id")
	h.mu.Lock()
	failing, how := h.failing.After(time.Now()), h.how
	h.mu.Unlock()
	time.Sleep(h.s.upTo(50 * time.Millisecond))
	switch {
	case failing && how == 0:
		w.WriteHeader(http.StatusInternalServerError)
	case failing && how == 1:
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusTooManyRequests)
	case failing && how == 2: // too late for whoever asks, and taken
		time.Sleep(5 * time.Second)
		h.take(id)
	case failing && how == 3:
		panic(http.ErrAbortHandler)
	case refuses(id):
		w.WriteHeader(http.StatusBadRequest)
	default:
		h.take(id)
	}
}

func (h *hook) take(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got[id] = true
}

// start runs the sink.
func (h *hook) start() {
	s := h.s
	h.n++
	h.host = s.net.host(fmt.Sprintf("hook%d", h.n), s.lag)
	sink, err := webhook.New(webhook.Config{{Name: "soc", URL: "http://" + receiverAt + "/", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		Timeout: 2 * time.Second, Retries: []time.Duration{time.Second, 3 * time.Second},
		// Five that are refused in a row look like a receiver that is down.
		GiveUpAfter: 20 * time.Minute}},
		webhook.Deps{Options: append(s.options(h.host), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(time.Second)),
			AlertsTopic: "alerts", DeadLettersTopic: "dead-letters", Logger: slog.New(slog.NewTextHandler(s.log.of(h.host.name), nil))}.WithDial(h.host.dial))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	h.stop, h.done = cancel, done
	go func() {
		defer close(done)
		if err := sink.Run(ctx); err != nil {
			s.t.Errorf("the webhook sink: %v", err)
		}
	}()
}

// restart ends the sink, at once or in good order, and starts it again.
func (h *hook) restart(kill bool) {
	if h == nil {
		return
	}
	if kill {
		h.host.cut()
	}
	h.stop()
	if !kill {
		<-h.done
	}
	time.Sleep(h.s.upTo(2 * time.Second))
	h.start()
}

// cutOff leaves the sink without a network for a while, and its group without
// it.
func (h *hook) cutOff() {
	if h == nil {
		return
	}
	if h.s.coin() {
		h.host.reset()
	}
	h.host.hold(h.s.upTo(12*time.Second), toBroker, toHost)
}

// fail has the receiver fail for a while.
func (h *hook) fail() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.how = h.s.rng.IntN(4)
	h.failing = time.Now().Add(h.s.upTo(20 * time.Second))
}

// drain waits until the group has passed all alerts, and wants each of them to
// have been taken, or to be a dead letter.
func (h *hook) drain() {
	s := h.s
	began := time.Now()
	for ; !h.passed(); time.Sleep(2 * time.Second) {
		took := time.Since(began)
		if took > 12*time.Hour {
			s.t.Errorf("12 hours after all faults have healed, webhooks are behind")
			break
		}
		if took > evicted {
			h.evict()
		}
	}
	h.stop()
	<-h.done
	dead := map[string]int{}
	for _, r := range s.read("dead-letters") {
		if deadFrom(r) == "alerts" {
			dead[string(r.Key)]++
		}
	}
	alerts := s.read("alerts")
	for _, r := range alerts {
		id := string(r.Key)
		switch {
		case !h.got[id] && dead[id] == 0:
			s.t.Errorf("alert %s was never taken, and is no dead letter", id)
		case refuses(id) && dead[id] == 0:
			s.t.Errorf("alert %s is refused, and is no dead letter", id)
		}
	}
	for id := range dead {
		if !slices.ContainsFunc(alerts, func(r *kgo.Record) bool { return string(r.Key) == id }) {
			s.t.Errorf("a dead letter of alert %s, which there isn't", id)
		}
	}
	s.result.Alerts, s.result.Undelivered = len(alerts), len(dead)
}

// evicted is when a broker has no member any more that died before all healed:
// one rebalance later (a minute for its joins, one for its syncs), and a session.
const evicted = 2*time.Minute + 6*time.Second

// evict has the members of the sink's earlier lives leave the group. A broker
// does it: each member has a session from the end of a rebalance on, whatever
// became of its connection. kfake gives none to one whose connection ended while
// it waited for others to join, so that it keeps its partitions for ever.
func (h *hook) evict() {
	s := h.s
	cl, err := kgo.NewClient(s.options(s.checker)...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	described, err := kadm.NewClient(cl).DescribeGroups(context.Background(), group)
	if err != nil {
		return // the next time
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = group
	for _, m := range described[group].Members {
		if m.ClientHost != h.host.name {
			s.say("the group still has %s, of %s", m.MemberID, m.ClientHost)
			member := kmsg.NewLeaveGroupRequestMember()
			member.MemberID = m.MemberID
			leave.Members = append(leave.Members, member)
		}
	}
	if len(leave.Members) == 0 {
		return
	}
	s.result.Evicted += len(leave.Members)
	if _, err := leave.RequestWith(context.Background(), cl); err != nil {
		s.say("taking members out of the group: %v", err)
	}
}

// passed reports whether nothing of the topic is left to the group.
func (h *hook) passed() bool {
	cl, err := kgo.NewClient(h.s.options(h.s.checker)...)
	if err != nil {
		h.s.t.Fatal(err)
	}
	defer cl.Close()
	committed, err := kadm.NewClient(cl).FetchOffsets(context.Background(), group)
	if err != nil {
		return false // the group is moving
	}
	for id, end := range h.s.ends("alerts")["alerts"] {
		at, ok := committed.Lookup("alerts", id)
		if end.Offset > 0 && (!ok || at.At < end.Offset) {
			return false
		}
	}
	return true
}
