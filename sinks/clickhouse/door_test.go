package clickhouse_test

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// door passes bytes on between clients and a server, and does them harm when it
// is told to. Its address stays the same.
type door struct {
	t      testing.TB
	addr   string
	server string

	slow    atomic.Int64 // nanoseconds that each answer is kept back
	mute    atomic.Bool  // answers are swallowed, and what was swallowed never comes
	harm    atomic.Int64 // of a thousand chunks of bytes, this many are lost, with their connection
	budget  atomic.Int64 // bytes of requests until onSpent; 0: no end
	onSpent atomic.Pointer[func()]
	cuts    atomic.Int64 // connections that were broken

	mu    sync.Mutex
	ln    net.Listener // nil: connections are refused
	conns map[net.Conn]bool
}

func newDoor(t testing.TB, server string) *door {
	d := &door{t: t, addr: "127.0.0.1:0", server: server, conns: map[net.Conn]bool{}}
	d.open()
	t.Cleanup(d.shut)
	return d
}

func (d *door) open() {
	ln, err := net.Listen("tcp", d.addr)
	if err != nil {
		d.t.Fatalf("the proxy: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addr, d.ln = ln.Addr().String(), ln
	go d.accept(ln)
}

// shut refuses connections, and breaks those that there are.
func (d *door) shut() {
	d.mu.Lock()
	if d.ln != nil {
		d.ln.Close()
		d.ln = nil
	}
	d.mu.Unlock()
	d.cut()
}

// cut breaks all connections.
func (d *door) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		reset(c)
	}
	clear(d.conns)
}

func reset(c net.Conn) error {
	c.(*net.TCPConn).SetLinger(0) // an error here: it is closed already
	return c.Close()
}

func (d *door) accept(ln net.Listener) {
	for {
		in, err := ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", d.server)
		if err != nil {
			reset(in)
			continue
		}
		d.mu.Lock()
		closed := d.ln != ln
		if !closed {
			d.conns[in], d.conns[out] = true, true
		}
		d.mu.Unlock()
		if closed {
			reset(in)
			reset(out)
			return
		}
		go d.pass(in, out, d.request)
		go d.pass(out, in, d.answer)
	}
}

// pass copies until one side ends, or may says that the connection does.
func (d *door) pass(from, to net.Conn, may func(n int) (forward, goOn bool)) {
	end := net.Conn.Close
	defer func() {
		end(from)
		end(to)
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.conns, from)
		delete(d.conns, to)
	}()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			forward, goOn := may(n)
			if forward {
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
			if !goOn {
				d.cuts.Add(1)
				end = reset
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (d *door) request(n int) (forward, goOn bool) {
	if left := d.budget.Load(); left > 0 {
		if left = d.budget.Add(-int64(n)); left <= 0 {
			d.budget.Store(0)
			(*d.onSpent.Load())()
		}
	}
	return d.fate()
}

func (d *door) answer(int) (forward, goOn bool) {
	time.Sleep(time.Duration(d.slow.Load()))
	if d.mute.Load() {
		return false, true
	}
	return d.fate()
}

// fate loses a chunk or breaks the connection behind it.
func (d *door) fate() (forward, goOn bool) {
	if rand.Int64N(1000) < d.harm.Load() {
		return rand.IntN(2) == 0, false
	}
	return true, true
}

// after calls do in the middle of what is sent to the server: once n more bytes
// of it have come.
func (d *door) after(n int64, do func()) {
	d.onSpent.Store(&do)
	d.budget.Store(n)
}
