package event

// Append writes s as one JSON object, the value of a record of refund-status.
func (s *Status) Append(dst []byte) []byte {
	w := writer{buf: dst}
	w.open('{')
	w.text("refund_id", s.RefundID)
	w.orNull("customer_id", s.CustomerID)
	w.text("status", s.Status)
	w.optional("reason", s.Reason)
	w.optional("customer_message", s.CustomerMessage)
	w.optional("customer_next", s.CustomerNext)
	if s.ETA != 0 {
		w.time("eta", s.ETA)
	}
	w.time("at", s.At)
	w.close('}')
	return w.buf
}

// ParseStatus reads what Status.Append writes, and ignores members that it
// doesn't know.
func ParseStatus(data []byte) (*Status, error) {
	s := &Status{}
	err := parse(data, "a status", func(r *reader) {
		r.status(s)
		r.require("refund_id", s.RefundID != "")
		r.require("status", s.Status != "")
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (r *reader) status(s *Status) {
	r.open('{')
	for name, ok := r.member(); ok; name, ok = r.member() {
		switch name {
		case "refund_id":
			s.RefundID = r.text()
		case "customer_id":
			s.CustomerID = r.text()
		case "status":
			s.Status = r.text()
		case "reason":
			s.Reason = r.text()
		case "customer_message":
			s.CustomerMessage = r.text()
		case "customer_next":
			s.CustomerNext = r.text()
		case "eta":
			s.ETA = r.time()
		case "at":
			s.At = r.time()
		default:
			r.skip()
		}
	}
}

// Append writes a as one JSON object, the value of a record of alerts. Fields
// that are not set are left out.
func (a *Alert) Append(dst []byte) []byte {
	w := writer{buf: dst}
	w.open('{')
	w.text("alert_id", a.AlertID)
	w.text("rule", a.Rule)
	w.text("severity", a.Severity)
	w.optional("refund_id", a.RefundID)
	w.optional("transaction_id", a.TransactionID)
	w.optional("customer_id", a.CustomerID)
	w.optional("merchant_id", a.MerchantID)
	w.optional("device_id", a.DeviceID)
	w.optional("instrument_id", a.InstrumentID)
	w.optional("outcome", a.Outcome)
	if a.Amount != 0 {
		w.money("amount", a.Amount, a.Currency)
	}
	if a.Currency != 0 {
		w.currency("currency", a.Currency)
	}
	w.optional("message", a.Message)
	w.time("at", a.At)
	w.close('}')
	return w.buf
}

// ParseAlert reads what Alert.Append writes, and ignores members that it doesn't
// know.
func ParseAlert(data []byte) (*Alert, error) {
	a := &Alert{}
	err := parse(data, "an alert", func(r *reader) {
		r.alert(a)
		r.require("alert_id", a.AlertID != "")
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (r *reader) alert(a *Alert) {
	r.open('{')
	for name, ok := r.member(); ok; name, ok = r.member() {
		switch name {
		case "alert_id":
			a.AlertID = r.text()
		case "rule":
			a.Rule = r.text()
		case "severity":
			a.Severity = r.text()
		case "refund_id":
			a.RefundID = r.text()
		case "transaction_id":
			a.TransactionID = r.text()
		case "customer_id":
			a.CustomerID = r.text()
		case "merchant_id":
			a.MerchantID = r.text()
		case "device_id":
			a.DeviceID = r.text()
		case "instrument_id":
			a.InstrumentID = r.text()
		case "outcome":
			a.Outcome = r.text()
		case "amount":
			a.Amount = r.money()
		case "currency":
			a.Currency = r.currency()
		case "message":
			a.Message = r.text()
		case "at":
			a.At = r.time()
		default:
			r.skip()
		}
	}
}
