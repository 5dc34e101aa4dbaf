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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Errors that Open and others wrap.
var (
	// ErrInUse: another process has the folder, or a database of this one that
	// gave no answer.
	ErrInUse = errors.New("in use by another process")
	// ErrDamaged: what is there can't be read.
	ErrDamaged = errors.New("damaged")
	// ErrUnusable: the system doesn't let it be used, whatever is there.
	ErrUnusable = errors.New("the folder can't be used")
)

// Store is an open folder. One goroutine may use it, but for Get, Scan and Size.
type Store struct {
	dir      string
	fs       vfs.FS
	log      *slog.Logger
	lock     *pebble.Lock
	readOnly bool
	db       *pebble.DB
	stuck    *gaveUp
	held     bool   // a database that gave no answer has the files until the process ends
	meta     []byte // nil: nothing is saved
	grown    map[string]*growth
	size     atomic.Int64
}

// Open takes a folder of the machine's disks, or of files if that isn't nil; it
// makes it if there is none. What can't be read is ErrDamaged, and a store that
// SetAside must be called on.
func Open(files vfs.FS, dir string, log *slog.Logger) (*Store, error) {
	return open(dir, orDefault(files), log, false)
}

// OpenToRead takes a folder that there is, as Open does, and changes nothing in
// it.
func OpenToRead(files vfs.FS, dir string, log *slog.Logger) (*Store, error) {
	return open(dir, orDefault(files), log, true)
}

func orDefault(files vfs.FS) vfs.FS {
	if files == nil {
		return vfs.Default
	}
	return files
}

func open(dir string, files vfs.FS, log *slog.Logger, readOnly bool) (*Store, error) {
	if err := files.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	// The folder is locked and not only the database in it, which may be moved.
	lock, err := pebble.LockDirectory(dir, files)
	if err != nil {
		if isLocked(err) {
			return nil, fmt.Errorf("%s is %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	s := &Store{dir: dir, fs: files, log: log, lock: lock, readOnly: readOnly, grown: map[string]*growth{}}
	if err = s.clean(); err == nil {
		err = s.open()
	}
	if err == nil || errors.Is(err, ErrDamaged) {
		return s, err
	}
	return nil, errors.Join(err, s.Close())
}

// isLocked tells that a lock is held from other errors of taking it. It can be
// one of a database of this process that gave no answer when it was closed.
func isLocked(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || err.Error() == "lock held by current process"
}

func (s *Store) path() string { return filepath.Join(s.dir, "db") }

// damaged is err as ErrDamaged, unless it is the system's word and not one on
// what the files hold.
func (s *Store) damaged(err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, ErrDamaged) || errors.Is(err, ErrInUse) || errors.Is(err, ErrUnusable):
		return err
	case s.held:
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	case isLocked(err):
		return fmt.Errorf("%s is %w", s.path(), ErrInUse)
	case errors.As(err, &errno) && errno != syscall.ENOENT && errno != syscall.EINVAL:
		return fmt.Errorf("%w: %s: %w", ErrUnusable, s.path(), err)
	}
	return fmt.Errorf("%s is %w: %w", s.path(), ErrDamaged, err)
}

func (s *Store) open() error {
	if err := s.openDB(); err != nil {
		return s.damaged(err)
	}
	s.measure()
	return nil
}

func (s *Store) openDB() error {
	s.stuck = &gaveUp{log: s.log, said: make(chan struct{})}
	o := options(s.log, s.stuck)
	o.FS, o.ReadOnly, o.ErrorIfNotExists = careful{s.fs, s.stuck}, s.readOnly, s.readOnly
	err := s.do(func() (err error) {
		db, err := pebble.Open(s.path(), o)
		s.db = db
		return err
	})
	if err != nil {
		return err
	}
	if s.meta, err = s.readMeta(); err != nil {
		return err
	}
	before, beforeErr := s.fs.Stat(s.before())
	switch {
	case s.readOnly:
		return nil
	case s.meta == nil && before != nil:
		return s.goBack()
	case before != nil:
		return s.fs.RemoveAll(s.before())
	case !errors.Is(beforeErr, os.ErrNotExist):
		return beforeErr
	case s.meta != nil:
		return nil
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
	if err := s.closeDB(); err != nil {
		return err
	}
	if err := s.fs.RemoveAll(s.path()); err != nil {
		return err
	}
	return s.open()
}

// before is where the state as last saved is kept while one that is too large
// for memory is written.
func (s *Store) before() string { return filepath.Join(s.dir, "before") }

// goBack takes the save before one that was not finished.
func (s *Store) goBack() error {
	if err := s.closeDB(); err != nil {
		return err
	}
	if err := s.fs.RemoveAll(s.path()); err != nil {
		return err
	}
	if err := s.fs.Rename(s.before(), s.path()); err != nil {
		return err
	}
	return s.open()
}

var errSome = errors.New("there is something")

func options(log *slog.Logger, stuck *gaveUp) *pebble.Options {
	o := &pebble.Options{
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   64 << 20, // what has left the engine's memory is read through it
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      stuck,
		EventListener: &pebble.EventListener{
			BackgroundError: quietly(log),
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				log.Error("state on disk is damaged", "error", info.Details.Error())
			},
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// quietly tells of errors in the background, each once until there is another. It
// waits, too: what failed is begun again at once, for as long as the disk is full.
func quietly(log *slog.Logger) func(error) {
	var said atomic.Value
	return func(err error) {
		if said.Swap(err.Error()) != err.Error() {
			log.Error("state on disk", "error", err.Error())
		}
		time.Sleep(100 * time.Millisecond)
	}
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
		return s.damaged(err)
	}
	defer func() {
		if e := it.Close(); e != nil && err == nil {
			err = s.damaged(e)
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return s.damaged(err)
		}
		if err := s.parts(it.Key(), value, func(part []byte) error { return each(it.Key(), part) }); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return s.damaged(err)
	}
	return nil
}

// Get calls each for the parts of a key's value, in order; of a key that there is
// not it doesn't. What Scan says holds here, too.
func (s *Store) Get(key []byte, each func(part []byte) error) (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("%s is %w: %v", s.path(), ErrDamaged, caught)
		}
	}()
	value, done, err := s.db.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil
	case err != nil:
		return s.damaged(err)
	}
	defer func() { _ = done.Close() }()
	return s.parts(key, value, each)
}

