package clickhouse

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// Streams that are copied as they were sent; each has the table of its name.
const (
	ledgerResultsTable = "ledger_results"
	transactionsTable  = "transactions"
	refundsTable       = "refunds"
)

// inputs are the streams that are copied, of those that the service reads.
func inputs(schema *event.Schema, raw bool) (streams []*event.Stream) {
	names := []string{ledgerResultsTable}
	if raw {
		names = append(names, transactionsTable, refundsTable)
	}
	for _, name := range names {
		streams = append(streams, schema.Stream(name))
	}
	return streams
}

type inputRow struct {
	*event.Event
	rec *kgo.Record
}

// input is the table of a stream. Fields that a configuration has added have no
// columns of their own, so that it can change them.
func input(stream *event.Stream) *table[inputRow] {
	type row = inputRow
	standard := event.Builtin().Stream(stream.Name)
	var columns []column[row]
	for i := range standard.Fields {
		f := &standard.Fields[i]
		columns = append(columns, field(f, stream.Slot(f.Name)))
	}
	columns = append(columns,
		mapping("custom", func(r *row, add func(name, value string)) { custom(r.Event, standard, add) }),
		moment("received_at", func(r *row) int64 { return r.rec.Timestamp.UnixMilli() }),
		each("raw", func(r *row) []byte { return r.rec.Value }),
	)
	return &table[row]{stream.Name, "occurred_at", func(r *row) int64 { return r.Time }, origin(columns, func(r *row) *kgo.Record { return r.rec })}
}

// field is the column of a standard field.
func field(f *event.Field, slot int) column[inputRow] {
	type row = inputRow
	amount := func(r *row) event.Money { return event.Money(r.Vals[slot].Num) }
	switch {
	case f.Type == event.TypeTime:
		return moment(f.Name, func(r *row) int64 { return r.Vals[slot].Num })
	case f.Type == event.TypeMoney && f.Required:
		return money(f.Name, amount)
	case f.Type == event.TypeMoney:
		return moneyOrNull(f.Name, func(r *row) (event.Money, bool) { return amount(r), r.Has(slot) })
	case f.Type == event.TypeBool:
		return each(f.Name, func(r *row) *bool {
			if !r.Has(slot) {
				return nil
			}
			yes := r.Vals[slot].Num != 0
			return &yes
		})
	}
	return each(f.Name, func(r *row) string { return r.Str(slot) })
}

// custom adds what the fields say that a configuration has added.
func custom(e *event.Event, standard *event.Stream, add func(name, value string)) {
	for i := range e.Stream.Fields {
		f := &e.Stream.Fields[i]
		if e.Has(i) && standard.Slot(f.Name) < 0 {
			add(f.Name, valueText(f.Type, e.Vals[i]))
		}
	}
}

func valueText(t event.Type, v event.Value) string {
	switch t {
	case event.TypeMoney, event.TypeNumber:
		return event.Money(v.Num).String()
	case event.TypeInt:
		return strconv.FormatInt(v.Num, 10)
	case event.TypeBool:
		return strconv.FormatBool(v.Num != 0)
	case event.TypeTime:
		return string(event.AppendTime(nil, v.Num))
	}
	return v.Str
}

// addInput makes no row of a record that could not be decoded as it was sent: the
// service has made a dead letter of it. With values replaced it may read otherwise,
// or be too large.
func (r *rows) addInput(rd *reader, sent, rec *kgo.Record) (at int64, err error) {
	e := &event.Event{}
	if rd.decoder.Decode(sent.Value, e) != nil {
		return rec.Timestamp.UnixMilli(), nil
	}
	if rec != sent {
		if err := rd.decoder.Decode(rec.Value, e); err != nil {
			return 0, err
		}
	}
	r.stream = rd.stream
	r.inputs = append(r.inputs, inputRow{e, rec})
	return e.Time, nil
}

// topicsOf are the names of the topics of streams.
func topicsOf(streams []*event.Stream) (topics []string) {
	for _, s := range streams {
		topics = append(topics, s.Topic)
	}
	slices.Sort(topics)
	return topics
}
