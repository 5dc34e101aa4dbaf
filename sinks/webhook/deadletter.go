package webhook

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// Codes of the dead letters that this sink writes.
const (
	CodeUndelivered = "WEBHOOK_UNDELIVERED" // its last try failed
	codeInvalid     = "WEBHOOK_INVALID_ALERT"
)

// HeaderEndpoint names the endpoint that a dead letter wasn't delivered to.
const HeaderEndpoint = "refundguard-endpoint"

// verdict is why an alert goes to the dead letters.
type verdict struct {
	code  string
	cause error
}

// deadLetter is the record's own bytes, key and headers, and what became of it.
func deadLetter(topic string, r *kgo.Record, v *verdict, endpoint string) *kgo.Record {
	letter := event.DeadLetter{
		Code: v.code, Message: v.cause.Error(),
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(),
	}
	headers := append([]kgo.RecordHeader{}, r.Headers...)
	for _, h := range letter.AppendHeaders(nil) {
		headers = append(headers, kgo.RecordHeader(h))
	}
	headers = append(headers, kgo.RecordHeader{Key: HeaderEndpoint, Value: []byte(endpoint)})
	return &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Headers: headers}
}
