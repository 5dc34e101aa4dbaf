package clickhouse

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// Names of the tables. What they hold is said by the migrations, column by
// column.
const (
	decisionsTable   = "decisions"
	hitsTable        = "hits"
	alertsTable      = "alerts"
	deadLettersTable = "dead_letters"
	unreadableTable  = "unreadable"
	labelsTable      = "labels"
	casesTable       = "cases"
	statusesTable    = "statuses"
)

// tableNames lists them all.
func tableNames() []string {
	return []string{decisionsTable, hitsTable, alertsTable, deadLettersTable, labelsTable, casesTable, statusesTable,
		ledgerResultsTable, transactionsTable, refundsTable, unreadableTable}
}

type decisionRow struct {
	*event.Decision
	rec *kgo.Record
}

type hitRow struct {
	*event.Decision
	hit *event.Hit
	rec *kgo.Record
}

type alertRow struct {
	*event.Alert
	rec *kgo.Record
}

type labelRow struct {
	*event.Label
	rec *kgo.Record
}

type caseRow struct {
	*event.CaseSummary
	rec *kgo.Record
	raw []byte
}

type statusRow struct {
	*event.Status
	rec *kgo.Record
}

type deadLetterRow struct {
	*event.DeadLetter
	rec *kgo.Record
}

type unreadableRow struct {
	err error
	rec *kgo.Record
}

// origin adds where a row's record is.
func origin[T any](columns []column[T], rec func(*T) *kgo.Record) []column[T] {
	return append(columns,
		each("kafka_topic", func(r *T) string { return rec(r).Topic }),
		each("kafka_partition", func(r *T) int32 { return rec(r).Partition }),
		each("kafka_offset", func(r *T) int64 { return rec(r).Offset }),
	)
}

func decisions() *table[decisionRow] {
	type row = decisionRow
	original := func(r *row) event.Original {
		if r.Original == nil {
			return event.Original{}
		}
		return *r.Original
	}
	return &table[row]{decisionsTable, "occurred_at", func(r *row) int64 { return r.OccurredAt }, origin([]column[row]{
		each("decision_id", func(r *row) string { return r.DecisionID }),
		each("refund_id", func(r *row) string { return r.RefundID }),
		each("transaction_id", func(r *row) string { return r.TransactionID }),
		each("customer_id", func(r *row) string { return r.CustomerID }),
		each("merchant_id", func(r *row) string { return r.MerchantID }),
		money("amount", func(r *row) event.Money { return r.Amount }),
		each("currency", func(r *row) string { return r.Currency.String() }),
		each("outcome", func(r *row) string { return r.Outcome.String() }),
		each("decided_by", func(r *row) string { return r.DecidedBy }),
		each("reason", func(r *row) string { return r.Reason }),
		each("score", func(r *row) int64 { return r.Score }),
		one("rules", func(r *row) []string { return hitRules(r.Hits, "live") }),
		one("shadow_rules", func(r *row) []string { return hitRules(r.Hits, "shadow") }),
		one("snoozed_rules", func(r *row) []string { return hitRules(r.Hits, "snoozed") }),
		one("failed_rules", func(r *row) []string {
			var rules []string
			for i := range r.Errors {
				rules = append(rules, r.Errors[i].Rule)
			}
			return rules
		}),
		one("skipped_rules", func(r *row) []string { return r.Skipped }),
		mapping("features", func(r *row, add func(name, value string)) {
			for i := range r.Features {
				add(r.Features[i].Name, featureText(&r.Features[i]))
			}
		}),
		one("warming", func(r *row) []string { return r.Warming }),
		each("degraded", func(r *row) bool { return r.Degraded }),
		each("holdout", func(r *row) bool { return r.Holdout }),
		one("controls", func(r *row) []string { return r.Controls }),
		moneyOrNull("original_amount", func(r *row) (event.Money, bool) { return original(r).Amount, original(r).Amount != 0 }),
		each("original_currency", func(r *row) string { return original(r).Currency.String() }),
		momentOrNull("original_occurred_at", func(r *row) (int64, bool) { return original(r).OccurredAt, r.Original != nil }),
		each("original_instrument_id", func(r *row) string { return original(r).InstrumentID }),
		each("ruleset", func(r *row) string { return r.Ruleset }),
		moment("occurred_at", func(r *row) int64 { return r.OccurredAt }),
		moment("received_at", func(r *row) int64 { return r.ReceivedAt }),
		moment("decided_at", func(r *row) int64 { return r.DecidedAt }),
		each("source_topic", func(r *row) string { return r.Source.Topic }),
		each("source_partition", func(r *row) int32 { return r.Source.Partition }),
		each("source_offset", func(r *row) int64 { return r.Source.Offset }),
		each("raw", func(r *row) []byte { return r.rec.Value }),
	}, func(r *row) *kgo.Record { return r.rec })}
}

