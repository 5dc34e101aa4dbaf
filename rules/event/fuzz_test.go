package event_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refundguard/refundguard/rules/event"
)

// FuzzStreams: each built-in stream, and one that has everything, reads what the
// slow reference reads, and refuses what it refuses.
func FuzzStreams(f *testing.F) {
	schema := event.Builtin()
	streams := append(schema.Streams, everything(f))
	var decoders []*event.Decoder
	for _, s := range streams {
		decoders = append(decoders, event.NewDecoder(s, event.Limits{}))
	}
	const rest = `"occurred_at":"2026-01-05T10:00:00Z","customer_id":"c","refund_id":"r","transaction_id":"t"`
	for i, record := range append([]string{
		`{"amount":"12.50","currency":"USD","status":"captured","method":"card",` + rest + `}`,
		`{"amount":129.9,"currency":"JPY","reason":"other","mfa":true,"requested_by":"agent","agent_id":"a",` + rest + `}`,
		`{"complaint_id":"k","kind":"other","text":"h\u00e9",` + rest + `}`,
		`{"confirmation_id":"k","confirmed":false,"satisfied":null,"comment":"",` + rest + `}`,
		`{"review_id":"v","verdict":"escalate","analyst":"ann","label":"fraud","note":"x",` + rest + `}`,
		`{"result_id":"l","status":"executed","amount":1e2,"currency":"USD","error":"x",` + rest + `}`,
	}, seeds...) {
		f.Add(uint8(i), []byte(record))
		f.Add(uint8(i), []byte(strings.ReplaceAll(record, "{", `{"a":[{}],`)))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		i := int(which) % len(streams)
		checkDecode(t, streams[i], decoders[i], data)
	})
}

// FuzzDeadLetter: what is written beside any headers that the record had is read
// again, whatever those say; what else is read is written as it was understood.
func FuzzDeadLetter(f *testing.F) {
	f.Add("refunds", int32(3), int64(1234), int64(1714566897042), "INVALID_VALUE", "amount", "is not greater than 0", "trace", "t1")
	f.Add("", int32(-1), int64(-1), int64(-1<<63), "", "", "", event.HeaderErrorTopic, "forged")
	f.Add("x", int32(0), int64(0), int64(1<<62), "TOO_LARGE", "", "\xff", event.HeaderField, "forged")
	f.Add("x", int32(0), int64(0), int64(0), "x", "", "x", event.HeaderTimestamp, "soon")
	f.Fuzz(func(t *testing.T, topic string, partition int32, offset, timestamp int64, code, field, message, key, value string) {
		own := []event.Header{{Key: key, Value: []byte(value)}}
		d := &event.DeadLetter{Code: code, Field: field, Message: message, Topic: topic, Partition: partition, Offset: offset, Timestamp: timestamp}
		headers := d.AppendHeaders(own)
		back, err := event.ParseDeadLetter(headers)
		if err != nil {
			t.Fatal(err)
		}
		shown := event.AppendTime(nil, timestamp)
		if d.Timestamp = back.Timestamp; string(event.AppendTime(nil, back.Timestamp)) != string(shown) {
			t.Errorf("timestamp %d, written %s, is read as %d", timestamp, shown, back.Timestamp)
		}
		if diff := cmp.Diff(d, back); diff != "" {
			t.Error(diff)
		}
		// A header that somebody else has written in place of one of ours.
		for i := range headers {
			forged := append(append([]event.Header{}, headers[:i]...), headers[i+1:]...)
			got, err := event.ParseDeadLetter(append(forged, own...))
			if err != nil {
				continue
			}
			again, err := event.ParseDeadLetter(got.AppendHeaders(nil))
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		}
	})
}
