package shop

// purchase is what refunds and updates need to know of their transaction. What
// else its record says is a function of these.
type purchase struct {
	id      uint64
	at      int64
	who     uint64 // hash of the customer (or of the guest): devices, cards and addresses follow from it
	detail  uint64 // random bits for the rest
	amount  int64  // minor units of the country's currency
	size    uint32 // millionths of purchases that are at most as large
	guest   bool
	country uint8
	method  uint8
	channel uint8
	status  uint8 // in firstStatus
}

type kind uint8

const (
	kindUpdate kind = iota + 1
	kindRefund
	kindRaw
)

// pending is something that will happen.
type pending struct {
	at     int64
	seq    uint64
	kind   kind
	status uint8 // kindUpdate: the new one
	of     purchase
	refund
	raw *Record // kindRaw
}

// statuses are those of firstStatus, then those of updates only.
const (
	statusCaptured uint8 = iota
	statusAuthorized
	statusSettled
	statusFailed
	statusChargedBack
)

const (
	methodCard uint8 = iota
	methodWallet
	methodBalance
	methodBank
)

const (
	channelWeb uint8 = iota
	channelApp
	channelStore
	channelPhone
)

// look draws the next purchase, if there is one.
func (s *Shop) look() {
	if s.number >= s.all {
		return
	}
	r := s.rng
	begin, size, n, of := uint64(0), s.unseen, s.number, s.warm
	if s.number >= s.warm {
		begin, size, n, of = s.unseen, s.cal.total()-s.unseen, s.number-s.warm, s.all-s.warm
	}
	from, to := muldiv(size, n, of), muldiv(size, n+1, of)
	p := purchase{
		id:     mix(s.number ^ s.salt),
		at:     s.cal.time(begin + from + r.below(to-from)),
		detail: r.src.Uint64(),
	}
	if p.guest = r.permille(guestShare); p.guest {
		p.who = mix(p.id ^ 1)
	} else {
		rank := muldiv(uint64(customerRank.draw(r))*1000+r.below(1000), uint64(s.cfg.Customers), million*1000)
		p.who = mix(mix(min(rank, uint64(s.cfg.Customers)-1)) ^ s.salt)
	}
	p.country = s.home(p.who)
	p.method = pick(purchaseMethods, r.below(1000))
	p.channel = pick(channels, r.below(1000))
	p.status = pick(firstStatus, r.below(1000))
	p.size = uint32(r.below(million))
	p.amount = local(purchaseAmount.at(uint64(p.size)), p.country)
	s.next = p
}

func (s *Shop) home(who uint64) uint8 {
	u := mix(who^2) % 1000
	for i := range countries {
		if u < countries[i].weight {
			return uint8(i)
		}
		u -= countries[i].weight
	}
	return 0
}

// local is an amount in cents of the main currency in a country's minor units.
func local(cents int64, c uint8) int64 {
	v := cents * countries[c].rate / 1000
	if countries[c].decimals == 0 {
		v /= 100
	}
	return max(v, 1)
}

// schedule draws what becomes of a purchase.
func (s *Shop) schedule(p *purchase) {
	r := s.rng
	if p.at >= s.start {
		s.scheduleUpdates(p)
	}
	if p.status == statusFailed {
		return
	}
	if s.attacks != nil && !p.guest && p.at >= s.start && s.attacks.take(s, p) {
		return
	}
	share := uint64(refundedShare)
	switch {
	case p.guest:
		share = refundedAsGuest
	case mix(p.who^3)%7 == 0:
		share = refundedProne
	}
	if !r.permille(share) {
		return
	}
	left := p.amount
	at := p.at
	for i := range int(pick(refundParts, r.below(1000))) + 1 {
		size := uint64(p.size) // large refunds are of large purchases
		if r.permille(220) {
			size = r.below(million)
		}
		amount := min(left, local(refundAmount.at(size), p.country))
		if amount <= 0 {
			return
		}
		left -= amount
		switch {
		case i > 0 && r.permille(400): // the same visit
			at += r.between(minute, 40*minute)
		default:
			at = open(p.at+refundDelay.draw(r)*minute+r.between(1, minute), r)
		}
		s.scheduleRefund(p, at, s.ordinary(p, amount))
	}
}

// scheduleUpdates draws the later statuses of a transaction.
func (s *Shop) scheduleUpdates(p *purchase) {
	r := s.rng
	at, status := p.at, p.status
	to := func(after int64, next uint8) {
		at, status = at+after, next
		s.later(pending{at: at, kind: kindUpdate, of: *p, status: status})
	}
	if status == statusAuthorized && r.permille(950) {
		to(r.between(5*minute, 2*day), statusCaptured)
	}
	if status != statusCaptured {
		return
	}
	if r.permille(60) {
		to(r.between(day, 3*day), statusSettled)
	}
	if r.permille(2) {
		to(r.between(10*day, 90*day), statusChargedBack)
	}
}
