package clickhouse

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// rows is what a batch of records comes to, by table.
type rows struct {
	decisions   []decisionRow
	hits        []hitRow
	alerts      []alertRow
	deadLetters []deadLetterRow
	unreadable  []unreadableRow
}

// kind says what a topic's records are.
type kind uint8

const (
	decisionRecords kind = iota + 1
	alertRecords
	deadLetterRecords
)

// read makes rows of records. One that can't be read is a row too.
func read(k kind, records []*kgo.Record) *rows {
	r := &rows{}
	for _, rec := range records {
		if rec.Attrs.IsControl() {
			continue
		}
		if err := r.add(k, rec); err != nil {
			r.unreadable = append(r.unreadable, unreadableRow{err, rec})
		}
	}
	return r
}

func (r *rows) add(k kind, rec *kgo.Record) error {
	switch k {
	case decisionRecords:
		d, err := event.ParseDecision(rec.Value)
		if err != nil {
			return err
		}
		r.decisions = append(r.decisions, decisionRow{d, rec})
		for i := range d.Hits {
			r.hits = append(r.hits, hitRow{d, &d.Hits[i], rec})
		}
	case alertRecords:
		a, err := event.ParseAlert(rec.Value)
		if err != nil {
			return err
		}
		r.alerts = append(r.alerts, alertRow{a, rec})
	case deadLetterRecords:
		headers := make([]event.Header, len(rec.Headers))
		for i, h := range rec.Headers {
			headers[i] = event.Header{Key: h.Key, Value: h.Value}
		}
		d, err := event.ParseDeadLetter(headers)
		if err != nil {
			return err
		}
		r.deadLetters = append(r.deadLetters, deadLetterRow{d, rec})
	}
	return nil
}

// insert writes all of r; see table.insert. The decisions come last, so that
// who sees a decision can see its hits.
func (r *rows) insert(ctx context.Context, to target, token string) error {
	if err := unreadable().insert(ctx, to, r.unreadable, token); err != nil {
		return err
	}
	if err := deadLetters().insert(ctx, to, r.deadLetters, token); err != nil {
		return err
	}
	if err := alerts().insert(ctx, to, r.alerts, token); err != nil {
		return err
	}
	if err := hits().insert(ctx, to, r.hits, token); err != nil {
		return err
	}
	return decisions().insert(ctx, to, r.decisions, token)
}

// counts is how many rows each table gets.
func (r *rows) counts() map[string]int {
	return map[string]int{
		decisionsTable: len(r.decisions), hitsTable: len(r.hits), alertsTable: len(r.alerts),
		deadLettersTable: len(r.deadLetters), unreadableTable: len(r.unreadable),
	}
}

func features(fs []event.Feature) map[string]string {
	m := make(map[string]string, len(fs))
	for i := range fs {
		m[fs[i].Name] = featureText(&fs[i])
	}
	return m
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
