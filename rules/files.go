package rules

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// Bounds of what is read. They keep a wrong path (a log, a dump) from filling
// the memory.
const (
	maxRuleFile = 1 << 20
	maxListFile = 64 << 20
)

// folder is where a rule set is read from.
type folder struct {
	fsys fs.FS
	name string // as errors show it; "" for none
	only string // "" or the one rule file
	read map[string][]byte
	gone map[string]bool // could not be read
}

// openFolder finds the folder of a path, which may be one rule file.
func openFolder(dir string) (*folder, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, &Error{File: dir, Message: "the rules can't be read: " + reasonOf(err), Hint: "give a folder of *.yaml files, or one file"}
	}
	if info.IsDir() {
		return newFolder(os.DirFS(dir), dir), nil
	}
	f := newFolder(os.DirFS(filepath.Dir(dir)), filepath.Dir(dir))
	f.only = filepath.Base(dir)
	return f, nil
}

func newFolder(fsys fs.FS, name string) *folder {
	return &folder{fsys: fsys, name: name, read: map[string][]byte{}, gone: map[string]bool{}}
}

// reasonOf is an error's cause without the path, which the message has already.
func reasonOf(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// shown is the name of one of the folder's files in errors.
func (f *folder) shown(name string) string {
	if f.name == "" {
		return name
	}
	return filepath.Join(f.name, filepath.FromSlash(name))
}

// names lists the rule files, sorted.
func (f *folder) names() ([]string, error) {
	if f.only != "" {
		return []string{f.only}, nil
	}
	entries, err := fs.ReadDir(f.fsys, ".")
	if err != nil {
		return nil, &Error{File: f.name, Message: "the folder can't be read: " + reasonOf(err)}
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); isRuleFile(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, &Error{File: f.name, Message: "the folder holds no rule files", Hint: "rule files are called *.yaml or *.yml, and those that end in _test.yaml hold tests"}
	}
	sort.Strings(names)
	return names, nil
}

func isRuleFile(name string) bool {
	ext := path.Ext(name)
	return (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(name, ".") &&
		!strings.HasSuffix(strings.TrimSuffix(name, ext), "_test")
}

// content reads one file, once.
func (f *folder) content(name string, limit int64) ([]byte, error) {
	if data, ok := f.read[name]; ok {
		return data, nil
	}
	data, err := readFile(f.fsys, name, limit)
	if err != nil {
		f.gone[name] = true
		return nil, err
	}
	f.read[name] = data
	return data, nil
}

func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, errors.New(reasonOf(err))
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, errors.New(reasonOf(err))
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it is larger than the limit of %d MiB", limit>>20)
	}
	return data, nil
}

// tried are the names of all files that were asked for.
func (f *folder) tried() []string {
	var names []string
	for name := range f.read {
		names = append(names, name)
	}
	for name := range f.gone {
		names = append(names, name)
	}
	return names
}

// version is the hash of all that was read: names and bytes, in order of name.
func (f *folder) version() string {
	names := make([]string, 0, len(f.read))
	for name := range f.read {
		names = append(names, name)
	}
	sort.Strings(names)
	h := sha256.New()
	var n [8]byte
	write := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	for _, name := range names {
		write([]byte(name))
		write(f.read[name])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
