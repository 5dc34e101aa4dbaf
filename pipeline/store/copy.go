package store

import (
	"errors"
	"fmt"
	"path/filepath"
)

// A copy of the database lies in the folder for as long as it is sent somewhere,
// or comes from there.
const (
	outgoing = "outgoing"
	incoming = "incoming"
)

// clean removes copies that a process left when it ended.
func (s *Store) clean() error {
	if s.readOnly {
		return nil
	}
	for _, name := range []string{outgoing, incoming} {
		if err := s.fs.RemoveAll(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("%w: %w", ErrUnusable, err)
		}
	}
	return nil
}

// Copy makes a copy of what was saved last in a folder of its own, of links
// where the system has them. It is for between two saves; whoever takes it
// removes it, before the next one.
func (s *Store) Copy() (dir string, err error) {
	dir = filepath.Join(s.dir, outgoing)
	return dir, s.do(func() error {
		if err := s.fs.RemoveAll(dir); err != nil {
			return err
		}
		return s.db.Checkpoint(dir)
	})
}

// Files is the folder of the database's files, for a store that is only read.
func (s *Store) Files() string { return s.path() }

// Receive has a copy of a database made in a folder by from, and takes it in
// place of what there is, which is thrown away. What it says of itself becomes
// what describe makes of it. After an error of these, or ErrDamaged, the store
// is as it was; after others it is to be closed.
func (s *Store) Receive(from func(dir string) error, describe func(meta []byte) ([]byte, error)) error {
	at := filepath.Join(s.dir, incoming)
	if err := s.receive(at, from, describe); err != nil {
		return errors.Join(err, s.fs.RemoveAll(at))
	}
	if err := s.replace(filepath.Join(at, "db")); err != nil {
		return err
	}
	return s.fs.RemoveAll(at)
}

func (s *Store) receive(at string, from func(dir string) error, describe func(meta []byte) ([]byte, error)) (err error) {
	if err := s.fs.RemoveAll(at); err != nil {
		return err
	}
	if err := from(filepath.Join(at, "db")); err != nil {
		return err
	}
	copied, err := open(at, s.fs, s.log, false)
	if copied == nil {
		return err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	if err != nil {
		return err
	}
	if copied.meta == nil {
		return fmt.Errorf("the copy is %w: nothing is saved in it", ErrDamaged)
	}
	meta, err := describe(copied.meta)
	if err != nil {
		return err
	}
	return copied.Begin().Commit(meta)
}

// Clear throws away what there is.
func (s *Store) Clear() error { return s.replace("") }

// replace takes a database in place of the one that there is; "" is an empty one.
func (s *Store) replace(with string) error {
	if err := s.closeDB(); err != nil {
		return err
	}
	for _, old := range []string{s.path(), s.before()} {
		if err := s.fs.RemoveAll(old); err != nil {
			return s.damaged(err)
		}
	}
	if with != "" {
		if err := s.fs.Rename(with, s.path()); err != nil {
			return s.damaged(err)
		}
	}
	s.meta = nil
	clear(s.grown)
	return s.open()
}
