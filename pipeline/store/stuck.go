package store

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// do runs what the database may never come back from.
func (s *Store) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if caught := recover(); caught != nil {
				done <- fmt.Errorf("%s is %w: %v", s.path(), ErrDamaged, caught)
			}
		}()
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-s.stuck.said:
		s.held = true
		return s.stuck.err
	}
}

// gaveUp is what the database tells in passing, and that it can't go on: its
// Fatalf must not return, and must not end a process that decides refunds.
type gaveUp struct {
	log  *slog.Logger
	once sync.Once
	said chan struct{} // closed once err is set
	err  error
}

func (g *gaveUp) Infof(string, ...any)              {}
func (g *gaveUp) Errorf(format string, args ...any) { g.log.Warn(fmt.Sprintf(format, args...)) }
func (g *gaveUp) Fatalf(format string, args ...any) {
	g.once.Do(func() {
		g.err = fmt.Errorf("the database of the state gave up: "+format, args...)
		close(g.said)
	})
	select {}
}

// careful keeps the database from ending the process: it panics where a folder
// can't be synced.
type careful struct {
	vfs.FS
	stuck *gaveUp
}

func (c careful) Unwrap() vfs.FS { return c.FS }

func (c careful) OpenDir(name string) (vfs.File, error) {
	f, err := c.FS.OpenDir(name)
	return carefulDir{f, c.stuck, name}, err
}

type carefulDir struct {
	vfs.File
	stuck *gaveUp
	name  string
}

func (d carefulDir) Sync() error {
	if err := d.File.Sync(); err != nil {
		d.stuck.Fatalf("syncing %s: %w", d.name, err)
	}
	return nil
}
