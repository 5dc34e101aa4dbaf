package pipeline

import (
	"bytes"
	"testing"
)

// Whatever is encoded is what was appended, and its memory grows with it alone.
func TestWriterPieces(t *testing.T) {
	var w writer
	var all [][]byte
	for i := range 4000 {
		n := i * 37 % 70_000
		b := w.encode(func(dst []byte) []byte { return append(dst, bytes.Repeat([]byte{byte(i)}, n)...) })
		if cap(w.buf) > writerPiece {
			t.Fatalf("a piece of %d bytes", cap(w.buf))
		}
		all = append(all, b)
	}
	for i, b := range all {
		if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, i*37%70_000)) {
			t.Fatalf("%d is not as it was written", i)
		}
	}
}
