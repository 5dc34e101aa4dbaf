package store_test

import (
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/refundguard/refundguard/pipeline/store"
)

// Reading one of 3 million values of 150 bytes back, in no order.
func BenchmarkGet(b *testing.B) {
	s, err := store.Open(nil, b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const n, saves = 3_000_000, 60
	key := func(i int) []byte {
		h := xxh3.Hash(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		return append(binary.BigEndian.AppendUint64([]byte{'o', 0, 0, byte(i * 7 / n)}, h), "transaction-0123"...)
	}
	value := make([]byte, 150)
	for save := range saves {
		v := s.Begin()
		for i := save * n / saves; i < (save+1)*n/saves; i++ {
			for j := range 8 { // half of it compresses
				binary.LittleEndian.PutUint64(value[8*j:], rand.Uint64())
			}
			if err := v.Put(key(i), value); err != nil {
				b.Fatal(err)
			}
		}
		if err := v.Commit([]byte("meta")); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range b.N {
		found := false
		if err := s.Get(key(rand.IntN(n)), func([]byte) error { found = true; return nil }); err != nil || !found {
			b.Fatal(found, err)
		}
	}
}
