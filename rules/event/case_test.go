package event_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

// TestCaseSummary: what is written of a case is what is read.
func TestCaseSummary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Int64Range(1, 253402300799_999)
		text := func(name string) string { return anyText.Draw(t, name) }
		c := event.CaseSummary{RefundID: rapid.StringN(1, 40, -1).Draw(t, "refund"), TransactionID: text("transaction"), CustomerID: text("customer"), MerchantID: text("merchant"),
			Method: text("method"), RequestReason: text("request reason"), Amount: event.Money(rapid.Int64Range(1, 1e18-1).Draw(t, "amount")), Currency: event.Currency(0),
			State: rapid.StringN(1, 9, -1).Draw(t, "state"), Severity: text("severity"), Reason: text("reason"), DecidedBy: text("by"), DecisionID: text("id"), FirstBy: text("first"),
			OccurredAt: at.Draw(t, "occurred"), ReceivedAt: at.Draw(t, "received"), OpenedAt: at.Draw(t, "opened"), Since: at.Draw(t, "since"),
			DueAt: rapid.SampledFrom([]int64{0, 5}).Draw(t, "due"), ExecutedAt: rapid.SampledFrom([]int64{0, 7}).Draw(t, "executed"), ChangedAt: at.Draw(t, "changed"),
			Denied: rapid.Bool().Draw(t, "denied"), Satisfied: event.Answer(rapid.IntRange(0, 2).Draw(t, "satisfied"))}
		c.Currency, _ = event.ParseCurrency(rapid.SampledFrom([]string{"USD", "JPY", "KWD"}).Draw(t, "currency"))
		if got, err := event.ParseCaseSummary(c.Append(nil)); err != nil || *got != c {
			t.Fatalf("%+v, %v; want %+v", got, err, c)
		}
	})
}

func TestParseCaseSummary(t *testing.T) {
	good := string(exampleCase(t).Append(nil))
	for _, c := range []struct{ old, new, want string }{
		{good, `{}`, "refund_id: is missing"},
		{`"state":"executed",`, ``, "state: is missing"},
		{`"changed_at"`, `"at"`, "changed_at: is missing"},
		{`"satisfied":false`, `"satisfied":"no"`, "satisfied"},
		{`"satisfied":false`, `"satisfied":null,"x":[{}]`, ""},
	} {
		_, err := event.ParseCaseSummary([]byte(strings.Replace(good, c.old, c.new, 1)))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("with %q: %v; want %q", c.new, err, c.want)
		}
	}
}
