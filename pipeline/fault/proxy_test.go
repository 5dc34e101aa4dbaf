package fault

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy stands between the service and the broker, passes Kafka's frames on,
// and does them harm when it is told to.
type proxy struct {
	ln   net.Listener
	back string

	mu    sync.Mutex
	pairs map[*pair]struct{}
	hole  [2]chan struct{} // by direction; closed: traffic flows; open: a black hole
	delay time.Duration    // each frame waits so long

	hold    [2]atomic.Pointer[held] // by direction: what becomes of the next EndTxn, or its answer
	drop    atomic.Int32            // one of the how-constants; 0: answers are passed on
	dropped atomic.Int64            // answers to EndTxn that never arrived
}

// The two directions.
const (
	requests = iota
	answers
)

// What becomes of the next answer to an EndTxn: the connection is cut in its
// stead, or it is swallowed and nothing follows on that connection.
const (
	cutInstead = 1 + iota
	swallowed
)

const endTxn = 26

// held is an EndTxn, or its answer, that waits in the proxy.
type held struct{ reached, release chan struct{} }

// holdNext has the next EndTxn, or its answer, wait until release is called.
func (p *proxy) holdNext(direction int) (reached <-chan struct{}, release func()) {
	h := &held{make(chan struct{}), make(chan struct{})}
	p.hold[direction].Store(h)
	return h.reached, sync.OnceFunc(func() {
		p.hold[direction].CompareAndSwap(h, nil)
		close(h.release)
	})
}

func (p *proxy) wait(direction int) {
	if h := p.hold[direction].Swap(nil); h != nil {
		close(h.reached)
		<-h.release
	}
}

// pair is a client's connection and the broker's, and the EndTxn requests on it
// that have no answer yet, by correlation id.
type pair struct {
	client, broker net.Conn

	mu      sync.Mutex
	pending map[uint32]bool
	mute    bool
}

func startProxy(t *testing.T, door, back string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", door)
	if err != nil {
		t.Fatalf("the proxy: %v", err)
	}
	p := &proxy{ln: ln, back: back, pairs: make(map[*pair]struct{}), hole: [2]chan struct{}{make(chan struct{}), make(chan struct{})}}
	p.heal()
	go p.accept()
	t.Cleanup(func() {
		ln.Close()
		p.heal()
		p.cut()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		go p.serve(client)
	}
}

func (p *proxy) serve(client net.Conn) {
	broker, err := net.DialTimeout("tcp", p.back, 5*time.Second)
	if err != nil {
		reset(client)
		return
	}
	c := &pair{client: client, broker: broker, pending: make(map[uint32]bool)}
	p.mu.Lock()
	p.pairs[c] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(c, broker, client, requests) })
	both.Go(func() { p.pass(c, client, broker, answers) })
	both.Wait()
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}

var errCut = errors.New("cut")

// pass copies frame after frame until either end is gone.
func (p *proxy) pass(c *pair, to, from net.Conn, direction int) {
	defer c.cut()
	look := [2]func(*pair, []byte) (bool, error){p.request, p.answer}[direction]
	var size [4]byte
	for {
		if _, err := io.ReadFull(from, size[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > 256<<20 {
			return
		}
		frame := make([]byte, 4+n)
		copy(frame, size[:])
		if _, err := io.ReadFull(from, frame[4:]); err != nil {
			return
		}
		p.mu.Lock()
		hole, delay := p.hole[direction], p.delay
		p.mu.Unlock()
		<-hole
		time.Sleep(delay)
		on, err := look(c, frame[4:])
		if err != nil {
			return
		}
		if !on {
			continue
		}
		if _, err := to.Write(frame); err != nil {
			return
		}
	}
}

// request lets all requests go on, and notes an EndTxn. A request begins with its key, version and
// correlation id.
func (p *proxy) request(c *pair, frame []byte) (bool, error) {
	if len(frame) >= 8 && binary.BigEndian.Uint16(frame) == endTxn {
		c.mu.Lock()
		c.pending[binary.BigEndian.Uint32(frame[4:])] = true
		c.mu.Unlock()
		p.wait(requests)
	}
	return true, nil
}

// answer says whether an answer goes on: it drops the next answer to an EndTxn, if it is told to.
func (p *proxy) answer(c *pair, frame []byte) (bool, error) {
	if len(frame) < 4 {
		return true, nil
	}
	id := binary.BigEndian.Uint32(frame)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.mute:
		return false, nil
	case !c.pending[id]:
		return true, nil
	}
	delete(c.pending, id)
	p.wait(answers)
	switch how := p.drop.Swap(0); how {
	case cutInstead:
		p.dropped.Add(1)
		return false, errCut
	case swallowed:
		p.dropped.Add(1)
		c.mute = true
		return false, nil
	}
	return true, nil
}

// cut ends both connections with a reset.
func (c *pair) cut() {
	reset(c.client)
	reset(c.broker)
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// cut resets every connection there is.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.cut()
	}
}

// tear resets about half of the connections, in the middle of an answer.
func (p *proxy) tear(rng *rand.Rand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		if rng.IntN(2) == 0 {
			c.client.Write([]byte{0, 0, 1, 0, 0xff}) // the beginning of one
			c.cut()
		}
	}
}

// slow makes each frame wait.
func (p *proxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// swallow is a black hole: connections stay, and nothing comes through in these
// directions.
func (p *proxy) swallow(directions ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range directions {
		p.hole[d] = make(chan struct{})
	}
}

// heal lets what was held up go on, and ends delays.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = 0
	p.drop.Store(0)
	for _, hole := range p.hole {
		select {
		case <-hole:
		default:
			close(hole)
		}
	}
}
