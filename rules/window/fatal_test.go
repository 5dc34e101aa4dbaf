package window_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/window"
)

// fatal lets a pair be used by rapid, whose T is no testing.TB.
type fatal struct {
	testing.TB
	R *rapid.T
}

func (f fatal) Helper()                           { f.R.Helper() }
func (f fatal) Fatalf(format string, args ...any) { f.R.Fatalf(format, args...) }

func pick(s *window.Store, k window.Key, sp window.Span) *window.Selection {
	x := new(window.Selection)
	s.Select(k, sp, x)
	return x
}
