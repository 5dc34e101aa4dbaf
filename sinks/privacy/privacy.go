// Package privacy replaces personal data in records by keyed hashes, before a
// sink makes rows of them. README.md beside the ClickHouse sink says what is
// replaced, and what can't be.
package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Config is the section privacy of the configuration.
type Config struct {
	Pseudonymize []string `koanf:"pseudonymize"` // fields, of any stream; none: nothing is replaced
	KeyFile      string   `koanf:"key_file"`     // whoever has it can look people up
}

// On reports whether anything is replaced.
func (c Config) On() bool { return len(c.Pseudonymize) > 0 }

// minKey is the least length of a key: with less, hashes can be guessed.
const minKey = 32

var fieldName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// Validate reports all faults, each under its key. The key's file is looked at
// by New.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for i, name := range c.Pseudonymize {
		switch {
		case !fieldName.MatchString(name):
			fault("pseudonymize[%d]: %q is not the name of a field, such as customer_id", i, name)
		case roles[name] != plain && roles[name] != entity:
			fault("pseudonymize[%d]: %s can't be replaced: tables are joined, sorted or counted by what it says", i, name)
		case slices.Contains(c.Pseudonymize[:i], name):
			fault("pseudonymize[%d]: %s is there twice", i, name)
		}
	}
	switch {
	case c.On() && c.KeyFile == "":
		fault("key_file: is missing; make one with: openssl rand -hex 32 > privacy.key")
	case !c.On() && c.KeyFile != "":
		fault("key_file: is set, and nothing is pseudonymized: name the fields in privacy.pseudonymize")
	}
	return errors.Join(faults...)
}

// Pseudonymizer replaces values. A nil one replaces nothing. It can be used by
// several goroutines.
type Pseudonymizer struct {
	fields []string        // that are replaced
	roles  map[string]role // by JSON key in lower case
	ip     bool            // addresses are looked for in texts, too
	macs   sync.Pool       // of hash.Hash
	paths  map[string]bool // likewise, of those that are nested: the last two keys, with a dot
}

// New reads the key. Paths says where else a field is read from, by its name:
// dotted, as in a stream's configuration. It is nil where nothing is
// to be replaced.
func New(c Config, paths map[string][]string) (*Pseudonymizer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if !c.On() {
		return nil, nil
	}
	key, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	key = []byte(strings.TrimRight(string(key), "\r\n"))
	if len(key) < minKey {
		return nil, fmt.Errorf("key_file: %s has %d bytes, at least %d are needed; make one with: openssl rand -hex 32", c.KeyFile, len(key), minKey)
	}
	p := &Pseudonymizer{fields: c.Pseudonymize, roles: map[string]role{}, paths: map[string]bool{}, ip: slices.Contains(c.Pseudonymize, "ip")}
	for name, r := range roles {
		p.roles[name] = r
	}
	for _, field := range c.Pseudonymize {
		p.roles[field] = personal
		for _, path := range paths[field] {
			keys := strings.Split(strings.ToLower(path), ".")
			if n := len(keys); n > 1 {
				p.paths[keys[n-2]+"."+keys[n-1]] = true
			} else {
				p.roles[keys[0]] = personal
			}
		}
	}
	p.macs.New = func() any { return hmac.New(sha256.New, key) }
	return p, nil
}

// prefix begins every pseudonym.
const prefix = "h_"

// Of is what stands for a value: h_ and the first 128 bits of its HMAC-SHA-256
// in hex. It is the same in every field, and "" for "".
func (p *Pseudonymizer) Of(value string) string {
	if value == "" {
		return ""
	}
	mac := p.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write([]byte(value))
	var sum [sha256.Size]byte
	mac.Sum(sum[:0])
	p.macs.Put(mac)
	var text [len(prefix) + 32]byte
	copy(text[:], prefix)
	hex.Encode(text[len(prefix):], sum[:16])
	return string(text[:])
}
