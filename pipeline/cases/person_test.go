package cases_test

import (
	"testing"

	"github.com/refundguard/refundguard/pipeline/cases"
)

// Neither the agent who asked nor the analyst who approved first is somebody else
// for typing the name another way.
func TestNamesOfOnePerson(t *testing.T) {
	for name, same := range map[string]bool{
		"Bob@desk": true, "BOB@DESK": true, " bob@desk": true, "bob @desk\u00a0": true, "ｂｏｂ@desk": true, "b\u200bob@desk": true,
		"bo\u00adb@desk\ufe0f": true, "\ufeffbob@desk": true, "bob@desk": true,
		"bobby@desk": false, "bob": false, "bob@desk2": false, "ann@desk": false, "": false, "\u200b": false,
	} {
		for what, c := range map[string]*cases.Case{
			cases.CodeSelfApproval: {RefundID: "r", State: cases.InReview, Agent: "bob@desk", Base: 10},
			cases.CodeSameAnalyst:  {RefundID: "r", State: cases.InReview, First: "bob@desk", Base: 10},
		} {
			_, refused := cases.Step(c, cases.Event{Kind: cases.Approve, By: name, Now: 1}, policy{second: 1})
			if got := refused != nil && refused.Code == what; got != same || got == (c.State == cases.Approved) && what == cases.CodeSameAnalyst {
				t.Errorf("%q after bob@desk: %v, %s", name, refused, c.State)
			}
		}
	}
}
