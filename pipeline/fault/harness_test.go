package fault

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline/integration/model"
)

// TestTheLoadIsCertain holds the load to what makes its result certain: what a
// refund must see is written in an earlier step, or before it in its own
// partition, and doesn't lie behind a record later than the refund. It must be
// out of order all the same.
func TestTheLoadIsCertain(t *testing.T) {
	l := newLoad(t, 7, []string{"127.0.0.1:1"}, 1)
	type about struct {
		at, behind int64 // its time, and that of the latest record before it in its partition
		step       int
		place      place
		refund     bool
	}
	written := make(map[string][]about)
	latest := make(map[place]int64)
	known := make(map[string]bool)
	for step := 0; step < 1500; step++ {
		for len(l.ready) < inStock {
			l.draw()
		}
		coming := l.ready
		for i, r := range l.step(1 + l.rng.IntN(stepSize)) {
			e := coming[i]
			here := about{at: e.At, behind: latest[place{r.Topic, r.Partition}], step: step, place: place{r.Topic, r.Partition}, refund: r.Topic == "refunds"}
			latest[here.place] = max(here.behind, e.At)
			for id := range e.about {
				for _, before := range written[id] {
					switch {
					case before.refund && before.at >= e.At && e.Fate != model.IsDuplicate:
						t.Errorf("step %d: %s is written after a refund of %d that must see it", step, r.Value, before.at)
					case before.step == step && before.place != here.place:
						t.Errorf("step %d: %s is written beside another of %s, elsewhere", step, r.Value, id)
					case here.refund && before.at <= e.At && e.At < before.behind && before.place != here.place:
						t.Errorf("step %d: %s can be decided before what it must see", step, r.Value)
					}
				}
				written[id] = append(written[id], here)
			}
			if e.Fate == model.IsDuplicate && !known[string(r.Value)] {
				t.Errorf("step %d: %s is written again before it is written", step, r.Value)
			}
			known[string(r.Value)] = true
		}
	}
	if n := l.late.Load(); n < 500 {
		t.Errorf("only %d records are out of order", n)
	}
}

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
