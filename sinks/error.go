// Package sinks holds what the program's sinks share: the error that says why
// a delivery failed and whether to try again, the pause between tries, and for how
// long a consumer group waits for one that was killed.
package sinks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// Reason is why a delivery failed: a closed set, so that it can be a metric's
// label.
type Reason string

// The reasons. Reasons lists them all.
const (
	Unreachable Reason = "unreachable" // no connection, or it broke before an answer came
	Timeout     Reason = "timeout"     // no answer in time
	Overloaded  Reason = "overloaded"  // the receiver asks for patience
	Denied      Reason = "denied"      // wrong credentials, or a missing grant
	Rejected    Reason = "rejected"    // the receiver won't take this data, however often it is sent
	NoSpace     Reason = "no_space"    // the receiver has no room to store it
	Server      Reason = "server"      // the receiver failed
	Canceled    Reason = "canceled"    // we are stopping
	Other       Reason = "other"
)

// Reasons returns every Reason, for metrics that start their series at zero.
func Reasons() []Reason {
	return []Reason{Unreachable, Timeout, Overloaded, Denied, Rejected, NoSpace, Server, Canceled, Other}
}

// Error is a failed delivery.
type Error struct {
	Op        string // what was being done, e.g. "insert into decisions"
	Reason    Reason
	Retryable bool          // trying the same again may succeed
	After     time.Duration // the receiver asks not to be tried before; 0: it doesn't say
	Err       error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %s", e.Op, e.Reason)
	}
	return fmt.Sprintf("%s: %s: %v", e.Op, e.Reason, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// NetworkReason classifies what a Go network call returns; an error that isn't
// the network's is Other. It looks at types and never at an error's text.
func NetworkReason(err error) Reason {
	var (
		timeout interface{ Timeout() bool }
		op      *net.OpError
		dns     *net.DNSError
		errno   syscall.Errno
	)
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return Timeout
	case errors.As(err, &op), errors.As(err, &dns), errors.As(err, &errno),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return Unreachable
	}
	return Other
}
