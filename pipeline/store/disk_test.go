package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// disk is one in memory that gives an error when it is told to.
type disk struct {
	vfs.FS
	left atomic.Int64 // operations until then; negative: none
	err  syscall.Errno
	read bool // reading fails, too
}

func newDisk() *disk {
	d := &disk{}
	d.left.Store(-1)
	d.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !d.read && op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		if left := d.left.Load(); left < 0 || left > 0 && d.left.Add(-1) >= 0 {
			return nil
		}
		return fmt.Errorf("%s: %w", op.Path, d.err)
	}))
	return d
}

func (d *disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: 1 << 40}, nil
}

func openOn(t *testing.T, d *disk) (*Store, error) {
	return open("state", d, slog.New(slog.NewTextHandler(t.Output(), nil)), false)
}

func put(t *testing.T, s *Store, meta string, keys ...string) {
	t.Helper()
	v := s.Begin()
	for _, k := range keys {
		if err := v.Put([]byte(k), []byte(strings.Repeat(meta, 1000))); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Commit([]byte(meta)); err != nil {
		t.Fatal(err)
	}
}

// Whatever operation fails while a folder is opened, the answer is an error that
// isn't one of damage, and the state is there when the disk is well again.
func TestOpenOnADiskThatFails(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EMFILE, syscall.EROFS} {
		for after := int64(0); after < 40; after++ {
			d := newDisk()
			s, err := openOn(t, d)
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, "one", "a", "b")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			d.err, d.read = errno, errno != syscall.ENOSPC
			d.left.Store(after)
			s, err = openOn(t, d)
			if errors.Is(err, ErrDamaged) {
				t.Fatalf("%v after %d operations is taken for damage: %v", errno, after, err)
			}
			d.left.Store(-1)
			switch {
			case err == nil && string(s.Meta()) != "one":
				t.Fatalf("%v after %d operations: the meta is %q", errno, after, s.Meta())
			case err != nil && s != nil:
				t.Fatalf("%v after %d operations: a store, and %v", errno, after, err)
			case errors.Is(err, ErrInUse):
				continue // the database gave up; only the process's end frees it
			case err == nil:
				_ = s.Close()
			}
			if s, err = openOn(t, d); errors.Is(err, ErrInUse) {
				continue
			} else if err != nil || string(s.Meta()) != "one" {
				t.Fatalf("%v after %d operations, then a disk that is well: %v", errno, after, err)
			}
			_ = s.Close()
		}
	}
}

// How large the state is can be asked while a disk gives no answer.
func TestSizeWaitsForNoDisk(t *testing.T) {
	hold, reached := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var armed atomic.Bool
	d := &disk{FS: errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && op.Kind == errorfs.OpFileSync && strings.Contains(op.Path, "MANIFEST") {
			once.Do(func() { close(reached) })
			<-hold
		}
		return nil
	}))}
	s, err := openOn(t, d)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", "k")
	was := s.Size()
	if was <= 0 {
		t.Errorf("the size is %d", was)
	}
	armed.Store(true)
	saved := make(chan struct{})
	go func() {
		defer close(saved)
		put(t, s, "b", "k", "l")
	}()
	<-reached
	if got := s.Size(); got != was {
		t.Errorf("during a save the size is %d, it was %d before", got, was)
	}
	close(hold)
	<-saved
	if got := s.Size(); got <= was {
		t.Errorf("after two saves the size is %d, after one %d", got, was)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// The database begins again at once what a full disk refused, for ever: it is
// made to wait each time, and says the same only once.
func TestAFullDiskIsNotTriedWithoutAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		failed := options(slog.New(slog.NewTextHandler(&said, nil)), nil).EventListener.BackgroundError
		began := time.Now()
		for _, text := range []string{"full", "full", "broken", "full"} {
			failed(errors.New(text))
		}
		if took := time.Since(began); took < 200*time.Millisecond {
			t.Errorf("four failures take %v", took)
		}
		if n := strings.Count(said.String(), "\n"); n != 3 {
			t.Errorf("%d lines:\n%s", n, said.String())
		}
	})
}

// A save that doesn't fit in memory is written in pieces, and counts only when
// all of it is there: whichever operation is the last before a crash, a start
// finds it or the save before.
func TestALargeSaveIsWholeOrNotAtAll(t *testing.T) {
	defer func(n int) { earlyBytes = n }(earlyBytes)
	earlyBytes = 20_000
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("k%02d", i)
	}
	old, whole := 0, 0
	for after := int64(0); whole == 0; after += 3 {
		d := newDisk()
		mem := vfs.NewCrashableMem()
		d.FS = errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || d.left.Load() < 0 || d.left.Load() > 0 && d.left.Add(-1) >= 0 {
				return nil
			}
			return syscall.ENOSPC
		}))
		s, err := openOn(t, d)
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, "one", many[:50]...)
		if root, err := mem.OpenDir(""); err != nil || root.Sync() != nil {
			t.Fatal(err)
		}
		d.left.Store(after)
		done := make(chan error, 1)
		go func() {
			v := s.Begin()
			var err error
			for _, k := range many {
				if err == nil {
					err = v.Put([]byte(k), []byte(strings.Repeat("two", 1000)))
				}
			}
			if err == nil {
				err = v.Add([]byte("added"), []byte("two"))
			}
			if err == nil {
				err = v.Commit([]byte("two"))
			}
			done <- err
		}()
		finished := false
		for d.left.Load() != 0 && !finished {
			select {
			case err := <-done:
				finished = true
				if err != nil && d.left.Load() != 0 {
					t.Fatal(err)
				}
			default:
			}
		}
		crashed := &disk{FS: mem.CrashClone(vfs.CrashCloneCfg{})}
		crashed.left.Store(-1)
		found, err := openOn(t, crashed)
		if err != nil {
			t.Fatalf("after %d operations: %v", after, err)
		}
		want, keys := string(found.Meta()), 0
		err = found.Scan([]byte{1}, nil, func(key, part []byte) error {
			keys++
			if !strings.HasPrefix(string(part), want) {
				return fmt.Errorf("key %q holds %.3q", key, part)
			}
			return nil
		})
		if n := map[string]int{"one": 50, "two": 101}[want]; err != nil || keys != n {
			t.Fatalf("after %d operations: %q with %d keys, %v", after, want, keys, err)
		}
		switch want {
		case "one":
			old++
		case "two":
			whole++
		default:
			t.Fatalf("after %d operations nothing is there", after)
		}
		d.left.Store(-1)
		if !finished {
			<-done
		}
		_ = found.Close()
		_ = s.Close()
	}
	t.Logf("%d saves were whole, of %d others the one before was there", whole, old)
	if old == 0 {
		t.Error("no crash was before the end of a save")
	}
}
