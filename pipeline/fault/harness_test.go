package fault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestProxyDropsTheAnswer holds the proxy to what the faults need: it passes
// frames on, and loses an answer to EndTxn after the broker has given it.
func TestProxyDropsTheAnswer(t *testing.T) {
	served := make(chan uint16, 8)
	back := answerer(t, served)
	p := startProxy(t, "127.0.0.1:0", back)
	call := func(conn net.Conn, key uint16) error {
		t.Helper()
		frame := make([]byte, 12)
		binary.BigEndian.PutUint32(frame, 8)
		binary.BigEndian.PutUint16(frame[4:], key)
		binary.BigEndian.PutUint32(frame[8:], 77)
		conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := conn.Write(frame); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, frame[:8])
		return err
	}
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}

	conn := dial()
	if err := errors.Join(call(conn, 3), call(conn, endTxn)); err != nil {
		t.Fatalf("passing frames on: %v", err)
	}
	p.drop.Store(cutInstead)
	if err := call(conn, 3); err != nil {
		t.Fatalf("only EndTxn is meant: %v", err)
	}
	if err := call(conn, endTxn); err == nil || errTimeout(err) != nil {
		t.Fatalf("the connection is not cut: %v", err)
	}
	conn = dial()
	p.drop.Store(swallowed)
	if err := call(conn, endTxn); errTimeout(err) == nil {
		t.Fatalf("the answer arrives, or the connection is cut: %v", err)
	}
	conn = dial()
	p.swallow(requests, answers)
	if err := call(conn, 3); errTimeout(err) == nil {
		t.Fatalf("no black hole: %v", err)
	}
	p.heal()
	if err := call(dial(), endTxn); err != nil {
		t.Fatalf("not healed: %v", err)
	}
	if n := p.dropped.Load(); n != 2 {
		t.Errorf("%d answers are lost, want 2", n)
	}
	got := 0
	for range len(served) {
		if <-served == endTxn {
			got++
		}
	}
	if got != 4 {
		t.Errorf("the broker answered %d EndTxn, want all 4", got)
	}
}

// errTimeout is the error if it is a timeout.
func errTimeout(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return err
	}
	return nil
}

// answerer answers each request with its correlation id, and says its key.
func answerer(t *testing.T, served chan<- uint16) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				frame := make([]byte, 12)
				for {
					if _, err := io.ReadFull(conn, frame); err != nil {
						return
					}
					served <- binary.BigEndian.Uint16(frame[4:])
					conn.Write(append([]byte{0, 0, 0, 4}, frame[8:]...))
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// TestWatcherTellsAZombie holds the watcher to what its verdict stands on: a
// writer that was replaced writes nothing that is committed.
func TestWatcherTellsAZombie(t *testing.T) {
	see := func(w *watcher, epoch int, instance string, session int) {
		w.see(&kgo.Record{Value: fmt.Appendf(nil, `{"epoch": %d, "at": %[1]d, "host": "h:%x", "writer": {"instance": %[2]q, "session": %d}}`, epoch, instance, session)})
	}
	a := &instance{cmd: &exec.Cmd{Process: &os.Process{Pid: 61}}} // as see calls "a"
	w := &watcher{wrote: make(map[writer]bool)}
	see(w, 1, "a", 1)
	see(w, 2, "a", 1)
	see(w, 2, "b", 1) // claims it
	if seen := w.after(time.UnixMilli(1), a); !seen.IsZero() {
		t.Error("a claim counts as an epoch")
	}
	see(w, 3, "b", 1)
	if w.after(time.UnixMilli(1), a).IsZero() || w.after(time.UnixMilli(1), a) == w.after(time.UnixMilli(1), nil) {
		t.Error("epoch 3 is not seen as the first that a hasn't closed")
	}
	if seen := w.after(time.UnixMilli(3), nil); !seen.IsZero() {
		t.Error("an epoch counts that was closed before")
	}
	see(w, 4, "a", 2) // has come back, and claimed it
	if err := w.fault(); err != nil {
		t.Errorf("nothing was wrong so far: %v", err)
	}
	see(w, 5, "b", 1)
	if w.fault() == nil {
		t.Error("b wrote an epoch after it was replaced, and nobody minds")
	}
}
