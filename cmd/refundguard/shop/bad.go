package shop

import "bytes"

// spoil follows the present record, now and then, with one that it takes a
// careful reader to get right: a repeat, a malformed one, or another refund
// under an id that is taken.
func (s *Shop) spoil() {
	r := s.rng
	if s.cfg.Bad == 0 || r.below(million) >= uint64(s.cfg.Bad) {
		return
	}
	at := s.rec.Time
	value := bytes.Clone(s.rec.Value)
	switch n := r.below(100); {
	case n < 50: // the same again: at once, or when it was long done
		if n < 25 {
			at += r.between(1000, 2*hour)
		}
	case n < 65 && s.rec.Stream == Refunds:
		value = bytes.Replace(value, []byte(`"amount":"`), []byte(`"amount":"1`), 1)
	default:
		value = malformed(value, r)
	}
	s.later(pending{at: at, kind: kindRaw, raw: &Record{Stream: s.rec.Stream, Key: bytes.Clone(s.rec.Key), Value: value}})
}

// malformed is a record that no decoder may take, made of a good one.
func malformed(value []byte, r rng) []byte {
	replace := func(old, by string) []byte { return bytes.Replace(value, []byte(old), []byte(by), 1) }
	switch r.below(9) {
	case 0:
		return value[:1+r.below(uint64(len(value)-1))] // cut short
	case 1:
		return replace(`"amount":"`, `"amount":"-`)
	case 2:
		return replace(`"amount":`, `"amt":`)
	case 3:
		return replace(`"currency":"`, `"currency":"x`)
	case 4:
		return replace(`Z","merchant`, `","merchant`) // a time without a zone
	case 5:
		return append(value, "}trailing"...)
	case 6:
		return replace(`_id":"`, "_id\":\"\xff\xfe")
	case 7:
		return replace(`"occurred_at":"2`, `"occurred_at":"yesterday 2`)
	default:
		return []byte("<html><body>502 Bad Gateway</body></html>")
	}
}
