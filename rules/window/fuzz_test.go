package window_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/refundguard/refundguard/rules/window"
)

// script reads operations from a fuzzer's bytes; it ends in zeros.
type script []byte

func (s *script) byte() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

func (s *script) int64() int64 {
	var b [8]byte
	*s = (*s)[copy(b[:], *s):]
	return int64(binary.LittleEndian.Uint64(b[:]))
}

// number is small mostly.
func (s *script) number() int64 {
	switch b := s.byte(); {
	case b < 200:
		return int64(b)
	case b < 240:
		return int64(s.byte())<<(b-200) - 1<<(b-201)
	case b < 250:
		return s.int64()
	case b < 253:
		return math.MaxInt64 - int64(s.byte())
	default:
		return math.MinInt64 + int64(s.byte())
	}
}

func FuzzStore(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 10, 1, 0, 255, 3, 0, 10, 2, 0, 255, 4, 200, 0, 20})
	f.Add([]byte{9, 2, 1, 0, 10, 1, 0, 1, 250, 3, 0, 10, 2, 3, 2, 251, 4, 0, 9, 2, 1, 3, 5, 200, 1, 0, 20, 1, 10, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4000 {
			return
		}
		s := script(data)
		spec := window.Spec{Horizon: max(s.number(), 0), Columns: int(s.byte() % 4), Plain: uint32(s.byte() % 8), Names: true}
		p := newPair(t, spec)
		keys := []string{"", "a", "bc", "de", "a longer key than others"}
		e := window.Event{Values: make([]int64, spec.Columns)}
		for len(s) > 0 {
			b := s.byte()
			key := keys[int(b)%len(keys)]
			if b >= 200 {
				p.compare(key, window.Span{From: s.number(), To: s.number(), HasSkip: b%2 == 0, SkipTime: e.Time, Skip: e.ID})
				continue
			}
			e.Time, e.ID, e.Currency, e.Present = s.number(), uint64(s.byte()%8), uint16(s.byte()%16/15), uint32(s.byte())
			e.Name = nameOf(e.ID)
			for c := range e.Values {
				e.Values[c] = s.number()
			}
			p.insert(key, &e)
		}
		p.compareAll()
	})
}
