package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/refundguard/refundguard/rules/event"
)

// maxKnown is how many ids a Receiver remembers; the oldest make room.
const maxKnown = 1 << 16

// Receiver is the other side, for demos and tests: a handler that verifies
// signatures and drops repeats.
type Receiver struct {
	keys []*standardwebhooks.Webhook
	each func(*event.Alert)

	mu     sync.Mutex
	known  map[string]bool
	order  []string // ring of known, oldest at next
	next   int
	counts Counts
}

// Counts says what a Receiver has got.
type Counts struct {
	Alerts  int // different ones
	Repeats int
	Refused int // without a valid signature, or not an alert
}

// NewReceiver calls each with every alert that is new, one at a time, before it
// answers. Secret is as in Endpoint: what any of several has signed is taken.
func NewReceiver(secret string, each func(*event.Alert)) (*Receiver, error) {
	keys, err := newSigner(secret)
	if err != nil {
		return nil, fmt.Errorf("building the webhooks' receiver: secret: %w", err)
	}
	return &Receiver{keys: keys, each: each, known: map[string]bool{}}, nil
}

// Counts is safe at any time.
func (r *Receiver) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		r.refuse(w, http.StatusBadRequest, "the body can't be read, or is too large")
		return
	}
	if !r.signed(body, req.Header) {
		r.refuse(w, http.StatusUnauthorized, "no valid signature")
		return
	}
	var message struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &message); err != nil || message.Type != eventType {
		r.refuse(w, http.StatusBadRequest, "not a message of type "+eventType)
		return
	}
	alert, err := event.ParseAlert(message.Data)
	if err != nil {
		r.refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	r.take(req.Header.Get(standardwebhooks.HeaderWebhookID), alert)
	w.WriteHeader(http.StatusNoContent)
}

func (r *Receiver) signed(body []byte, h http.Header) bool {
	for _, key := range r.keys {
		if key.Verify(body, h) == nil {
			return true
		}
	}
	return false
}

func (r *Receiver) refuse(w http.ResponseWriter, status int, why string) {
	r.mu.Lock()
	r.counts.Refused++
	r.mu.Unlock()
	http.Error(w, why, status)
}

func (r *Receiver) take(id string, alert *event.Alert) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[id] {
		r.counts.Repeats++
		return
	}
	if len(r.order) < maxKnown {
		r.order = append(r.order, id)
	} else {
		delete(r.known, r.order[r.next])
		r.order[r.next] = id
		r.next = (r.next + 1) % maxKnown
	}
	r.known[id] = true
	r.counts.Alerts++
	r.each(alert)
}
