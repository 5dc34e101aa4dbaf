package rules

import "github.com/refundguard/refundguard/rules/event"

// Action is what a rule's hit asks for.
type Action uint8

// The actions. A rule without one acts by its score only.
const (
	ActionNone Action = iota
	ActionApprove
	ActionReview
	ActionReject
	ActionAlert
)

// Severity ranks a rule's hit; a greater one is worse.
type Severity uint8

// The severities. The zero value is none.
const (
	Low Severity = iota + 1
	Medium
	High
	Critical
)

// Mode says whether a rule acts.
type Mode uint8

// The modes.
const (
	Live   Mode = iota + 1
	Shadow      // evaluated and recorded, decides nothing
	Off         // checked, not evaluated
)

// OnMissing says what a rule does when its condition needs a missing value.
type OnMissing uint8

// The choices. MissingReview is the default.
const (
	MissingReview OnMissing = iota + 1 // a failure
	MissingSkip                        // listed in the decision's skipped
)

var (
	actionNames    = []string{"", "approve", "review", "reject", "alert"}
	severityNames  = []string{"", "low", "medium", "high", "critical"}
	modeNames      = []string{"", "live", "shadow", "off"}
	onMissingNames = []string{"", "review", "skip"}
	onTripNames    = []string{"", "keep", "shadow"}
)

func (a Action) String() string    { return actionNames[a] }
func (s Severity) String() string  { return severityNames[s] }
func (m Mode) String() string      { return modeNames[m] }
func (o OnMissing) String() string { return onMissingNames[o] }
func (o OnTrip) String() string    { return onTripNames[o] }

// ParseSeverity is the severity of that name.
func ParseSeverity(name string) (Severity, bool) {
	for i, n := range severityNames[1:] {
		if n == name {
			return Severity(i + 1), true
		}
	}
	return 0, false
}

// OnTrip says what becomes of a live rule that holds too many refunds.
type OnTrip uint8

// The choices. TripKeep is the default.
const (
	TripKeep   OnTrip = iota + 1 // it goes on; an alert tells of it
	TripShadow                   // it acts as shadow until it is reset or its file changes
)

// Exception turns a rule's hit off where its condition is true.
type Exception struct {
	When    string // the condition as written
	Reason  string
	Owner   string
	Expires int64 // Unix milliseconds from which on it is ignored, by event time; 0: never

	cond fn
}

// Rule is one rule as its file says it.
type Rule struct {
	ID          string
	Description string
	On          string // the stream whose events it judges: refunds or transactions
	When        string // the condition as written
	Exceptions  []Exception
	Action      Action
	Score       int64
	Severity    Severity
	Reason      string
	OnMissing   OnMissing
	OnTrip      OnTrip
	Mode        Mode
	Tags        []string
	Owner       string
	File        string
	Source      string // names the content of its file
	Line        int

	cond            fn
	hasScore        bool
	message         *template
	customerMessage *template
}

// AlertOnly says that the rule can't change an outcome: it alerts and has no
// score. When it fails, nothing is held.
func (r *Rule) AlertOnly() bool { return r.Action == ActionAlert && !r.hasScore }

// Alerts says whether a hit of the rule is to be written to the alerts: a live
// rule whose action is alert, or whose severity is at least min (0: none is).
func (r *Rule) Alerts(min Severity) bool {
	return r.Mode == Live && (r.Action == ActionAlert || min > 0 && r.Severity >= min)
}

func (r *Rule) hit() event.Hit {
	return event.Hit{
		Rule: r.ID, Mode: r.Mode.String(), Action: r.Action.String(),
		Score: r.Score, Severity: r.Severity.String(), Reason: r.Reason,
	}
}
