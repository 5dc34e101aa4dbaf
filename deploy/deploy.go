// Package deploy is what runs refundguard, and beside it. The demo takes the alert
// rules from here.
package deploy

import _ "embed"

// AlertRules is Prometheus' rule file.
//
//go:embed prometheus/refundguard.rules.yml
var AlertRules []byte
