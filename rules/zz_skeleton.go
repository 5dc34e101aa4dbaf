package rules

import (
	"errors"
	"io/fs"

	"github.com/refundguard/refundguard/rules/event"
)

// Load reads, checks and compiles a folder of rule files, or one file. Faults
// are returned as Errors, all of them in one run.
func Load(dir string, o Options) (*Set, error) { return nil, errors.New("being written") }

// LoadFS is Load from a file system, e.g. starter.FS; name is shown in errors.
func LoadFS(fsys fs.FS, name string, o Options) (*Set, error) {
	return nil, errors.New("being written")
}

// Poll says whether the files changed since the set that was loaded or refused
// last. With changed and err nil, set is the new set; with err it is nil, and the
// running one stays.
func (w *Watcher) Poll() (set *Set, changed bool, err error) { return nil, false, nil }

type converter struct{}

func (c *converter) amount(s schemaSlots, e *event.Event) Value { return Value{} }

type schemaSlots struct{}

type template struct{}

func (t *template) append(dst []byte, f *frame, e *event.Event) []byte { return dst }

func appendTime(dst []byte, ms int64) []byte { return dst }
