package privacy

// role is what the value of a JSON key is to us.
type role uint8

const (
	plain      role = iota // of unknown meaning: values that are replaced are looked for in it
	structural             // ids that tables are joined by, codes, times, numbers: never changed
	entity                 // somebody or something: replaced where the configuration says so, else never changed
	personal               // replaced as a whole
	message                // made by rules or by us, of values
	written                // by people: it may say anything
	features               // values by past-events expression
)

// roles are the JSON keys of our own records and of the built-in streams. Those
// of the fields that are replaced come on top.
var roles = func() map[string]role {
	all := map[string]role{
		"message": message, "customer_message": message, "customer_next": message, "error": message,
		"note": written, "comment": written, "text": written,
		"features": features,
	}
	for _, name := range []string{"customer_id", "merchant_id", "device_id", "instrument_id", "agent_id", "ip", "country", "channel", "requested_by"} {
		all[name] = entity
	}
	for _, name := range []string{
		"decision_id", "refund_id", "transaction_id", "alert_id", "label_id", "result_id", "complaint_id", "confirmation_id", "review_id",
		"amount", "currency", "outcome", "decided_by", "reason", "score", "rule", "mode", "action", "severity", "skipped", "controls", "ruleset",
		"occurred_at", "received_at", "decided_at", "at", "since", "due_at", "opened_at", "executed_at", "changed_at", "eta",
		"topic", "partition", "offset", "degraded", "holdout", "label", "source", "weight", "by", "first_by", "analyst", "verdict",
		"status", "state", "method", "request_reason", "kind", "denied", "satisfied", "confirmed",
	} {
		all[name] = structural
	}
	return all
}()
