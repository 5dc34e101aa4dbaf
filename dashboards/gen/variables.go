package main

// sources are the data sources, which are chosen once for all panels.
func sources() []variable {
	return []variable{
		{Name: "clickhouse", Label: "ClickHouse", Description: "Data source with refundguard's database as its default one", Type: "datasource", Query: clickhouse.Type, Current: object{}, Refresh: 1},
		{Name: "prometheus", Label: "Prometheus", Description: "Data source that scrapes refundguard", Type: "datasource", Query: prometheus.Type, Current: object{}, Refresh: 1},
	}
}

// job is the deployment: that which only observes has another one.
func job() variable {
	return variable{Name: "job", Label: "Deployment", Description: "Prometheus' job of the instances of one deployment", Type: "query", Datasource: &prometheus,
		Query:      object{"qryType": 1, "query": "label_values(refundguard_build_info, job)", "refId": "job"},
		Definition: "label_values(refundguard_build_info, job)", Refresh: 2, Sort: 1, Current: object{}}
}

func clickhouseVariable(name, label, description, query string) variable {
	return variable{Name: name, Label: label, Description: description, Type: "query", Datasource: &clickhouse, Query: tidy(query), Definition: tidy(query), Refresh: 1, Current: object{}}
}

// currency is one: money of several is never added up.
func currency() variable {
	return clickhouseVariable("currency", "Currency", "Of the money shown: sums are never over several currencies. The one with most refunds comes first",
		`SELECT currency FROM v_refunds_hourly GROUP BY currency ORDER BY count() DESC, currency`)
}

func textbox(name, label, description string) variable {
	return variable{Name: name, Label: label, Description: description, Type: "textbox", Query: "", Current: object{"text": "", "value": ""},
		Options: []any{object{"text": "", "value": "", "selected": true}}}
}

// choice is one of a few values, the first if nobody chooses.
func choice(name, label, description string, values ...string) variable {
	v := variable{Name: name, Label: label, Description: description, Type: "custom", Current: object{"text": values[0], "value": values[0]}}
	query := ""
	for i, value := range values {
		if i > 0 {
			query += ","
		}
		query += value
		v.Options = append(v.Options, object{"text": value, "value": value, "selected": i == 0})
	}
	v.Query = query
	return v
}

// rulesetChanges marks on every graph where other rules began to decide.
var rulesetChanges = object{
	"name": "Rule set changed", "enable": true, "hide": false, "iconColor": "purple", "datasource": clickhouse,
	"target": object{"refId": "changes", "datasource": clickhouse, "pluginVersion": clickhousePlugin, "editorType": "sql", "queryType": "table", "format": 1,
		"rawSql": tidy(`
			SELECT since AS time, concat('Rule set ', substring(replaceOne(ruleset, 'sha256:', ''), 1, 12), ' began to decide') AS text, 'ruleset' AS tags
			FROM v_ruleset_changes
			WHERE $__timeFilter(since)
			ORDER BY time`)},
}
