package webhook

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/sinks"
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

func deadLetter(topic string, r *kgo.Record, v *verdict, endpoint string) *kgo.Record {
	letter := sinks.DeadLetter(topic, r, v.code, v.cause.Error())
	letter.Headers = append(letter.Headers, kgo.RecordHeader{Key: HeaderEndpoint, Value: []byte(endpoint)})
	return letter
}
