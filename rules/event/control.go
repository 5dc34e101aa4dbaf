package event

// Control is one record of refundguard-controls: what somebody puts in force
// beside the rules, until it expires or a record without a value follows under its
// key. The key is the control's id.
type Control struct {
	Kind         string // one of the kinds below
	Rule         string // that is snoozed or reset
	CustomerID   string // exactly one of these four, of a snooze: who is let off
	MerchantID   string // or, of a hold, whose refunds wait
	InstrumentID string
	DeviceID     string
	All          bool   // a hold of everything
	Until        int64  // of a snooze: when it ends, Unix milliseconds
	Reason       string // for people, as is By
	By           string
	At           int64
}

// The kinds of controls.
const (
	ControlSnooze = "snooze" // a rule's hits on somebody decide nothing
	ControlHold   = "hold"   // what would be approved is reviewed
	ControlReset  = "reset"  // a rule whose breaker is tripped goes on
)

// Append writes c as one JSON object. What is missing is left out.
func (c *Control) Append(dst []byte) []byte {
	w := writer{buf: dst}
	w.open('{')
	w.text("kind", c.Kind)
	w.optional("rule", c.Rule)
	w.optional("customer_id", c.CustomerID)
	w.optional("merchant_id", c.MerchantID)
	w.optional("instrument_id", c.InstrumentID)
	w.optional("device_id", c.DeviceID)
	w.flag("all", c.All)
	if c.Until != 0 {
		w.time("until", c.Until)
	}
	w.optional("reason", c.Reason)
	w.optional("by", c.By)
	w.time("at", c.At)
	w.close('}')
	return w.buf
}

// ParseControl reads what Control.Append writes, and ignores members that it
// doesn't know. What says too little or too much to be put in force is refused.
func ParseControl(data []byte) (*Control, error) {
	c := &Control{}
	err := parse(data, "a control", func(r *reader) {
		r.control(c)
		if r.err == nil {
			r.err = c.fault()
		}
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Subject is the field and the value that a snooze or a hold is about; "" where it
// is about none.
func (c *Control) Subject() (field, value string) {
	for _, s := range c.subjects() {
		if s[1] != "" {
			return s[0], s[1]
		}
	}
	return "", ""
}

func (c *Control) subjects() [4][2]string {
	return [4][2]string{{"customer_id", c.CustomerID}, {"merchant_id", c.MerchantID}, {"instrument_id", c.InstrumentID}, {"device_id", c.DeviceID}}
}

func (c *Control) fault() *RecordError {
	missing := func(field, message string) *RecordError {
		return &RecordError{Code: CodeMissingField, Field: field, Message: message}
	}
	wrong := func(field, message string) *RecordError {
		return &RecordError{Code: CodeInvalidValue, Field: field, Message: message}
	}
	subjects := 0
	for _, s := range c.subjects() {
		if s[1] != "" {
			subjects++
		}
	}
	switch c.Kind {
	case ControlSnooze:
		switch {
		case c.Rule == "":
			return missing("rule", "is missing, null or empty: which rule is snoozed?")
		case subjects != 1 || c.All:
			return wrong("customer_id", "a snooze has exactly one of customer_id, merchant_id, instrument_id and device_id")
		case c.Until == 0:
			return missing("until", "is missing: a snooze ends by itself")
		}
	case ControlHold:
		switch {
		case c.All && subjects > 0, !c.All && (c.MerchantID == "" || subjects > 1):
			return wrong("merchant_id", "a hold has either merchant_id or all: true")
		}
	case ControlReset:
		if c.Rule == "" {
			return missing("rule", "is missing, null or empty: which rule is reset?")
		}
	case "":
		return missing("kind", "is missing, null or empty")
	default:
		return wrong("kind", excerpt([]byte(c.Kind))+" is none; expected snooze, hold or reset")
	}
	return nil
}

func (r *reader) control(c *Control) {
	r.open('{')
	for name, ok := r.member(); ok; name, ok = r.member() {
		switch name {
		case "kind":
			c.Kind = r.text()
		case "rule":
			c.Rule = r.text()
		case "customer_id":
			c.CustomerID = r.text()
		case "merchant_id":
			c.MerchantID = r.text()
		case "instrument_id":
			c.InstrumentID = r.text()
		case "device_id":
			c.DeviceID = r.text()
		case "all":
			c.All = r.bool()
		case "until":
			c.Until = r.time()
		case "reason":
			c.Reason = r.text()
		case "by":
			c.By = r.text()
		case "at":
			c.At = r.time()
		default:
			r.skip()
		}
	}
}
