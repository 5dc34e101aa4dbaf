// Package starter holds a first rule set: what most shops and payment companies
// want to see held, ready to be copied and changed.
package starter

import "embed"

// FS holds the rule files and their lists. Load it with rules.LoadFS.
//
//go:embed *.yaml lists/*.csv
var FS embed.FS
