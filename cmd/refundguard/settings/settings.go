// Package settings loads a struct with koanf tags from its defaults, a YAML
// file and the environment, in rising order of weight, and is strict about it:
// whatever it does not know, or can't read, is a fault with its place and a
// suggestion, and all faults are reported at once.
package settings

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Loader says how one program is configured. The zero value reads no
// environment.
type Loader struct {
	// Prefix begins the variables that are read, e.g. "REFUNDGUARD_".
	Prefix string
	// Ignore says which variables with the prefix are not settings.
	Ignore func(variable string) bool
	// Items holds, for lists of sections, what an item is before its keys are
	// read: one value of each section type that has defaults.
	Items []any
	// Renamed suggests our key for one that users of other programs write.
	Renamed map[string]string
	// UpperKeys are the maps whose keys are upper-case, for keys that come from
	// a variable's name; others are lower-case.
	UpperKeys []string
}

// Loaded remembers where values came from.
type Loaded struct {
	source  *source
	places  map[string]place  // keys set in the file
	origins map[string]string // keys set in the environment or by a flag
}

// Load fills target, a pointer to a struct that holds the defaults. The error
// is Faults; target then holds what could be read. An empty file name means
// that there is no file.
func (l Loader) Load(target any, file string, content []byte, environ []string) (*Loaded, error) {
	into := reflect.ValueOf(target).Elem()
	loaded := &Loaded{places: map[string]place{}, origins: map[string]string{}}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(plain(into).(map[string]any), ""), nil); err != nil {
		return loaded, fmt.Errorf("defaults: %w", err)
	}
	var faults Faults
	if file != "" {
		loaded.source = newSource(file, content)
		for _, key := range allKeys(into.Type()) {
			loaded.source.keys[key] = true
		}
		document := &document{loader: l, shape: into.Type(), loaded: loaded}
		if err := k.Load(document, document); err != nil {
			return loaded, fmt.Errorf("%s: %w", file, err)
		}
		faults = append(faults, document.sorted()...)
	}
	variables := &environment{loader: l, shape: into.Type(), loaded: loaded, environ: environ, below: k}
	if err := k.Load(variables, nil); err != nil {
		return loaded, fmt.Errorf("environment: %w", err)
	}
	faults = append(faults, variables.faults...)

	fresh := reflect.New(into.Type())
	err := k.UnmarshalWithConf("", fresh.Interface(), koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: fresh.Interface(), TagName: tag, ErrorUnused: true,
		DecodeHook: mapstructure.TextUnmarshallerHookFunc(),
	}})
	if err != nil { // the readers above check every value, so this is theirs to fix
		return loaded, errors.Join(append(faults.errors(), fmt.Errorf("configuration: %w", err))...)
	}
	into.Set(fresh.Elem())
	if len(faults) > 0 {
		return loaded, faults
	}
	return loaded, nil
}

// Override notes that a flag set this key after Load.
func (l *Loaded) Override(key, flag string) { l.origins[key] = "flag " + flag }

// Set reports whether the key, or one below it, was set by the file, the
// environment or a flag.
func (l *Loaded) Set(key string) bool {
	for path := range l.places {
		if within(path, key) {
			return true
		}
	}
	for path := range l.origins {
		if within(path, key) {
			return true
		}
	}
	return false
}

// Origin says where a key's value came from: "default", the file's place, the
// variable, or the flag.
func (l *Loaded) Origin(key string) string {
	if origin, ok := l.origins[key]; ok {
		return origin
	}
	if at, ok := l.places[key]; ok {
		return fmt.Sprintf("%s:%d", l.source.file, at.line)
	}
	return "default"
}

// within reports whether path is key or lies below it.
func within(path, key string) bool {
	return len(path) >= len(key) && path[:len(key)] == key &&
		(len(path) == len(key) || path[len(key)] == '.' || path[len(key)] == '[')
}

// item is a new item of a list of sections.
func (l Loader) item(shape reflect.Type) map[string]any {
	value := reflect.Zero(shape)
	if i := slices.IndexFunc(l.Items, func(v any) bool { return reflect.TypeOf(v) == shape }); i >= 0 {
		value = reflect.ValueOf(l.Items[i])
	}
	return plain(value).(map[string]any)
}