func hits() *table[hitRow] {
	type row = hitRow
	return &table[row]{hitsTable, "occurred_at", func(r *row) int64 { return r.OccurredAt }, origin([]column[row]{
		each("rule", func(r *row) string { return r.hit.Rule }),
		each("mode", func(r *row) string { return r.hit.Mode }),
		each("action", func(r *row) string { return r.hit.Action }),
		each("score", func(r *row) int64 { return r.hit.Score }),
		each("severity", func(r *row) string { return r.hit.Severity }),
		each("reason", func(r *row) string { return r.hit.Reason }),
		each("message", func(r *row) string { return r.hit.Message }),
		each("decision_id", func(r *row) string { return r.DecisionID }),
		each("refund_id", func(r *row) string { return r.RefundID }),
		each("transaction_id", func(r *row) string { return r.TransactionID }),
		each("customer_id", func(r *row) string { return r.CustomerID }),
		each("merchant_id", func(r *row) string { return r.MerchantID }),
		money("amount", func(r *row) event.Money { return r.Amount }),
		each("currency", func(r *row) string { return r.Currency.String() }),
		each("outcome", func(r *row) string { return r.Outcome.String() }),
		each("decided_by", func(r *row) string { return r.DecidedBy }),
		each("ruleset", func(r *row) string { return r.Ruleset }),
		moment("occurred_at", func(r *row) int64 { return r.OccurredAt }),
		moment("decided_at", func(r *row) int64 { return r.DecidedAt }),
	}, func(r *row) *kgo.Record { return r.rec })}
}

func alerts() *table[alertRow] {
	type row = alertRow
	return &table[row]{alertsTable, "at", func(r *row) int64 { return r.At }, origin([]column[row]{
		each("alert_id", func(r *row) string { return r.AlertID }),
		each("rule", func(r *row) string { return r.Rule }),
		each("severity", func(r *row) string { return r.Severity }),
		each("refund_id", func(r *row) string { return r.RefundID }),
		each("transaction_id", func(r *row) string { return r.TransactionID }),
		each("customer_id", func(r *row) string { return r.CustomerID }),
		each("merchant_id", func(r *row) string { return r.MerchantID }),
		each("device_id", func(r *row) string { return r.DeviceID }),
		each("instrument_id", func(r *row) string { return r.InstrumentID }),
		each("outcome", func(r *row) string { return r.Outcome }),
		moneyOrNull("amount", func(r *row) (event.Money, bool) { return r.Amount, r.Amount != 0 }),
		each("currency", func(r *row) string { return r.Currency.String() }),
		each("message", func(r *row) string { return r.Message }),
		moment("at", func(r *row) int64 { return r.At }),
		each("raw", func(r *row) []byte { return r.rec.Value }),
	}, func(r *row) *kgo.Record { return r.rec })}
}

func labels() *table[labelRow] {
	type row = labelRow
	return &table[row]{labelsTable, "at", func(r *row) int64 { return r.At }, origin([]column[row]{
		each("label_id", func(r *row) string { return r.LabelID }),
		each("refund_id", func(r *row) string { return r.RefundID }),
		each("transaction_id", func(r *row) string { return r.TransactionID }),
		each("label", func(r *row) string { return r.Label.Label }),
		each("source", func(r *row) string { return r.Source }),
		each("weight", func(r *row) int64 { return r.Weight }),
		each("by", func(r *row) string { return r.By }),
		each("reason", func(r *row) string { return r.Reason }),
		each("note", func(r *row) string { return r.Note }),
		moment("at", func(r *row) int64 { return r.At }),
		each("raw", func(r *row) []byte { return r.rec.Value }),
	}, func(r *row) *kgo.Record { return r.rec })}
}

