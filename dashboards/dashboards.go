// Package dashboards holds what Grafana shows of refundguard: one JSON file per
// dashboard, as Grafana imports and provisions them. They are made by
// dashboards/gen; README.md says how to change them.
package dashboards

import "embed"

// FS has the dashboards, NAME.json each, whose uid is refundguard-NAME.
//
//go:embed *.json
var FS embed.FS
