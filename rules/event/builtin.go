package event

// Builtin is the schema of the streams that refundguard reads by itself. Each
// call gives a copy of its own, which may be extended.
func Builtin() *Schema {
	s := &Schema{Streams: []*Stream{
		transactions(), refunds(), complaints(), confirmations(), reviews(), ledgerResults(),
	}}
	for _, st := range s.Streams {
		st.index()
	}
	return s
}

func transactions() *Stream {
	return &Stream{
		Name: "transactions", Topic: "transactions", Key: "customer_id",
		Doc: "Payments. A later record of a known transaction_id with other bytes is a status update.",
		Fields: []Field{
			required(id("transaction_id", "identity of the payment")),
			required(amount("what was paid")),
			required(currency()),
			required(occurredAt("when it was paid, or when its status changed")),
			id("customer_id", "who paid; a guest has none"),
			id("merchant_id", "who was paid"),
			enum("status", "state of the payment", "authorized", "captured", "settled", "failed", "charged_back"),
			enum("method", "how it was paid", "card", "wallet", "balance", "bank_transfer"),
			id("instrument_id", "the card, wallet or account that paid"),
			id("device_id", "device that it was made on"),
			text("ip", "address that it was made from"),
			text("country", "country that it was made from"),
			text("channel", "e.g. web, app, pos"),
		},
	}
}

func refunds() *Stream {
	return &Stream{
		Name: "refunds", Topic: "refunds", Key: "customer_id",
		Doc: "Refund requests. Each gets exactly one outcome.",
		Fields: []Field{
			required(id("refund_id", "identity of the request")),
			required(amount("what is asked for")),
			required(currency()),
			required(occurredAt("when it was asked for")),
			id("customer_id", "who asks; a guest has none"),
			id("transaction_id", "the payment that is refunded"),
			id("merchant_id", "who was paid"),
			enum("reason", "why", "mis_operation", "not_received", "defective", "duplicate_charge",
				"failed_transaction", "unauthorized", "other"),
			enum("method", "how the money is to go back", "original", "balance", "bank_transfer", "card", "wallet"),
			id("instrument_id", "where the money is to go"),
			enum("requested_by", "on whose behalf", "customer", "agent", "merchant", "api"),
			id("agent_id", "the agent who entered it"),
			boolean("mfa", "the request was confirmed by a second factor"),
			id("device_id", "device that it was made on"),
			text("ip", "address that it was made from"),
			text("country", "country that it was made from"),
			text("channel", "e.g. web, app, phone"),
		},
	}
}

func complaints() *Stream {
	return &Stream{
		Name: "complaints", Topic: "complaints", Key: "customer_id",
		Doc: "What customers complain of.",
		Fields: []Field{
			required(id("complaint_id", "identity of the complaint")),
			required(strict(enum("kind", "what it is about", "mis_operation", "failed_transaction",
				"payment_security", "slow_support", "privacy", "other"))),
			required(occurredAt("when it was made")),
			id("customer_id", "who complains"),
			id("refund_id", "the refund that it is about"),
			id("transaction_id", "the payment that it is about"),
			text("text", "the customer's words"),
		},
	}
}

func confirmations() *Stream {
	return &Stream{
		Name: "confirmations", Topic: "confirmations", Key: "customer_id",
		Doc: "Customers' answers to: did you ask for this refund, and did it arrive?",
		Fields: []Field{
			required(id("confirmation_id", "identity of the answer")),
			required(id("refund_id", "the refund that was asked about")),
			required(boolean("confirmed", "false: the customer did not ask for it")),
			required(occurredAt("when it was given")),
			id("customer_id", "who answers"),
			boolean("satisfied", "the customer is content"),
			text("comment", "the customer's words"),
		},
	}
}

func reviews() *Stream {
	return &Stream{
		Name: "reviews", Topic: "reviews", Key: "refund_id",
		Doc: "Analysts' verdicts on refunds in review.",
		Fields: []Field{
			required(id("review_id", "identity of the verdict")),
			required(id("refund_id", "the refund in review")),
			required(strict(enum("verdict", "what is to happen", "approve", "reject", "escalate"))),
			required(id("analyst", "who decided")),
			required(occurredAt("when it was decided")),
			strict(enum("label", "what it turned out to be", "fraud", "legit")),
			text("note", "the analyst's words"),
		},
	}
}

func ledgerResults() *Stream {
	return &Stream{
		Name: "ledger_results", Topic: "ledger-results", Key: "refund_id",
		Doc: "What the ledger executor did with approved refunds.",
		Fields: []Field{
			required(id("result_id", "identity of the result")),
			required(id("refund_id", "the refund that was executed")),
			required(strict(enum("status", "what became of it", "executed", "failed"))),
			required(occurredAt("when it was executed, or failed")),
			amount("what was paid out"),
			currency(),
			text("error", "why it failed"),
		},
	}
}

func id(name, doc string) Field      { return Field{Name: name, Type: TypeString, ID: true, Doc: doc} }
func text(name, doc string) Field    { return Field{Name: name, Type: TypeString, Doc: doc} }
func boolean(name, doc string) Field { return Field{Name: name, Type: TypeBool, Doc: doc} }
func amount(doc string) Field        { return Field{Name: "amount", Type: TypeMoney, Doc: doc} }
func currency() Field {
	return Field{Name: "currency", Type: TypeCurrency, Doc: "currency of the amount"}
}
func occurredAt(doc string) Field { return Field{Name: timeField, Type: TypeTime, Doc: doc} }
func enum(name, doc string, values ...string) Field {
	return Field{Name: name, Type: TypeEnum, Values: values, Doc: doc}
}

func required(f Field) Field {
	f.Required = true
	return f
}

func strict(f Field) Field {
	f.Strict = true
	return f
}
