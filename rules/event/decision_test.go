package event_test

import (
	"flag"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
)

var update = flag.Bool("update", false, "rewrite golden files and README.md")

// decode reads a record that must be accepted.
func decode(t testing.TB, stream, record string) *event.Event {
	t.Helper()
	ev := &event.Event{}
	if err := event.NewDecoder(event.Builtin().Stream(stream), event.Limits{}).Decode([]byte(record), ev); err != nil {
		t.Fatalf("%s: %s: %v", record, err.Code, err)
	}
	return ev
}

func currency(t testing.TB, code string) event.Currency {
	t.Helper()
	c, ok := event.ParseCurrency(code)
	if !ok {
		t.Fatalf("ParseCurrency(%q): unknown", code)
	}
	return c
}

// exampleDecision is a decision with everything that a usual one has.
func exampleDecision() *event.Decision {
	usd, _ := event.ParseCurrency("USD")
	return &event.Decision{
		DecisionID: event.DecisionID("ref_1", 0), RefundID: "ref_1", TransactionID: "tx_1", CustomerID: "cus_1", MerchantID: "mer_1",
		Amount: 129_9000, Currency: usd, Outcome: event.Review, DecidedBy: "engine", Score: 60,
		Hits: []event.Hit{
			{Rule: "refund-velocity", Mode: "live", Action: "review", Score: 40, Severity: "high", Reason: "VELOCITY_CUSTOMER",
				Message: `cus_1 asked for "6" refunds in 7 days`},
			{Rule: "new-device", Mode: "shadow", Score: 20, Severity: "low"},
		},
		Errors:  []event.RuleError{{Rule: "ratio", Error: "division by zero"}},
		Skipped: []string{"agent-share"},
		Features: []event.Feature{
			{Name: `refunds.by(customer_id).within("7d").avg(amount)`, Kind: event.FeatureFloat, Float: 21.65},
			{Name: `refunds.by(customer_id).within("7d").count()`, Kind: event.FeatureInt, Num: 6},
			{Name: `refunds.by(customer_id).within("7d").last(mfa)`, Kind: event.FeatureBool, Num: 1},
			{Name: `refunds.by(customer_id).within("7d").last(reason)`, Kind: event.FeatureString, Str: "not_received"},
			{Name: `refunds.by(customer_id).within("7d").sum(amount)`, Kind: event.FeatureMoney, Num: 129_9000, Currency: usd},
			{Name: `refunds.by(device_id).within("7d").count()`, Kind: event.FeatureNil},
		},
		Original: &event.Original{TransactionID: "tx_1", Amount: 129_9000, Currency: usd, OccurredAt: 1714500000123, InstrumentID: "card_1"},
		Ruleset:  "sha256:0123456789abcdef", OccurredAt: 1714566896789, ReceivedAt: 1714566897000, DecidedAt: 1714566897042,
		Source: event.Source{Topic: "refunds", Partition: 3, Offset: 1234},
	}
}
