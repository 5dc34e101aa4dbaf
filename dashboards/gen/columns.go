package main

import "regexp"

// keep are the parameters that a link to another dashboard takes along.
const keep = "${clickhouse:queryparam}&${prometheus:queryparam}&${__url_time_range}"

// valueColor is the same colour for the same thing everywhere.
type valueColor struct{ value, color string }

var palette = map[string][]valueColor{
	"outcome":       {{"approve", "green"}, {"review", "orange"}, {"reject", "red"}},
	"first_outcome": {{"approve", "green"}, {"review", "orange"}, {"reject", "red"}},
	"severity":      {{"critical", "dark-red"}, {"high", "red"}, {"medium", "orange"}, {"low", "blue"}},
	"label":         {{"fraud", "red"}, {"legit", "green"}},
	"mode":          {{"live", "green"}, {"shadow", "purple"}, {"snoozed", "blue"}},
	"what":          {{"lost", "red"}, {"caught", "green"}, {"wrongly held", "orange"}},
}

// column is how a column of a table looks, wherever it occurs.
type column struct {
	name       string
	properties []object
}

var known = makeColumns()

func makeColumns() []column {
	link := func(title, url string) object {
		return object{"id": "links", "value": []object{{"title": title, "url": url}}}
	}
	unit := func(u string, decimals int) []object {
		return []object{{"id": "unit", "value": u}, {"id": "decimals", "value": decimals}}
	}
	wide := object{"id": "custom.width", "value": 420}
	all := []column{
		{"refund_id", []object{link("The refund's story", boardURL("refund")+"var-refund_id=${__value.raw:percentencode}&"+keep)}},
		{"customer_id", []object{link("The customer's story", boardURL("refund")+"var-customer_id=${__value.raw:percentencode}&"+keep)}},
		{"rule", []object{link("The rule", boardURL("rules")+"var-rule=${__value.raw:percentencode}&"+keep)}},
		{"message", []object{wide}}, {"detail", []object{wide}}, {"features", []object{wide}},
	}
	for _, name := range []string{"amount", "amount_held", "amount_lost", "amount_caught", "amount_wrongly_held", "approved_amount", "executed_amount", "original_amount",
		"caught", "wrongly_held"} {
		all = append(all, column{name, unit("locale", 2)})
	}
	for _, name := range []string{"precision", "precision_low", "precision_high", "recall", "share_held", "share_satisfied", "share_wrongly_held"} {
		all = append(all, column{name, append(unit("percentunit", 1), object{"id": "min", "value": 0}, object{"id": "max", "value": 1})})
	}
	for _, name := range []string{"waiting_seconds", "due_in_seconds", "waited_p50_seconds", "waited_p95_seconds", "executed_p50_seconds", "executed_p95_seconds"} {
		all = append(all, column{name, unit("s", 0)})
	}
	for _, name := range []string{"outcome", "first_outcome", "severity", "label", "mode"} {
		texts := object{}
		for i, c := range palette[name] {
			texts[c.value] = object{"color": c.color, "index": i}
		}
		all = append(all, column{name, []object{{"id": "mappings", "value": []object{{"type": "value", "options": texts}}},
			{"id": "custom.cellOptions", "value": object{"type": "color-text"}}}})
	}
	return all
}

// columns are the overrides that a table's query asks for by the names in it.
func columns(kind, query string) []override {
	if kind != "table" {
		return nil
	}
	var found []override
	for _, c := range known {
		if regexp.MustCompile(`\b` + c.name + `\b`).MatchString(query) {
			found = append(found, override{Matcher: object{"id": "byName", "options": c.name}, Properties: c.properties})
		}
	}
	return found
}
