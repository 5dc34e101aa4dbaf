package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/refundguard/refundguard/rules/event"
)

const (
	eventType = "refundguard.alert"

	// maxBody is what Standard Webhooks allows a message to have.
	maxBody = 20_000

	truncated = "… [truncated]"
)

// alert is what is read of one record of alerts; the rest passes through.
type alert struct {
	id   string
	rank int // of the severity
	body []byte
}

// newAlert reads a record. Its error says why no endpoint could take it.
func newAlert(value []byte, recorded time.Time, to format) (*alert, error) {
	head, err := event.ParseAlert(value)
	if err != nil {
		return nil, err
	}
	// Standard Webhooks joins id, timestamp and body with dots before it signs.
	if len(head.AlertID) > 256 || !only(head.AlertID, "-_") {
		return nil, fmt.Errorf("reading an alert: alert_id is %.64q, and must be 1 to 256 letters, digits, - or _", head.AlertID)
	}
	rank, ok := severityRank(head.Severity)
	if !ok {
		rank, _ = severityRank("critical") // none that this version knows: rather sent than dropped
	}
	at := head.At
	if at == 0 {
		at = recorded.UnixMilli()
	}
	body, err := to(head, value, at)
	if err != nil {
		return nil, err
	}
	return &alert{id: head.AlertID, rank: rank, body: body}, nil
}

// severityRank orders the severities; ok is false for an unknown one.
func severityRank(severity string) (rank int, ok bool) {
	for i, s := range []string{"low", "medium", "high", "critical"} {
		if s == severity {
			return i, true
		}
	}
	return 0, false
}

func appendBody(dst []byte, at int64, data []byte) []byte {
	dst = append(dst, `{"type":"`+eventType+`","timestamp":"`...)
	dst = event.AppendTime(dst, at)
	dst = append(dst, `","data":`...)
	dst = append(dst, data...)
	return append(dst, '}')
}

// shorten cuts surplus bytes, or a few more, out of the record's message and
// keeps every other field, in its place, as it was.
func shorten(value []byte, surplus int) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(value))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	out := []byte{'{'}
	cut := false
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var field json.RawMessage
		if err := dec.Decode(&field); err != nil {
			return nil, err
		}
		if text := ""; name == "message" && !cut && json.Unmarshal(field, &text) == nil {
			cut = true
			room := len(field) - surplus - len(truncated)
			if room < len(`""`) {
				return nil, errors.New("the message is not what makes it long")
			}
			field = quoteWithin(text, room)
		}
		key, _ := json.Marshal(name)
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), field...)
	}
	if !cut {
		return nil, errors.New("it has no message to cut")
	}
	return append(out, '}'), nil
}

// quoteWithin is the JSON string of text's longest beginning that fits into
// room bytes, with the marker after it.
func quoteWithin(text string, room int) []byte {
	end, used := 0, len(`""`)
	for i, c := range text {
		used += len(quote(string(c))) - len(`""`)
		if used > room {
			break
		}
		end = i + utf8.RuneLen(c)
	}
	return quote(text[:end] + truncated)
}

// quote doesn't escape what is special in HTML: text may not get longer than it
// came.
func quote(text string) []byte {
	b, _ := marshal(text) // a string can't fail
	return b
}

// signer makes the headers of Standard Webhooks.
type signer []*standardwebhooks.Webhook

func newSigner(secrets string) (signer, error) {
	list, err := parseSecrets(secrets)
	if err != nil {
		return nil, err
	}
	var s signer
	for _, secret := range list {
		key, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return nil, err
		}
		s = append(s, key)
	}
	return s, nil
}

// sign sets the headers. The id stays the same over an alert's tries; the
// timestamp is the try's own, because receivers refuse old ones.
func (s signer) sign(h http.Header, a *alert, now time.Time) error {
	if len(s) == 0 {
		return nil
	}
	var signatures []string
	for _, key := range s {
		signature, err := key.Sign(a.id, now, a.body)
		if err != nil {
			return err
		}
		signatures = append(signatures, signature)
	}
	h.Set(standardwebhooks.HeaderWebhookID, a.id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	h.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return nil
}
