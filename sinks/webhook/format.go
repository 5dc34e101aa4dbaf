package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/refundguard/refundguard/rules/event"
)

// format makes the body that a kind of receiver takes of one alert. value is
// the record that head was read from, at the time of the alert in Unix
// milliseconds.
type format func(head *event.Alert, value []byte, at int64) ([]byte, error)

var formats = map[string]format{"standard": standardBody, "slack": slackBody, "alertmanager": alertmanagerBody}

// standardBody is a message of Standard Webhooks.
func standardBody(head *event.Alert, value []byte, at int64) ([]byte, error) {
	body := appendBody(nil, at, bytes.TrimSpace(value))
	if len(body) < maxBody {
		return body, nil
	}
	shorter, err := shorten(value, len(body)-maxBody+1)
	if err != nil {
		return nil, fmt.Errorf("shortening alert %s, a message of %d bytes where %d are possible: %w", head.AlertID, len(body), maxBody-1, err)
	}
	return appendBody(nil, at, shorter), nil
}

// about names what an alert is about, in the order in which people ask.
func about(a *event.Alert) [][2]string {
	amount := ""
	if a.Amount != 0 {
		amount = a.Amount.String() + " " + a.Currency.String()
	}
	all := [][2]string{
		{"refund", a.RefundID}, {"outcome", a.Outcome}, {"amount", amount}, {"transaction", a.TransactionID}, {"customer", a.CustomerID},
		{"merchant", a.MerchantID}, {"device", a.DeviceID}, {"instrument", a.InstrumentID},
	}
	return slices.DeleteFunc(all, func(p [2]string) bool { return p[1] == "" })
}

// Slack cuts nothing itself: it refuses a section of more than 3,000
// characters. So much escaping can take.
const slackText = 2_900

// slackEscaper writes the three characters that Slack's mrkdwn reads itself.
var slackEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackBody is a message with blocks for an incoming webhook of Slack, or of
// what takes the same (Mattermost, Rocket.Chat).
func slackBody(a *event.Alert, _ []byte, at int64) ([]byte, error) {
	type text struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	type block struct {
		Type     string `json:"type"`
		Text     *text  `json:"text,omitempty"`
		Elements []text `json:"elements,omitempty"`
	}
	title := fmt.Sprintf("%s: %s", a.Severity, a.Rule)
	message := cutText(slackEscaper.Replace(a.Message), slackText-len(title)-4)
	var parts []string
	for _, p := range about(a) {
		parts = append(parts, p[0]+" `"+strings.ReplaceAll(slackEscaper.Replace(p[1]), "`", "'")+"`")
	}
	parts = append(parts, time.UnixMilli(at).UTC().Format(time.RFC3339))
	return marshal(struct {
		Text   string  `json:"text"` // of the notification
		Blocks []block `json:"blocks"`
	}{
		Text: slackEscaper.Replace(title),
		Blocks: []block{
			{Type: "section", Text: &text{"mrkdwn", "*" + slackEscaper.Replace(title) + "*\n" + message}},
			{Type: "context", Elements: []text{{"mrkdwn", cutText(strings.Join(parts, " · "), slackText)}}},
		},
	})
}

// alertmanagerBody is what Alertmanager's API v2 takes: a list of one alert.
// What groups and silences is a label; the rest annotates. It has no end, so
// that Alertmanager resolves it after its resolve_timeout.
func alertmanagerBody(a *event.Alert, _ []byte, at int64) ([]byte, error) {
	labels := map[string]string{"alertname": a.Rule, "service": "refundguard", "severity": a.Severity, "alert_id": a.AlertID}
	annotations := map[string]string{"summary": cutText(a.Message, slackText)}
	for _, p := range about(a) {
		switch p[0] {
		case "outcome", "merchant":
			labels[p[0]] = p[1]
		default:
			annotations[p[0]] = p[1]
		}
	}
	return marshal([]any{struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt"`
	}{labels, annotations, time.UnixMilli(at).UTC()}})
}

// cutText is the longest beginning of at most so many bytes, with a marker
// where something is missing.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most - len(truncated)
	for end > 0 && s[end]&0xC0 == 0x80 { // not within a character
		end--
	}
	// Nor within an escaped one.
	if i := strings.LastIndexByte(s[:end], '&'); i >= 0 && end-i < len("&amp;") && !strings.Contains(s[i:end], ";") {
		end = i
	}
	return s[:end] + truncated
}

func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}
