package webhook

// Bounds that tests come near to.
const (
	MaxPending = maxPending
	MaxBody    = maxBody
	DownAfter  = downAfter
	MaxShut    = maxShut
)
