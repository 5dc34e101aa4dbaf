package event_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refundguard/refundguard/rules/event"
)

func TestDeadLetter(t *testing.T) {
	d := &event.DeadLetter{Code: event.CodeInvalidValue, Field: "amount", Message: `"-5" is not greater than 0`,
		Topic: "refunds", Partition: 3, Offset: 1234, Timestamp: 1714566897042}
	headers := d.AppendHeaders([]event.Header{{Key: "trace", Value: []byte("t1")}})
	var got []string
	for _, h := range headers {
		got = append(got, h.Key+": "+string(h.Value))
	}
	want := []string{
		"trace: t1",
		"__connect.errors.topic: refunds",
		"__connect.errors.partition: 3",
		"__connect.errors.offset: 1234",
		`__connect.errors.exception.message: amount: "-5" is not greater than 0`,
		"refundguard-code: INVALID_VALUE",
		"refundguard-field: amount",
		`refundguard-message: "-5" is not greater than 0`,
		"refundguard-timestamp: 2024-05-01T12:34:57.042Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	back, err := event.ParseDeadLetter(headers)
	if diff := cmp.Diff(d, back); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}

	// Sent again and refused again: the second refusal counts, all of it.
	second := &event.DeadLetter{Code: event.CodeTooLarge, Message: "the record has 70000 bytes", Topic: "refunds", Partition: 1, Offset: 9}
	back, err = event.ParseDeadLetter(second.AppendHeaders(headers))
	if diff := cmp.Diff(second, back); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestParseDeadLetterRefuses(t *testing.T) {
	good := (&event.DeadLetter{Code: "X", Topic: "t"}).AppendHeaders(nil)
	for i, h := range good {
		if h.Key == event.HeaderMessage || h.Key == event.HeaderErrorMessage || h.Key == event.HeaderTimestamp {
			continue
		}
		without := append(append([]event.Header{}, good[:i]...), good[i+1:]...)
		if _, err := event.ParseDeadLetter(without); err == nil || !strings.Contains(err.Error(), h.Key) {
			t.Errorf("without %s: %v", h.Key, err)
		}
	}
	for _, key := range []string{event.HeaderErrorPartition, event.HeaderErrorOffset, event.HeaderTimestamp} {
		bad := append(append([]event.Header{}, good...), event.Header{Key: key, Value: []byte("soon")})
		if _, err := event.ParseDeadLetter(bad); err == nil || !strings.Contains(err.Error(), key+`: "soon"`) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := event.ParseDeadLetter(nil); err == nil {
		t.Error("no headers were read")
	}
}
