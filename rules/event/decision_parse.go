package event

import "strconv"

// ParseDecision reads what Decision.Append writes, and ignores members that it
// doesn't know. What the text doesn't say stays unsaid: money among the features
// comes back as FeatureString, an error as FeatureNil, a float without decimals
// as FeatureInt; all are written again as they were read.
func ParseDecision(data []byte) (*Decision, error) {
	d := &Decision{}
	err := parse(data, "a decision", func(r *reader) {
		r.decision(d)
		r.require("decision_id", d.DecisionID != "")
		r.require("refund_id", d.RefundID != "")
		r.require("outcome", d.Outcome != 0)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (r *reader) decision(d *Decision) {
	r.open('{')
	for name, ok := r.member(); ok; name, ok = r.member() {
		switch name {
		case "decision_id":
			d.DecisionID = r.text()
		case "refund_id":
			d.RefundID = r.text()
		case "transaction_id":
			d.TransactionID = r.text()
		case "customer_id":
			d.CustomerID = r.text()
		case "merchant_id":
			d.MerchantID = r.text()
		case "amount":
			d.Amount = r.money()
		case "currency":
			d.Currency = r.currency()
		case "outcome":
			d.Outcome = r.outcome()
		case "decided_by":
			d.DecidedBy = r.text()
		case "reason":
			d.Reason = r.text()
		case "score":
			d.Score = r.int(64)
		case "hits":
			d.Hits = r.hits()
		case "errors":
			d.Errors = r.errors()
		case "skipped":
			d.Skipped = r.texts()
		case "features":
			d.Features = r.features()
		case "original":
			d.Original = r.original()
		case "ruleset":
			d.Ruleset = r.text()
		case "occurred_at":
			d.OccurredAt = r.time()
		case "received_at":
			d.ReceivedAt = r.time()
		case "decided_at":
			d.DecidedAt = r.time()
		case "source":
			d.Source = r.source()
		case "degraded":
			d.Degraded = r.bool()
		case "holdout":
			d.Holdout = r.bool()
		case "warming":
			d.Warming = r.texts()
		case "controls":
			d.Controls = r.texts()
		default:
			r.skip()
		}
	}
}

func (r *reader) outcome() Outcome {
	text := r.text()
	o, ok := ParseOutcome(text)
	if !ok {
		r.value([]byte(text), "is no outcome; expected approve, review or reject")
	}
	return o
}

func (r *reader) texts() (list []string) {
	if r.open('[') {
		for r.element() {
			list = append(list, r.text())
		}
	}
	return list
}

func (r *reader) hits() (hits []Hit) {
	if !r.open('[') {
		return nil
	}
	for r.element() {
		hits = append(hits, r.hit())
	}
	return hits
}

func (r *reader) hit() (h Hit) {
	r.open('{')
	for name, ok := r.member(); ok; name, ok = r.member() {
		switch name {
		case "rule":
			h.Rule = r.text()
		case "mode":
			h.Mode = r.text()
		case "action":
			h.Action = r.text()
		case "score":
			h.Score = r.int(64)
		case "severity":
			h.Severity = r.text()
		case "reason":
			h.Reason = r.text()
		case "message":
			h.Message = r.text()
		default:
			r.skip()
		}
	}
	return h
}

func (r *reader) errors() (errs []RuleError) {
	if !r.open('[') {
		return nil
	}
	for r.element() {
		var e RuleError
		r.open('{')
		for name, ok := r.member(); ok; name, ok = r.member() {
			switch name {
			case "rule":
				e.Rule = r.text()
			case "error":
				e.Error = r.text()
			default:
				r.skip()
			}
		}
		errs = append(errs, e)
	}
	return errs
}

func (r *reader) features() (features []Feature) {
	if !r.open('{') {
		return nil
	}
	for name, ok := r.member(); ok; name, ok = r.member() {
		f := Feature{Name: name}
		r.feature(&f)
		features = append(features, f)
	}
	return features
}

func (r *reader) feature(f *Feature) {
	switch c := r.peek(); {
	case c == '"':
		f.Kind, f.Str = FeatureString, r.text()
	case c == 't' || c == 'f':
		f.Kind = FeatureBool
		if r.bool() {
			f.Num = 1
		}
	case c == '-' || isDigit(c):
		text := r.number()
		if n, err := strconv.ParseInt(alias(text), 10, 64); err == nil {
			f.Kind, f.Num = FeatureInt, n
			return
		}
		n, err := strconv.ParseFloat(alias(text), 64)
		if err != nil {
			r.value(text, "is too large for a number of 64 bits")
		}
		f.Kind, f.Float = FeatureFloat, n
	case !r.isNull():
		r.wrong("a number, a string, true, false or null")
	}
}

func (r *reader) original() *Original {
	if !r.open('{') {
		return nil
	}
	o := &Original{}
	for name, ok := r.member(); ok; name, ok = r.member() {
		switch name {
		case "transaction_id":
			o.TransactionID = r.text()
		case "amount":
			o.Amount = r.money()
		case "currency":
			o.Currency = r.currency()
		case "occurred_at":
			o.OccurredAt = r.time()
		case "instrument_id":
			o.InstrumentID = r.text()
		default:
			r.skip()
		}
	}
	return o
}

func (r *reader) source() (s Source) {
	r.open('{')
	for name, ok := r.member(); ok; name, ok = r.member() {
		switch name {
		case "topic":
			s.Topic = r.text()
		case "partition":
			s.Partition = int32(r.int(32))
		case "offset":
			s.Offset = r.int(64)
		default:
			r.skip()
		}
	}
	return s
}
