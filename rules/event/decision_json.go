package event

import "strconv"

// Append writes d as one JSON object, the value of a record of
// refund-decisions. Times are written in UTC with milliseconds; what is missing
// is null; degraded, holdout, warming, controls and reason are there only where
// they apply. It allocates nothing but what dst grows by.
func (d *Decision) Append(dst []byte) []byte {
	w := writer{buf: dst}
	w.open('{')
	w.text("decision_id", d.DecisionID)
	w.text("refund_id", d.RefundID)
	w.orNull("transaction_id", d.TransactionID)
	w.orNull("customer_id", d.CustomerID)
	w.orNull("merchant_id", d.MerchantID)
	w.money("amount", d.Amount, d.Currency)
	w.currency("currency", d.Currency)
	w.text("outcome", d.Outcome.String())
	w.text("decided_by", d.DecidedBy)
	w.optional("reason", d.Reason)
	w.int("score", d.Score)
	w.hits(d.Hits)
	w.errors(d.Errors)
	w.texts("skipped", d.Skipped)
	w.features(d.Features)
	w.original(d.Original)
	w.text("ruleset", d.Ruleset)
	w.time("occurred_at", d.OccurredAt)
	w.time("received_at", d.ReceivedAt)
	w.time("decided_at", d.DecidedAt)
	w.key("source")
	w.open('{')
	w.text("topic", d.Source.Topic)
	w.int("partition", int64(d.Source.Partition))
	w.int("offset", d.Source.Offset)
	w.close('}')
	w.flag("degraded", d.Degraded)
	w.flag("holdout", d.Holdout)
	if len(d.Warming) > 0 {
		w.texts("warming", d.Warming)
	}
	if len(d.Controls) > 0 {
		w.texts("controls", d.Controls)
	}
	w.close('}')
	return w.buf
}

func (w *writer) hits(hits []Hit) {
	w.key("hits")
	w.open('[')
	for i := range hits {
		h := &hits[i]
		w.item()
		w.open('{')
		w.text("rule", h.Rule)
		w.text("mode", h.Mode)
		w.optional("action", h.Action)
		w.int("score", h.Score)
		w.text("severity", h.Severity)
		w.optional("reason", h.Reason)
		w.optional("message", h.Message)
		w.close('}')
	}
	w.close(']')
}

func (w *writer) errors(errs []RuleError) {
	w.key("errors")
	w.open('[')
	for i := range errs {
		w.item()
		w.open('{')
		w.text("rule", errs[i].Rule)
		w.text("error", errs[i].Error)
		w.close('}')
	}
	w.close(']')
}

func (w *writer) features(features []Feature) {
	w.key("features")
	w.open('{')
	for i := range features {
		f := &features[i]
		w.item()
		w.buf = appendString(w.buf, f.Name)
		w.buf = append(w.buf, ':')
		w.feature(f)
	}
	w.close('}')
}

func (w *writer) feature(f *Feature) {
	switch f.Kind {
	case FeatureInt:
		w.buf = strconv.AppendInt(w.buf, f.Num, 10)
	case FeatureMoney:
		w.moneyValue(Money(f.Num), f.Currency)
	case FeatureFloat:
		w.buf = appendFloat(w.buf, f.Float)
	case FeatureString:
		w.buf = appendString(w.buf, f.Str)
	case FeatureBool:
		w.buf = strconv.AppendBool(w.buf, f.Num != 0)
	default:
		w.buf = append(w.buf, "null"...)
	}
}

func (w *writer) original(o *Original) {
	if o == nil {
		w.null("original")
		return
	}
	w.key("original")
	w.open('{')
	w.text("transaction_id", o.TransactionID)
	w.money("amount", o.Amount, o.Currency)
	w.currency("currency", o.Currency)
	w.time("occurred_at", o.OccurredAt)
	w.orNull("instrument_id", o.InstrumentID)
	w.close('}')
}
