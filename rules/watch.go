package rules

// Watcher notices that a rule set's files changed. It starts nothing by itself
// and is not safe for concurrent use.
type Watcher struct {
	dir   string
	opts  Options
	seen  string   // version of the content that was loaded or refused last
	files []string // those that it was made of, lists included
}

// NewWatcher watches the folder or file that current was loaded from. With nil,
// the first Poll loads it.
func NewWatcher(dir string, o Options, current *Set) *Watcher {
	w := &Watcher{dir: dir, opts: o}
	if current != nil {
		w.seen, w.files = current.Version, current.files
	}
	return w
}

// Poll says whether the files' content changed since the set that was loaded or
// refused last. With changed and no error, set is the new one. With an error it
// is nil, the error tells all faults, and the running set should stay; the same
// faulty files are not reported again.
func (w *Watcher) Poll() (set *Set, changed bool, err error) {
	now := w.version()
	if now == w.seen {
		return nil, false, nil
	}
	f, err := openFolder(w.dir)
	if err != nil {
		w.seen = now
		return nil, true, asErrors(err)
	}
	set, err = load(f, w.opts)
	w.files = f.tried()
	w.seen = w.version()
	if err != nil {
		return nil, true, err
	}
	if w.seen != set.Version {
		w.seen = "" // somebody wrote meanwhile: what was read may be torn
		return nil, false, nil
	}
	return set, true, nil
}

// version is what Set.Version would be of the files as they are now. A file
// that can't be read counts with its error.
func (w *Watcher) version() string {
	f, err := openFolder(w.dir)
	if err != nil {
		return err.Error()
	}
	names, err := f.names()
	if err != nil {
		return err.Error()
	}
	for _, name := range append(names, w.files...) {
		if _, err := f.content(name, maxListFile); err != nil {
			f.read[name] = []byte("\x00" + err.Error())
		}
	}
	return f.version()
}
