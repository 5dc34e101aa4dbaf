package sinks

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// maxDeadLetter is how large a record may be to be copied: one that is larger
// than what a topic takes by default must not stop all others.
const maxDeadLetter = 768 << 10

// DeadLetter is the record that says that r was refused: r's own bytes, key and
// headers, and the reason. Of an r that is too large only the headers that say
// where it is are left, and how many bytes are missing.
func DeadLetter(topic string, r *kgo.Record, code, message string) *kgo.Record {
	letter := event.DeadLetter{
		Code: code, Message: message,
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(),
	}
	out := &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Headers: slices.Clone(r.Headers)}
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value)
	}
	if size > maxDeadLetter {
		out.Key, out.Value, out.Headers = nil, nil, nil
	}
	for _, h := range letter.AppendHeaders(nil) {
		out.Headers = append(out.Headers, kgo.RecordHeader(h))
	}
	if size > maxDeadLetter {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: "refundguard-omitted-bytes", Value: strconv.AppendInt(nil, int64(size), 10)})
	}
	return out
}
