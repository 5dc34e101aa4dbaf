package event

// Decision is one record of refund-decisions. Times are Unix milliseconds.
type Decision struct {
	DecisionID    string
	RefundID      string
	TransactionID string // "" when missing; so are the next two
	CustomerID    string
	MerchantID    string
	Amount        Money
	Currency      Currency
	Outcome       Outcome
	DecidedBy     string // engine, analyst:NAME, customer, deadline
	Reason        string // "" when there is none, e.g. EVENT_IN_FUTURE
	Score         int64
	Hits          []Hit
	Errors        []RuleError
	Skipped       []string  // ids of rules that missed a value and say on_missing: skip, and of shadow rules that were shed
	Features      []Feature // sorted by Name
	Original      *Original // nil when unknown
	Ruleset       string
	OccurredAt    int64
	ReceivedAt    int64 // Kafka timestamp
	DecidedAt     int64
	Source        Source
	Degraded      bool
	Holdout       bool
	Warming       []string // canonical texts of expressions that are still filling
	Controls      []string // ids of what somebody put in force, and what changed this decision
}

// Hit is one rule that hit.
type Hit struct {
	Rule     string `json:"rule"`
	Mode     string `json:"mode"`             // live, shadow, snoozed
	Action   string `json:"action,omitempty"` // approve, review, reject, alert; "" for a rule with only a score
	Score    int64  `json:"score"`
	Severity string `json:"severity"`
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
}

// RuleError is one rule that failed at run time.
type RuleError struct {
	Rule  string `json:"rule"`
	Error string `json:"error"`
}

// FeatureKind says how a feature's value is held and printed.
type FeatureKind uint8

// The kinds of feature values. FeatureNil is the zero value.
const (
	FeatureNil    FeatureKind = iota // null
	FeatureInt                       // a JSON number: Num
	FeatureMoney                     // a JSON string: Num as Money, printed for Currency
	FeatureFloat                     // a JSON number: Float
	FeatureString                    // a JSON string: Str
	FeatureBool                      // true or false: Num
	FeatureError                     // null; the rules that read it failed with Str
)

// Feature is one past-events expression and the value it had.
type Feature struct {
	Name     string // canonical text
	Kind     FeatureKind
	Currency Currency
	Num      int64
	Float    float64
	Str      string
}

// Original is the part of the refunded transaction that a decision shows.
type Original struct {
	TransactionID string
	Amount        Money
	Currency      Currency
	OccurredAt    int64
	InstrumentID  string // "" when missing
}

// Source says which record was decided.
type Source struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// Status is one record of refund-status.
type Status struct {
	RefundID        string
	CustomerID      string // "" when missing
	Status          string // received, in_review, approved, rejected, executed, failed, overdue
	Reason          string
	CustomerMessage string
	CustomerNext    string // what the customer can do next; "" where there is nothing
	ETA             int64  // Unix milliseconds; 0: none
	At              int64
}

// Alert is one record of alerts.
type Alert struct {
	AlertID       string // a function of the decision (or refused record) and the rule
	Rule          string
	Severity      string // low, medium, high, critical
	RefundID      string
	TransactionID string
	CustomerID    string
	MerchantID    string
	DeviceID      string
	InstrumentID  string
	Outcome       string // "" when the alert is not about a decision
	Amount        Money  // 0: none
	Currency      Currency
	Message       string
	At            int64
}
