package bench

import "sync/atomic"

// sendError is the last error of producing.
type sendError struct{ last atomic.Pointer[error] }

func (e *sendError) set(err error) { e.last.Store(&err) }

func (e *sendError) get() error {
	if err := e.last.Load(); err != nil {
		return *err
	}
	return nil
}
