package model

import "testing"

// Retail is a model of the rules of retail.yaml, without events.
func Retail(t testing.TB, ruleFile string) *Model {
	t.Helper()
	return newModel(t, ruleFile, retailRules, retailPolicy)
}

// The rules of retail.yaml. Amounts are in 1/10,000; where the
// YAML adds or compares money, the shop has one currency only.

var retailPolicy = modelPolicy{reviewAt: 40, rejectAt: 80}

var retailRules = []modelRule{
	{id: "R1", score: 40, condition: func(f *facts) bool {
		return f.value(`refunds.by(customer_id).within("30d").count()`)+1 >= 5
	}},
	{id: "R2", score: 30, skips: true, condition: func(f *facts) bool {
		bought := f.value(`transactions.by(customer_id).within("30d").sum(amount)`)
		return bought > 0 && 2*(f.value(`refunds.by(customer_id).within("30d").sum(amount)`)+f.refund.amount) > bought
	}},
	{id: "R3", action: "review", skips: true, condition: func(f *facts) bool {
		return f.value(`transactions.by(customer_id).ever().count()`) == 0
	}},
	{id: "R4", score: 50, skips: true, condition: func(f *facts) bool {
		return f.value(`transactions.by(customer_id).ever().count()`) > 0 &&
			f.value(`refunds.by(customer_id).ever().sum(amount)`)+f.refund.amount > f.value(`transactions.by(customer_id).ever().sum(amount)`)
	}},
	{id: "R5", action: "alert", condition: func(f *facts) bool {
		return f.refund.amount >= 1000_0000 && f.value(`transactions.by(customer_id).within("3601s").count()`) > 0
	}},
	{id: "R6", score: 30, skips: true, condition: func(f *facts) bool {
		return f.value(`refunds.by(customer_id).within("24h").count()`)+1 >= 3
	}},
	{id: "R7", score: 20, skips: true, condition: func(f *facts) bool {
		return f.value(`refunds.by(customer_id).within("7d").count()`)+1 >= 3 &&
			f.value(`refunds.by(customer_id).within("7d").sum(amount)`)+f.refund.amount >= 200_0000
	}},
	{id: "R8", score: 20, skips: true, condition: func(f *facts) bool {
		n := f.value(`transactions.by(customer_id).within("30d").count()`)
		return n > 0 && f.refund.amount*n > 3*f.value(`transactions.by(customer_id).within("30d").sum(amount)`)
	}},
	{id: "over-original", action: "reject", condition: func(f *facts) bool {
		return f.original != nil && f.refunded != nil && *f.refunded+f.refund.amount > f.original.amount
	}},
	{id: "unknown-and-large", action: "alert", condition: func(f *facts) bool {
		return f.original == nil && f.refund.amount > 5000_0000
	}},
	{id: "old-friend", action: "approve", skips: true, condition: func(f *facts) bool {
		return f.value(`transactions.by(customer_id).within("30d").count()`) >= 10 && f.refund.amount < 100_0000
	}},
	{id: "everything-else", action: "reject", shadow: true, condition: func(f *facts) bool {
		many := f.value(`refunds.by(customer_id).within("1h").count()`) + f.value(`transactions.by(customer_id).within("1h").count()`) +
			f.value(`transactions.by(customer_id).within("24h").count()`) + f.value(`transactions.by(customer_id).within("7d").count()`) +
			f.value(`refunds.by(customer_id).ever().count()`)
		much := f.value(`refunds.by(customer_id).within("1h").sum(amount)`) + f.value(`transactions.by(customer_id).within("1h").sum(amount)`) +
			f.value(`refunds.by(customer_id).within("24h").sum(amount)`) + f.value(`transactions.by(customer_id).within("24h").sum(amount)`) +
			f.value(`transactions.by(customer_id).within("7d").sum(amount)`)
		return many > 10 || much > 10_000_0000
	}},
}
