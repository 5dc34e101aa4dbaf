package store_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/refundguard/refundguard/pipeline/store"
)

// A copy is what was saved when it was made, whatever is saved after; another
// store takes it whole or not at all.
func TestACopyIsTakenWholeOrNotAtAll(t *testing.T) {
	from, want := mustOpen(t, t.TempDir()), map[string]string{}
	for n := range 4 {
		save(t, from, n, want)
	}
	dir, err := from.Copy()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 8 {
		save(t, from, 4+n, maps.Clone(want))
	}
	copied := func(to string) error { return os.CopyFS(to, os.DirFS(dir)) }
	as := func(meta []byte) ([]byte, error) { return append(meta, " elsewhere"...), nil }

	to, had := t.TempDir(), map[string]string{}
	s := mustOpen(t, to)
	save(t, s, 100, had)
	refused := errors.New("refused")
	for name, err := range map[string]error{
		"that can't be made": s.Receive(func(string) error { return refused }, as),
		"that is refused":    s.Receive(copied, func([]byte) ([]byte, error) { return nil, refused }),
		"that is torn": s.Receive(func(to string) error {
			tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
			return errors.Join(copied(to), os.Truncate(filepath.Join(to, filepath.Base(tables[0])), 10))
		}, as),
		"of nothing": s.Receive(func(to string) error { return os.MkdirAll(to, 0o700) }, as),
	} {
		if !errors.Is(err, refused) && !errors.Is(err, store.ErrDamaged) {
			t.Errorf("a copy %s: %v", name, err)
		}
	}
	if got, err := content(s); err != nil || !maps.Equal(got, had) {
		t.Fatalf("it isn't as it was: %v, %v", err, got)
	}
	if err := s.Receive(copied, as); err != nil {
		t.Fatal(err)
	}
	want["meta"] += " elsewhere"
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, to)
	if got, err := content(s); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", err, got)
	}
	if err := s.Clear(); err != nil || s.Meta() != nil {
		t.Errorf("it isn't empty: %v", err)
	}
	if err := errors.Join(s.Close(), from.Close()); err != nil {
		t.Error(err)
	}
}