// parts takes a value apart.
func (s *Store) parts(key, value []byte, each func(part []byte) error) error {
	if len(value) == 0 {
		return s.damaged(fmt.Errorf("a value of key %q is empty", key))
	}
	for len(value) > 0 {
		var part []byte
		var err error
		if part, value, err = unseal(key, value); err != nil {
			return s.damaged(fmt.Errorf("a value of key %q: %w", key, err))
		}
		if err := each(part); err != nil {
			return err
		}
	}
	return nil
}

// keptAside is how many states SetAside keeps. It throws none away: one may be
// the only good copy.
const keptAside = 3

// SetAside begins anew with nothing saved. What there was is kept in the folder,
// as set-aside-1 and so on; the error says what to do where there are too many
// of them already, and the store is then to be closed.
func (s *Store) SetAside() error {
	if err := s.closeDB(); err != nil {
		return err
	}
	for n := 1; ; n++ {
		aside := filepath.Join(s.dir, fmt.Sprintf("set-aside-%d", n))
		_, err := s.fs.Stat(aside)
		switch {
		case err == nil && n == keptAside:
			return fmt.Errorf("%d states were set aside in %s already: look at why, and remove those that nobody needs", n, s.dir)
		case err == nil:
			continue
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
		if err := s.fs.Rename(s.path(), aside); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		s.meta = nil
		clear(s.grown)
		return s.open()
	}
}

// closeDB ends the database, which a disk that gives no answer must not hold up
// for ever. Its files may not be touched after an error.
func (s *Store) closeDB() error {
	db := s.db
	if s.db = nil; db == nil || s.held {
		return s.inUse()
	}
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
	case <-s.stuck.said:
		s.held = true
	case <-time.After(10 * time.Second):
		s.held = true
	}
	return s.inUse()
}

func (s *Store) inUse() error {
	if s.held {
		return fmt.Errorf("%s is %w: the disk gives no answer, it is free again when this process ends", s.path(), ErrInUse)
	}
	return nil
}

// ReadOnly reports whether nothing can be saved.
func (s *Store) ReadOnly() bool { return s.readOnly }

// Close gives the folder up, unless the disk gives no answer: then only the end
// of the process does. What was not committed is not saved.
func (s *Store) Close() error {
	if err := s.closeDB(); err != nil {
		return err
	}
	return s.lock.Close()
}

// Size is about how many bytes of the disk it took when it was opened, or saved
// in last.
func (s *Store) Size() int64 { return s.size.Load() }

// measure waits where the database writes its manifest, which a disk that is slow
// or full may hold up: whoever decides must not ask.
func (s *Store) measure() {
	db := s.db
	_ = s.do(func() error { // what is wrong, the next save tells
		s.size.Store(int64(db.Metrics().DiskSpaceUsage()))
		return nil
	})
}
