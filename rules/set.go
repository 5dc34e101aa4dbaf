// Package rules is the rule language: files of rules, their checker, their
// compiler and their evaluation. It knows nothing of Kafka, of windows or of
// clocks; past events come in as values that the caller looks up.
//
// [Load] makes an immutable [Set] of a folder. For each refund, an [Evaluator]
// of the set says which keys to look up ([Evaluator.Begin]), takes the values of
// the past-events expressions ([Evaluator.Values]) and gives the outcome
// ([Evaluator.Run]). Rules on transactions are a set of their own
// ([Set.Transactions]).
//
// What a set can cost is bounded when it is loaded: conditions by their parts
// and by the steps of their patterns, sets by their rules, expressions, lists
// and columns. What depends on the event is bounded when it is evaluated: the
// texts that a rule reads, and those that a pattern is held against. Each limit
// is named in the error of the rule that goes beyond it.
//
// Conditions are pure. Lists and exceptions end by event time; the clock only
// warns of those that have ended ([Options.Now]). Time zones are those of the
// machine's database, or of time/tzdata where a program embeds it.
package rules

import (
	"time"

	"github.com/refundguard/refundguard/rules/event"
)

// Options are what a rule set is loaded against.
type Options struct {
	Schema *event.Schema             // nil: event.Builtin()
	Base   event.Currency            // currency of amount_base; 0: USD
	Rates  map[event.Currency]string // one unit in units of Base, a decimal such as "1.08"
	Strict bool                      // a possibly missing value without a guard or on_missing is an error
	Now    time.Time                 // against which the checker warns of what has expired; zero: the clock
}

// Set is a checked and compiled rule set. It does not change, and is safe for
// concurrent use.
type Set struct {
	Version  string    // "sha256:…" of the names and the content of all files read
	Rules    []*Rule   // those on refunds, in order of file name and place; rules that are off included
	Policy   *Policy   // nil: no thresholds
	Warnings Errors    // what the checker suspects but does not refuse
	Series   []Series  // what must be kept of past events
	Lookups  []Lookup  // what must be found for each refund
	Features []Feature // what must be computed of it, by slot

	// Transactions holds the rules with on: transactions; nil where there are
	// none. Its evaluators take a transaction as Input.Event, and their hits are
	// alerts only. Version and Series are this set's.
	Transactions *Set

	files    []string // that it was made of
	active   []*Rule  // live and shadow
	conds    []fn     // theirs: most rules don't hit, and then nothing else of them is read
	order    []int    // Features by text
	baseUsed bool     // some rule reads amount_base
	convert  *converter
	fields   schemaSlots
}

// Policy holds the thresholds of the score. A nil threshold is not set.
type Policy struct {
	ReviewAt, RejectAt *int64
}

// Series is one store of past events: a stream, the fields that make its key
// and its where(…). Expressions that differ in window or aggregate only share
// it.
type Series struct {
	Name    string        // canonical and stable across reloads, e.g. refunds.by(device_id).where(reason == "other")
	Source  string        // the stream's name as written: that of Stream, or "updates"
	Stream  *event.Stream // whose schema its events have: transactions for "updates", see event.Hits and event.Decisions for those
	Horizon int64         // longest within + delayed in milliseconds; 0: ever
	Windows []int64       // the different within, ascending; those of ever() aside
	Names   bool          // ties of time are told apart by the events' ids: for first and last
	Columns []Column      // at most 32

	keys     []keyPart
	where    fn // nil: every event
	currency int
}

// ColumnKind says what a column of a series holds.
type ColumnKind uint8

// The kinds of columns.
const (
	ColumnMoney  ColumnKind = iota + 1 // 1/10,000 of the event's currency (Series.Currency)
	ColumnNumber                       // 1/10,000, no currency
	ColumnInt                          // integer, no currency
	ColumnHash                         // xxh3 of the value, for distinct
	ColumnText                         // a text: Series.Text has it, the caller stores a number for it
	ColumnFault                        // 0 where the series' where(…) fails on the event, which belongs to it then
	ColumnTime                         // Unix milliseconds
	ColumnBool                         // 0 or 1
)

// Column is one value that a series keeps of each event.
type Column struct {
	Field string
	Kind  ColumnKind
	slot  int
	typ   event.Type
}

// Lookup is one key of one series. It is found once for each refund, whatever
// the number of features that read it.
type Lookup struct {
	Series int    // index in Set.Series
	Key    string // canonical text of the key's expressions over the present event

	keys []keyExpr
}

// Aggregate is what a feature computes over the events of its window.
type Aggregate uint8

// The aggregates. Over no events Count, Sum and Distinct are 0, the others nil.
const (
	Count     Aggregate = iota + 1 // of events
	Sum                            // of a column
	Avg                            // of a column: its sum divided by the number of events that have it
	Distinct                       // number of different values of a hash column
	Min                            // of a column: the smallest value
	Max                            // of a column: the greatest
	Stddev                         // of a column, over the whole population
	First                          // the column of the earliest event that has it; of several, that with the smaller id
	Last                           // the column of the latest; of several, that with the greater id
	SinceLast                      // seconds since the latest event
)

// Feature is one distinct past-events expression. Its value goes to the slot of
// Evaluator.Values that has its index:
//
//	the lookup's key is nil      Value{}
//	Count, Distinct              IntValue(n); 0 where the key is unknown
//	Sum, Avg                     Feature.Total(total, n, currency), with n the events that have the column
//	Min, Max, First, Last        Feature.Single(v, currency, text); Value{} where no event has the column
//	Stddev                       Feature.Deviation(sd, currency); likewise
//	SinceLast                    Feature.Since(t, time of the latest event); Value{} where there is none
//	two currencies, overflow, …  FaultValue(text): every rule that reads it fails
type Feature struct {
	Text      string // canonical: macros expanded, double quotes
	Lookup    int    // index in Set.Lookups
	Aggregate Aggregate
	Column    int   // index in its series' Columns; -1 for Count and SinceLast
	Within    int64 // milliseconds; 0 with Ever
	Delayed   int64 // milliseconds: the window is (t − Delayed − Within, t − Delayed]
	Ever      bool  // the window is everything up to t
	Live      bool  // a live rule uses it
	Money     bool  // the value is money: but for First and Last, two currencies must be refused
	kind      ColumnKind
}
