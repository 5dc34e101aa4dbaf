package pipeline

import (
	"errors"
	"fmt"
)

// fatalError is one that waiting doesn't mend: Run returns it instead of
// starting over.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

func fatalf(format string, args ...any) error { return &fatalError{fmt.Errorf(format, args...)} }

func isFatal(err error) bool {
	var f *fatalError
	return errors.As(err, &f)
}

// ErrStandby is why an instance isn't ready that has all that another one has
// committed, while that works.
var ErrStandby = errors.New("standing by")

// ErrFenced says that another instance took over the transactional.id.
var ErrFenced = errors.New("another instance with the same transactional.id took over: stopping, so that nothing is written twice")
