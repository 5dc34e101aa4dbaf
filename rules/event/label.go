package event

import "cmp"

// What a refund can turn out to be.
const (
	LabelFraud = "fraud"
	LabelLegit = "legit"
)

// Where labels come from.
const (
	LabelByAnalyst    = "analyst"    // a verdict
	LabelByCustomer   = "customer"   // a confirmation
	LabelByChargeback = "chargeback" // the original was charged back
	LabelByImport     = "import"     // a file
)

// Of is l as a label of one refund of its transaction.
func (l *Label) Of(refundID string) *Label {
	of := *l
	of.RefundID = refundID
	return &of
}

// Label is one record of refund-labels: somebody knows what a refund was.
type Label struct {
	LabelID       string // a function of the source and what the label comes from
	RefundID      string // "": it is of all refunds of a transaction
	TransactionID string
	Label         string // LabelFraud, LabelLegit
	Source        string // LabelByAnalyst, …
	By            string // who, e.g. the analyst; "" when nobody says
	At            int64  // when it was known, Unix milliseconds
	Weight        int64  // above 0: of two labels of a refund the heavier counts
	Reason        string // a stable code; "" when there is none
	Note          string
}

// LabelWeight is the weight of trust of a source, 0 for one that isn't known.
// Each label carries its own, so that those written before the table changed
// keep what they had.
func LabelWeight(source string) int64 {
	switch source {
	case LabelByChargeback:
		return 40
	case LabelByImport:
		return 30
	case LabelByCustomer:
		return 20
	case LabelByAnalyst:
		return 10
	}
	return 0
}

// Outranks reports whether l counts rather than o, of two labels of a refund:
// the heavier, then the later, then that of the smaller id. It is a total order
// of labels that differ in one of these or in what they say, so what counts
// doesn't depend on the order in which labels come.
func (l *Label) Outranks(o *Label) bool {
	return cmp.Or(cmp.Compare(l.Weight, o.Weight), cmp.Compare(l.At, o.At),
		cmp.Compare(o.LabelID, l.LabelID), cmp.Compare(o.Label, l.Label)) > 0
}

// Append writes l as one JSON object, the value of a record of refund-labels.
// Fields that are not set are left out.
func (l *Label) Append(dst []byte) []byte {
	w := writer{buf: dst}
	w.open('{')
	w.text("label_id", l.LabelID)
	w.optional("refund_id", l.RefundID)
	w.optional("transaction_id", l.TransactionID)
	w.text("label", l.Label)
	w.text("source", l.Source)
	w.optional("by", l.By)
	w.time("at", l.At)
	w.int("weight", l.Weight)
	w.optional("reason", l.Reason)
	w.optional("note", l.Note)
	w.close('}')
	return w.buf
}

// ParseLabel reads what Label.Append writes, and ignores members that it doesn't
// know. A source that it doesn't know must bring its weight; one that it knows
// has that of LabelWeight where the record doesn't say.
func ParseLabel(data []byte) (*Label, error) {
	l := &Label{}
	err := parse(data, "a label", func(r *reader) {
		r.label(l)
		r.require("label_id", l.LabelID != "")
		r.require("refund_id", l.RefundID != "" || l.TransactionID != "")
		r.require("label", l.Label != "")
		r.require("source", l.Source != "")
		r.require("at", l.At != 0)
		if l.Weight == 0 {
			l.Weight = LabelWeight(l.Source)
		}
		r.require("weight", l.Weight != 0)
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (r *reader) label(l *Label) {
	r.open('{')
	for name, ok := r.member(); ok; name, ok = r.member() {
		switch name {
		case "label_id":
			l.LabelID = r.text()
		case "refund_id":
			l.RefundID = r.text()
		case "transaction_id":
			l.TransactionID = r.text()
		case "label":
			l.Label = r.text()
			if l.Label != LabelFraud && l.Label != LabelLegit && l.Label != "" {
				r.value([]byte(l.Label), "is no label; expected "+LabelFraud+" or "+LabelLegit)
			}
		case "source":
			l.Source = r.text()
		case "by":
			l.By = r.text()
		case "at":
			l.At = r.time()
		case "weight":
			l.Weight = r.int(32)
			if l.Weight < 0 {
				r.value(nil, "is negative; expected a weight above 0")
			}
		case "reason":
			l.Reason = r.text()
		case "note":
			l.Note = r.text()
		default:
			r.skip()
		}
	}
}
