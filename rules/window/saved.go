package window

import "encoding/binary"

// What Changes gives of a key is
//
//	savedWhole, how many events, each after the time of the one before it,
//	            how many levels of buckets (0: the key has none), each with its buckets
//	savedEvent, one event
//
// and of an event its time, id, currency, which columns it has and their values
// (of a column of texts the text), and its name with Spec.Names. Numbers are
// varints but for ids. There is no checksum: whoever keeps it sees to that.
const (
	savedWhole = 1
	savedEvent = 2
)

func (s *Store) appendWhole(dst []byte, r *record) []byte {
	dst = append(dst, savedWhole)
	dst = binary.AppendUvarint(dst, uint64(r.n))
	since := int64(0)
	for i := range r.n {
		s.load(r, i, &s.going)
		if s.spec.Names {
			s.going.Name = s.names.of(s.going.ID)
		}
		dst = s.appendEvent(dst, &s.going, since)
		since = s.going.Time
	}
	p := s.pastOf(r)
	dst = binary.AppendUvarint(dst, uint64(len(p)))
	for _, buckets := range p {
		dst = binary.AppendUvarint(dst, uint64(len(buckets)))
		for i := range buckets {
			dst = s.appendBucket(dst, &buckets[i])
		}
	}
	return dst
}

func (s *Store) appendEvent(dst []byte, e *Event, since int64) []byte {
	dst = binary.AppendVarint(dst, e.Time-since)
	dst = binary.LittleEndian.AppendUint64(dst, e.ID)
	dst = binary.AppendUvarint(dst, uint64(e.Currency))
	present := e.Present & (1<<s.spec.Columns - 1)
	dst = binary.AppendUvarint(dst, uint64(present))
	for c := 0; present>>c != 0; c++ {
		switch {
		case present>>c&1 == 0:
		case s.spec.Texts>>c&1 != 0:
			dst = appendText(dst, s.texts.of(uint64(e.Values[c])))
		default:
			dst = binary.AppendVarint(dst, e.Values[c])
		}
	}
	if s.spec.Names {
		dst = appendText(dst, e.Name)
	}
	return dst
}

func appendText(dst []byte, text string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

func (s *Store) appendBucket(dst []byte, b *bucket) []byte {
	dst = binary.AppendVarint(dst, b.k)
	dst = binary.AppendVarint(dst, b.n)
	dst = binary.AppendVarint(dst, b.latest)
	for c := range b.cells {
		x := &b.cells[c]
		sketched := byte(0)
		if x.values.registers != nil {
			sketched = 1
		}
		dst = x.append(append(dst, sketched))
		if x.n == 0 {
			continue
		}
		if s.spec.Texts>>c&1 != 0 {
			dst = appendText(dst, s.texts.of(uint64(x.first.value)))
			dst = appendText(dst, s.texts.of(uint64(x.last.value)))
		}
	}
	return dst
}

// SavedEvents is how many single events a saved value has.
func SavedEvents(value []byte) (int, bool) {
	in := saved{b: value}
	switch in.byte() {
	case savedEvent:
		return 1, true
	case savedWhole:
		n := in.count(11)
		return n, !in.bad
	}
	return 0, false
}
