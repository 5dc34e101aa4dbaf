package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// network carries the frames of Kafka's protocol between hosts and brokers, in
// memory and in the bubble's time. What one Write sends stays together: it is a
// request, or an answer.
type network struct {
	mu        sync.Mutex
	rng       *rand.Rand
	listeners map[string]*listener
	hosts     []*host
	away      map[string]time.Time // brokers that refuse connections until then
	traps     []*trap
	frames    int64
}

func newNetwork(rng *rand.Rand) *network {
	return &network{rng: rng, listeners: map[string]*listener{}, away: map[string]time.Time{}}
}

// host is where a process runs: what fails, fails for all of its connections.
type host struct {
	net   *network
	name  string
	lag   time.Duration // a frame takes up to so long
	dead  bool
	held  [2]time.Time // by direction: nothing arrives before
	links []*link

	spared bool // brokers are never away for it
}

// Directions.
const (
	toBroker = iota
	toHost
)

func (n *network) host(name string, lag time.Duration) *host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &host{net: n, name: name, lag: lag}
	n.hosts = append(n.hosts, h)
	return h
}

// trap waits for a frame, and then does something.
type trap struct {
	host    *host
	key     int16 // of the request; -1: any
	dir     int
	skip    int  // so many of them pass first
	deliver bool // the frame is not lost
	torn    bool // half of it arrives
	do      func()
}

func (n *network) set(t *trap) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.traps = append(n.traps, t)
}

func (n *network) unset(t *trap) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.traps = slices.DeleteFunc(n.traps, func(o *trap) bool { return o == t })
}

// sprung takes the trap that a frame is for. Called with mu held.
func (n *network) sprung(h *host, dir int, key int16) *trap {
	for i, t := range n.traps {
		if t.host != h || t.dir != dir || t.key >= 0 && t.key != key {
			continue
		}
		if t.skip--; t.skip < 0 {
			n.traps = slices.Delete(n.traps, i, i+1)
			return t
		}
	}
	return nil
}

// cut ends a host for ever. Of what it sent, a part may still arrive.
func (h *host) cut() {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	h.dead = true
	for _, l := range slices.Clone(h.links) {
		up := l.half[toBroker]
		if keep := n.rng.IntN(len(up.chunks) + 1); keep < len(up.chunks) {
			if n.rng.IntN(2) == 0 {
				up.chunks[keep].data = up.chunks[keep].data[:n.rng.IntN(len(up.chunks[keep].data)+1)]
				keep++
			}
			up.chunks = up.chunks[:keep]
		}
		l.end(syscall.ECONNRESET)
	}
}

// reset ends all connections of a host.
func (h *host) reset() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for _, l := range slices.Clone(h.links) {
		for _, s := range l.half {
			s.chunks = nil
		}
		l.end(syscall.ECONNRESET)
	}
}

// hold lets nothing arrive for a while; it arrives after.
func (h *host) hold(d time.Duration, dirs ...int) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for _, dir := range dirs {
		h.held[dir] = time.Now().Add(d)
	}
}

// leave has a broker refuse connections for a while, and ends those it has.
func (n *network) leave(address string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away[address] = time.Now().Add(d)
	for _, h := range n.hosts {
		for _, l := range slices.Clone(h.links) {
			if l.address == address && !h.spared {
				l.half[toBroker].chunks = nil
				l.end(syscall.ECONNRESET)
			}
		}
	}
}

// link is a connection.
type link struct {
	host    *host
	address string
	half    [2]*half
	keys    map[uint32]int16 // of requests that are not answered, by correlation id
}

// end closes both directions behind what is on its way. Called with mu held.
func (l *link) end(err error) {
	for _, s := range l.half {
		if s.err == nil {
			s.err = err
		}
		s.signal()
	}
	l.host.links = slices.DeleteFunc(l.host.links, func(o *link) bool { return o == l })
}

// half is one direction of a link.
type half struct {
	chunks []chunk
	err    error // behind the last chunk
	wake   chan struct{}
}

type chunk struct {
	at   time.Time
	data []byte
}

func (s *half) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// conn is one end of a link.
type conn struct {
	link     *link
	sends    int // direction
	deadline time.Time
}

