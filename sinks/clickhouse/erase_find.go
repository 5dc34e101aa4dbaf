package clickhouse

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	ch "github.com/ClickHouse/clickhouse-go/v2"
)

func (e *eraser) has(table, column string) bool { return slices.Contains(e.columns[table], column) }

// isOneOf is a condition that column is one of the parameter's ids. They come as
// hex digits: whatever an id is made of, nothing has to be escaped.
func isOneOf(column, parameter string) string {
	return column + " IN arrayMap(x -> unhex(x), splitByChar(',', {" + parameter + ":String}))"
}

func hexed(values []string) string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = hex.EncodeToString([]byte(v))
	}
	return strings.Join(all, ",")
}

// with has the values that a query names.
func (e *eraser) with(ctx context.Context, list []string, payments ...string) context.Context {
	return ch.Context(ctx, ch.WithParameters(ch.Parameters{"customers": hexed(e.customers), "ids": hexed(list), "payments": hexed(payments), "text": hex.EncodeToString([]byte(jsonString(e.customers)))}))
}

// collect finds the customer's refunds and transactions, for rows that name no
// customer. A refund may name a transaction of somebody else, and an id may
// have been used twice: what is another customer's, too, is left alone.
func (e *eraser) collect(ctx context.Context) error {
	mine := isOneOf("customer_id", "customers")
	anothers := func(id string) string { return isOneOf(id, "ids") + " AND customer_id != '' AND NOT " + mine }
	own, err := e.distinct(ctx, "transaction_id", mine, nil, transactionsTable)
	if err != nil {
		return err
	}
	seen, err := e.distinct(ctx, "transaction_id", mine, nil, refundsTable, alertsTable, hitsTable, decisionsTable, casesTable)
	if err != nil {
		return err
	}
	others, err := e.distinct(ctx, "transaction_id", anothers("transaction_id"), seen, transactionsTable, refundsTable, decisionsTable, casesTable)
	if err != nil {
		return err
	}
	e.transactions = union(own, without(seen, others))
	named, err := e.distinct(ctx, "refund_id", mine, nil, statusesTable, alertsTable, hitsTable, refundsTable, decisionsTable, casesTable)
	if err != nil {
		return err
	}
	// Guests' refunds of what the customer paid.
	guests, err := e.distinct(ctx, "refund_id", "customer_id = '' AND "+isOneOf("transaction_id", "ids"), e.transactions, refundsTable, decisionsTable, casesTable)
	if err != nil {
		return err
	}
	e.named = union(named, guests)
	if others, err = e.distinct(ctx, "refund_id", anothers("refund_id"), e.named, decisionsTable, casesTable); err != nil {
		return err
	}
	e.refunds = without(e.named, others)
	return nil
}

// distinct are the values of an id in rows of these tables where the condition
// holds, for every part of list if it names ids.
func (e *eraser) distinct(ctx context.Context, id, where string, list []string, tables ...string) (values []string, err error) {
	parts := [][]string{nil}
	if strings.Contains(where, "{ids:") {
		parts = slices.Collect(slices.Chunk(list, eraseIDs))
	}
	for _, table := range tables {
		if !e.has(table, id) || !e.has(table, "customer_id") {
			continue
		}
		for _, part := range parts {
			more, err := e.strings(e.with(ctx, part), "SELECT DISTINCT "+id+" FROM "+e.to.name(table)+" WHERE "+id+" != '' AND "+where)
			if err != nil {
				return nil, fault("look in "+table+" for the customer's rows", err)
			}
			values = append(values, more...)
		}
	}
	return union(values), nil
}

// strings is the one column of an answer.
func (e *eraser) strings(ctx context.Context, query string) (values []string, err error) {
	rows, err := e.conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, rows.Err()
}

func union(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// without is sorted list but for what is in the sorted others.
func without(list, others []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(v string) bool {
		_, there := slices.BinarySearch(others, v)
		return there
	})
}

// condition is which rows of a table are meant; no row is meant by two.
type condition struct {
	where         string
	ids, payments []string
}

// conditions are as many as it takes to name all ids: one, as a rule.
func (e *eraser) conditions(table string) (all []condition) {
	text := e.has(table, "value") // records as they came
	list, payments := e.refunds, e.transactions
	if text {
		list, payments = union(e.customers, e.refunds, e.transactions), nil
	}
	for first := true; first || len(list)+len(payments) > 0; first = false {
		c := condition{ids: list[:min(len(list), eraseIDs)], payments: payments[:min(len(payments), eraseIDs)]}
		list, payments = list[len(c.ids):], payments[len(c.payments):]
		var any []string
		add := func(condition string) { any = append(any, "("+condition+")") }
		nobodys := ""
		if e.has(table, "customer_id") {
			nobodys = "customer_id = '' AND "
			if first {
				add(isOneOf("customer_id", "customers"))
			}
		}
		switch names := "match(value, unhex({text:String}))"; {
		case text && first:
			add(names + " OR " + isOneOf("key", "ids"))
		case text:
			add("NOT " + names + " AND " + isOneOf("key", "ids"))
		}
		if e.has(table, "refund_id") {
			add(nobodys + "refund_id != '' AND " + isOneOf("refund_id", "ids"))
			nobodys += "refund_id = '' AND "
		}
		if e.has(table, "transaction_id") {
			add(nobodys + "transaction_id != '' AND " + isOneOf("transaction_id", "payments"))
		}
		c.where = "(" + strings.Join(any, " OR ") + ")"
		all = append(all, c)
	}
	return all
}

// jsonString is a pattern for any of the values as a JSON string that isn't a
// key, as programs write it: with few escapes, those for HTML, or ASCII only.
func jsonString(values []string) string {
	var all []string
	for _, v := range values {
		html, _ := json.Marshal(v) // of a string it can't fail
		var text bytes.Buffer
		plain := json.NewEncoder(&text)
		plain.SetEscapeHTML(false)
		_ = plain.Encode(v) // likewise
		few := strings.TrimSuffix(text.String(), "\n")
		var lower, upper strings.Builder
		for _, r := range few {
			if r < utf8.RuneSelf {
				lower.WriteRune(r)
				upper.WriteRune(r)
				continue
			}
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&lower, `\u%04x`, unit)
				fmt.Fprintf(&upper, `\u%04X`, unit)
			}
		}
		for _, text := range []string{string(html), few, lower.String(), upper.String(), strings.ReplaceAll(few, "/", `\/`)} {
			all = append(all, regexp.QuoteMeta(text))
		}
	}
	return "(" + strings.Join(union(all), "|") + `)\s*([^:\s]|$)`
}
