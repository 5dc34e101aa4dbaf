package model

// The rules of strange.yaml.

var strangePolicy = modelPolicy{reviewAt: 40, rejectAt: 80}

var strangeRules = []modelRule{
	{id: "velocity", score: 45, condition: func(f *facts) bool {
		return f.value(`refunds.by(customer_id).within("1d").count()`) >= 3
	}},
	{id: "device-ring", score: 40, skips: true, condition: func(f *facts) bool {
		return f.value(`refunds.by(device_id).within("7d").distinct(customer_id)`) >= 4
	}},
	{id: "not-received", action: "review", skips: true, condition: func(f *facts) bool {
		return f.value(`refunds.by(customer_id).where(reason == "not_received").within("7d").count()`) >= 2
	}},
	{id: "much", score: 45, skips: true, condition: func(f *facts) bool {
		return f.money(`refunds.by(customer_id).within("7d").sum(amount)`)+f.refund.amount > 250_0000
	}},
	{id: "over-original", action: "reject", condition: func(f *facts) bool {
		if f.original == nil || f.refunded == nil {
			return false
		}
		if f.refundedIn != "" && f.refundedIn != f.refund.text["currency"] || f.original.text["currency"] != f.refund.text["currency"] {
			panic(fault{})
		}
		return *f.refunded+f.refund.amount > f.original.amount
	}},
	{id: "other-instrument", score: 35, skips: true, condition: func(f *facts) bool {
		return f.original != nil && f.need("instrument_id") != f.originals("instrument_id")
	}},
	{id: "charged-back", action: "reject", skips: true, condition: func(f *facts) bool {
		return f.original != nil && f.originalStatus() == "charged_back"
	}},
	{id: "same-shop", action: "alert", condition: func(f *facts) bool {
		return f.value(`refunds.by(customer_id, merchant_id).ever().count()`) >= 3
	}},
	{id: "trusted-shop", action: "approve", skips: true, condition: func(f *facts) bool {
		return f.need("merchant_id") == "mer_1" && f.refund.amount < 50_0000
	}},
	{id: "no-mfa", action: "reject", shadow: true, condition: func(f *facts) bool {
		return f.need("mfa") == "false"
	}},
	{id: "spends-little", action: "alert", condition: func(f *facts) bool {
		return f.money(`transactions.by(customer_id).within("30d").sum(amount)`) < f.refund.amount
	}},
}
