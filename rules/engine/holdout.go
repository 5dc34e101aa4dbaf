package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/bits"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/event"
)

// Holdout is a share of the refunds that only review actions or the score hold,
// which is approved all the same: without it, nobody would ever see whether those
// were fraud. Which refunds these are hangs on their ids and the key alone.
type Holdout struct {
	Millionths int64       // of those refunds; 0: none
	MaxAmount  event.Money // in the base currency; what is more, or can't be converted, stays held
	Key        string      // who knows it can choose ids that are let through
}

// million is what Holdout.Millionths and shares elsewhere are parts of.
const million = 1_000_000

// newMAC is one worker's.
func (h *Holdout) newMAC() hash.Hash {
	if h.Millionths == 0 {
		return nil
	}
	return hmac.New(sha256.New, []byte(h.Key))
}

// takes reports whether a refund id is one of the share: its keyed hash, as a
// fraction of all 2^64, is below it.
func (h *Holdout) takes(mac hash.Hash, sum []byte, refundID string) bool {
	mac.Reset()
	mac.Write([]byte(refundID))
	part, _ := bits.Mul64(binary.BigEndian.Uint64(mac.Sum(sum[:0])), million)
	return int64(part) < h.Millionths
}

// heldOut reports whether a held refund is let through to measure the rules. It
// isn't where anything but a review action or the score speaks against it.
func (e *Engine) heldOut(wk *worker, it *Item, res *rules.Result) bool {
	if wk.mac == nil || it.Degraded || it.Hold != "" || res.Cause != rules.CauseReview && res.Cause != rules.CauseReviewScore {
		return false
	}
	ev := &it.Event
	amount, ok := e.set.InBase(event.Money(ev.Vals[e.slots.rfAmount].Num), event.Currency(ev.Vals[e.slots.rfCurrency].Num))
	return ok && amount <= e.cfg.Holdout.MaxAmount && e.cfg.Holdout.takes(wk.mac, wk.sum[:], it.Event.ID())
}
