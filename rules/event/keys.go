package event

import "encoding/binary"

// object says what the schema reads of one JSON object: the record itself, or
// one on the way to a field whose From is nested.
type object struct {
	keys  []key
	table []uint8 // hash of a name → index in keys + 1, or 0
	first int     // keys index that a record began with last time
}

// key is one name that the schema reads in an object.
type key struct {
	seen  uint64  // number of the record that had it last
	next  int     // index of the key that followed it last time
	sub   *object // nested object
	field *Field  // what is read; below sub, the first field, which errors name
	slot  int     // of field, where sub is nil

	spelled     string // name":, as most records have it behind the opening quote
	first, last uint64 // its first and last 8 bytes, see spelledAt
	mask        uint64
}

func newKey(name string, slot int, f *Field, sub *object) key {
	k := key{spelled: name + `":`, slot: slot, field: f, sub: sub, mask: ^uint64(0)}
	if n := len(k.spelled); n >= 8 {
		k.first = binary.LittleEndian.Uint64([]byte(k.spelled[:8]))
		k.last = binary.LittleEndian.Uint64([]byte(k.spelled[n-8:]))
	} else {
		k.mask >>= 64 - 8*n
		k.first = binary.LittleEndian.Uint64([]byte(k.spelled + "\x00\x00\x00\x00\x00\x00\x00\x00"))
	}
	return k
}

func (k *key) name() string { return k.spelled[:len(k.spelled)-len(`":`)] }

// spelledAt reports whether data goes on at i with k.spelled. It says no, too,
// within 8 bytes of data's end. (Two words hold most names: comparing them
// takes a third of the time of comparing strings.)
func (k *key) spelledAt(data []byte, i int) bool {
	n := len(k.spelled)
	if i+8 > len(data) || i+n > len(data) || binary.LittleEndian.Uint64(data[i:])&k.mask != k.first {
		return false
	}
	return n <= 8 || binary.LittleEndian.Uint64(data[i+n-8:]) == k.last &&
		(n <= 16 || string(data[i+8:i+n-8]) == k.spelled[8:n-8])
}

// newObject makes the tree of names that a stream's fields are found under.
// Paths don't cross: Extend refuses that.
func newObject(s *Stream) *object {
	root := &object{}
	for slot := range s.Fields {
		f := &s.Fields[slot]
		o := root
		path := f.path()
		for _, name := range path[:len(path)-1] {
			i := o.indexOf(name)
			if i < 0 {
				i = len(o.keys)
				o.keys = append(o.keys, newKey(name, 0, f, &object{}))
			}
			o = o.keys[i].sub
		}
		o.keys = append(o.keys, newKey(path[len(path)-1], slot, f, nil))
	}
	root.index()
	return root
}

func (o *object) indexOf(name string) int {
	for i := range o.keys {
		if o.keys[i].name() == name {
			return i
		}
	}
	return -1
}

// index makes the table, at most a quarter full, and guesses that records have
// their fields in the schema's order.
func (o *object) index() {
	size := 8
	for size < 4*len(o.keys) {
		size *= 2
	}
	o.table = make([]uint8, size)
	for i := range o.keys {
		k := &o.keys[i]
		k.next = (i + 1) % len(o.keys)
		h := hashName(k.name())
		for o.table[h&uint32(size-1)] != 0 {
			h++
		}
		o.table[h&uint32(size-1)] = uint8(i + 1)
		if k.sub != nil {
			k.sub.index()
		}
	}
}

// find is the index of a name, or -1.
func (o *object) find(name []byte) int {
	mask := uint32(len(o.table) - 1)
	for h := hashName(name); ; h++ {
		i := int(o.table[h&mask]) - 1
		if i < 0 || o.keys[i].name() == string(name) {
			return i
		}
	}
}

// hashName mixes length and three letters. Names come from the configuration,
// so a record can't make chains longer.
func hashName[T string | []byte](name T) uint32 {
	n := len(name)
	if n == 0 {
		return 0
	}
	h := uint32(n) | uint32(name[0])<<8 | uint32(name[n/2])<<16 | uint32(name[n-1])<<24
	h *= 0x9e3779b1
	return h ^ h>>15
}
