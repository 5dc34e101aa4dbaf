package rules

// Watcher notices that a rule set's files changed. It starts nothing by itself
// and is not safe for concurrent use.
type Watcher struct {
	dir  string
	opts Options
	seen string
	csvs []string
}

// NewWatcher watches the folder or file that current was loaded from; nil: the
// first Poll loads it.
func NewWatcher(dir string, o Options, current *Set) *Watcher {
	w := &Watcher{dir: dir, opts: o}
	if current != nil {
		w.seen = current.Version
	}
	return w
}
