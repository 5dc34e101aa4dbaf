package event

// Outcome is what became of a refund.
type Outcome uint8

// The outcomes.
const (
	Approve Outcome = iota + 1
	Review
	Reject
)

// String is the outcome as it is written in topics, or "" for none.
func (o Outcome) String() string {
	switch o {
	case Approve:
		return "approve"
	case Review:
		return "review"
	case Reject:
		return "reject"
	}
	return ""
}

// ParseOutcome reads what String writes.
func ParseOutcome(text string) (Outcome, bool) {
	switch text {
	case "approve":
		return Approve, true
	case "review":
		return Review, true
	case "reject":
		return Reject, true
	}
	return 0, false
}