func (c *conn) Read(p []byte) (int, error) {
	n, s := c.link.host.net, c.link.half[1-c.sends]
	for {
		n.mu.Lock()
		if c.sends == toBroker && c.link.host.dead {
			n.mu.Unlock()
			return 0, syscall.ECONNRESET
		}
		var until time.Time
		if len(s.chunks) > 0 {
			until = s.chunks[0].at
		}
		if held := c.link.host.held[1-c.sends]; held.After(until) && (len(s.chunks) > 0 || s.err != nil) {
			until = held
		}
		now := time.Now()
		switch ready := !until.After(now); {
		case !c.deadline.IsZero() && !c.deadline.After(now):
			n.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case ready && len(s.chunks) > 0:
			copied := copy(p, s.chunks[0].data)
			if s.chunks[0].data = s.chunks[0].data[copied:]; len(s.chunks[0].data) == 0 {
				s.chunks = s.chunks[1:]
			}
			n.mu.Unlock()
			return copied, nil
		case ready && s.err != nil:
			n.mu.Unlock()
			return 0, s.err
		}
		if until.IsZero() || !c.deadline.IsZero() && c.deadline.Before(until) {
			until = c.deadline
		}
		n.mu.Unlock()
		if until.IsZero() {
			<-s.wake
			continue
		}
		timer := time.NewTimer(until.Sub(now))
		select {
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (c *conn) Write(p []byte) (int, error) {
	l := c.link
	n, s := l.host.net, l.half[c.sends]
	n.mu.Lock()
	if s.err != nil {
		n.mu.Unlock()
		return 0, syscall.EPIPE
	}
	n.frames++
	t := n.sprung(l.host, c.sends, l.key(c.sends, p))
	data := slices.Clone(p)
	switch {
	case t != nil && t.torn:
		data = data[:len(data)/2]
	case t != nil && !t.deliver:
		data = nil
	}
	if len(data) > 0 {
		at := time.Now().Add(time.Duration(n.rng.Int64N(int64(l.host.lag) + 1)))
		if last := len(s.chunks) - 1; last >= 0 && s.chunks[last].at.After(at) {
			at = s.chunks[last].at
		}
		s.chunks = append(s.chunks, chunk{at, data})
		s.signal()
	}
	n.mu.Unlock()
	if t != nil {
		t.do()
	}
	return len(p), nil
}

// key is the API key of a frame. Called with mu held.
func (l *link) key(dir int, frame []byte) int16 {
	switch {
	case dir == toBroker && len(frame) >= 12:
		key := int16(binary.BigEndian.Uint16(frame[4:]))
		l.keys[binary.BigEndian.Uint32(frame[8:])] = key
		return key
	case dir == toHost && len(frame) >= 8:
		id := binary.BigEndian.Uint32(frame[4:])
		if key, ok := l.keys[id]; ok {
			delete(l.keys, id)
			return key
		}
	}
	return -2
}

func (c *conn) Close() error {
	c.link.host.net.mu.Lock()
	defer c.link.host.net.mu.Unlock()
	c.link.half[1-c.sends].chunks = nil
	c.link.end(io.EOF)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writing never waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func (c *conn) SetReadDeadline(t time.Time) error {
	c.link.host.net.mu.Lock()
	defer c.link.host.net.mu.Unlock()
	c.deadline = t
	c.link.half[1-c.sends].signal()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.link.ends()[c.sends] }
func (c *conn) RemoteAddr() net.Addr { return c.link.ends()[1-c.sends] }

// ends are the addresses of who sends in each direction.
func (l *link) ends() [2]address {
	return [2]address{toBroker: address(l.host.name), toHost: address(l.address)}
}

type address string

func (address) Network() string  { return "sim" }
func (a address) String() string { return string(a) }

// listener is a broker's, or a webhook's receiver's.
type listener struct {
	address address
	conns   chan net.Conn
	closed  chan struct{}
	close   func()
}

// listen is kfake's ListenFn.
func (n *network) listen(_, at string) (net.Listener, error) {
	l := &listener{address: address(at), conns: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[at] = l
	return l, nil
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.close(); return nil }
func (l *listener) Addr() net.Addr { return l.address }

// dial is a client's dialer.
func (h *host) dial(ctx context.Context, _, at string) (net.Conn, error) {
	n := h.net
	n.mu.Lock()
	to, away, dead := n.listeners[at], n.away[at].After(time.Now()), h.dead
	wait := time.Millisecond + time.Duration(n.rng.Int64N(int64(h.lag)+1))
	if held := time.Until(h.held[toBroker]); held > wait {
		wait = held
	}
	n.mu.Unlock()
	// A client that is refused asks again at once.
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch {
	case to == nil:
		return nil, fmt.Errorf("nobody listens at %s", at)
	case dead:
		return nil, errors.New("this host is dead")
	case away && !h.spared:
		return nil, syscall.ECONNREFUSED
	}
	l := &link{host: h, address: at, keys: map[uint32]int16{}}
	for dir := range l.half {
		l.half[dir] = &half{wake: make(chan struct{}, 1)}
	}
	n.mu.Lock()
	if h.dead {
		n.mu.Unlock()
		return nil, errors.New("this host is dead")
	}
	h.links = append(h.links, l)
	n.mu.Unlock()
	select {
	case to.conns <- &conn{link: l, sends: toHost}:
		return &conn{link: l, sends: toBroker}, nil
	case <-to.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