func cases() *table[caseRow] {
	type row = caseRow
	return &table[row]{casesTable, "occurred_at", func(r *row) int64 { return r.OccurredAt }, origin([]column[row]{
		each("refund_id", func(r *row) string { return r.RefundID }),
		each("transaction_id", func(r *row) string { return r.TransactionID }),
		each("customer_id", func(r *row) string { return r.CustomerID }),
		each("merchant_id", func(r *row) string { return r.MerchantID }),
		each("method", func(r *row) string { return r.Method }),
		each("request_reason", func(r *row) string { return r.RequestReason }),
		money("amount", func(r *row) event.Money { return r.Amount }),
		each("currency", func(r *row) string { return r.Currency.String() }),
		each("state", func(r *row) string { return r.State }),
		each("severity", func(r *row) string { return r.Severity }),
		each("reason", func(r *row) string { return r.Reason }),
		each("decided_by", func(r *row) string { return r.DecidedBy }),
		each("decision_id", func(r *row) string { return r.DecisionID }),
		each("first_by", func(r *row) string { return r.FirstBy }),
		each("denied", func(r *row) bool { return r.Denied }),
		each("satisfied", func(r *row) *bool {
			if r.Satisfied == 0 {
				return nil
			}
			yes := r.Satisfied == event.Yes
			return &yes
		}),
		moment("occurred_at", func(r *row) int64 { return r.OccurredAt }),
		moment("received_at", func(r *row) int64 { return r.ReceivedAt }),
		moment("opened_at", func(r *row) int64 { return r.OpenedAt }),
		moment("since", func(r *row) int64 { return r.Since }),
		momentOrNull("due_at", func(r *row) (int64, bool) { return r.DueAt, r.DueAt != 0 }),
		momentOrNull("executed_at", func(r *row) (int64, bool) { return r.ExecutedAt, r.ExecutedAt != 0 }),
		moment("changed_at", func(r *row) int64 { return r.ChangedAt }),
		each("raw", func(r *row) []byte { return r.raw }),
	}, func(r *row) *kgo.Record { return r.rec })}
}

func statuses() *table[statusRow] {
	type row = statusRow
	return &table[row]{statusesTable, "at", func(r *row) int64 { return r.At }, origin([]column[row]{
		each("refund_id", func(r *row) string { return r.RefundID }),
		each("customer_id", func(r *row) string { return r.CustomerID }),
		each("status", func(r *row) string { return r.Status.Status }),
		each("reason", func(r *row) string { return r.Reason }),
		each("customer_message", func(r *row) string { return r.CustomerMessage }),
		each("customer_next", func(r *row) string { return r.CustomerNext }),
		momentOrNull("eta", func(r *row) (int64, bool) { return r.ETA, r.ETA != 0 }),
		moment("at", func(r *row) int64 { return r.At }),
		each("raw", func(r *row) []byte { return r.rec.Value }),
	}, func(r *row) *kgo.Record { return r.rec })}
}

func deadLetters() *table[deadLetterRow] {
	type row = deadLetterRow
	return &table[row]{deadLettersTable, "refused_at", func(r *row) int64 { return r.rec.Timestamp.UnixMilli() }, origin([]column[row]{
		each("code", func(r *row) string { return r.Code }),
		each("field", func(r *row) string { return r.Field }),
		each("message", func(r *row) string { return r.Message }),
		each("source_topic", func(r *row) string { return r.Topic }),
		each("source_partition", func(r *row) int32 { return r.Partition }),
		each("source_offset", func(r *row) int64 { return r.Offset }),
		moment("received_at", func(r *row) int64 { return r.Timestamp }),
		moment("refused_at", func(r *row) int64 { return r.rec.Timestamp.UnixMilli() }),
		each("key", func(r *row) []byte { return r.rec.Key }),
		each("value", func(r *row) []byte { return r.rec.Value }),
		one("headers", func(r *row) map[string]string { return headerMap(r.rec.Headers) }),
	}, func(r *row) *kgo.Record { return r.rec })}
}

func unreadable() *table[unreadableRow] {
	type row = unreadableRow
	return &table[row]{unreadableTable, "written_at", func(r *row) int64 { return r.rec.Timestamp.UnixMilli() }, origin([]column[row]{
		moment("written_at", func(r *row) int64 { return r.rec.Timestamp.UnixMilli() }),
		each("error", func(r *row) string { return r.err.Error() }),
		each("key", func(r *row) []byte { return r.rec.Key }),
		each("value", func(r *row) []byte { return r.rec.Value }),
		one("headers", func(r *row) map[string]string { return headerMap(r.rec.Headers) }),
	}, func(r *row) *kgo.Record { return r.rec })}
}

func hitRules(hits []event.Hit, mode string) []string {
	var rules []string
	for i := range hits {
		if hits[i].Mode == mode {
			rules = append(rules, hits[i].Rule)
		}
	}
	return rules
}

func headerMap(headers []kgo.RecordHeader) map[string]string {
	m := make(map[string]string, len(headers))
	for _, h := range headers {
		m[h.Key] = string(h.Value)
	}
	return m
}
