package webhook

import (
	"context"
	"net"
)

// WithDial has every endpoint connect with dial, past the guard of addresses.
func (d Deps) WithDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) Deps {
	d.dial = dial
	return d
}

// Bounds that tests come near to.
const (
	MaxPending = maxPending
	MaxBody    = maxBody
	DownAfter  = downAfter
	MaxShut    = maxShut
)
