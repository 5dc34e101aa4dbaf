package shop

// refund is what a refund request says beside its purchase.
type refund struct {
	id         uint64
	amount     int64 // minor units
	detail     uint64
	method     string
	reason     string // "" for none
	by         uint8  // in requesters
	linked     bool   // says its transaction
	mfa        int8   // -1: doesn't say
	instrument instrument
	device     uint64 // 0: none
	ip         address
	attack     string
}

const (
	byCustomer uint8 = iota
	byAgent
	byMerchant
	byAPI
)

// ordinary is a refund as honest people ask for it.
func (s *Shop) ordinary(p *purchase, amount int64) refund {
	r := s.rng
	f := refund{
		amount: amount,
		detail: r.src.Uint64(),
		method: refundMethods[pick(refundMethods, r.below(1000))].name,
		linked: !r.permille(unlinkedShare),
		by:     pick(requesters, r.below(1000)),
		mfa:    -1,
	}
	if r.permille(950) {
		f.reason = reasons[pick(reasons, r.below(1000))].name
	}
	switch f.method {
	case "original":
		f.instrument = instrumentOf(p)
		if r.permille(4) { // the card was replaced since
			f.instrument.hash = mix(f.instrument.hash)
		}
	case "bank_transfer":
		f.instrument = instrument{methodBank, mix(p.who ^ 31)}
	}
	if f.by == byCustomer {
		f.device = deviceOf(p.who, f.detail)
		f.ip = addressOf(p.who, f.detail)
		f.mfa = int8(min(r.below(6), 1))
	}
	return f
}

func (s *Shop) scheduleRefund(p *purchase, at int64, f refund) {
	s.refunds++
	f.id = mix(s.refunds ^ mix(s.salt))
	s.later(pending{at: at, kind: kindRefund, of: *p, refund: f})
}

// instrument is what pays, or is paid to.
type instrument struct {
	method uint8
	hash   uint64 // 0: none
}

// instrumentOf is what a purchase was paid with: a customer has up to three
// cards, and one of each other kind.
func instrumentOf(p *purchase) instrument {
	n := uint64(p.method) * 8
	if p.method == methodCard {
		n += []uint64{0, 0, 0, 0, 0, 1, 1, 2}[p.detail>>8&7] % (p.who%3 + 1)
	}
	return instrument{p.method, mix(p.who ^ (40 + n))}
}

// deviceOf is one of a customer's two devices; a few households share one.
func deviceOf(who, detail uint64) uint64 {
	if detail>>16&7 == 0 {
		return mix(who ^ 11)
	}
	return mix(who ^ 10)
}

// address is an internet address out of the ranges for documentation: the
// version (4 or 6; 0 is none) and its bits.
type address struct {
	version uint8
	bits    uint64
}

// addressOf is where a customer is online from: mostly home.
func addressOf(who, detail uint64) address {
	home := mix(who ^ 20)
	if detail>>20&15 == 0 {
		home = mix(who ^ detail)
	}
	if who%8 == 0 {
		return address{4, home}
	}
	return address{6, home}
}
