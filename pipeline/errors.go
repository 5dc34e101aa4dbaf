package pipeline

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
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

func replacedBy(w writerID, cause error) error {
	if cause == nil {
		return fatalf("%w: instance %s writes the progress now", ErrFenced, w.Instance)
	}
	return fatalf("%w: instance %s writes the progress now (%w)", ErrFenced, w.Instance, cause)
}

// unauthorized reports whether a grant is missing. Before the pipeline was live
// for the first time that is final: somebody is setting it up. Later it is
// waited out: grants are taken away and given back while they are edited.
func unauthorized(err error) bool {
	return slices.ContainsFunc([]error{kerr.TopicAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.ClusterAuthorizationFailed},
		func(kind error) bool { return errors.Is(err, kind) })
}

// producerError says which grant is missing.
func producerError(err error) error {
	switch {
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return fmt.Errorf("this user may not use the transactional.id: grant WRITE and DESCRIBE on it (%w)", err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("this user may not write to one of the topics: grant WRITE and DESCRIBE (%w)", err)
	}
	return err
}

// readError says which grant is missing.
func readError(err error) error {
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return fmt.Errorf("this user may not read the topic: grant READ and DESCRIBE (%w)", err)
	}
	return err
}
