package engine

// Loss says what of the past is gone that had been applied. The zero value is:
// nothing.
type Loss struct {
	// Some: decisions that reach back to what is missing, or whose original isn't
	// known, are degraded.
	Some bool

	// Refunds, if not 0, is the event time, Unix milliseconds, before which
	// refunds may be gone, their ids with them. Of a transaction from before, it
	// can't be told what was refunded already, nor whether this very refund was:
	// all of its refunds are degraded.
	Refunds int64
}

// Lose says what is lost as of now.
func (e *Engine) Lose(l Loss) { e.loss = l }

// touches reports whether a refund may miss what is lost. paid is the time of its
// original, if that is known.
func (l *Loss) touches(warming, named, known bool, paid int64) bool {
	if !l.Some {
		return false
	}
	return warming || named && !known || l.Refunds != 0 && (!known || paid < l.Refunds)
}
