package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/pipeline/store"
)

func open(t *testing.T, dir string) (*store.Store, error) {
	t.Helper()
	return store.Open(nil, dir, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func mustOpen(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// content is all keys with their parts, and the meta.
func content(s *store.Store) (map[string]string, error) {
	all := map[string]string{"meta": string(s.Meta())}
	err := s.Scan([]byte{1}, []byte{255}, func(key, part []byte) error {
		all[string(key)] += "|" + string(part)
		return nil
	})
	for key, want := range all {
		got := ""
		getErr := s.Get([]byte(key), func(part []byte) error {
			got += "|" + string(part)
			return nil
		})
		if err == nil && key != "meta" && (getErr != nil || got != want) {
			err = fmt.Errorf("%w: of %s, Get tells %q (%w), Scan %q", errOther, key, got, getErr, want)
		}
	}
	if e := s.Get([]byte("there is none"), func([]byte) error { return errOther }); err == nil {
		err = e
	}
	return all, err
}

var errOther = errors.New("of Get and Scan, each tells another thing")

// save makes the n-th of some changes, and the same of want.
func save(t *testing.T, s *store.Store, n int, want map[string]string) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(n), 1))
	v := s.Begin()
	if n%5 == 4 {
		if err := v.Drop([]byte("k00"), []byte("k05")); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(want, func(k, _ string) bool { return k >= "k00" && k < "k05" })
	}
	if n%3 == 1 {
		if err := v.Delete([]byte("k07")); err != nil {
			t.Fatal(err)
		}
		delete(want, "k07")
	}
	for range 20 {
		key, value := fmt.Sprintf("k%02d", r.IntN(40)), strings.Repeat(fmt.Sprint(n), r.IntN(2000))
		v.Add([]byte(key), []byte("lost"))
		if err := v.Put([]byte(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
		want[key] = "|" + value
	}
	for range 10 {
		key := fmt.Sprintf("added%d", r.IntN(5))
		v.Add([]byte(key), []byte(fmt.Sprint(n)))
		want[key] += "|" + fmt.Sprint(n)
	}
	want["meta"] = fmt.Sprint("meta ", n)
	if err := v.Commit([]byte(want["meta"])); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsSavedIsThereAfterACrash(t *testing.T) {
	dir := t.TempDir()
	want := map[string]string{}
	for n := range 12 {
		s := mustOpen(t, dir)
		for i := range 3 {
			save(t, s, 3*n+i, want)
		}
		v := s.Begin() // and is not committed
		if err := v.Put([]byte("k01"), []byte("never")); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, dir)
		if got, err := content(s); err != nil || !maps.Equal(got, want) {
			t.Fatalf("after save %d: %v, %v", n, err, got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A folder of which a file is torn, flipped, cut or lost is an error, or one of
// the saves that were made: never anything else.
func TestADamagedFolderIsNeverMisread(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	want := map[string]string{}
	good := []map[string]string{{"meta": ""}}
	for n := range 8 {
		save(t, s, n, want)
		good = append(good, maps.Clone(want))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var files []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if !e.IsDir() && filepath.Base(path) != "LOCK" {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	refused, older := 0, 0
	r := rand.New(rand.NewPCG(7, 7))
	for range 150 {
		broken := filepath.Join(t.TempDir(), "state")
		if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(broken, files[r.IntN(len(files))])
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		how := r.IntN(4)
		switch at := r.IntN(max(len(b), 1)); {
		case how == 0 || len(b) == 0:
			err = os.Remove(path)
		case how == 1:
			err = os.WriteFile(path, b[:at], 0o600)
		case how == 2:
			b[at] ^= 1 << r.IntN(8)
			err = os.WriteFile(path, b, 0o600)
		default:
			clear(b[at:min(at+512, len(b))])
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := open(t, broken)
		var got map[string]string
		if err == nil {
			got, err = content(s)
		}
		switch {
		case err != nil:
			refused++
			if !errors.Is(err, store.ErrDamaged) {
				t.Errorf("%s: %v", path, err)
			}
			if err := s.SetAside(); err != nil {
				t.Errorf("set aside: %v", err)
			} else {
				save(t, s, 1, map[string]string{})
			}
		case !slices.ContainsFunc(good, func(g map[string]string) bool { return maps.Equal(g, got) }):
			t.Errorf("%s, %d: what is read was never saved: %v", path, how, got)
		case !maps.Equal(got, want):
			older++
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d refused, %d an older save", refused, older)
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

func TestAFolderHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if _, err := open(t, dir); !errors.Is(err, store.ErrInUse) {
		t.Errorf("the second gets %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
}

// A value to which much was added is asked for whole.
func TestRewrite(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer s.Close()
	rounds := 0
	for ; ; rounds++ {
		v := s.Begin()
		v.Add([]byte("k"), bytes.Repeat([]byte("x"), 1000))
		if err := v.Commit(nil); err != nil {
			t.Fatal(err)
		}
		if again := v.Rewrite(); len(again) == 1 && string(again[0]) == "k" {
			break
		}
	}
	if rounds < 4 || rounds > 10 {
		t.Errorf("after %d rounds", rounds)
	}
}
