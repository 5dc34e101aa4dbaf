package rules

import (
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
)

func usd(t testing.TB, text string) Value {
	t.Helper()
	m, err := event.ParseMoney([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := event.ParseCurrency("USD")
	return Value{Kind: KindMoney, Num: int64(m), Currency: c}
}

// TestMissingValues goes through every operator with a nil on either side. The
// refund has no device_id, units, weight, gift or mfa.
func TestMissingValues(t *testing.T) {
	for when, want := range map[string]string{
		`device_id == "x"`:                                "missing",
		`device_id != "x"`:                                "missing",
		`"x" == device_id`:                                "missing",
		`device_id == ip`:                                 "missing",
		`device_id == original?.device_id`:                "missing",
		`device_id == original.device_id`:                 "missing",
		`device_id == nil`:                                "hit",
		`device_id != nil`:                                "no",
		`nil == device_id`:                                "hit",
		`customer_id == nil`:                              "no",
		`original == nil`:                                 "hit",
		`original != nil`:                                 "no",
		`original.amount == nil`:                          "hit",
		`original?.amount == nil`:                         "hit",
		`original.amount > 5`:                             "missing",
		`original?.amount > 5`:                            "missing",
		`(original.amount ?? 7) > 5`:                      "hit",
		`(original?.amount ?? 1) > 5`:                     "no",
		`original != nil and original.amount > 5`:         "no",
		`original == nil or original.amount > 5`:          "hit",
		`original.amount > 5 or true`:                     "missing",
		`true or original.amount > 5`:                     "hit",
		`false and original.amount > 5`:                   "no",
		`amount > 5 and device_id == "x"`:                 "missing",
		`amount > 50 and device_id == "x"`:                "no",
		`amount > 5 or device_id == "x"`:                  "hit",
		`mfa`:                                             "missing",
		`not mfa`:                                         "missing",
		`!mfa`:                                            "missing",
		`mfa == true`:                                     "missing",
		`mfa and true`:                                    "missing",
		`true and mfa`:                                    "missing",
		`mfa or true`:                                     "missing",
		`false or mfa`:                                    "missing",
		`mfa ?? true`:                                     "hit",
		`not (mfa ?? true)`:                               "no",
		`(mfa ?? false) or amount > 5`:                    "hit",
		`mfa ? true : false`:                              "missing",
		`amount > 5 ? mfa : true`:                         "missing",
		`amount > 50 ? mfa : true`:                        "hit",
		`device_id in ["a", "b"]`:                         "missing",
		`device_id not in ["a", "b"]`:                     "missing",
		`customer_id in ["c1", device_id]`:                "hit",
		`customer_id in ["c2", device_id]`:                "missing",
		`units in 1..5`:                                   "missing",
		`device_id contains "x"`:                          "missing",
		`"x" contains device_id`:                          "missing",
		`device_id startsWith "x"`:                        "missing",
		`device_id endsWith "x"`:                          "missing",
		`device_id matches "x"`:                           "missing",
		`device_id not matches "x"`:                       "missing",
		`units + 1 > 0`:                                   "missing",
		`1 + units > 0`:                                   "missing",
		`units - 1 > 0`:                                   "missing",
		`units * 2 > 0`:                                   "missing",
		`units / 2 > 0`:                                   "missing",
		`units % 2 == 0`:                                  "missing",
		`-units < 0`:                                      "missing",
		`weight < 1`:                                      "missing",
		`weight >= 1`:                                     "missing",
		`abs(units) > 0`:                                  "missing",
		`min(units, 1) > 0`:                               "missing",
		`max(1, units) > 0`:                               "missing",
		`len(device_id) > 0`:                              "missing",
		`lower(device_id) == "x"`:                         "missing",
		`((units + 1) ?? 5) > 1`:                          "missing",
		`(ratio(1, 0) ?? 7) == 7`:                         "hit",
		`ratio(1, 0) == nil`:                              "hit",
		`ratio(1, 0) > 1`:                                 "missing",
		`refunded > 5`:                                    "missing",
		`refunded == nil`:                                 "hit",
		`(refunded ?? 0) + amount > 5`:                    "hit",
		`amount_base > 5`:                                 "hit",
		`occurred_at > original.occurred_at`:              "missing",
		`refunds.by(device_id).ever().count() > 0`:        "missing",
		`refunds.by(device_id).ever().count() == nil`:     "hit",
		`(refunds.by(device_id).ever().count() ?? 3) > 2`: "hit",
		`refunds.by(customer_id).ever().count() == 0`:     "hit",
		`refunds.by({device_id: original.device_id}).ever().count() > 0`:                   "missing",
		`refunds.by(customer_id).ever().avg(amount) > 1`:                                   "missing",
		`refunds.by(customer_id, device_id).ever().count() > 0`:                            "missing",
		`device_id != nil and refunds.by(device_id).ever().count() > 0`:                    "no",
		`device_id != nil ? device_id == "x" : amount > 5`:                                 "hit",
		`device_id == nil ? amount > 5 : device_id == "x"`:                                 "hit",
		`not (device_id == nil) and device_id == "x"`:                                      "no",
		`device_id == nil or units == nil`:                                                 "hit",
		`amount > 5 and (device_id == nil or device_id == "x") and customer_id == "c1"`:    "hit",
		`transactions.by({customer_id: customer_id ?? agent_id}).ever().count() == 0`:      "hit",
		`transactions.by({device_id: device_id ?? original.device_id}).ever().count() > 0`: "missing",
	} {
		t.Run(when, func(t *testing.T) {
			s := mustLoad(t, one(when))
			if got := verdict(evaluate(t, s, Input{Event: refund(t, "customer_id=c1")}, nil)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// TestConditions is about values that are there: the refund is of 10.00 USD,
// of a payment of 10.30.
func TestConditions(t *testing.T) {
	in := Input{
		Event: refund(t, "amount=10 USD", "customer_id=c1", "reason=not_received", "units=7", "weight=2.5", "mfa=true",
			"device_id=Dev_1 ", "method=original", "occurred_at=2026-03-01T12:00:00Z"),
		Original: payment(t, "amount=10.3 USD", "instrument_id=i1", "status=captured", "occurred_at=2026-03-01T11:00:00Z"),
		Refunded: Refunded{State: RefundedKnown, Amount: 3000, Currency: usd(t, "1").Currency},
	}
	for when, want := range map[string]string{
		`amount == 10`:                                       "hit",
		`amount == 10.0`:                                     "hit",
		`amount == 10.0001`:                                  "no",
		`amount < 10.0001`:                                   "hit",
		`amount != 10`:                                       "no",
		`5 < amount`:                                         "hit",
		`5 < amount < 10`:                                    "no",
		`5 < amount <= 10`:                                   "hit",
		`refunded + amount > original.amount`:                "no", // 0.3 + 10 against 10.3
		`refunded + amount >= original.amount`:               "hit",
		`refunded + amount == original.amount`:               "hit",
		`original.amount - amount == 0.3`:                    "hit",
		`0.1 + 0.2 == 0.3`:                                   "hit",
		`3 * amount == 30`:                                   "hit",
		`amount * 2.0 == 20`:                                 "hit",
		`amount * 0.5 == 5`:                                  "hit",
		`amount / 4 == 2.5`:                                  "hit",
		`amount / original.amount > 0.97`:                    "hit",
		`amount / original.amount > 0.98`:                    "no",
		`99999999999999.9999 > 99999999999999.9998`:          "hit",
		`amount < 99999999999999.9999`:                       "hit",
		`amount > 1e1`:                                       "no",
		`amount < 1_000`:                                     "hit",
		`-amount < 0`:                                        "hit",
		`abs(-amount) == amount`:                             "hit",
		`min(amount, 3) == 3`:                                "hit",
		`max(amount, original.amount, 3) == original.amount`: "hit",
		`units == 7`:                                         "hit",
		`units / 2 == 3.5`:                                   "hit",
		`units % 2 == 1`:                                     "hit",
		`-units % 2 == -1`:                                   "hit",
		`units + weight == 9.5`:                              "hit",
		`units in 1..7`:                                      "hit",
		`units in 8..9`:                                      "no",
		`units not in 1..7`:                                  "no",
		`units in [1, 7]`:                                    "hit",
		`weight in [1, 2.5]`:                                 "hit",
		`floor(weight) == 2 and ceil(weight) == 3`:           "hit",
		`floor(-weight) == -3 and ceil(-weight) == -2`:       "hit",
		`reason == "not_received"`:                           "hit",
		`reason in ["other", "not_received"]`:                "hit",
		`reason not in ["other"]`:                            "hit",
		`currency == "USD"`:                                  "hit",
		`currency == original.currency`:                      "hit",
		`device_id contains "ev_"`:                           "hit",
		`device_id startsWith "dev"`:                         "no",
		`lower(device_id) startsWith "dev"`:                  "hit",
		`upper(trim(device_id)) == "DEV_1"`:                  "hit",
		`len(device_id) == 6`:                                "hit",
		`device_id endsWith " "`:                             "hit",
		`device_id matches "^Dev_[0-9]+ $"`:                  "hit",
		`device_id not matches "^x"`:                         "hit",
		`device_id not contains "ev"`:                        "no",
		`mfa`:                                                "hit",
		`not mfa`:                                            "no",
		`mfa == true`:                                        "hit",
		`mfa != false and !false`:                            "hit",
		`mfa && amount > 5 || false`:                         "hit",
		`amount > 5 ? mfa : false`:                           "hit",
		`(amount > 5 ? amount : 0) == 10`:                    "hit",
		`occurred_at > original.occurred_at`:                 "hit",
		`occurred_at - original.occurred_at == hours(1)`:     "hit",
		`occurred_at - original.occurred_at < minutes(60)`:   "no",
		`occurred_at - original.occurred_at < days(0.5)`:     "hit",
		`occurred_at + hours(1) > "2026-03-01T12:59:59Z"`:    "hit",
		`occurred_at == "2026-03-01T13:00:00+01:00"`:         "hit",
		`occurred_at - 3600 == original.occurred_at`:         "hit",
		`original.status == "captured"`:                      "hit",
		`original["status"] == "captured"`:                   "hit",
		`customer_id in lists.vip`:                           "hit",
		`customer_id not in lists.vip`:                       "no",
		`big and mfa`:                                        "hit",
		`not big`:                                            "no",
		`both`:                                               "hit",
		`units * 9223372036854775807 > 0`:                    "overflow: the result does not fit in 64 bits",
		`units + 9223372036854775807 > 0`:                    "overflow: the result does not fit in 64 bits",
		`amount * 9223372036854775807 > 0`:                   "overflow: the result does not fit in 64 bits",
		`amount + 9223372036854775807 > 0`:                   "overflow: the result does not fit in 64 bits",
		`units / (units - 7) > 1`:                            "division by zero",
		`units % (units - 7) == 1`:                           "division by zero",
		`amount / (amount - 10) > 1`:                         "division by zero",
		`amount > 9223372036854775807`:                       "no",
		`amount > -9223372036854775807`:                      "hit",
		`amount_base == 10`:                                  "hit",
	} {
		t.Run(when, func(t *testing.T) {
			s := mustLoad(t, "lists: {vip: [c1, c2]}\nmacros: {big: amount > 5, both: big and mfa}\n"+one(when))
			if got := verdict(evaluate(t, s, in, nil)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestTwoCurrenciesFailTheRule(t *testing.T) {
	in := Input{Event: refund(t, "amount=10 USD"), Original: payment(t, "amount=10 EUR")}
	for _, when := range []string{
		`amount > original.amount`, `amount == original.amount`, `amount + original.amount > 1`, `amount - original.amount > 1`,
		`amount / original.amount > 1`, `min(amount, original.amount) > 1`, `0.5 * original.amount < amount`, `amount in [original.amount]`,
	} {
		if got := verdict(evaluate(t, mustLoad(t, one(when)), in, nil)); !strings.Contains(got, "two currencies") {
			t.Errorf("%s: %s", when, got)
		}
	}
	if got := verdict(evaluate(t, mustLoad(t, one(`currency == original.currency and amount > original.amount`)), in, nil)); got != "no" {
		t.Errorf("guarded: %s", got)
	}
}

func TestWhereTakesComparisonsWithNilAsFalse(t *testing.T) {
	past := newEvent(t, testSchema(t).Stream("refunds"), "amount=10 USD", "customer_id=c9", "reason=other", "units=3")
	for where, want := range map[string]bool{
		`reason == "other"`:                         true,
		`reason != "other"`:                         false,
		`device_id == "x"`:                          false,
		`device_id != "x"`:                          false,
		`device_id == nil`:                          true,
		`device_id != nil`:                          false,
		`device_id in ["x"]`:                        false,
		`device_id not in ["x"]`:                    false,
		`device_id not contains "x"`:                false,
		`device_id not in lists.vip`:                false,
		`device_id not in ["x"] or units == 3`:      true,
		`reason not in ["x"]`:                       true,
		`not (device_id in ["x"])`:                  true,
		`not (device_id == "x")`:                    true,
		`device_id contains "x"`:                    false,
		`mfa`:                                       false,
		`not mfa`:                                   false,
		`mfa or units == 3`:                         true,
		`mfa and units == 3`:                        false,
		`(mfa ?? true) and units == 3`:              true,
		`mfa ? true : units == 3`:                   true,
		`weight > 1 or weight <= 1`:                 false,
		`weight + 1 > 0`:                            false,
		`abs(weight) > 0`:                           false,
		`amount > 5 and lower(reason) == "other"`:   true,
		`amount * 9223372036854775807 > 0`:          true, // it fails, which its ColumnFault tells
		`customer_id in lists.vip`:                  true,
		`units in 1..5`:                             true,
		`occurred_at > "2020-01-01T00:00:00Z"`:      true,
		`currency == "USD" and reason in ["other"]`: true,
	} {
		s := mustLoad(t, "lists: {vip: [c9, x]}\n"+one(`customer_id in lists.vip or refunds.by(customer_id).where(`+where+`).within("1d").count() > 0`))
		if got := s.Series[0].Match(past); got != want {
			t.Errorf("where(%s) is %v, want %v", where, got, want)
		}
	}
}
