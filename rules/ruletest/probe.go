package ruletest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/refundguard/refundguard/rules"
)

// probes are expressions whose value tests ask for. Each becomes the message of
// a shadow rule that always hits, in a file that the rules' folder doesn't
// have: so the rules' own compiler checks it, and the real engine computes it.
type probes struct {
	all   []probe
	index map[probeKey]int
}

type probeKey struct{ on, text string }

type probe struct {
	probeKey
	faulty bool
	users  []user
}

// user is where a test asks for an expression.
type user struct {
	src *source
	at  place
}

const (
	probeFile   = "~values.yaml" // sorted behind the others
	probePrefix = "ruletest.value."
	probeHead   = "rules:\n"
	probeRule   = "  - {id: %s%d, on: %s, when: 'true', action: alert, mode: shadow, message: '{{"
)

func isProbe(rule string) bool { return strings.HasPrefix(rule, probePrefix) }

// add gives the id of the rule whose message is the value of the expression
// over events of the stream on.
func (p *probes) add(src *source, at place, on, text string) string {
	text = strings.TrimSpace(strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(text))
	key := probeKey{on, text}
	i, ok := p.index[key]
	if !ok {
		i = len(p.all)
		p.index[key] = i
		p.all = append(p.all, probe{probeKey: key})
	}
	p.all[i].users = append(p.all[i].users, user{src, at})
	return fmt.Sprintf("%s%d", probePrefix, i)
}

// file is the rule file of the probes: one line each.
func (p *probes) file() []byte {
	var b strings.Builder
	b.WriteString(probeHead)
	for i, pr := range p.all {
		fmt.Fprintf(&b, probeRule, probePrefix, i, pr.on)
		if pr.faulty {
			b.WriteString("true") // the files that ask for it don't run
		} else {
			b.WriteString(strings.ReplaceAll(pr.text, "'", "''"))
		}
		b.WriteString("}}'}\n")
	}
	return []byte(b.String())
}

// load loads the rules with the probes. Faults of expressions go to the files
// that ask for them; whatever else is wrong is returned.
func (p *probes) load(in *home, o rules.Options) (*rules.Set, error) {
	for {
		set, err := rules.LoadFS(overlay{base: in.fsys, only: in.only, name: probeFile, data: p.file()}, in.dir, o)
		var faults rules.Errors
		if !errors.As(err, &faults) {
			return set, err
		}
		again := false
		for _, f := range faults {
			i := f.Line - 1 - strings.Count(probeHead, "\n")
			if f.Warning || filepath.Base(f.File) != probeFile || i < 0 || i >= len(p.all) || p.all[i].faulty {
				continue
			}
			again = true
			p.report(i, f)
		}
		if !again {
			return nil, err
		}
		for _, f := range faults {
			if i := f.Line - 1 - strings.Count(probeHead, "\n"); !f.Warning && filepath.Base(f.File) == probeFile && i >= 0 && i < len(p.all) {
				p.all[i].faulty = true
			}
		}
	}
}

// report shows a probe's fault where the expression stands in test files.
func (p *probes) report(i int, f *rules.Error) {
	prefix := utf8.RuneCountInString(fmt.Sprintf(probeRule, probePrefix, i, p.all[i].on))
	line := []rune(f.Snippet)
	inside := min(max(f.Column-1-prefix, 0), max(len(line)-prefix, 0))
	inside -= strings.Count(string(line[min(prefix, len(line)):][:inside]), "''")
	for _, u := range p.all[i].users {
		where := u.at
		if c := u.src.char(where); c == '\'' || c == '"' {
			where.column++
		}
		where.column += inside
		u.src.fail(where, f.Message, f.Hint)
	}
}

// overlay is a folder with one more file.
type overlay struct {
	base fs.FS
	only string // "" or the one rule file that is to be seen
	name string
	data []byte
}

func (o overlay) Open(name string) (fs.File, error) {
	if name == o.name {
		return &memory{name: o.name, size: int64(len(o.data)), Reader: strings.NewReader(string(o.data))}, nil
	}
	return o.base.Open(name)
}

func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.base, name)
	if err != nil || name != "." {
		return entries, err
	}
	var seen []fs.DirEntry
	for _, e := range entries {
		if o.only == "" || e.Name() == o.only || e.IsDir() {
			seen = append(seen, e)
		}
	}
	return append(seen, &memory{name: o.name, size: int64(len(o.data))}), nil
}

// memory is a file in memory, its entry and its description.
type memory struct {
	io.Reader
	name string
	size int64
}

func (m *memory) Stat() (fs.FileInfo, error) { return m, nil }
func (m *memory) Close() error               { return nil }
func (m *memory) Name() string               { return m.name }
func (m *memory) Size() int64                { return m.size }
func (m *memory) Mode() fs.FileMode          { return 0o444 }
func (m *memory) Type() fs.FileMode          { return 0 }
func (m *memory) ModTime() time.Time         { return time.Time{} }
func (m *memory) IsDir() bool                { return false }
func (m *memory) Sys() any                   { return nil }
func (m *memory) Info() (fs.FileInfo, error) { return m, nil }
