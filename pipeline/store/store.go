// Package store keeps keys and values of bytes on a local disk, many of them
// written at once or not at all, together with what says what they are. It knows
// no meaning of any.
//
// A value is one or more parts: Put replaces it, Add puts a part behind it. Each
// part has a checksum over itself and its key, and the files have their own. A
// save is one flush of the database below (Pebble), without a log: what a crash
// leaves is the last save that came to its end. Nothing is repaired: what can't
// be read is an error, and SetAside begins anew.
package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Errors that Open and others wrap.
var (
	// ErrInUse: another process has the folder.
	ErrInUse = errors.New("in use by another process")
	// ErrDamaged: what is there can't be read.
	ErrDamaged = errors.New("damaged")
)

// Store is an open folder. One goroutine may use it, but for Scan.
type Store struct {
	dir      string
	log      *slog.Logger
	lock     *pebble.Lock
	readOnly bool
	db       *pebble.DB
	meta     []byte // nil: nothing is saved
	grown    map[string]*growth
}

// Open takes a folder, which it makes if there is none. What can't be read is
// ErrDamaged, and a store that SetAside must be called on.
func Open(dir string, log *slog.Logger) (*Store, error) { return open(dir, log, false) }

// OpenToRead takes a folder that there is, and changes nothing in it.
func OpenToRead(dir string, log *slog.Logger) (*Store, error) { return open(dir, log, true) }

func open(dir string, log *slog.Logger, readOnly bool) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// The folder is locked and not only the database in it, which may be moved.
	lock, err := pebble.LockDirectory(dir, vfs.Default)
	if err != nil {
		if isLocked(err) {
			err = fmt.Errorf("%s is %w", dir, ErrInUse)
		}
		return nil, err
	}
	s := &Store{dir: dir, log: log, lock: lock, readOnly: readOnly, grown: map[string]*growth{}}
	if err = s.open(); errors.Is(err, ErrInUse) {
		return nil, errors.Join(err, lock.Close())
	}
	return s, err
}

// isLocked tells that a lock is held from other errors of taking it. It can be
// one of a database of this process that gave no answer when it was closed.
func isLocked(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || err.Error() == "lock held by current process"
}

func (s *Store) path() string { return filepath.Join(s.dir, "db") }

func (s *Store) open() (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("%s is %w: %v", s.path(), ErrDamaged, caught)
		}
	}()
	o := options(s.log)
	o.ReadOnly, o.ErrorIfNotExists = s.readOnly, s.readOnly
	if s.db, err = pebble.Open(s.path(), o); err != nil {
		if isLocked(err) {
			return fmt.Errorf("%s is %w", s.path(), ErrInUse)
		}
		return fmt.Errorf("%s is %w: %w", s.path(), ErrDamaged, err)
	}
	if s.meta, err = s.readMeta(); err != nil || s.meta != nil || s.readOnly {
		return err
	}
	// A first save that was not committed may have left something.
	some := false
	err = s.Scan(metaKey, nil, func(_, _ []byte) error { some = true; return errSome })
	if err != nil && !errors.Is(err, errSome) {
		return err
	}
	if !some {
		return nil
	}
	s.closeDB()
	if err := os.RemoveAll(s.path()); err != nil {
		return err
	}
	return s.open()
}

var errSome = errors.New("there is something")

func options(log *slog.Logger) *pebble.Options {
	o := &pebble.Options{
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   8 << 20,
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      quiet{log},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { log.Error("state on disk", "error", err.Error()) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				log.Error("state on disk is damaged", "error", info.Details.Error())
			},
		},
	}
	return o
}

// quiet is what the database tells in passing. It must not return from Fatalf,
// and must not end a process that decides refunds: what it was about stands
// still.
type quiet struct{ log *slog.Logger }

func (q quiet) Infof(string, ...any)              {}
func (q quiet) Errorf(format string, args ...any) { q.log.Warn(fmt.Sprintf(format, args...)) }
func (q quiet) Fatalf(format string, args ...any) {
	q.log.Error("state is not saved any longer: "+fmt.Sprintf(format, args...), "stack", string(debug.Stack()))
	select {}
}

// metaKey comes before all others.
var metaKey = []byte{0}

func (s *Store) readMeta() (meta []byte, err error) {
	err = s.Scan(metaKey, []byte{1}, func(_, value []byte) error {
		meta = append([]byte{}, value...)
		return nil
	})
	return meta, err
}

// Meta is what was saved last with everything else; nil: nothing was.
func (s *Store) Meta() []byte { return s.meta }

// Scan calls each for the parts of the values of all keys from lo up to but not
// hi, in order. Key and part are good during the call. Several may run at once.
func (s *Store) Scan(lo, hi []byte, each func(key, part []byte) error) (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("%s is %w: %v", s.path(), ErrDamaged, caught)
		}
	}()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return fmt.Errorf("%s is %w: %w", s.path(), ErrDamaged, err)
	}
	defer func() {
		if e := it.Close(); e != nil && err == nil {
			err = fmt.Errorf("%s is %w: %w", s.path(), ErrDamaged, e)
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("%s is %w: %w", s.path(), ErrDamaged, err)
		}
		if len(value) == 0 {
			return fmt.Errorf("%s is %w: a value of key %q is empty", s.path(), ErrDamaged, it.Key())
		}
		for len(value) > 0 {
			var part []byte
			if part, value, err = unseal(it.Key(), value); err != nil {
				return fmt.Errorf("%s is %w: a value of key %q: %w", s.path(), ErrDamaged, it.Key(), err)
			}
			if err := each(it.Key(), part); err != nil {
				return err
			}
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("%s is %w: %w", s.path(), ErrDamaged, err)
	}
	return nil
}

// SetAside begins anew with nothing saved. What there was is kept beside, in the
// place of what was set aside before.
func (s *Store) SetAside() error {
	s.closeDB()
	aside := filepath.Join(s.dir, "set-aside")
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Rename(s.path(), aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.meta = nil
	clear(s.grown)
	return s.open()
}

// closeDB ends the database, which a disk that gives no answer must not hold up
// for ever.
func (s *Store) closeDB() {
	if s.db == nil {
		return
	}
	db := s.db
	s.db = nil
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }() // iterators of a scan that panicked
		if err := db.Close(); err != nil {
			s.log.Warn("closing the state folder", "error", err)
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		s.log.Error("the state folder could not be closed: it gives no answer", "dir", s.dir)
	}
}

// Close gives the folder up. What was not committed is not saved.
func (s *Store) Close() error {
	s.closeDB()
	return s.lock.Close()
}

// Size is about how many bytes of the disk it takes.
func (s *Store) Size() int64 {
	if s.db == nil {
		return 0
	}
	return int64(s.db.Metrics().DiskSpaceUsage())
}
