// Package ruletest runs analysts' unit tests of rules: YAML files beside the
// rules, with timed events and what is expected of each refund. The tests run
// the real engine over records that are decoded like live ones; there is no
// network and no clock, so the same files give the same report again.
//
// README.md describes the files. Four cores that other work keeps busy read and
// run 9,000 to 17,000 events/s where each stands on a line of its own, nearly all
// of it for reading YAML, and 60,000 to 90,000 that repeat stands for.
package ruletest

import (
	"regexp"

	"github.com/refundguard/refundguard/rules"
)

// Options are what tests run with.
type Options struct {
	Rules rules.Options  // what the rules are loaded against
	Run   *regexp.Regexp // only tests whose name it matches; nil: all
}

// Bounds of a test file. They keep a typing error in repeat from filling the
// memory.
const (
	maxFile   = 16 << 20
	maxEvents = 1_000_000 // of one test, repeats included
)

// place is where something stands in a test file; line and column from 1,
// columns in characters.
type place struct{ line, column int }
