package store

import (
	"bytes"
	"testing"
)

// A value of several parts is read as it was written, and nothing else is.
func FuzzUnseal(f *testing.F) {
	f.Add([]byte("key"), []byte("part"), []byte{})
	f.Add([]byte{}, []byte{}, []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, key, part, behind []byte) {
		value := append(appendSealed(appendSealed(nil, key, part), key, nil), behind...)
		first, rest, err := unseal(key, value)
		if err != nil || !bytes.Equal(first, part) {
			t.Fatalf("%q, %v", first, err)
		}
		if second, rest, err := unseal(key, rest); err != nil || len(second) != 0 || !bytes.Equal(rest, behind) {
			t.Fatalf("%q, %q, %v", second, rest, err)
		}
		_, _, _ = unseal(key, behind)
		if len(part) > 0 {
			flipped := bytes.Clone(value)
			flipped[len(appendSealed(nil, key, part))-sumBytes-1] ^= 1
			if _, _, err := unseal(key, flipped); err == nil {
				t.Fatal("a flipped bit was not noticed")
			}
		}
		if _, _, err := unseal(append(bytes.Clone(key), 'x'), value); err == nil {
			t.Fatal("the value of another key was taken")
		}
	})
}
