package shop

// attacks turns some of the purchases into frauds. Episodes are spread over
// the shop's time; no purchase is added, so their number stays as configured.
type attacks struct {
	rings, overs, others series
	ring                 ring
	mule                 uint64 // instrument of the present other_instrument cases
	muleLeft             int
}

// series spreads n episodes over the purchases: one in each n-th, somewhere.
type series struct {
	n, done, from, all uint64
	next               uint64 // number of the purchase from which on the next begins
}

// ring is one device that asks for many customers' refunds.
type ring struct {
	device    uint64
	ip        address
	left      int
	collect   int64 // purchases until then
	from, len int64 // when its refunds come
	seen      map[uint64]bool
}

func newAttacks(s *Shop) *attacks {
	n := uint64(s.cfg.Transactions)
	a := &attacks{
		rings:  series{n: max(1, n/8000), from: s.warm, all: n},
		overs:  series{n: max(2, n/900), from: s.warm, all: n},
		others: series{n: max(2, n/1200), from: s.warm, all: n},
	}
	a.rings.advance(s.rng)
	a.overs.advance(s.rng)
	a.others.advance(s.rng)
	return a
}

// advance draws when the next episode begins: in the first seven tenths of its
// part, so that it ends within it.
func (e *series) advance(r rng) {
	e.next = ^uint64(0)
	if e.done < e.n {
		e.next = e.from + muldiv(e.all, e.done*1000+r.below(700), e.n*1000)
		e.done++
	}
}

// take says whether the purchase becomes part of an attack, and schedules what
// follows from it.
func (a *attacks) take(s *Shop, p *purchase) bool {
	switch {
	case s.number > a.overs.next:
		a.overs.advance(s.rng)
		a.over(s, p)
		return true
	case s.number > a.others.next:
		a.others.advance(s.rng)
		a.other(s, p)
		return true
	case s.number > a.rings.next && a.ring.left == 0:
		a.rings.advance(s.rng)
		a.form(s, p.at)
	}
	if a.ring.left == 0 {
		return false
	}
	if p.at >= a.ring.collect {
		a.ring.left = 0
		return false
	}
	if a.ring.seen[p.who] || !s.rng.permille(400) {
		return false
	}
	a.join(s, p)
	return true
}

// soon is a span of at most that many hours, less in a short shop.
func (s *Shop) soon(hours int64) int64 { return min(hours*hour, (s.end-s.start)/10) }

func (a *attacks) form(s *Shop, at int64) {
	r := s.rng
	wait := s.soon(6 * 24)
	a.ring = ring{
		device: r.src.Uint64(), ip: address{4, r.src.Uint64()}, left: int(r.between(12, 26)),
		collect: at + wait, from: at + wait, len: s.soon(60), seen: map[uint64]bool{},
	}
}

func (a *attacks) join(s *Shop, p *purchase) {
	r := s.rng
	a.ring.left--
	a.ring.seen[p.who] = true
	f := s.ordinary(p, p.amount*r.between(60, 100)/100)
	f.attack, f.by, f.reason, f.mfa, f.linked = Ring, byCustomer, "not_received", 0, true
	f.method, f.instrument = "original", instrumentOf(p)
	f.device, f.ip = a.ring.device, a.ring.ip
	f.amount = max(f.amount, 1)
	s.scheduleRefund(p, a.ring.from+int64(r.below(uint64(a.ring.len))), f)
}

// over asks for more than was paid: at once, or in parts. Only the refunds
// that exceed the payment are labelled; the parts before them are as good as
// any.
func (a *attacks) over(s *Shop, p *purchase) {
	r := s.rng
	at := p.at + r.between(hour, max(hour, s.soon(20*24)))
	step := max(1, s.soon(36))
	sum := int64(0)
	parts, share := 1, r.between(110, 300)
	if r.permille(550) {
		parts, share = int(r.between(4, 5)), r.between(34, 45)
	}
	for range parts {
		f := s.ordinary(p, max(1, p.amount*share/100))
		f.method, f.instrument, f.linked = "original", instrumentOf(p), true
		if sum += f.amount; sum > p.amount {
			f.attack = OverRefund
		}
		s.scheduleRefund(p, at, f)
		at += r.between(minute, minute+step)
	}
}

// other sends the money elsewhere: to an instrument that collects from a few
// purchases.
func (a *attacks) other(s *Shop, p *purchase) {
	r := s.rng
	if a.muleLeft == 0 {
		a.mule, a.muleLeft = r.src.Uint64(), int(r.between(2, 4))
	}
	a.muleLeft--
	f := s.ordinary(p, max(1, p.amount*r.between(50, 100)/100))
	f.attack, f.by, f.linked, f.reason, f.mfa = OtherInstrument, byCustomer, true, "mis_operation", 0
	f.method, f.instrument = "card", instrument{methodCard, a.mule}
	if a.mule&1 == 0 {
		f.method, f.instrument.method = "bank_transfer", methodBank
	}
	f.device, f.ip = r.src.Uint64(), address{4, r.src.Uint64()}
	s.scheduleRefund(p, p.at+r.between(hour, max(hour, s.soon(10*24))), f)
}
