package event

import (
	"fmt"
	"strconv"
)

// Names of record headers. Those of dead letters begin with Kafka Connect's own,
// so that its tools understand them.
const (
	HeaderErrorTopic     = "__connect.errors.topic"
	HeaderErrorPartition = "__connect.errors.partition"
	HeaderErrorOffset    = "__connect.errors.offset"
	HeaderErrorMessage   = "__connect.errors.exception.message"

	HeaderCode      = "refundguard-code"
	HeaderField     = "refundguard-field"
	HeaderMessage   = "refundguard-message"
	HeaderTimestamp = "refundguard-timestamp" // Kafka timestamp of the refused record

	// Approved refunds carry these two beside the headers of the request.
	HeaderDecisionID = "refundguard-decision-id"
	HeaderRuleset    = "refundguard-ruleset"
)

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// DeadLetter says which record was refused, and why.
type DeadLetter struct {
	Code      string // RecordError's codes, and those of the pipeline
	Field     string // "" when it is not about one
	Message   string
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // Kafka's, in Unix milliseconds
}

// AppendHeaders adds the headers of the dead letter to those that the record had
// itself.
func (d *DeadLetter) AppendHeaders(dst []Header) []Header {
	message := d.Message
	if d.Field != "" {
		message = d.Field + ": " + message
	}
	dst = append(dst,
		Header{HeaderErrorTopic, []byte(d.Topic)},
		Header{HeaderErrorPartition, strconv.AppendInt(nil, int64(d.Partition), 10)},
		Header{HeaderErrorOffset, strconv.AppendInt(nil, d.Offset, 10)},
		Header{HeaderErrorMessage, []byte(message)},
		Header{HeaderCode, []byte(d.Code)},
	)
	if d.Field != "" {
		dst = append(dst, Header{HeaderField, []byte(d.Field)})
	}
	return append(dst,
		Header{HeaderMessage, []byte(d.Message)},
		Header{HeaderTimestamp, AppendTime(nil, d.Timestamp)},
	)
}

// ParseDeadLetter reads the headers of a dead letter. Where a record was refused
// more than once and has a header twice, the last one counts.
func ParseDeadLetter(headers []Header) (*DeadLetter, error) {
	// A field of an earlier refusal must not become that of a later one without
	// a field: what counts begins at the last topic.
	for i := len(headers) - 1; i > 0; i-- {
		if headers[i].Key == HeaderErrorTopic {
			headers = headers[i:]
			break
		}
	}
	d := &DeadLetter{}
	var seen struct{ code, topic, partition, offset bool }
	for _, h := range headers {
		var err error
		value := string(h.Value)
		switch h.Key {
		case HeaderErrorTopic:
			d.Topic, seen.topic = value, true
		case HeaderErrorPartition:
			var n int64
			n, err = strconv.ParseInt(value, 10, 32)
			d.Partition, seen.partition = int32(n), true
		case HeaderErrorOffset:
			d.Offset, err = strconv.ParseInt(value, 10, 64)
			seen.offset = true
		case HeaderCode:
			d.Code, seen.code = value, true
		case HeaderField:
			d.Field = value
		case HeaderMessage:
			d.Message = value
		case HeaderTimestamp:
			ms, ok := parseTime(h.Value)
			if !ok {
				err = constError("is not a time of RFC 3339")
			}
			d.Timestamp = ms
		}
		if err != nil {
			return nil, fmt.Errorf("reading a dead letter: header %s: %s: %w", h.Key, excerpt(h.Value), err)
		}
	}
	if !seen.code || !seen.topic || !seen.partition || !seen.offset {
		return nil, fmt.Errorf("reading a dead letter: expected the headers %s, %s, %s and %s",
			HeaderErrorTopic, HeaderErrorPartition, HeaderErrorOffset, HeaderCode)
	}
	return d, nil
}
