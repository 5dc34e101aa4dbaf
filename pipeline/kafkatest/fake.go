package kafkatest

import (
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// fake is kfake behind a door. Away means that the door is shut: no
// connections, and nobody listening on the port. What the broker holds in
// memory, open transactions included, stays as it was.
type fake struct{ door *door }

func startFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			d, err := newDoor(network, address)
			f.door = d
			return d, err
		}),
		kfake.BrokerConfigs(map[string]string{"transaction.max.timeout.ms": "3600000"}),
	)
	if err != nil {
		t.Fatalf("kafkatest: start the in-process broker: %v", err)
	}
	t.Cleanup(cluster.Close)
	return f
}

func (f *fake) addr() string   { return f.door.Addr().String() }
func (f *fake) stop() error    { return f.door.shut() }
func (f *fake) kill() error    { return f.door.shut() }
func (f *fake) restart() error { return f.door.open() }

// door is a listener that can be shut, with its connections, and opened again
// on the same address, while its user goes on waiting in Accept.
type door struct {
	network string
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	close   func()

	mu   sync.Mutex
	ln   net.Listener // nil: shut
	held map[*heldConn]struct{}
}

func newDoor(network, address string) (*door, error) {
	ln, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	d := &door{
		network: network, address: ln.Addr(),
		conns: make(chan net.Conn), closed: make(chan struct{}),
		ln: ln, held: make(map[*heldConn]struct{}),
	}
	d.close = sync.OnceFunc(func() { close(d.closed) })
	go d.accept(ln)
	return d, nil
}

func (d *door) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return // shut or closed
		}
		h := &heldConn{Conn: conn, door: d}
		d.mu.Lock()
		late := d.ln != ln
		if !late {
			d.held[h] = struct{}{}
		}
		d.mu.Unlock()
		if late {
			conn.Close()
			return
		}
		select {
		case d.conns <- h:
		case <-d.closed:
			h.Close()
			return
		}
	}
}

func (d *door) shut() error {
	d.mu.Lock()
	ln, held := d.ln, d.held
	d.ln, d.held = nil, make(map[*heldConn]struct{})
	d.mu.Unlock()
	if ln == nil {
		return nil
	}
	err := ln.Close()
	for h := range held {
		h.Conn.Close()
	}
	return err
}

func (d *door) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ln != nil {
		return errors.New("the door is open")
	}
	ln, err := net.Listen(d.network, d.address.String())
	if err != nil {
		return err
	}
	d.ln = ln
	go d.accept(ln)
	return nil
}

// Accept waits for the next connection, however often the door is shut
// meanwhile.
func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.conns:
		return conn, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Close shuts the door for good.
func (d *door) Close() error {
	d.close()
	return d.shut()
}

// Addr is the address, also while the door is shut.
func (d *door) Addr() net.Addr { return d.address }

// heldConn tells the door when it is gone, so that the door doesn't collect
// every connection there ever was.
type heldConn struct {
	net.Conn
	door *door
}

func (h *heldConn) Close() error {
	h.door.mu.Lock()
	delete(h.door.held, h)
	h.door.mu.Unlock()
	return h.Conn.Close()
}
