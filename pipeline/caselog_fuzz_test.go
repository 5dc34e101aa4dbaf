package pipeline_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/cases"
)

// FuzzParseCase: a record that is read as a case says all of that case, and what is
// to be released while it is in review is what the record holds.
func FuzzParseCase(f *testing.F) {
	held := &cases.Case{RefundID: "r", State: cases.InReview, Amount: 5, Due: 7}
	f.Add([]byte("r"), held.Append(nil), []byte(`{"refund_id":"r"}`), "trace", []byte("v"))
	done := &cases.Case{RefundID: "r", State: cases.Executed, Amount: 5, First: "ann"}
	f.Add([]byte("r"), done.Append(nil), []byte(`{}`), "", []byte(nil))
	f.Fuzz(func(t *testing.T, key, body, value []byte, header string, of []byte) {
		r := &kgo.Record{Key: key, Value: value, Headers: []kgo.RecordHeader{{Key: "refundguard-case", Value: body}, {Key: "refundguard-request-header:" + header, Value: of}}}
		c, err := pipeline.ParseCase(r)
		if err != nil {
			return
		}
		if c.RefundID != string(key) || (c.State == cases.InReview) && c.Request == nil {
			t.Fatalf("%q is read as %+v", body, c)
		}
		if q := c.Request; c.State == cases.InReview &&
			(!bytes.Equal(q.Value, value) || len(q.Headers) != 1 || q.Headers[0].Key != header || !bytes.Equal(q.Headers[0].Value, of)) {
			t.Fatalf("the request is %+v", q)
		}
		again, err := cases.Parse(c.RefundID, c.Append(nil))
		if err != nil || cmp.Diff(c, again) != "" {
			t.Fatalf("%+v is written as %+v, %v", c, again, err)
		}
	})
}
