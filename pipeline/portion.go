package pipeline

// An epoch has room for so many bytes (maxEpochBytes), and a decision can be
// large: rules with hundreds of expressions show as many features. So one pass
// decides about as many refunds as the epoch still has room for, by what those
// before took.

const (
	// firstRefundBytes is what the outputs of a refund are thought to take before
	// any was seen: much, so that the first pass is small.
	firstRefundBytes = 256 << 10
	// minPortion is how many refunds of a partition a pass takes at least.
	minPortion = 16
)

// portion brings what is due down to what the epoch has room for: the earliest
// refunds of all partitions, so that those of one transaction keep their order.
func (s *session) portion(d *due) {
	each := max(minPortion, (maxEpochBytes-s.epoch.bytes)/s.refundBytes/len(s.refunds.partitions))
	for _, p := range s.refunds.partitions {
		if p.waiting() <= each {
			continue
		}
		n, last := 0, int64(noTime)
		for _, r := range p.pending[p.pendingAt:] {
			if !r.decidable() {
				continue
			}
			if ok, _ := d.of(r); !ok {
				break
			}
			if n++; n > each {
				d.lenient, d.lenientAsked = min(d.lenient, last+1), min(d.lenientAsked, last+1)
				break
			}
			last = max(last, r.Event.Time)
		}
	}
}

// weigh learns how much the outputs of a refund take, from those of n refunds.
func (s *session) weigh(bytes, n int) {
	s.refundBytes = max(1, s.refundBytes+(bytes/n-s.refundBytes)/4)
}
