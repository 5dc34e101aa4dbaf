package engine

import (
	"unsafe"

	"github.com/refundguard/refundguard/rules/event"
)

// An arena keeps byte strings in the order in which they came, in large chunks,
// and lets the oldest chunks go.
type arena struct {
	chunks [][]byte
	first  uint32 // number of chunks[0]
	size   int64
}

// ref is where an arena keeps a string: chunk, offset, length. 0 is none.
type ref struct {
	chunk  uint32
	offset uint32
	length uint32
}

// A chunk is an eighth of all, so that little stays that could leave.
const mostChunk = 1 << 20

var leastChunk = 1 << 10

// room makes the last chunk hold n more bytes.
func (a *arena) room(n int) {
	last := len(a.chunks) - 1
	if last >= 0 && len(a.chunks[last])+n <= cap(a.chunks[last]) {
		return
	}
	n = max(n, leastChunk, min(int(a.size)/8, mostChunk))
	a.chunks = append(a.chunks, make([]byte, 0, n))
	a.size += int64(n)
}

func (a *arena) add(b []byte) ref {
	a.room(len(b))
	last := len(a.chunks) - 1
	c := a.chunks[last]
	r := ref{chunk: a.first + uint32(last), offset: uint32(len(c)), length: uint32(len(b))}
	a.chunks[last] = append(c, b...)
	return r
}

// pack adds an event in its packed form, which is written where it stays.
func (a *arena) pack(ev *event.Event) ref {
	a.room(1)
	last := len(a.chunks) - 1
	c := a.chunks[last]
	free := c[len(c):]
	packed := event.AppendPacked(free, ev)
	if len(packed) > cap(free) { // it went elsewhere
		return a.add(packed)
	}
	a.chunks[last] = c[:len(c)+len(packed)]
	return ref{chunk: a.first + uint32(last), offset: uint32(len(c)), length: uint32(len(packed))}
}

// end is the number of the chunk that is being filled: what is in those before
// it is older than what comes.
func (a *arena) end() uint32 { return a.first + uint32(max(len(a.chunks)-1, 0)) }

// drop lets the chunks before one go.
func (a *arena) drop(before uint32) {
	n := int(before - a.first)
	for _, c := range a.chunks[:n] {
		a.size -= int64(cap(c))
	}
	a.chunks = append([][]byte(nil), a.chunks[n:]...)
	a.first = before
}

func (a *arena) get(r ref) []byte {
	if r.length == 0 {
		return nil
	}
	return a.chunks[r.chunk-a.first][r.offset : r.offset+r.length : r.offset+r.length]
}

func (a *arena) str(r ref) string {
	if r.length == 0 {
		return ""
	}
	return unsafe.String(&a.chunks[r.chunk-a.first][r.offset], int(r.length))
}
