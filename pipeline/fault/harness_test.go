package fault

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"
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
