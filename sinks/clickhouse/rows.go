package clickhouse

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
	"github.com/refundguard/refundguard/sinks/privacy"
)

// rows is what a batch of records comes to, by table.
type rows struct {
	decisions   []decisionRow
	hits        []hitRow
	alerts      []alertRow
	labels      []labelRow
	cases       []caseRow
	statuses    []statusRow
	deadLetters []deadLetterRow
	unreadable  []unreadableRow

	stream *event.Stream // of inputs
	inputs []inputRow
}

// kind says what a topic's records are.
type kind uint8

const (
	decisionRecords kind = iota + 1
	alertRecords
	labelRecords
	caseRecords
	statusRecords
	deadLetterRecords
	inputRecords
)

// reader makes rows of the records of one topic. One goroutine at a time may
// use it.
type reader struct {
	kind    kind
	stream  *event.Stream // of inputRecords
	decoder *event.Decoder
	privacy *privacy.Pseudonymizer // nil: rows say what records say
}

// An insert writes one part per month, and ClickHouse refuses more than 100.
// Times are the senders', so that records may be of any number of months.
const maxMonths = 50

// read makes rows of the first n of the records, which are all but where they
// are of too many months. One that can't be read is a row too.
func (rd *reader) read(records []*kgo.Record, most int) (r *rows, n int) {
	r = &rows{}
	months := make(map[int]bool)
	for n, rec := range records {
		shaped := rd.privacy.Record(rec, carried[rd.kind]...)
		at, err := r.add(rd, rec, shaped)
		if err != nil {
			at = rec.Timestamp.UnixMilli()
			r.unreadable = append(r.unreadable, unreadableRow{err, shaped})
		}
		months[month(at)] = true
		if len(months) == most {
			return r, n + 1
		}
	}
	return r, len(records)
}

// month is what the tables are partitioned by.
func month(ms int64) int {
	at := time.UnixMilli(storable(ms)).UTC()
	return at.Year()*12 + int(at.Month())
}

// add returns the time that the record's rows count in. They are made of rec, which
// is what was sent, shaped.
func (r *rows) add(rd *reader, sent, rec *kgo.Record) (at int64, err error) {
	switch rd.kind {
	case decisionRecords:
		d, err := event.ParseDecision(rec.Value)
		if err != nil {
			return 0, err
		}
		r.decisions = append(r.decisions, decisionRow{d, rec})
		for i := range d.Hits {
			r.hits = append(r.hits, hitRow{d, &d.Hits[i], rec})
		}
		return d.OccurredAt, nil
	case alertRecords:
		a, err := event.ParseAlert(rec.Value)
		if err != nil {
			return 0, err
		}
		r.alerts = append(r.alerts, alertRow{a, rec})
		return a.At, nil
	case labelRecords:
		l, err := event.ParseLabel(rec.Value)
		if err != nil {
			return 0, err
		}
		r.labels = append(r.labels, labelRow{l, rec})
		return l.At, nil
	case caseRecords:
		return r.addCase(rec)
	case statusRecords:
		s, err := event.ParseStatus(rec.Value)
		if err != nil {
			return 0, err
		}
		r.statuses = append(r.statuses, statusRow{s, rec})
		return s.At, nil
	case inputRecords:
		return r.addInput(rd, sent, rec)
	}
	headers := make([]event.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = event.Header{Key: h.Key, Value: h.Value}
	}
	d, err := event.ParseDeadLetter(headers)
	if err != nil {
		return 0, err
	}
	r.deadLetters = append(r.deadLetters, deadLetterRow{d, rec})
	return rec.Timestamp.UnixMilli(), nil
}

// addCase makes no row of a record that ends a case, nor of one that was written
// before cases had a summary.
func (r *rows) addCase(rec *kgo.Record) (at int64, err error) {
	i := slices.IndexFunc(rec.Headers, func(h kgo.RecordHeader) bool { return h.Key == event.HeaderCase })
	ours := func(h kgo.RecordHeader) bool { return strings.HasPrefix(h.Key, "refundguard-") }
	switch {
	case i < 0 && (len(rec.Value) == 0 || slices.ContainsFunc(rec.Headers, ours)):
		return rec.Timestamp.UnixMilli(), nil
	case i < 0:
		return 0, fmt.Errorf("a case without the header %s", event.HeaderCase)
	}
	c, err := event.ParseCaseSummary(rec.Headers[i].Value)
	if err != nil {
		return 0, err
	}
	r.cases = append(r.cases, caseRow{c, rec, rec.Headers[i].Value})
	return c.OccurredAt, nil
}

// loads are the inserts that r comes to. The decisions come last, so that who
// sees a decision can see its hits.
func (r *rows) loads() []load {
	all := []load{
		newLoad(unreadable(), r.unreadable), newLoad(deadLetters(), r.deadLetters), newLoad(alerts(), r.alerts), newLoad(labels(), r.labels),
		newLoad(hits(), r.hits), newLoad(decisions(), r.decisions), newLoad(cases(), r.cases), newLoad(statuses(), r.statuses),
	}
	if len(r.inputs) > 0 {
		all = append(all, newLoad(input(r.stream), r.inputs))
	}
	return slices.DeleteFunc(all, func(l load) bool { return l.rows == 0 })
}

func featureText(f *event.Feature) string {
	switch f.Kind {
	case event.FeatureInt:
		return strconv.FormatInt(f.Num, 10)
	case event.FeatureMoney:
		return event.Money(f.Num).Format(f.Currency)
	case event.FeatureFloat:
		return strconv.FormatFloat(f.Float, 'g', -1, 64)
	case event.FeatureString:
		return f.Str
	case event.FeatureBool:
		return strconv.FormatBool(f.Num != 0)
	}
	return "null"
}
