package cases

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// codecVersion is the first byte of an encoded case.
const codecVersion = 2

const (
	flagReserved = 1 << iota
	flagPaid
	flagDenied
	flagRequest
	flagKey
	flagSettled
)

// Append encodes c, but for its id, which is the key that it is kept under.
func (c *Case) Append(dst []byte) []byte {
	flags := byte(0)
	for _, f := range []struct {
		on  bool
		bit byte
	}{{c.Reserved, flagReserved}, {c.Paid, flagPaid}, {c.Denied, flagDenied}, {c.Settled, flagSettled},
		{c.Request != nil, flagRequest}, {c.Request != nil && c.Request.Key != nil, flagKey}} {
		if f.on {
			flags |= f.bit
		}
	}
	dst = append(dst, codecVersion, byte(c.State), byte(c.Severity), flags)
	for _, s := range c.texts() {
		dst = appendBytes(dst, *s)
	}
	for _, n := range c.numbers() {
		dst = binary.AppendVarint(dst, *n)
	}
	dst = binary.AppendUvarint(dst, uint64(c.Currency))
	dst = binary.AppendUvarint(dst, uint64(c.Ordinal))
	dst = binary.AppendUvarint(dst, uint64(c.Source.Partition))
	dst = append(dst, byte(c.Content))
	if r := c.Request; r != nil {
		if r.Key != nil {
			dst = appendBytes(dst, r.Key)
		}
		dst = appendBytes(dst, r.Value)
		dst = binary.AppendUvarint(dst, uint64(len(r.Headers)))
		for _, h := range r.Headers {
			dst = appendBytes(dst, h.Key)
			dst = binary.AppendVarint(dst, int64(lengthOrNil(h.Value)))
			dst = append(dst, h.Value...)
		}
	}
	return dst
}

func (c *Case) texts() []*string {
	return []*string{&c.TransactionID, &c.CustomerID, &c.MerchantID, &c.Method, &c.Language, &c.Agent, &c.Source.Topic, &c.Reason, &c.First, &c.RequestReason, &c.By}
}

func (c *Case) numbers() []*int64 {
	return []*int64{(*int64)(&c.Amount), (*int64)(&c.Base), &c.Source.Offset, &c.Occurred, &c.Received, &c.Opened, &c.Since, &c.Due, &c.Executed, &c.Changed}
}

func appendBytes[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// lengthOrNil tells nil from empty, which Kafka does.
func lengthOrNil(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

// errCase is for bytes that Append didn't write.
var errCase = errors.New("not a case of this version")

// Parse decodes what Append wrote for an id. Nothing of the case is in data.
func Parse(id string, data []byte) (*Case, error) {
	if len(data) < 4 || data[0] != codecVersion {
		return nil, fmt.Errorf("refund %q: %w", id, errCase)
	}
	c := &Case{RefundID: id, State: State(data[1]), Severity: rules.Severity(data[2])}
	flags := data[3]
	c.Reserved, c.Paid, c.Denied, c.Settled = flags&flagReserved != 0, flags&flagPaid != 0, flags&flagDenied != 0, flags&flagSettled != 0
	r := scan{rest: data[4:]}
	for _, s := range c.texts() {
		*s = string(r.bytes())
	}
	for _, n := range c.numbers() {
		*n = r.varint()
	}
	c.Currency = event.Currency(r.uvarint())
	c.Ordinal = int(r.uvarint())
	c.Source.Partition = int32(r.uvarint())
	c.Content = event.Answer(r.uvarint())
	if flags&flagRequest != 0 {
		c.Request = r.request(flags&flagKey != 0)
	}
	if r.bad || len(r.rest) > 0 || c.State < InReview || c.State > Overdue || c.Severity > rules.Critical || c.Content > event.No || flags >= flagSettled<<1 {
		return nil, fmt.Errorf("refund %q: %w", id, errCase)
	}
	return c, nil
}

// finished is the day since which nothing is waited for, of what Append wrote.
func finished(data []byte) (day uint16, ok bool) {
	if len(data) < 2 || State(data[1]) == InReview {
		return 0, false
	}
	c, err := Parse("", data)
	if err != nil || !c.rests() {
		return 0, false
	}
	return dayOf(c.Since), true
}

// scan reads; after the first fault it reads nothing.
type scan struct {
	rest []byte
	bad  bool
}

func (r *scan) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *scan) varint() int64 {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *scan) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *scan) bytes() []byte { return r.take(r.uvarint()) }

func (r *scan) clone() []byte { return append([]byte{}, r.bytes()...) }

func (r *scan) request(key bool) *Request {
	q := &Request{}
	if key {
		q.Key = r.clone()
	}
	q.Value = r.clone()
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		h := event.Header{Key: string(r.bytes())}
		if length := r.varint(); length >= 0 {
			h.Value = append([]byte{}, r.take(uint64(length))...)
		} else if length != -1 {
			r.bad = true
		}
		q.Headers = append(q.Headers, h)
	}
	return q
}
