package shop

import (
	"strconv"
	"time"
)

// encoder writes records into buffers that it uses again.
type encoder struct {
	value, key []byte
	day        int64
	date       [11]byte // "2025-03-01T" of day
}

const hexDigits = "0123456789abcdef"

// id appends a prefix and 16 hex digits.
func appendID(b []byte, prefix string, v uint64) []byte {
	b = append(b, prefix...)
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

func appendText(b []byte, name, value string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":"`...)
	b = append(b, value...)
	return append(b, '"')
}

func appendIDField(b []byte, name, prefix string, v uint64) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":"`...)
	b = appendID(b, prefix, v)
	return append(b, '"')
}

func appendAmount(b []byte, v int64, c *country) []byte {
	b = append(b, `,"amount":"`...)
	if c.decimals == 0 {
		b = strconv.AppendInt(b, v, 10)
	} else {
		b = strconv.AppendInt(b, v/100, 10)
		b = append(b, '.', byte('0'+v/10%10), byte('0'+v%10))
	}
	b = append(b, `","currency":"`...)
	b = append(b, c.currency...)
	return append(b, '"')
}

func (e *encoder) appendTime(b []byte, t int64) []byte {
	if d := t / day; d != e.day {
		e.day = d
		time.UnixMilli(t).UTC().AppendFormat(e.date[:0], "2006-01-02T")
	}
	b = append(b, `,"occurred_at":"`...)
	b = append(b, e.date[:]...)
	ms := t % day
	two := func(v int64, after byte) { b = append(b, byte('0'+v/10), byte('0'+v%10), after) }
	two(ms/hour, ':')
	two(ms/minute%60, ':')
	two(ms/1000%60, '.')
	return append(b, byte('0'+ms/100%10), byte('0'+ms/10%10), byte('0'+ms%10), 'Z', '"')
}

var instrumentPrefix = [...]string{methodCard: "card_", methodWallet: "wal_", methodBalance: "bal_", methodBank: "iban_"}

func appendInstrument(b []byte, i instrument) []byte {
	if i.hash == 0 {
		return b
	}
	return appendIDField(b, "instrument_id", instrumentPrefix[i.method], i.hash)
}

func appendAddress(b []byte, a address) []byte {
	switch a.version {
	case 4:
		b = append(b, `,"ip":"`...)
		b = append(b, [...]string{"192.0.2.", "198.51.100.", "203.0.113."}[a.bits%3]...)
		b = strconv.AppendUint(b, 1+a.bits>>8%254, 10)
	case 6:
		b = append(b, `,"ip":"2001:db8:`...)
		b = strconv.AppendUint(b, 1+a.bits&0x7fff, 16)
		b = append(b, ':')
		b = strconv.AppendUint(b, 1+a.bits>>16&0x7fff, 16)
		b = append(b, "::"...)
		b = strconv.AppendUint(b, 1+a.bits>>32&0x7fff, 16)
	default:
		return b
	}
	return append(b, '"')
}

func (e *encoder) customer(b []byte, p *purchase) []byte {
	e.key = e.key[:0]
	if p.guest {
		return b
	}
	e.key = appendID(e.key, "cus_", p.who)
	b = append(b, `,"customer_id":"`...)
	b = append(b, e.key...)
	return append(b, '"')
}

// keyOrNil is the record's key: a guest's has none.
func (e *encoder) keyOrNil() []byte {
	if len(e.key) == 0 {
		return nil
	}
	return e.key
}

func appendMerchant(b []byte, p *purchase) []byte {
	m := min(p.detail>>24&31, p.detail>>32&31) // some sell more than others
	b = append(b, `,"merchant_id":"mer_`...)
	b = append(b, byte('0'+m/10), byte('0'+m%10))
	return append(b, '"')
}

func (e *encoder) transaction(s *Shop, p *purchase, at int64, status uint8) (key, value []byte) {
	c := &countries[p.country]
	b := append(e.value[:0], `{"transaction_id":"`...)
	b = appendID(b, "txn_", p.id)
	b = append(b, '"')
	b = e.customer(b, p)
	b = appendAmount(b, p.amount, c)
	b = e.appendTime(b, at)
	b = appendMerchant(b, p)
	if status == statusChargedBack {
		b = appendText(b, "status", "charged_back")
	} else {
		b = appendText(b, "status", firstStatus[status].name)
	}
	b = appendText(b, "method", purchaseMethods[p.method].name)
	b = appendInstrument(b, instrumentOf(p))
	if p.channel == channelWeb || p.channel == channelApp {
		b = appendIDField(b, "device_id", "dev_", deviceOf(p.who, p.detail))
		b = appendAddress(b, addressOf(p.who, p.detail))
	}
	b = appendText(b, "country", c.code)
	b = appendText(b, "channel", channels[p.channel].name)
	e.value = append(b, '}')
	return e.keyOrNil(), e.value
}

func (e *encoder) refund(s *Shop, f *pending) (key, value []byte) {
	p := &f.of
	c := &countries[p.country]
	b := append(e.value[:0], `{"refund_id":"`...)
	b = appendID(b, "ref_", f.id)
	b = append(b, '"')
	b = e.customer(b, p)
	if f.linked {
		b = appendIDField(b, "transaction_id", "txn_", p.id)
	}
	b = appendAmount(b, f.amount, c)
	b = e.appendTime(b, f.at)
	b = appendMerchant(b, p)
	if f.reason != "" {
		b = appendText(b, "reason", f.reason)
	}
	b = appendText(b, "method", f.method)
	b = appendInstrument(b, f.instrument)
	b = appendText(b, "requested_by", requesters[f.by].name)
	if f.by == byAgent {
		n := f.refund.detail >> 40 % 14
		b = append(b, `,"agent_id":"agt_`...)
		b = append(b, byte('0'+n/10), byte('0'+n%10), '"')
	}
	if f.mfa >= 0 {
		b = append(b, `,"mfa":`...)
		b = strconv.AppendBool(b, f.mfa == 1)
	}
	if f.device != 0 {
		b = appendIDField(b, "device_id", "dev_", f.device)
	}
	b = appendAddress(b, f.ip)
	b = appendText(b, "country", c.code)
	channel := "phone"
	switch f.by {
	case byCustomer:
		channel = channels[f.refund.detail>>50&1].name
	case byMerchant:
		channel = "store"
	case byAPI:
		channel = "api"
	}
	b = appendText(b, "channel", channel)
	e.value = append(b, '}')
	return e.keyOrNil(), e.value
}

func (e *encoder) label(b []byte, f *pending) []byte {
	b = append(b, `{"refund_id":"`...)
	b = appendID(b, "ref_", f.id)
	b = append(b, '"')
	b = appendText(b, "attack", f.attack)
	return append(b, `,"label":"fraud"}`...)
}
